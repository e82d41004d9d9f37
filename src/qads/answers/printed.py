"""The answer in the last line that a program printed, which may be a sentence, or what a solver gives back.

A line that is a number, an expression, a list or an option is the answer as it stands. Of a sentence the answer is what
it states as one; else what stands after its last "is", "are" or colon; else the one number in it. Nothing is guessed:
of a sentence that says several things ("She has 42 apples and 7 pears.") none is taken, and it is compared whole. That
is stricter than for a solution in words, where the last number serves: a program had only its answer to print.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qads.answers.comparing import same_answer
from qads.answers.extracting import extract_answer, find_answer
from qads.answers.options import named_option
from qads.answers.sentences import begins_as_prose, denies, only_number

__all__ = ["printed_answer"]

_LONGEST = 400
_NOTHING = frozenset(("", "none", "nan", "null", "nat", "emptyset", "set()", "[]", "{}", "()", "[none]", "[nan]"))
_SOLVED = re.compile(
    r"\[?\{(?:'[^'{}]*'|\"[^\"{}]*\"|(?!(?:I|E|pi):)[A-Za-z]\w*(?:\([\w, ]{1,20}\))?):(?P<value>[^{}:]+)\}\]?"
)
"""One unknown with one value, as sympy's `solve` gives it; numbers as keys are roots and how often they occur."""
_LABEL = re.compile(r"(?<=[^\W\d_)\]'\"]):\s|\b(?:is|are|was|were|equals?)\b:?\s")
_EQUATION = re.compile(r"[^\W\d_]\w[\w' ]*=(?P<value>[^=<>]+)")
_FIGURE = re.compile(r"\d")
_QUOTES = " \t'\"`"


def printed_answer(line: str, *, options: Sequence[str] = ()) -> str | None:
    """The answer in a line that a program printed; None where it says that there is none.

    Args:
        line: the last one printed, or what the program returned, as text.
        options: of multiple choice.

    >>> [printed_answer(line) for line in ("42", "Total cost: $42", "She has 42 apples.", "[{x: 42}]", "None")]
    ['42', '$42', '42', '42', None]
    >>> printed_answer("The answer is (B)", options=("41", "42")), printed_answer("She has 42 apples and 7 pears.")
    ('(B)', 'She has 42 apples and 7 pears.')
    """
    whole = line.strip()
    if options and _is_option(whole, options):
        return whole
    solved = _SOLVED.fullmatch(whole)
    answer = solved["value"].strip() if solved else _said(whole.strip(_QUOTES), options) or whole
    return None if "".join(answer.casefold().split()).strip(_QUOTES + ".") in _NOTHING else answer


def _is_option(text: str, options: Sequence[str]) -> bool:
    return named_option(text, options) is not None or any(same_answer(text, each, algebra=None) for each in options)


def _said(line: str, options: Sequence[str]) -> str | None:
    """What a sentence says the answer is; None where it is no sentence, or says several things."""
    if len(line) > _LONGEST or not begins_as_prose(line):
        return None
    stated = extract_answer(line)
    if options:
        found = find_answer(line, options=options)
        stated = found.text if found.where in ("stated", "last result") else None
    if stated is None:
        stated = _after_label(line)
    number = None if stated is None or denies(line) else only_number(stated)
    return number or stated


def _after_label(line: str) -> str | None:
    """What stands at the end, after the words or the sign that say what it is; the line where there are none."""
    if equation := _EQUATION.fullmatch(line):
        return equation["value"].strip()
    _, *parts = _LABEL.split(line)
    if any(map(_FIGURE.search, parts[:-1])):
        return None
    return (parts[-1].strip().removesuffix(".") if parts else "") or line

"""Final answers: where a solution states one, and what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qads.answers.comparing import same_answer
from qads.answers.numbers import last_number
from qads.answers.options import named_option
from qads.answers.sentences import without_emphasis

__all__ = ["FoundAnswer", "extract_answer", "find_answer"]

Where = Literal["stated", "last result", "last letter", "last number", "nowhere"]

# No pattern here has two repeats that can share a run of blanks: a solution of a megabyte takes linear time.
_MARKED = re.compile(r"^####(?!#)(?P<answer>.*)", re.MULTILINE)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(?P<token>[^\s{}$\\]+))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_STATED = re.compile(
    r"\b(?:the\s+)?(?:final\s+|correct\s+)?answer\s*(?:is\b(?:\s*:)?|:|=)\s*+"
    r"(?!not\s(?:(?:an?|the|just|only)\b|[-$(\d]))"
    r"(?P<way>(?:obtained|found|calculated|computed|determined|derived|given)\b)?"
    r"(?:(?:therefore|thus|hence|then|simply|just|indeed|about|approximately|roughly|exactly|equal\sto)\b\s*+)*+"
    r"(?P<answer>[^\n]+)",
    re.IGNORECASE,
)
"""Where it is told in which way the answer is found, or what it is not, none is stated."""
_GOES_ON = re.compile(r"\.\s+(?=[A-Z])|(?<=\s)(?:because|since)\b|,\s?(?:which|where)\b")
"""Where a stated answer ends and its reasons or the next sentence begin."""
_CHOSEN = re.compile(
    r"\b(?:ans(?:wer)?|option|choice)\b(?:\s+(?:is|option|choice|no|to|the|should|be|must|will|therefore|correct|letter)\b){0,8}"
    r"[\s.:=\-–>,]*[(\[]?(?P<letter>[A-Ja-j])(?:[)\].,;:]|(?=\s*(?:\n|\Z)))",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"[(\[]?\b(?P<letter>[A-J])\b[)\]]?\s+(?:is|must be)\s+(?:the\s+)?(?:correct|right|true|answer)\b"
)
_CONCLUDED = re.compile(r"\b(?:thus|hence|so|therefore|is)\b[\s,:]*[(\[]?(?P<letter>[A-J])[)\]]?\W*\Z", re.IGNORECASE)
_ALONE = re.compile(r"^[^\w\n]*(?P<letter>[A-J])[^\w\n]*$", re.MULTILINE)
_RESULT = re.compile(r"=(?P<answer>[^=\n]{1,120}?)[ .]*$", re.MULTILINE)
_BRACKETED = re.compile(r"[(\[](?P<letter>[A-J])[)\]]")


@dataclass(frozen=True)
class FoundAnswer:
    """The answer of a solution, and where it stood."""

    text: str | None
    where: Where
    """``stated`` as an answer; of a solution that states none ``last result``, an option after its last equals sign, or
    ``last letter`` or ``last number``; ``nowhere``."""


def find_answer(solution: str, *, options: Sequence[str] = ()) -> FoundAnswer:
    """The answer of a solution, as a last resort the last number, or of multiple choice the last letter, in it.

    Args:
        solution: what was written.
        options: of multiple choice.

    >>> find_answer("She has 3 + 4 = 7 apples").text, find_answer("Option (C) is right.", options=("1", "2", "3")).text
    ('7', 'C')
    """
    solution = without_emphasis(solution)
    stated, place = _stated(solution)
    if not options:
        if stated is not None:
            return FoundAnswer(stated, "stated")
        number = last_number(solution)
        return FoundAnswer(number, "nowhere" if number is None else "last number")
    if stated is not None and named_option(stated, options) is not None:
        return FoundAnswer(stated, "stated")
    chosen = [found for pattern in (_CHOSEN, _CORRECT, _CONCLUDED) for found in pattern.finditer(solution)]
    chosen = [
        found for found in chosen or _ALONE.finditer(solution) if named_option(found["letter"], options) is not None
    ]
    if chosen:
        last = max(chosen, key=re.Match[str].start)
        if stated is None or place < last.start("letter") or not _is_option(stated, options):
            return FoundAnswer(last["letter"].upper(), "stated")
    if stated is not None:
        return FoundAnswer(stated, "stated")
    result = _last(_RESULT, solution)
    if result and any(result["answer"].split() == option.split() for option in options):
        return FoundAnswer(result["answer"].strip(), "last result")
    letter = _last(_BRACKETED, solution)
    if letter and named_option(letter["letter"], options) is not None:
        return FoundAnswer(letter["letter"], "last letter")
    number = last_number(solution)
    return FoundAnswer(number, "nowhere" if number is None else "last number")


def extract_answer(solution: str) -> str | None:
    r"""The final answer that a solution states, or None.

    In this order: a closing ``#### x`` line (GSM8K; elsewhere ``####`` is a Markdown heading), the content of
    the last ``\boxed{x}`` (MATH), the last "the answer is x".

    >>> extract_answer("2+2=4\n#### 4"), extract_answer(r"so \boxed{\frac{1}{2}}."), extract_answer("no idea")
    ('4', '\\frac{1}{2}', None)
    """
    return _stated(without_emphasis(solution))[0]


def _stated(solution: str) -> tuple[str | None, int]:
    """The answer that a solution without emphasis states, and where; None where it states none."""
    if (marked := _last(_MARKED, solution)) and marked["answer"].strip():
        rest = solution[marked.end() :].strip()
        if not rest or _STATED.match(rest):
            return marked["answer"].strip(), marked.start()
    if boxed := _last(_BOXED, solution):
        return boxed["token"] or _up_to_closing_brace(solution, boxed.end()), boxed.start()
    if (stated := _last(_STATED, solution)) and not stated["way"]:
        answer = _GOES_ON.split(stated["answer"], maxsplit=1)[0].strip().rstrip(",;").removesuffix(".").strip("$ ")
        return answer or None, stated.start("answer")
    return None, 0


def _is_option(stated: str, options: Sequence[str]) -> bool:
    """Whether what was stated is the text of one option, and not the beginning of an explanation."""
    return sum(bool(same_answer(stated, option, algebra=None)) for option in options) == 1


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(pattern.finditer(text), key=re.Match[str].start, default=None)


def _up_to_closing_brace(text: str, start: int) -> str | None:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)  # An escaped brace is a character of the answer.
        if depth == 0:
            return text[start : brace.start()].strip() or None
    return None

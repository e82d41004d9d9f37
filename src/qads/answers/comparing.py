r"""Whether two answers are the same: by text, as numbers, part by part, and by computer algebra when all that fails.

The cheap ways are exact and come first; most answers need no other. Algebra (`math-verify`) runs in a process of its
own, which is stopped when it takes long (`symbolic.py`), so no answer, however hostile, holds anything up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qads.answers.latex import without_latex
from qads.answers.numbers import Number, read_number, same_number
from qads.answers.options import LETTERS, is_letter, named_option
from qads.answers.sentences import said_number, without_emphasis
from qads.answers.symbolic import Algebra, same_expression
from qads.answers.units import currency_in

__all__ = ["Comparison", "right_option", "same_answer"]

How = Literal["letter", "option", "text", "number", "parts", "algebra", "different", "nothing", "undecided"]

_MOST_PARTS = 8
_OPENING, _CLOSING = "([{⟨", ")]}⟩"
_MERIDIEM = re.compile(r"\b([ap])\.\s?m\b\.?")
_SPACES = re.compile(r"\s+")
_SPACE_IN_KEY = re.compile(r"(?<!\d) | (?!\d)")
"""A space that tells nothing apart; between two figures it does."""
_MEASURED = re.compile(r"[\d.,/]+ [a-z]+\d?")
"""A number with a unit, which algebra would take for a factor."""
_CLOCK = re.compile(r"\b[ap]m\b")
_BETWEEN = re.compile(r"(?<=[\w)\]}])\s+(?:and|or)\s+(?=[\w(\[{√-])")
_RELATION = re.compile(r"(?<![<>!=≤≥≠])=(?!=)")
_WORDS = re.compile(r"[a-z][a-z' -]*")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)
_ANGLES = re.compile(r"<([^<>]+)>")
_NAME = re.compile(r"[a-z][a-z' ]*(?:_?\w{1,3})?(?:\([\w, ]{1,20}\))?")
_LETTERED = re.compile(r"[a-z]")
_BASE = re.compile(r"\d_\(?\w+")
_SCRIPT = re.compile(r"_\(?(\w+)\)?")


@dataclass(frozen=True)
class Comparison:
    """What was found of two answers; true where they are the same."""

    is_same: bool
    how: How
    """What decided: the letter of an option or its text, the text as it stands, two numbers, part by part, algebra;
    ``different`` where nothing made them the same, ``nothing`` where there was no answer, ``undecided`` where algebra
    was stopped."""

    def __bool__(self) -> bool:
        return self.is_same


def same_answer(
    found: str | None, reference: str, *, options: Sequence[str] = (), algebra: Algebra | None = same_expression
) -> Comparison:
    r"""Whether an answer is the reference.

    Args:
        found: the answer to judge; None where there is none.
        reference: what it should be; of multiple choice the letter or the text of an option.
        options: of multiple choice.
        algebra: compares two expressions where nothing cheaper decides; None leaves it out.

    Raises:
        InputError: algebra is needed and `math-verify` is not installed.

    >>> bool(same_answer("1,250.0", "1250")), same_answer(r"\frac{1}{2}", "0.5").how
    (True, 'number')
    >>> same_answer("(b)", "B", options=("4", "5")).how, same_answer("5", "B", options=("4", "5")).how
    ('letter', 'option')
    >>> same_answer("Tuesday", "Monday", algebra=None).how
    'different'
    """
    if found is None or not found.strip():
        return Comparison(False, "nothing")
    if not options and is_letter(reference):
        options = LETTERS  # The letter is all that is known of the option.
    if options:
        return _same_option(found, reference, options, algebra)
    said, wanted = said_number(_plain(found)), _number(reference, _plain(reference))
    if said is not None and wanted is not None and (number := read_number(said)) is not None:
        return Comparison(True, "number") if same_number(number, wanted) else _DIFFERENT
    return _same_value(found, reference, algebra)


def right_option(reference: str, options: Sequence[str], *, algebra: Algebra | None = None) -> int | None:
    """The place of the option that a reference means: by its letter, or by a text that is that of one option alone.

    None where it means none of them.

    >>> options = ("4", "5", "5.0")
    >>> [right_option(text, options) for text in ("B", "4.0", "5", "6")]
    [1, 0, None, None]
    """
    named = named_option(reference, options)
    return _option_like(reference, options, algebra) if named is None else named


def _same_option(found: str, reference: str, options: Sequence[str], algebra: Algebra | None) -> Comparison:
    wanted = right_option(reference, options, algebra=algebra)
    if wanted is None:
        return _same_value(found, reference, algebra)
    if (named := named_option(found, options)) is not None:
        return Comparison(True, "letter") if named == wanted else Comparison(False, "different")
    like = _option_like(found, options, algebra)
    if like is None and (said := said_number(_plain(found))) is not None:
        like = _option_like(said, options, None)
    return Comparison(True, "option") if like == wanted else _DIFFERENT


_DIFFERENT = Comparison(False, "different")


def _option_like(answer: str, options: Sequence[str], algebra: Algebra | None) -> int | None:
    """The one option that an answer is the text of; None where it is that of none or of several."""
    for ways in ((None,), (algebra,)):
        like = [i for i, option in enumerate(options) if _same_value(answer, option, *ways)]
        if like:
            return like[0] if len(like) == 1 else None
    return None


def _same_value(found: str, reference: str, algebra: Algebra | None) -> Comparison:
    plain, wanted = _plain(found), _plain(reference)
    if _key(plain) == _key(wanted):
        return Comparison(True, "text")
    one, other = _number(found, plain), _number(reference, wanted)
    if one is not None and other is not None:
        return Comparison(True, "number") if same_number(one, other) else _DIFFERENT
    if (parts := _same_parts(plain, wanted)) is not None and parts:
        return Comparison(True, "parts")
    if algebra is None or not _worth_algebra(plain, wanted):
        return _DIFFERENT
    same = algebra(found, reference)
    if same is None:
        return Comparison(False, "undecided")
    return Comparison(True, "algebra") if same else _DIFFERENT


def _plain(answer: str) -> str:
    """An answer without LaTeX, with plain signs, no sentence's end, one space between words."""
    text = without_latex(without_emphasis(answer.strip(" *`").strip("$").strip()))
    if bracketed := _ANGLES.fullmatch(text.strip(" .")):
        text = bracketed[1]
    text = _MERIDIEM.sub(r"\1m", text.replace("−", "-").replace("–", "-").casefold())
    return _SPACES.sub(" ", text).lstrip(" ,;:!'\"`*").rstrip(" .,;:!'\"`*")


def _key(plain: str) -> str:
    """What must be equal letter for letter."""
    text = _SCRIPT.sub(r"_\1", _ARTICLE.sub("", plain)).replace('"', "").replace("'", "")
    return _SPACE_IN_KEY.sub("", text.strip())


def _number(answer: str, plain: str) -> Number | None:
    """The number that an answer is, if need be what it says that something is."""
    number = read_number(plain)
    if number is None and _is_result(plain):
        number = read_number(_RELATION.split(plain)[-1])
    if number is None or number.currency:
        return number
    return replace(number, currency=currency_in(answer.strip(" *`")))  # A lone dollar sign is gone with LaTeX's.


def _is_result(plain: str) -> bool:
    """Whether an equation says what something is (``x = 5``, ``3 + 4 = 7``), not how things depend on each other."""
    first, *others = _RELATION.split(plain)
    return bool(others) and (
        _NAME.fullmatch(first.strip()) is not None or not _LETTERED.search("".join(others[:-1]) + first)
    )


def _same_parts(found: str, reference: str) -> bool | None:
    """Whether lists, tuples or intervals are the same part by part; None where there are no parts.

    Brackets must be the same, or missing on one side. What stands in braces, or without brackets on both sides, may
    come in another order.
    """
    (left, some), (right, others) = _parts(found), _parts(reference)
    if len(some) != len(others) or not 1 <= len(some) <= _MOST_PARTS or (len(some) == 1 and left == right):
        return None
    if left and right and left != right:
        return False
    if all(_same_value(a, b, None) for a, b in zip(some, others, strict=True)):
        return True
    if {left, right} - {"", "{}"}:
        return False
    rest = list(others)
    for part in some:
        match = next((i for i, other in enumerate(rest) if _same_value(part, other, None)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _parts(plain: str) -> tuple[str, list[str]]:
    """Outer brackets and what stands between commas inside them."""
    text, brackets = plain, ""
    if len(plain) > 1 and plain[0] in _OPENING and plain[-1] in _CLOSING and _closes_last(plain):
        text, brackets = plain[1:-1], plain[0] + plain[-1]
    parts, depth, start = list[str](), 0, 0
    text = _BETWEEN.sub(" , ", text.replace(";", ","))
    for place, sign in enumerate(text):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == "," and depth == 0 and not re.match(r"\d{3}(?!\d)", text[place + 1 :]):
            parts.append(text[start:place].strip())
            start = place + 1
    return brackets, [*parts, text[start:].strip()]


def _closes_last(plain: str) -> bool:
    depth = 0
    for place, sign in enumerate(plain):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 0:
            return place == len(plain) - 1
    return False


def _worth_algebra(found: str, reference: str) -> bool:
    """Whether computer algebra can say: not of words, nor where it drops what counts: bases, units, am and pm."""
    if "=" in found and "=" not in reference and not _is_result(found):
        return False
    if _BASE.findall(found) != _BASE.findall(reference):
        return False
    if all(map(_MEASURED.fullmatch, (found, reference))) or any(map(_CLOCK.search, (found, reference))):
        return False
    return not any(_WORDS.fullmatch(side) and len(side) > 2 for side in (found, reference))

"""Texts reduced to what counts when two are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qads.answers import FIGURE, without_latex
from qads.characters import normalized
from qads.problems import problem_key

__all__ = ["NUMBER", "exact_key", "mask_numbers", "template", "words"]

NUMBER = "#"
"""What stands for any number after `mask_numbers`."""

_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_SIGN_OR_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[()\[\]{}+*/^%=<>|±×·÷\u2200-\u22ff-]")
_POINT_ZERO = re.compile(r"(?<=\d)\.0+(?!\.?\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER_WORDS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million".split()
)


def exact_key(text: str) -> str:
    r"""The text reduced to what makes it the same; empty for a text of punctuation alone.

    `qads.problems.problem_key` of the text with its LaTeX as plain signs: Unicode form, case, spacing, punctuation and
    LaTeX forms do not count, nor that 70 is written 70.0; numbers and operators do.

    >>> exact_key(r"What is $\dfrac{1}{2} \cdot 4$?") == exact_key("what is 1/2 * 4")
    True
    """
    return problem_key(_POINT_ZERO.sub("", without_latex(text)))


def words(text: str) -> list[str]:
    """Words and numbers, NFKC and case-folded, in order; LaTeX as plain text, the source of drawings left out.

    >>> words("She has 1,000 apples.")
    ['she', 'has', '1000', 'apples']
    """
    if "asy" in text:
        text = FIGURE.sub(" ", text)
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    plain = normalized("NFKC", without_latex(text)).casefold()
    return _POINT_ZERO.sub("", _THOUSANDS.sub("", plain))


def template(text: str) -> tuple[str, ...]:
    """Words, operators and brackets in order, with every number as `NUMBER`: what two re-numbered copies share.

    >>> template("Solve 3*x + 4 = 10.")
    ('solve', '#', '*', 'x', '+', '#', '=', '#')
    """
    return tuple(mask_numbers(_SIGN_OR_WORD.findall(_folded(text))))


def mask_numbers(found: Sequence[str]) -> list[str]:
    """The words with every number, in figures or in letters up to twenty and whole tens, as `NUMBER`.

    >>> mask_numbers(["she", "has", "1000", "apples", "and", "two", "pears"])
    ['she', 'has', '#', 'apples', 'and', '#', 'pears']
    """
    return [NUMBER if word[0].isdecimal() or word in _NUMBER_WORDS else word for word in found]

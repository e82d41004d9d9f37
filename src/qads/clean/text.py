"""Texts reduced to what counts when two are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from qads.pool import problem_key

__all__ = ["NUMBER", "exact_key", "mask_numbers", "words"]

NUMBER = "#"
"""What stands for any number after `mask_numbers`."""

_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def exact_key(text: str) -> str:
    """The text reduced to what makes it the same; empty for a text of punctuation alone."""
    return problem_key(text)


def words(text: str) -> list[str]:
    """Words and numbers, NFKC and case-folded, in order.

    >>> words("She has 1,000 apples.")
    ['she', 'has', '1000', 'apples']
    """
    return _WORD.findall(_THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def mask_numbers(found: Sequence[str]) -> list[str]:
    """The words with every number as `NUMBER`.

    >>> mask_numbers(["she", "has", "1000", "apples"])
    ['she', 'has', '#', 'apples']
    """
    return [NUMBER if word[0].isdecimal() else word for word in found]

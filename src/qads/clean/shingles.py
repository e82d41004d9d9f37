"""Texts as sets of shingles, and their mathematics."""

from __future__ import annotations

import re

from qads.clean.keys import symbols
from qads.clean.text import exact_key, words

__all__ = ["jaccard", "mathematics", "shingle_words", "shingles"]

_LETTERS = re.compile(r"[^\W\d_]+")


def shingle_words(text: str) -> list[str]:
    """The words that shingles are made of; of a text without any, the text itself."""
    return words(text) or [text.strip()]


def shingles(text: str, size: int) -> frozenset[str]:
    """Runs of `size` words; a text with fewer words is one shingle, all of them.

    >>> sorted(shingles("Two red apples fell.", 3))
    ['red apples fell', 'two red apples']
    >>> sorted(shingles("Yes.", 3)), sorted(shingles("★★", 3))
    (['yes'], ['★★'])
    """
    found = shingle_words(text)
    return frozenset(" ".join(found[i : i + size]) for i in range(max(1, len(found) - size + 1)))


def mathematics(text: str) -> str:
    """Numbers, operators and symbols in order; letters are left out.

    >>> mathematics("Tom has 3 apples") == mathematics("Ann has 3 pears")
    True
    >>> mathematics("z - 1") == mathematics("z + 1")
    False
    """
    return _LETTERS.sub("", exact_key(text)) + symbols(text)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """|A ∩ B| / |A ∪ B| of two sets that are not both empty."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)

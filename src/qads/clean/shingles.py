"""Texts as sets of shingles."""

from __future__ import annotations

from qads.clean.text import words

__all__ = ["jaccard", "shingle_words", "shingles"]


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


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """|A ∩ B| / |A ∪ B| of two sets that are not both empty."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)

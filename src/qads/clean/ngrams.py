"""Which parts of some documents occur in texts that stream by, by hashed n-grams.

The documents (evaluation problems) are few and are indexed; the texts (a pool of any size) come in batches. Every
window of `SEED` words is hashed with its numbers masked. A window of a text that is in the index gives a diagonal along
which text and document agree; runs of neighbouring windows on one diagonal are the stretches that they share but for
numbers, and whether the numbers are the same too a second hash tells. So one look-up a word serves n-grams of every
length from `SEED` on, masked and not.

The hashes have 64 bits: among a million windows in the index and a billion looked up, a false hit is expected once in
18 thousand jobs, and a longer n-gram takes several in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

from qads.clean.text import NUMBER, mask_numbers

__all__ = ["SEED", "NgramIndex", "Overlaps"]

SEED = 8
"""Words of the shortest n-gram; the shortest that GPT-3's study of contamination takes."""

_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_FEW_WORDS = 3
"""A window with fewer words that are no numbers is looked up with its numbers; masked, all lists would be the same."""
_HITS = 1 << 18
"""Windows of texts and of documents that are compared at a time; each takes some hundred bytes."""


class Overlaps(NamedTuple):
    """What texts and documents share: one entry for every pair with an n-gram in common."""

    texts: Int[np.ndarray, " p"]
    """Number of the text in its batch."""
    documents: Int[np.ndarray, " p"]
    """Number of the document."""
    masked: Int[np.ndarray, " p"]
    """Words of the document in n-grams that the text has up to the numbers."""
    same: Int[np.ndarray, " p"]
    """Words of the document in n-grams that the text has, numbers and all."""
    longest: Int[np.ndarray, " p"]
    """Words of the longest stretch that is the same, numbers and all."""


class _Windows(NamedTuple):
    """All windows of `SEED` words of several texts, by their hashes."""

    looked_up: UInt64[np.ndarray, " w"]
    exact: UInt64[np.ndarray, " w"]
    owner: Int[np.ndarray, " w"]
    """Number of the text."""
    position: Int[np.ndarray, " w"]
    """Of the first word in the text."""


class _Stretches(NamedTuple):
    """Runs of words that a text and a document share."""

    text: Int[np.ndarray, " r"]
    document: Int[np.ndarray, " r"]
    start: Int[np.ndarray, " r"]
    """First word in the document."""
    end: Int[np.ndarray, " r"]
    """Past the last word in the document."""


class NgramIndex:
    """The n-grams of some documents.

    Args:
        documents: words of every document.
        n: words of an n-gram. Of a document with fewer than 2n words it is half of them, but `SEED` at least; one
            with fewer than `SEED` words has none.
    """

    def __init__(self, documents: Sequence[Sequence[str]], *, n: int = 13) -> None:
        # What no document has is number 0, which is in no window of theirs.
        self._numbers = {word: k + 1 for k, word in enumerate({NUMBER: None} | {w: None for d in documents for w in d})}
        self._values = np.random.default_rng(0).integers(2**64, size=len(self._numbers) + 1, dtype=np.uint64)
        lengths = np.array([len(found) for found in documents], np.int64)
        self._ngram = np.clip(lengths // 2, SEED, max(n, SEED))
        windows = self._windows(documents)
        order = np.argsort(windows.looked_up, kind="stable")
        self._index = _Windows(*(column[order] for column in windows))
        first = np.searchsorted(self._index.looked_up, self._index.looked_up, "left")
        self._keys = first * len(lengths) + self._index.owner
        """Of every window in the index the first that looks the same, and the document; rising."""

    def overlaps(self, texts: Sequence[Sequence[str]]) -> Iterator[Overlaps]:
        """What a batch of texts, each as its words, shares with the documents; by text, then by document.

        It comes in parts, so that a phrase that all texts and all documents have takes time and no memory.
        """
        windows, n_documents = self._windows(texts), len(self._ngram)
        first = np.searchsorted(self._index.looked_up, windows.looked_up, "left")
        count = np.searchsorted(self._index.looked_up, windows.looked_up, "right") - first
        some = np.flatnonzero(count)
        windows, first, count = _Windows(*(column[some] for column in windows)), first[some], count[some]
        for part in _whole_texts(windows.owner, count):
            n_parts = min(-(-int(count[part].sum()) // _HITS), n_documents)
            for documents in pairwise(np.linspace(0, n_documents, n_parts + 1).astype(np.int64).tolist()):
                yield self._shared(_Windows(*(column[part] for column in windows)), first[part], documents)

    def _shared(self, windows: _Windows, first: Int[np.ndarray, " w"], documents: tuple[int, int]) -> Overlaps:
        """What whole texts share with the documents from the one number to before the other."""
        start, end = (np.searchsorted(self._keys, first * len(self._ngram) + number) for number in documents)
        count = end - start
        here = np.repeat(np.arange(len(count)), count)
        there = np.repeat(start - np.cumsum(count) + count, count) + np.arange(len(here))
        text, document = windows.owner[here], self._index.owner[there]
        position, diagonal = self._index.position[there], windows.position[here] - self._index.position[there]
        order = np.lexsort((position, diagonal, document, text))
        text, document, position, diagonal = (c[order] for c in (text, document, position, diagonal))
        exact = (windows.exact[here] == self._index.exact[there])[order]
        masked = _stretches(text, document, position, diagonal)
        same = _stretches(text[exact], document[exact], position[exact], diagonal[exact])
        return self._summed(masked, same)

    def _summed(self, masked: _Stretches, same: _Stretches) -> Overlaps:
        """The stretches that hold an n-gram of their document, summed over pairs of text and document."""
        long = [s.end - s.start >= self._ngram[s.document] for s in (masked, same)]
        masked, same = (_Stretches(*(c[keep] for c in s)) for s, keep in zip((masked, same), long, strict=True))
        span = len(self._ngram) + 1
        pairs, of_masked = np.unique(masked.text * span + masked.document, return_inverse=True)
        of_same = np.searchsorted(pairs, same.text * span + same.document)  # What is the same is so masked, too.
        longest = np.zeros(len(pairs), np.int64)
        np.maximum.at(longest, of_same, same.end - same.start)
        return Overlaps(
            texts=pairs // span,
            documents=pairs % span,
            masked=_covered(of_masked, masked.start, masked.end, len(pairs)),
            same=_covered(of_same, same.start, same.end, len(pairs)),
            longest=longest,
        )

    def _windows(self, texts: Sequence[Sequence[str]]) -> _Windows:
        lengths = np.array([len(found) for found in texts], np.int64)
        numbers = self._numbers
        flat = np.fromiter((numbers.get(w, 0) for found in texts for w in found), np.int64, lengths.sum())
        masked = np.fromiter(
            (numbers.get(w, 0) for found in texts for w in mask_numbers(found)), np.int64, lengths.sum()
        )
        owner = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        whole = position <= lengths[owner] - SEED
        start = np.flatnonzero(whole)
        is_number = np.concatenate([[0], np.cumsum(masked == numbers[NUMBER])])
        few = SEED - (is_number[start + SEED] - is_number[start]) < _FEW_WORDS
        exact = _hashes(self._values[flat], start)
        looked_up = np.where(few, exact, _hashes(self._values[masked], start))
        known = np.concatenate([[0], np.cumsum(masked == 0)])
        keep = known[start + SEED] == known[start]
        return _Windows(looked_up[keep], exact[keep], owner[start[keep]], position[start[keep]])


def _whole_texts(owner: Int[np.ndarray, " w"], count: Int[np.ndarray, " w"]) -> Iterator[slice]:
    """The windows of as many texts at a time as have `_HITS` hits together; of one text where it has more."""
    hits, start = np.cumsum(count), 0
    while start < len(owner):
        end = int(np.searchsorted(hits, hits[start] - count[start] + _HITS, "right"))
        if end < len(owner):
            end = int(np.searchsorted(owner, owner[end]))
        if end <= start:
            end = int(np.searchsorted(owner, owner[start], "right"))
        yield slice(start, end)
        start = end


def _hashes(values: UInt64[np.ndarray, " t"], start: Int[np.ndarray, " w"]) -> UInt64[np.ndarray, " w"]:
    """Polynomial hashes modulo 2^64 of the windows that begin at `start`."""
    hashes = np.zeros(len(start), np.uint64)
    for offset in range(SEED):
        hashes = hashes * np.uint64(_BASE) + values[start + offset]
    return hashes


def _stretches(
    text: Int[np.ndarray, " h"],
    document: Int[np.ndarray, " h"],
    position: Int[np.ndarray, " h"],
    diagonal: Int[np.ndarray, " h"],
) -> _Stretches:
    """Runs of neighbouring windows; hits are sorted by text, document, diagonal and position."""
    same_diagonal = (np.diff(text) == 0) & (np.diff(document) == 0) & (np.diff(diagonal) == 0)
    goes_on = same_diagonal & (np.diff(position) == 1)
    first = np.flatnonzero(np.concatenate([[True], ~goes_on])[: len(text)])
    last = np.concatenate([first[1:], [len(text)]])[: len(first)] - 1
    return _Stretches(text[first], document[first], position[first], position[last] + SEED)


def _covered(
    owner: Int[np.ndarray, " r"], start: Int[np.ndarray, " r"], end: Int[np.ndarray, " r"], n_owners: int
) -> Int[np.ndarray, " p"]:
    """Length of the union of every owner's intervals."""
    covered = np.zeros(n_owners, np.int64)
    if len(owner) == 0:
        return covered
    order = np.lexsort((start, owner))
    owner, start, end = owner[order], start[order], end[order]
    apart = owner * (int(end.max()) + 1)  # So that the furthest end of one owner is before every start of the next.
    furthest = np.concatenate([[-1], np.maximum.accumulate(apart + end)[:-1]])
    np.add.at(covered, owner, np.maximum(apart + end - np.maximum(apart + start, furthest), 0))
    return covered

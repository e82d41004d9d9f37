r"""Candidates for near duplicates: bands of MinHash values, and the buckets that rows share.

Of b bands each has r minima (Broder 1997; Indyk & Motwani 1998), half of them of the problem's shingles and half of the
solution's. A pair with Jaccard similarities p and s agrees in one minimum with probability p or s, so it shares a band
with probability

    1 − (1 − (p s)^(r/2))^b

With b = 20, r is the largest even number for which that is 0.99 at p = s = threshold. Taking minima of both keeps pairs
apart that share one long problem and nothing else. A band's key holds the earlier turns and, where it must agree, the
problem's mathematics too (`apart`), so that the many rows of one template never meet.

The minima are datasketch's. Words become 64-bit digests, runs of words are mixed from these, and nothing depends on the
process, the machine, or on how rows are batched.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt32, UInt64

from qads.clean.reading import Reading, as_columns
from qads.clean.shingles import shingle_words
from qads.cluster import Execution, Function, Tell
from qads.pool import Pool, Progress, take_rows

__all__ = ["N_BANDS", "Banding", "band_keys", "rows_in_band", "shared_buckets"]

N_BANDS = 20
_RECALL = 0.99
"""Of pairs exactly at the threshold."""
_MOST_IN_BAND = 64
_SEED = 1
_WORDS_CACHED = 1_000_000
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def rows_in_band(threshold: float) -> int:
    """Minima in a band: the largest even number with which a pair at the threshold is found with probability 0.99.

    >>> rows_in_band(0.8), rows_in_band(0.9)
    (6, 14)
    """
    r = 2
    while r < _MOST_IN_BAND and 1 - (1 - threshold ** (r + 2)) ** N_BANDS >= _RECALL:
        r += 2
    return r


@dataclass(frozen=True, kw_only=True)
class Banding:
    """Makes the keys of rows, wherever that is done."""

    threshold: float
    """Least Jaccard similarity that must be found."""
    size: int
    """Words in a shingle."""

    @contextmanager
    def open(self, _: Execution, __: Tell) -> Generator[Function]:
        """Problems, solutions, and what keeps rows apart -> their keys."""
        known = _WordDigests()
        yield lambda rows: as_columns(self._keys(rows, known).T)

    def _keys(self, rows: pa.Table, known: _WordDigests) -> UInt64[np.ndarray, "m b"]:
        half = rows_in_band(self.threshold) // 2
        keys = rows["apart"].to_numpy()[:, None] + np.arange(N_BANDS, dtype=np.uint64)
        for name in ("problem", "solution"):
            minima = _minima(rows[name].to_pylist(), self.size, N_BANDS * half, known)
            minima = minima.reshape(len(rows), N_BANDS, half)
            for column in range(half):
                keys = _mixed(keys ^ minima[:, :, column])
        return keys


def band_keys(
    pool: Pool,
    rows: Int[np.ndarray, " m"],
    apart: UInt64[np.ndarray, " n"],
    banding: Banding,
    *,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> UInt64[np.ndarray, "m b"]:
    """The keys of some rows; two rows whose key of one band is equal are candidates.

    Args:
        pool: the rows.
        rows: positions of those that are asked about, rising.
        apart: a number for every row of the pool; rows with different ones are no candidates.
        banding: how keys are made.
        reading: who reads; this process alone by default.
        progress: called with (rows done, rows).

    Raises:
        ClusterError: workers died again and again.
    """
    texts = pool.table.select(["problem", "solution"])

    def part(batch: range) -> pa.Table:
        asked = rows[batch.start : batch.stop]
        # The stretch that they lie in, so that not every part looks through all chunks of a large pool.
        stretch = texts.slice(int(asked[0]), int(asked[-1] - asked[0]) + 1)
        return take_rows(stretch, asked - asked[0]).append_column("apart", pa.array(apart[asked]))

    return (reading or Reading()).numbers(banding, part, len(rows), N_BANDS, progress)


def shared_buckets(keys: UInt64[np.ndarray, "m b"]) -> Int[np.ndarray, "m b"]:
    """For every row and band the number of its bucket, or −1 where no other row is in it; in the memory of the keys."""
    buckets, n_buckets = keys.view(np.int64), 0
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        is_first = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
        number = np.cumsum(is_first) - 1
        is_shared = np.bincount(number, minlength=1)[number] > 1
        renumbered = np.cumsum(is_first & is_shared) - 1 + n_buckets
        n_buckets = max(n_buckets, int(renumbered[-1]) + 1 if len(renumbered) else 0)
        buckets[order, band] = np.where(is_shared, renumbered, -1)
    return buckets


class _WordDigests(dict[str, int]):
    """Word -> 64 bits, forgotten when there are too many."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _WORDS_CACHED:
            self.clear()
        found = self[word] = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        return found


def _mixed(values: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Every bit of the input in every bit of the upper half; wraps around."""
    values = values * _MULTIPLIER
    return values ^ (values >> _HALF)


def _minima(texts: Sequence[str], size: int, n_minima: int, known: _WordDigests) -> UInt32[np.ndarray, "n p"]:
    """MinHash values of every text's shingles."""
    from datasketch import MinHash  # Loads SciPy's integration, which little else here needs.

    hashes, ends = _shingle_hashes(texts, size, known)
    sets = (hashes[start:end].tolist() for start, end in zip([0, *ends[:-1]], ends, strict=True))
    found = np.empty((len(texts), n_minima), np.uint32)
    sketches = MinHash.generator(sets, num_perm=n_minima, seed=_SEED, hashfunc=int, scheme="affine32")
    for row, sketch in enumerate(sketches):
        found[row] = sketch.hashvalues
    return found


def _shingle_hashes(texts: Sequence[str], size: int, known: _WordDigests) -> tuple[UInt32[np.ndarray, " s"], list[int]]:
    """Hashes of the shingles of all texts, one text after the other, and where each ends."""
    found = [shingle_words(text) for text in texts]
    lengths = np.array([len(each) for each in found])
    # Of a text that is too short for one shingle, what is missing counts as words that are 0.
    padded = np.maximum(lengths, size)
    flat = np.zeros(int(padded.sum()), np.uint64)
    starts = np.cumsum(padded) - padded
    places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
    flat[places] = np.fromiter(map(known.__getitem__, chain.from_iterable(found)), np.uint64, int(lengths.sum()))
    mixed = np.zeros(max(0, len(flat) - size + 1), np.uint64)
    for shift in range(size):
        mixed = _mixed(mixed ^ flat[shift : len(flat) - size + 1 + shift])
    is_whole = np.ones(len(flat), np.bool_)  # A run that goes over the end of its text is no shingle.
    for shift in range(1, size):
        is_whole[starts + padded - shift] = False
    hashes = (mixed >> _HALF).astype(np.uint32)[is_whole[: len(mixed)]]
    return hashes, np.cumsum(padded - size + 1).tolist()

"""Near duplicates: rows whose words are nearly the same and whose mathematics is the same.

A text is the set of its shingles, runs of `shingle` words. Two rows are near duplicates if, after equal earlier turns,

    J(problems) ≥ t   and   J(solutions) ≥ t,      J(A, B) = |A ∩ B| / |A ∪ B|

and, unless told otherwise, *their mathematics is the same*: numbers, operators and symbols, in order, of the problems
and of the solutions. Problem and solution are compared each by itself, since two different solutions of one long
problem share most of their words. The mathematics is compared apart from the words, since a problem with other numbers,
or with + where the other has −, is another problem in nearly the same words.

MinHash finds candidates (`bands.py`) and **every candidate is checked**: the similarities are those of the sets
themselves, so no wrong pair passes, and of the right ones at most 1 in 100 is missed at the threshold, far fewer above.

Memory: 20 numbers of 64 bits for a row. Texts are read batch by batch, and again for candidates only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from qads.clean.bands import Banding, band_keys, shared_buckets
from qads.clean.keys import RowKeys, mathematics
from qads.clean.reading import Reading
from qads.clean.shingles import jaccard, shingles
from qads.pool import Pool, Progress

__all__ = ["KeptRows", "NearRule"]

_TEXTS_CACHED = 4096


@dataclass(frozen=True, kw_only=True)
class NearRule:
    """When two rows are near duplicates."""

    threshold: float
    """Least Jaccard similarity, of the problems and of the solutions."""
    shingle: int
    """Words in a shingle."""
    same_mathematics: bool
    """Whether numbers, operators and symbols must be the same."""


@dataclass(frozen=True, eq=False)
class _Texts:
    """What of a row is compared."""

    context: str | None
    problem: frozenset[str]
    solution: frozenset[str]
    mathematics: tuple[str, str] | None


class KeptRows:
    """The rows that were kept, asked for the one that another row repeats."""

    def __init__(
        self,
        pool: Pool,
        rows: Int[np.ndarray, " m"],
        keys: RowKeys,
        rule: NearRule,
        *,
        reading: Reading | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Find the candidates among some rows.

        Args:
            pool: the rows.
            rows: those among which near duplicates are looked for, rising.
            keys: of the pool.
            rule: when two rows are near duplicates.
            reading: who reads them; this process alone by default.
            progress: called with (rows read, rows).
        """
        self._rule = rule
        self._columns: list[Any] = [pool.table[name] for name in ("context", "problem", "solution")]
        self._read = lru_cache(_TEXTS_CACHED)(self._texts)
        apart = keys.turns ^ keys.mathematics if rule.same_mathematics else keys.turns
        banding = Banding(threshold=rule.threshold, size=rule.shingle)
        bands = band_keys(pool, rows, apart, banding, reading=reading, progress=progress)
        self._buckets = shared_buckets(bands)
        self._place = np.full(len(pool), -1, np.int64)
        self._place[rows] = np.arange(len(rows))
        self._kept: dict[int, list[int]] = defaultdict(list)

    @property
    def has_candidates(self) -> Bool[np.ndarray, " m"]:
        """For each of the rows whether another is a candidate."""
        return np.asarray(self._buckets.max(axis=1, initial=-1) >= 0)

    def keep(self, row: int, *, like: int) -> None:
        """Let a row be found from now on, where `like` is looked for: itself, or the row that stands for its equals."""
        for bucket in self._shared_by(like):
            self._kept[bucket].append(row)

    def repeated_by(
        self, row: int, *, like: int, is_kept: Bool[np.ndarray, " n"], rank: Int[np.ndarray, " n"]
    ) -> tuple[int, float] | None:
        """The kept row that a row repeats most nearly, and the lesser of their two similarities.

        Of equally similar ones it is the one of lowest rank.
        """
        candidates = {other for bucket in self._shared_by(like) for other in self._kept.get(bucket, ())}
        found = [
            (-similarity, int(rank[other]), other)
            for other in candidates
            if is_kept[other] and (similarity := self._similarity(row, other)) is not None
        ]
        return (min(found)[2], -min(found)[0]) if found else None

    def _shared_by(self, row: int) -> list[int]:
        return [bucket for bucket in self._buckets[self._place[row]].tolist() if bucket >= 0]

    def _similarity(self, row: int, other: int) -> float | None:
        """None where they are no near duplicates."""
        one, two = self._read(row), self._read(other)
        if one.context != two.context or one.mathematics != two.mathematics:
            return None
        similarity = min(jaccard(one.problem, two.problem), jaccard(one.solution, two.solution))
        return similarity if similarity >= self._rule.threshold else None

    def _texts(self, row: int) -> _Texts:
        context, problem, solution = (column[row].as_py() for column in self._columns)
        size = self._rule.shingle
        same = (mathematics(problem), mathematics(solution)) if self._rule.same_mathematics else None
        return _Texts(context, shingles(problem, size), shingles(solution, size), same)

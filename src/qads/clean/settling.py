"""What stays of a pool, decided rule by rule so that every reason holds in the end.

Rows are taken in an order of preference. A row goes if a row that *stays* is the same by one of the rules, and that row
is the reason. Rules come one after the other, so a later rule can take away the row that an earlier drop was for. Rows
that lose their reason in this way are looked at again, under every rule so far, and come back if nothing that stays
repeats them. In the end no row that stays repeats another, and every row that went repeats one that stays. A chain (A
like B, B like C, A unlike C) never makes one of A and C.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.clean.keys import RowKeys
from qads.clean.near import KeptRows
from qads.clean.shingles import jaccard, shingles
from qads.clean.solutions import most_different
from qads.kernels.distance import Points, Rows
from qads.kernels.radius import greedy_cover, nearest_within
from qads.pool import Pool

__all__ = ["REASONS", "Reason", "Standing", "Vectors"]

Reason = Literal["exact", "near", "semantic", "solution"]
REASONS: tuple[Reason, ...] = get_args(Reason)
Vectors = Callable[[Int[np.ndarray, " m"]], tuple[Rows, Int[np.ndarray, " m"]]]
"""Some rows of the pool -> an array that has their embeddings, and their places in it."""
_Found = tuple[int, Reason, float]
"""A row that stays, why it makes another needless, and how similar they are."""


@dataclass(frozen=True)
class _Cap:
    """At most k solutions of a problem."""

    pool: Pool
    k: int
    size: int


@dataclass(frozen=True, eq=False)
class _Radius:
    """No two rows within a cosine distance."""

    vectors: Vectors
    radius: float


class Standing:
    """Which rows stay, and for which of them the others went; begins with equal rows."""

    def __init__(self, keys: RowKeys, rank: Int[np.ndarray, " n"]) -> None:
        n = len(rank)
        self.rank, self.problems = rank, keys.problems
        self.is_kept: Bool[np.ndarray, " n"] = np.ones(n, np.bool_)
        self.kept_for: Int[np.ndarray, " n"] = np.full(n, -1, np.int64)
        self.reason: Int[np.ndarray, " n"] = np.zeros(n, np.int8)
        self.similarity: Float[np.ndarray, " n"] = np.zeros(n, np.float32)
        self.leader: Int[np.ndarray, " n"] = _first_of_each(keys.rows, rank)
        """For every row the preferred one of its equals."""
        self._stand_in: dict[int, int] = {}
        """Leader that went -> equal row that came back."""
        self._near: KeptRows | None = None
        self._cap: _Cap | None = None
        for row in np.flatnonzero(self.leader != np.arange(n)).tolist():
            self._drop(row, (int(self.leader[row]), "exact", 1.0))

    @property
    def leaders(self) -> Int[np.ndarray, " m"]:
        """One row of each set of equal ones, rising."""
        return np.flatnonzero(self.leader == np.arange(len(self.leader)))

    def drop_near(self, near: KeptRows) -> None:
        """Let near duplicates go."""
        leaders = self.leaders
        self._near = near
        for row in self._by_rank(leaders[near.has_candidates]):
            found = near.repeated_by(row, like=row, is_kept=self.is_kept, rank=self.rank)
            if found is None:
                near.keep(row, like=row)
            else:
                self._drop(row, (found[0], "near", found[1]))
        self._look_again(None)

    def cap_solutions(self, pool: Pool, k: int, *, size: int) -> None:
        """Leave at most k solutions of every problem, the most different ones."""
        self._cap = _Cap(pool, k, size)
        for rows in self.several_solutions():
            if len(rows) > k:
                chosen, likest, likeness = most_different(_solutions(pool, rows), k, size=size)
                for place in set(range(len(rows))) - set(chosen):
                    self._drop(int(rows[place]), (int(rows[likest[place]]), "solution", likeness[place]))
        self._look_again(None)

    def drop_semantic(self, vectors: Vectors, radius: float, on_rows: Callable[[int], None] | None = None) -> None:
        """Let rows go whose embeddings are within a cosine distance of one that stays."""
        rows = np.sort(self.in_rank_order())
        x, places = vectors(rows)
        by_rank = np.argsort(self.rank[rows])
        near, distances = greedy_cover(Points(x, cosine=True), places[by_rank], radius, on_rows=on_rows)
        row_at = np.full(len(x), -1, np.int64)
        row_at[places] = rows
        for number in np.flatnonzero(near >= 0).tolist():
            found = int(row_at[near[number]]), 1 - float(distances[number])
            self._drop(int(rows[by_rank[number]]), (found[0], "semantic", found[1]))
        self._look_again(_Radius(vectors, radius))

    def several_solutions(self) -> list[np.ndarray]:
        """The rows that stay of every problem that has several, each group by rank, groups by their first row."""
        rows = self.in_rank_order()
        rows = rows[np.bincount(self.problems[rows])[self.problems[rows]] > 1]
        rows = rows[np.argsort(self.problems[rows], kind="stable")]
        groups = np.split(rows, np.flatnonzero(np.diff(self.problems[rows])) + 1) if len(rows) else []
        return sorted(groups, key=lambda group: int(group.min()))

    def in_rank_order(self) -> Int[np.ndarray, " k"]:
        """The rows that stay, the preferred first."""
        kept = np.flatnonzero(self.is_kept)
        return kept[np.argsort(self.rank[kept])]

    def _by_rank(self, rows: Int[np.ndarray, " m"]) -> list[int]:
        return rows[np.argsort(self.rank[rows])].tolist()

    def _drop(self, row: int, found: _Found) -> None:
        self.is_kept[row] = False
        self.kept_for[row], self.reason[row], self.similarity[row] = found[0], REASONS.index(found[1]), found[2]

    def _look_again(self, semantic: _Radius | None) -> None:
        """Find another reason for the rows whose reason went, or let them come back."""
        went = np.flatnonzero(~self.is_kept)
        orphans = self._by_rank(went[~self.is_kept[self.kept_for[went]]])
        asked = np.array(orphans, np.int64)
        others: list[_SameProblem | _Nearby] = []
        if self._cap and orphans:
            others.append(_SameProblem(self, asked, self._cap))
        if semantic and orphans:
            others.append(_Nearby(self, asked, semantic))
        for row in orphans:
            found = self._copy(row) or self._near_duplicate(row)
            found = found or next((its for each in others if (its := each.find(row))), None)
            if found:
                self._drop(row, found)
                continue
            self._come_back(row)
            for each in others:
                each.add(row)

    def _come_back(self, row: int) -> None:
        self.is_kept[row], self.kept_for[row], self.similarity[row] = True, -1, 0
        leader = int(self.leader[row])
        self._stand_in[leader] = row
        if self._near:
            self._near.keep(row, like=leader)

    def _copy(self, row: int) -> _Found | None:
        leader = int(self.leader[row])
        same = self._stand_in.get(leader, leader)
        return (same, "exact", 1.0) if same != row and self.is_kept[same] else None

    def _near_duplicate(self, row: int) -> _Found | None:
        if self._near is None:
            return None
        leader = int(self.leader[row])
        found = self._near.repeated_by(row, like=leader, is_kept=self.is_kept, rank=self.rank)
        return found and (found[0], "near", found[1])


class _SameProblem:
    """The rows that stay of the problems of the rows that are looked at again."""

    def __init__(self, standing: Standing, asked: Int[np.ndarray, " q"], cap: _Cap) -> None:
        self._problems, self._rank, self._cap = standing.problems, standing.rank, cap
        kept = np.flatnonzero(standing.is_kept)
        kept = kept[np.isin(self._problems[kept], self._problems[asked])]
        self._rows = kept[np.argsort(self._problems[kept])]
        self._problem_at = self._problems[self._rows]
        self._came_back: dict[int, list[int]] = defaultdict(list)

    def add(self, row: int) -> None:
        self._came_back[int(self._problems[row])].append(row)

    def find(self, row: int) -> _Found | None:
        others = self._others(int(self._problems[row]))
        if len(others) < self._cap.k:
            return None
        own, *theirs = (shingles(text, self._cap.size) for text in _solutions(self._cap.pool, np.append(row, others)))
        likeness = [jaccard(own, each) for each in theirs]
        likest = int(np.argmax(likeness))  # The first of equals.
        return int(others[likest]), "solution", likeness[likest]

    def _others(self, problem: int) -> Int[np.ndarray, " k"]:
        """The rows that stay of a problem, the preferred first."""
        first, end = np.searchsorted(self._problem_at, [problem, problem + 1])
        rows = np.concatenate([self._rows[first:end], np.array(self._came_back.get(problem, ()), np.int64)])
        return rows[np.argsort(self._rank[rows])]


class _Nearby:
    """The rows that stay, asked for the one nearest to a row that is looked at again."""

    def __init__(self, standing: Standing, asked: Int[np.ndarray, " q"], rule: _Radius) -> None:
        kept = standing.in_rank_order()
        rows = np.sort(np.concatenate([kept, asked]))
        x, places = rule.vectors(rows)
        self._points, self._radius = Points(x, cosine=True), rule.radius
        self._place = dict(zip(rows.tolist(), places.tolist(), strict=True))
        self._row = dict(zip(places.tolist(), rows.tolist(), strict=True))
        self._kept = [self._place[row] for row in kept.tolist()]

    def add(self, row: int) -> None:
        self._kept.append(self._place[row])

    def find(self, row: int) -> _Found | None:
        point = self._points.take(np.array([self._place[row]]))
        near, distance = nearest_within(point, self._points, np.array(self._kept, np.int64), self._radius)
        return None if near[0] < 0 else (self._row[int(near[0])], "semantic", 1 - float(distance[0]))


def _first_of_each(numbers: Int[np.ndarray, " n"], rank: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For every row that of its number which ranks first."""
    first = np.full(int(numbers.max(initial=-1)) + 1, -1, np.int64)
    by_rank = np.argsort(rank)[::-1]
    first[numbers[by_rank]] = by_rank  # The last one written is the first in rank.
    return first[numbers]


def _solutions(pool: Pool, rows: Int[np.ndarray, " m"]) -> list[str]:
    column = pool.table["solution"]
    return [column[row].as_py() for row in rows.tolist()]  # To take them, Arrow would copy the whole column.

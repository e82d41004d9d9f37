"""One shard of a pool in a greedy selection over many: what it is asked, what it answers, what it remembers.

A round of `rounds.py: ShardedGreedy` asks every shard one `Request`: here are the centres that joined; which of your
rows may be next? A `Shard` shows the centres to its rows as lazily as `lazy.py` does and answers with an `Offer`: its
best rows, as vectors with their squared distances, and the best score outside them.

Squared distances are canonical (`canonical.py`): they depend on the two rows and on nothing else, so it does not
matter in which shard a row lives. Means and scales that bounds are computed with are the shard's own; bounds only rule
out. What a shard remembers is a function of its rows and of the centres alone, in whatever portions they came. So a
shard that was lost and begins anew says how many centres it has, none, is told all of them, and goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.bounds import BoundProduct, Bounds
from qads.kernels.distance import Points, Rows, widened
from qads.kernels.field import Field, Threads
from qads.kernels.waking import LazyScores, best

__all__ = ["Centres", "Offer", "Request", "Rival", "Shard", "Vectors", "better", "borders", "joined", "points_of"]

_OFFERED = 512  # Rows in an offer.
_BEYOND = 2**62  # No row.
_FEW = 128  # A shard with fewer awake rows wakes others, lest its θ end the race of all.

Rival = tuple[float, int]
"""A score and the lowest row that has it; a row beyond the pool where only rows below the score are known."""


class Vectors(NamedTuple):
    """Rows on their way from one process to another: as they are stored, and the factors that make points of them."""

    stored: Rows
    scale: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What all shards are asked in a round."""

    first: int
    """Number of the first centre in here; a shard that lacks one before it takes none."""
    rows: Int[np.ndarray, " c"]
    """The centres' rows in the pool; −1 for given vectors."""
    centres: Vectors
    """The centres themselves."""
    n_centres: int
    """How many there are in all by now: a shard that has fewer says so and offers nothing."""
    most_centres: int
    """How many there will be at most."""
    share: float | None
    """Share of the distance in the sum, < 0 for the product; None before it is known."""
    least: float
    """The next pick scores as much or more."""
    wanted: Int[np.ndarray, " w"] | None
    """Rows to be answered with, by number, each by the shard that has it; None for the best ones."""

    @property
    def n_bytes(self) -> int:
        """Size of the arrays."""
        arrays = (self.rows, *self.centres, *(() if self.wanted is None else (self.wanted,)))
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True, eq=False, kw_only=True)
class Offer:
    """What one shard answers: rows that have seen all centres."""

    n_centres: int
    """How many centres the shard has."""
    farthest: float
    """The largest squared distance of a row to the first centre; infinite before there is one."""
    rows: Int[np.ndarray, " m"]
    """The rows' numbers in the pool; rising, unless they were asked for."""
    vectors: Vectors
    weight: Float[np.ndarray, " m"]
    squared: Float[np.ndarray, " m"]
    """Squared distances to the nearest centre."""
    near: Int[np.ndarray, " m"]
    """Numbers of the nearest centres."""
    scores: Float[np.ndarray, " m"]
    """Scores; NaN for rows that were asked for."""
    rival: Rival
    """The best of the shard's other rows."""

    @property
    def n_bytes(self) -> int:
        """Size of the arrays."""
        arrays = (self.rows, *self.vectors, self.weight, self.squared, self.near, self.scores)
        return sum(array.nbytes for array in arrays)

    def some(self, at: Int[np.ndarray, " b"]) -> Offer:
        """Some of the rows, by their place here, copied."""
        vectors = Vectors(self.vectors.stored[at], self.vectors.scale[at])
        return replace(
            self, rows=self.rows[at], vectors=vectors, weight=self.weight[at], squared=self.squared[at],
            near=self.near[at], scores=self.scores[at],
        )  # fmt: skip


class Centres:
    """Centres in the order they joined, as vectors."""

    def __init__(self, most: int, like: Rows) -> None:
        """Room for so many, stored as some rows are; what is never used takes no memory where pages come on demand."""
        stored = np.empty((most, like.shape[1]), like.dtype)
        self.rows, self.points = np.empty(most, np.int64), points_of(Vectors(stored, np.empty(most)))
        self.n = 0

    def add(self, rows: Int[np.ndarray, " c"], vectors: Vectors) -> None:
        """Let centres join."""
        part, stored = slice(self.n, self.n + len(rows)), vectors.stored
        self.rows[part], self.points.scale[part] = rows, vectors.scale
        self.points.x[part] = stored if stored.dtype == self.points.x.dtype else widened(stored)
        self.n = part.stop

    def vectors(self, first: int, last: int) -> Vectors:
        """Some of them."""
        return Vectors(self.points.x[first:last], self.points.scale[first:last])


class _ShardField(Field):
    """A field whose centres may be rows of any shard: all of them come as vectors, when they join."""

    def __init__(self, points: Points, centres: Centres, product: BoundProduct, threads: Threads) -> None:
        most = len(centres.rows)
        super().__init__(points, None, most, product, threads)
        self.centres[:] = np.arange(most)
        self._joined, self._vectors = centres, centres.points
        self._vector_bounds = Bounds(centres.points, like=self.bounds)
        self.farthest = np.inf
        """The largest squared distance to the first centre."""

    def join(self, rows: Int[np.ndarray, " c"], vectors: Vectors) -> None:
        """Let centres join; nobody has seen them yet, but for the first, which everybody sees at once."""
        first = self.n_centres
        self._joined.add(rows, vectors)
        self.n_centres = self.n_vectors = self._joined.n
        stored, scale = self._joined.vectors(first, self.n_centres)
        self._vector_bounds.enclose(first, widened(stored), scale)
        if first == 0:
            self.show_first()
            self.farthest = float(self.squared.max())


class Shard:
    """Some consecutive rows of a pool, and what they have seen of the centres."""

    def __init__(
        self,
        x: Rows,
        weight: Float[np.ndarray, " n"],
        *,
        first_row: int,
        cosine: bool,
        product: BoundProduct,
        threads: Threads,
        out: Bool[np.ndarray, " n"] | None = None,
    ) -> None:
        """A row at least.

        Args:
            x: the shard's rows, checked.
            weight: their weights, as in `greedy_scan`.
            first_row: number in the pool of the first row.
            cosine: as in `greedy_scan`.
            product: how bounds are computed.
            threads: what computes them; the caller's, who closes it.
            out: rows that are never offered unless they are asked for by number; None for none.
        """
        self._points, self._weight, self._first_row = Points(x, cosine=cosine), weight, first_row
        self._product, self._threads = product, threads
        self._field: _ShardField | None = None
        self._lazy: LazyScores | None = None
        self._closed = np.zeros(len(x), np.bool_) if out is None else out.copy()

    def __call__(self, request: Request) -> Offer:
        """Take the centres in, and answer."""
        self._take_in(request)
        if self._n_centres < request.n_centres:
            return self._offer(np.empty(0, np.int64), (-np.inf, 0))
        if request.wanted is not None:
            rows = request.wanted - self._first_row
            return self._offer(rows[(rows >= 0) & (rows < len(self._weight))], (-np.inf, 0))
        assert self._lazy, "the best rows are asked for when there is a centre"
        return self._offer(*self._best(self._lazy, request.least))

    @property
    def _n_centres(self) -> int:
        return self._field.n_centres if self._field else 0

    def _take_in(self, request: Request) -> None:
        """Take the centres that are new; those of a request that is repeated are not."""
        known = self._n_centres - request.first
        if 0 <= known < len(request.rows):
            new = Vectors(request.centres.stored[known:], request.centres.scale[known:])
            if not self._field:
                centres = Centres(request.most_centres, new.stored)
                self._field = _ShardField(self._points, centres, self._product, self._threads)
            self._field.join(request.rows[known:], new)
            rows = request.rows[known:] - self._first_row
            rows = rows[(rows >= 0) & (rows < len(self._weight))]
            self._closed[rows] = True
            if self._lazy:
                self._lazy.values[rows] = -np.inf
        if self._field and not self._lazy and request.share is not None:
            self._lazy = LazyScores(self._field, self._weight, request.share, closed=self._closed)

    def _best(self, lazy: LazyScores, least: float) -> tuple[Int[np.ndarray, " m"], Rival]:
        """The best rows, rising, and the best of the others."""
        lazy.look()
        while len(lazy.awake) < _FEW and lazy.theta > least and lazy.can_wake:
            lazy.wake()
        if len(lazy.awake) or lazy.can_wake:
            return self._divided(lazy.awake, (lazy.theta, _BEYOND), _OFFERED)
        # What is left is final: no distance lowers it, so that it need not see centres before it may win.
        left = np.flatnonzero(lazy.values > -np.inf)
        may_win = len(left) and lazy.values[left].max() >= least
        return self._divided(left, (-np.inf, _BEYOND), _OFFERED if may_win else 0)

    def _divided(self, rows: Int[np.ndarray, " m"], rival: Rival, most: int) -> tuple[Int[np.ndarray, " b"], Rival]:
        """The best of some rows, and the best of the rest, or else the rival."""
        assert self._lazy
        scores = self._lazy.values[rows]
        chosen = best(scores, most) if most else np.zeros(len(rows), np.bool_)
        if chosen.all():
            return rows, rival
        row = rows[~chosen][scores[~chosen].argmax()]
        return rows[chosen], (float(self._lazy.values[row]), int(row) + self._first_row)

    def _offer(self, rows: Int[np.ndarray, " m"], rival: Rival) -> Offer:
        squared, near = np.full(len(rows), np.inf), np.full(len(rows), -1, np.int32)
        scores = np.full(len(rows), np.nan)
        if self._field and self._lazy:
            self._lazy.caught_up(rows, -np.inf)
            squared, near, scores = self._field.squared[rows], self._field.near[rows], self._lazy.values[rows]
        return Offer(
            n_centres=self._n_centres,
            farthest=self._field.farthest if self._field else np.inf,
            rows=rows + self._first_row,
            vectors=Vectors(self._points.x[rows], self._points.scale[rows]),
            weight=self._weight[rows],
            squared=squared,
            near=near,
            scores=scores,
            rival=rival,
        )


def points_of(vectors: Vectors) -> Points:
    """Vectors as points, uncopied."""
    points = Points(vectors.stored, cosine=False)  # The factors are there already.
    points.scale = vectors.scale
    return points


def joined(offers: Sequence[Offer]) -> Offer:
    """The offers of all shards, in the order of their rows, as one."""

    def all_of(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(arrays))

    return Offer(
        n_centres=offers[0].n_centres,
        farthest=max(offer.farthest for offer in offers),
        rows=all_of(offer.rows for offer in offers),
        vectors=Vectors(
            all_of(offer.vectors.stored for offer in offers), all_of(offer.vectors.scale for offer in offers)
        ),
        weight=all_of(offer.weight for offer in offers),
        squared=all_of(offer.squared for offer in offers),
        near=all_of(offer.near for offer in offers),
        scores=all_of(offer.scores for offer in offers),
        rival=better(*(offer.rival for offer in offers)),
    )


def better(*rivals: Rival) -> Rival:
    """The rival of the highest score; of equals the one with the lowest row."""
    return max(rivals, key=lambda rival: (rival[0], -rival[1]))


def borders(n_rows: int, n_shards: int) -> list[range]:
    """The rows of every shard: consecutive, as even as can be, none empty; fewer shards where there are fewer rows.

    >>> borders(7, 3)
    [range(0, 3), range(3, 5), range(5, 7)]
    """
    n_shards = min(n_shards, n_rows)
    each, more = divmod(n_rows, n_shards)
    starts = [shard * each + min(shard, more) for shard in range(n_shards + 1)]
    return [range(first, last) for first, last in itertools.pairwise(starts)]

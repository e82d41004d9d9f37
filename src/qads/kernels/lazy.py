"""Greedy selection by distance, lazily and in blocks: the picks of `distance.py: greedy_scan`, to the bit, faster.

*Sleeping* rows keep a score computed with some of the centres, which is an upper bound for good, and below θ; *awake*
rows have seen all centres and score θ or more (`waking.py`). So the best awake row is the best of all, and of the steps

    while rows are to be picked:
        if no row is awake: lower θ and show the rows above it the centres that they have not seen, 256 at a time;
                            whoever falls below θ on the way sleeps on
        else:               the 256 best awake rows race: greedy picks among themselves, while the winner beats the
                            best outside; then the other awake rows see the winners, and whoever falls below θ sleeps

only the race is sequential. Showing is a product of matrices in low precision that rules most pairs out (`bounds.py`)
and canonical float64 distances of the few others (`canonical.py`), which alone decide. Ties go as in the scan, since
rows are compared by (score, −row) everywhere. Rows whose score no distance changes any more (weight 0; a sum without
distance) are picked at the end, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from qads.kernels.bounds import BoundProduct, fast_product
from qads.kernels.canonical import GREEDY, IN_ORDER, OPEN_IN_ORDER, distance, race
from qads.kernels.distance import Given, GreedyPicks, Points, Rows, greedy_scan
from qads.kernels.field import Field, Threads
from qads.kernels.limits import Limits
from qads.kernels.waking import LazyScores, best

__all__ = ["greedy", "greedy_lazy"]

_RACE = 256  # Rows in a race.
_WORTH_IT = 2e9  # Rows × centres × dimensions; the scan does them in about half a second.
_LEAST_CENTRES = 32  # Preparing costs as much as some passes of the scan.


def greedy(
    x: Rows,
    weight: Float[np.ndarray, " n"],
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
    given: Given | None = None,
    limits: Limits | None = None,
    on_pick: Callable[[int], None] | None = None,
) -> GreedyPicks:
    """`greedy_scan` or `greedy_lazy`, whichever is faster; they are the same to the bit."""
    n_centres = k + (0 if given is None else len(given))
    small = n_centres < _LEAST_CENTRES or float(x.size) * n_centres < _WORTH_IT
    return (greedy_scan if small else greedy_lazy)(
        x, weight, start=start, k=k, cosine=cosine, distance_share=distance_share, given=given, limits=limits,
        on_pick=on_pick,
    )  # fmt: skip


def greedy_lazy(
    x: Rows,
    weight: Float[np.ndarray, " n"],
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
    given: Given | None = None,
    limits: Limits | None = None,
    on_pick: Callable[[int], None] | None = None,
    done: GreedyPicks | None = None,
    on_burst: Callable[[GreedyPicks, int], None] | None = None,
    n_threads: int | None = None,
    product: BoundProduct | None = None,
) -> GreedyPicks:
    """Pick k rows as `greedy_scan` does. Takes two bytes a number of x, and 64 a row; reads a memory map in blocks.

    Args:
        x: this and all up to `on_pick` as in `greedy_scan`, though picks come in bursts.
        weight: as there.
        start: as there.
        k: as there.
        cosine: as there.
        distance_share: as there.
        given: as there.
        limits: as there.
        on_pick: as there.
        done: the first picks, at most k, as `on_burst` was given them in a selection of the same that was broken off.
        on_burst: called with the picks, whose `nearest` are numbers of centres, and how many of them are final.
        n_threads: None for as many as torch or NumPy would use; changes nothing but the time.
        product: how bounds are computed; None for what is faster here. Changes nothing but the time.
    """
    product = product or fast_product(float(x.size) * k)
    with Threads(n_threads, product) as threads:
        field = Field(Points(x, cosine=cosine), given, k, product, threads)
        search = _Search(field, weight, k, limits or Limits(len(x), k), on_pick, on_burst)
        search.begin(start, distance_share, done or GreedyPicks.empty(0))
        search.finish()
    return search.picks.finished(search.n_picked, field.n_given)


class _Search:
    """The picks so far, the rows' scores, and which of them are awake."""

    def __init__(
        self,
        field: Field,
        weight: Float[np.ndarray, " n"],
        k: int,
        limits: Limits,
        on_pick: Callable[[int], None] | None,
        on_burst: Callable[[GreedyPicks, int], None] | None,
    ) -> None:
        self.picks, self.n_picked = GreedyPicks.empty(k), 0
        self._field, self._weight, self._cosine = field, weight, field.points.cosine
        self._on_pick, self._on_burst = on_pick, on_burst
        self._limits, self._share = limits, -1.0
        self._is_over = False
        """There is nobody left to pick, or the next pick does not fit."""
        self._lazy: LazyScores

    def begin(self, start: Sequence[int], distance_share: float | None, done: GreedyPicks) -> None:
        """Show the first centre to all rows, then pick the start rows; what is done counts as picked."""
        field = self._field
        first = np.array([] if field.n_given else start[:1], np.int64)
        for column, picked in zip(self.picks, done, strict=True):
            column[: len(picked)] = picked
        there = done.indices if len(done.indices) else first
        if not self._admit_all(there):
            self._is_over = True
            return
        field.add(there)
        field.show_first()
        if distance_share is not None:
            self._share = distance_share / (distance(field.squared.max(), self._cosine) or 1.0)
        limits = self._limits
        self._lazy = LazyScores(
            field, self._weight, self._share, closed=limits.closed, least_distance=limits.least_distance
        )  # fmt: skip
        self._lazy.values[field.centres[field.n_vectors : field.n_centres]] = -np.inf
        self.picks.indices[: len(there)] = there
        self._count(len(there))
        self._pick_in_order(np.array(start[len(there) :], np.int64), IN_ORDER)
        self.picks.gains[: min(self.n_picked, len(start))] = np.nan

    def finish(self) -> None:
        """Pick the rest greedily."""
        while self.n_picked < len(self.picks.indices) and not self._is_over:
            scores = self._lazy.values
            if len(self._lazy.awake):
                self._race_awake()
                continue
            highest = scores.max()
            if highest == -np.inf:
                self._is_over = True
            # Where distances count for nothing any more, scores are final.
            elif self._share == 0 or (self._share < 0 and highest == 0):
                order = np.argsort(-scores, kind="stable")
                self._pick_in_order(order[scores[order] > -np.inf], OPEN_IN_ORDER)
                self._is_over = True
            else:
                self._lazy.wake()

    def _race_awake(self) -> None:
        awake = self._lazy.awake
        scores = self._lazy.values[awake]
        racing = best(scores, _RACE)
        rest = awake[~racing]
        rival = (self._lazy.theta, len(self._weight))  # No sleeping row scores θ.
        if len(rest):
            rival = (scores[~racing].max(), int(rest[scores[~racing].argmax()]))
        self._race(awake[racing], rival, GREEDY)
        if self.n_picked < len(self.picks.indices):
            self._lazy.look()

    def _pick_in_order(self, rows: Int[np.ndarray, " m"], mode: int) -> None:
        """Pick rows one after the other, in mode `OPEN_IN_ORDER` without those that are or become closed."""
        while len(rows) and self.n_picked < len(self.picks.indices) and not self._is_over:
            block = rows[:_RACE]
            self._lazy.caught_up(block, -np.inf)
            rows = rows[self._race(block, None, mode) :]

    def _race(self, rows: Int[np.ndarray, " b"], rival: tuple[float, int] | None, mode: int) -> int:
        """Pick among the rows, as `canonical.race` does; returns the place after the last one that was dealt with."""
        field, bounds, limits, done = self._field, self._field.bounds, self._limits, self.n_picked
        right, left = bounds.right(rows), bounds.left[rows]
        bound = field.threads.one(lambda: field.product(right, field.product.prepared(left)))
        points, won, results = field.points.take(rows), np.empty(len(rows), np.int64), np.empty((3, len(rows)))
        groups = limits.groups_of(rows)

        def run(most: int, room: Int[np.ndarray, "c g"]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
            squared, near, scores = field.squared[rows], field.near[rows], self._lazy.values[rows]
            n_won = race(
                bound, points, rows, rival or (0.0, 0), most, mode, field.n_centres, bounds.unit, self._cosine,
                self._share, limits.least_distance, groups, room, self._weight[rows], squared, near, scores,
                won, results,
            )  # fmt: skip
            return n_won, squared, near, scores

        n_won, squared, near, scores = run(min(len(rows), len(self.picks.indices) - done), limits.room)
        room, n_closings = limits.room, limits.n_closings
        end, n_admitted = len(rows), limits.admit(rows[won[:n_won]])
        if n_admitted < n_won:  # The limits change there: what came after does not count.
            n_won, squared, near, scores = run(n_admitted, room)
            end = int(won[n_won - 1]) + 1 if n_won else 0
            self._is_over = limits.is_out_of_tokens
        winners, part = rows[won[:n_won]], slice(done, done + n_won)
        self.picks.indices[part], self.picks.gains[part] = winners, results[0, :n_won]
        self.picks.nearest[part] = results[2, :n_won]
        self.picks.distances[part] = [distance(value, self._cosine) for value in results[1, :n_won]]
        field.add(winners)
        field.squared[rows], field.near[rows], field.seen[rows] = squared, near, field.n_centres
        bounds.set_reach(rows, field.squared)
        self._lazy.values[rows] = scores
        self._count(n_won)
        if limits.n_closings > n_closings:
            self._lazy.values[limits.closed] = -np.inf
        return end

    def _admit_all(self, rows: Int[np.ndarray, " r"]) -> bool:
        """Count rows that are picked whatever they close; whether all of them fit."""
        while len(rows):
            n_admitted = self._limits.admit(rows)
            if not n_admitted:
                return False
            rows = rows[n_admitted:]
        return True

    def _count(self, n: int) -> None:
        for _ in range(n):
            self.n_picked += 1
            if self._on_pick:
                self._on_pick(self.n_picked)
        if self._on_burst and n:
            self._on_burst(self.picks, self.n_picked)

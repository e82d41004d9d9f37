"""Scores that are brought up to date only where it matters: which rows sleep, and which are awake.

A row's distance to the nearest centre only falls as centres join, so a score computed with some of the centres is an
upper bound for good, for every score that rises with the distance. *Sleeping* rows keep such a bound, which is below
θ; *awake* rows have seen all centres and score θ or more. So the best awake row is the best of all. How many rows wake
is a matter of speed: many are shown centres in few large products, few are shown little in vain.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.canonical import update_scores
from qads.kernels.field import Field

__all__ = ["LazyScores", "best"]

_CHUNK = 256  # Centres that are shown at a time.
_FEW_BEHIND = 4096  # As few are shown twice as many.
_WAIT = 4  # Rows that have seen 1 in so many of a chunk wait for the next one, which begins where they are.
_FIRST_WOKEN, _MOST_WOKEN, _LEAST_WOKEN = 0.1, 0.25, 1024  # Shares of the rows, and a number.
_FEW_AWAKE, _MANY_AWAKE = 256, 4096  # With fewer twice as many are woken the next time, with more half as many.


class LazyScores:
    """The scores of a field's rows: exact for those that are awake, upper bounds for others, −inf for who is out."""

    def __init__(
        self,
        field: Field,
        weight: Float[np.ndarray, " n"],
        share: float,
        *,
        closed: Bool[np.ndarray, " n"],
        least_distance: float = 0.0,
    ) -> None:
        """All rows sleep.

        Args:
            field: the rows, which have been shown the first centre.
            weight: as in `greedy_scan`.
            share: share of the distance in the sum; < 0 for the product.
            closed: rows that are not to be picked, which score −inf; more may be closed later, in place.
            least_distance: distance to a centre below which a row scores −inf.
        """
        self.values = np.empty(len(weight))
        self.theta = np.inf
        """No sleeping row scores as much; or all rows that a distance could still lower are awake."""
        self.awake = np.empty(0, np.int64)
        self._field, self._weight, self._share = field, weight, share
        self._closed, self._least_distance = closed, least_distance
        # Rows of score 0 in a product are all settled in the end.
        self._floor = 5e-324 if share < 0 else 0.0
        self._n_woken = max(_LEAST_WOKEN, int(_FIRST_WOKEN * len(weight)))
        self.update(np.arange(len(weight)))

    @property
    def can_wake(self) -> bool:
        """Whether rows may sleep that a distance could still lower."""
        return self._share != 0 and self.theta > self._floor

    def wake(self) -> None:
        """Lower θ, and show the rows above it all centres; whoever falls below θ on the way sleeps on."""
        place = len(self.values) - self._n_woken - len(self.awake)
        self.theta = max(float(np.partition(self.values, place)[place]), self._floor) if place > 0 else self._floor
        self.awake = self.caught_up(np.flatnonzero(self.values >= self.theta), self.theta)
        if len(self.awake) < _FEW_AWAKE:
            self._n_woken = min(2 * self._n_woken, max(_LEAST_WOKEN, int(_MOST_WOKEN * len(self.values))))
        elif len(self.awake) > _MANY_AWAKE:
            self._n_woken = max(self._n_woken // 2, _LEAST_WOKEN)

    def look(self) -> None:
        """Show the awake rows what they have not seen; whoever falls below θ, or was picked, sleeps."""
        self.awake = self.caught_up(self.awake[self.values[self.awake] >= self.theta], self.theta)

    def caught_up(self, rows: Int[np.ndarray, " m"], least: float) -> Int[np.ndarray, " a"]:
        """Show rows all centres, unless they fall below `least` before; returns those that have not."""
        field = self._field
        behind = rows[field.seen[rows] < field.n_centres]
        while len(behind):
            seen = field.seen[behind]
            first = int(seen.min())
            chunk = _CHUNK if len(behind) > _FEW_BEHIND else 2 * _CHUNK
            last = field.end_of(first, chunk)
            # Rows that have seen much of this chunk wait for the next, which begins where they are.
            waiting = seen > first + chunk // _WAIT
            shown = behind[~waiting]
            field.show(shown, first, last)
            self.update(shown)
            on = waiting if last == field.n_centres else waiting | (self.values[behind] >= least)
            behind = behind[on]
        return rows[self.values[rows] >= least]

    def update(self, rows: Int[np.ndarray, " m"]) -> None:
        """Compute the scores of some rows anew, from what they have seen."""
        field = self._field
        update_scores(
            rows, field.squared, self._weight, field.points.cosine, self._share, self._least_distance, self.values
        )
        self.values[rows[self._closed[rows]]] = -np.inf


def best(scores: Float[np.ndarray, " a"], b: int) -> Bool[np.ndarray, " a"]:
    """Which b scores are the best, the first of equals."""
    if len(scores) <= b:
        return np.ones(len(scores), np.bool_)
    least = np.partition(scores, len(scores) - b)[len(scores) - b]
    chosen = scores > least
    chosen[np.flatnonzero(scores == least)[: b - np.count_nonzero(chosen)]] = True
    return chosen

"""Which sources can be told apart, and between which ranks each one lies.

For every ordered pair (j, k) the hypothesis "source j is no better than source k" is tested, all of them together:
those are rejected whose studentised difference exceeds the quantile of the greatest one over the draws, and again
among those that are left until none is rejected any more (stepdown). The rank of j then lies between

    1 + #{k : k was found better than j}    and    S − #{k : j was found better than k}

and with the stated confidence *all* sources lie between their bounds at once: Mogstad, Romano, Shaikh & Wilhelm 2024,
"Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic Achievement across Countries",
Review of Economic Studies 91(1), sections 3.1 and 3.3; the R package csranks does the same from a covariance matrix.
Ranks that are read off the draws themselves, or off overlapping intervals, have no such guarantee.

*Tiers* are for reading: the best source leads the first tier, with all that were not told apart from it; the best of
those that are left leads the second, and so on. "Not told apart" is not transitive, so sources of neighbouring tiers
may not have been told apart either, and two of one tier may have been; what is certain are the bounds of the ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Ranking", "rank_with_bounds"]

_NUMBERS = 1 << 22
"""Held at a time."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranks of some sources, 1 the best."""

    ranks: Int[np.ndarray, " s"]
    """By the estimates; equal ones share the better rank."""
    lowest: Int[np.ndarray, " s"]
    """Best rank that is left."""
    highest: Int[np.ndarray, " s"]
    """Worst rank that is left."""
    better: Bool[np.ndarray, "s s"]
    """Whether the first was found better than the second."""
    tiers: Int[np.ndarray, " s"]
    """1 is the best; a source was not told apart from the best one of its tier."""


def rank_with_bounds(estimates: Float[np.ndarray, " s"], found: Float[np.ndarray, "b s"], confidence: float) -> Ranking:
    """Rank sources by an estimate, the larger the better.

    Args:
        estimates: of every source.
        found: what each bootstrap draw gave for every source, from the same draw; NaN where it has nothing of one.
            Such a draw is left out for the pairs of that source, and a pair that more than half of the draws lack is
            not told apart.
        confidence: that all ranks lie between their bounds.
    """
    gap = estimates[:, None] - estimates[None, :]
    moves = _Moves(estimates, found)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = gap / moves.error  # Without any error what is not equal is told apart.
    statistic[(gap == 0) | np.isnan(moves.error)] = 0.0
    better = _told_apart(statistic, moves, confidence)
    n_above, n_below = better.sum(axis=0), better.sum(axis=1)
    return Ranking(
        ranks=1 + (gap < 0).sum(axis=1),
        lowest=1 + n_above,
        highest=len(estimates) - n_below,
        better=better,
        tiers=_tiers(estimates, better),
    )


class _Moves:
    """How far each draw moved the gap of every pair of sources, over its standard error.

    Of all pairs and draws these are draws × sources² numbers, so they are made for some sources at a time.
    """

    def __init__(self, estimates: Float[np.ndarray, " s"], found: Float[np.ndarray, "b s"]) -> None:
        self._estimates, self._found = estimates, found
        size = max(1, _NUMBERS // max(1, found.size))
        self._parts = [slice(start, start + size) for start in range(0, len(estimates), size)]
        self.error = np.concatenate([_spread(self._of(part)) for part in self._parts])
        """Standard error of every gap [s, s]; NaN where it is not known."""

    def _of(self, part: slice) -> Float[np.ndarray, "b p s"]:
        gap = self._estimates[part, None] - self._estimates[None, :]
        return (self._found[:, part, None] - self._found[:, None, :]) - gap

    def greatest(self, left: Bool[np.ndarray, "s s"]) -> Float[np.ndarray, " b"]:
        """Of every draw the greatest over these pairs."""
        best = np.full(len(self._found), -np.inf)
        for part in self._parts:
            if left[part].any():
                error = self.error[part]
                with np.errstate(invalid="ignore", divide="ignore"):
                    moved = np.where(error > 0, self._of(part) / error, 0.0)
                np.maximum(best, np.nan_to_num(moved[:, left[part]], copy=False).max(axis=1), out=best)
        return best


def _spread(moved: Float[np.ndarray, "b p s"]) -> Float[np.ndarray, "p s"]:
    """Standard deviation over the draws that have both sources; NaN where more than half of them do not."""
    known = np.isfinite(moved)
    return moved.std(axis=0, where=known | (2 * known.sum(axis=0) < len(moved)))


def _told_apart(statistic: Float[np.ndarray, "s s"], moves: _Moves, confidence: float) -> Bool[np.ndarray, "s s"]:
    """The ordered pairs whose hypothesis is rejected, the family shrinking by what was rejected before."""
    left = ~np.eye(len(statistic), dtype=np.bool_)
    while left.any():
        critical = float(np.quantile(moves.greatest(left), confidence))
        rejected = left & (statistic > critical)
        if not rejected.any():
            break
        left &= ~rejected
    return ~left & ~np.eye(len(statistic), dtype=np.bool_)


def _tiers(estimates: Float[np.ndarray, " s"], better: Bool[np.ndarray, "s s"]) -> Int[np.ndarray, " s"]:
    tiers = np.zeros(len(estimates), np.int64)
    for leader in np.argsort(-estimates, kind="stable"):
        if tiers[leader] == 0:
            joins = (tiers == 0) & ~better[leader]
            tiers[joins] = tiers.max() + 1
    return tiers

"""Arms against arms on the same items: paired differences, intervals that hold together, wins and losses.

A comparison is of two arms that were evaluated on the same items, each after trainings with seeds of its own. What is
compared are the means over seeds, item by item; mean and interval are those of `kernels/crossed.py`. How far other
seeds would move an arm its own seeds tell, so that an arm which moves far needs more of them than the rest.

Every interval is given twice: by itself, and such that all intervals of the family hold at once (Bonferroni: each
leaves out an equal share of what may be left out in all). The claim is made from the second alone: where it covers 0,
no difference is shown; and from one seed of either arm no claim is made. Why neither percentiles of a bootstrap nor
max-t, and how often such intervals hold: docs/decisions/0033 and 0047.

An arm alone has an interval by itself, which where it is a share of items is Wilson's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from qads.errors import InputError
from qads.kernels.crossed import ROUNDING, crossed_means, group_means, seed_part, share_interval, student_interval

__all__ = ["ALL_SETS", "Estimate", "Outcome", "PairedItems", "Verdict", "compare_arms", "estimate_arm"]

Verdict = Literal["better", "worse", "no difference shown", "one seed: no claim"]
ALL_SETS = "mean of the sets"
"""Where a set's name stands, their mean."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and items."""

    value: float
    low: float
    """Of its interval by itself; NaN where nothing is known of how far it would move."""
    high: float


@dataclass(frozen=True, eq=False)
class PairedItems:
    """What some arms gave on the same items, each with seeds of its own."""

    arms: tuple[str, ...]
    values: tuple[Float[np.ndarray, "_ i"], ...]
    """Of every arm, those of every seed and item; all finite."""
    sets: tuple[str, ...]
    """The evaluation sets."""
    codes: Int[np.ndarray, " i"]
    """Position in `sets` of every item's."""

    def __post_init__(self) -> None:
        shapes = [each.shape for each in self.values]
        if len(shapes) != len(self.arms) or {shape[1:] for shape in shapes} != {(len(self.codes),)}:
            raise InputError(f"PairedItems: values {shapes} of {len(self.arms)} arms, {len(self.codes)} items.")
        if not all(each.size and np.isfinite(each).all() for each in self.values):
            raise InputError(
                "PairedItems: every arm needs a finite value in every seed on every item, and one at least."
            )

    @property
    def are_shares(self) -> bool:
        """Whether every value says right or wrong, so that means are shares."""
        return all(bool(np.isin(each, (0, 1)).all()) for each in self.values)

    @property
    def scopes(self) -> dict[str, Float[np.ndarray, " g"]]:
        """What means are over: every set, and with several of them their mean, in which each set counts the same."""
        n_sets = len(self.sets)
        of_sets = dict(zip(self.sets, np.eye(n_sets), strict=True))
        return of_sets if n_sets == 1 else of_sets | {ALL_SETS: np.full(n_sets, 1 / n_sets)}


@dataclass(frozen=True)
class Outcome:
    """One arm against another on one set."""

    arm: str
    other: str
    scope: str
    """A set, or the mean of all."""
    difference: Estimate
    """Arm less other; its interval by itself."""
    low: float
    """Of the interval that holds together with all others of the family."""
    high: float
    family: int
    """Comparisons in it."""
    verdict: Verdict
    wins: int
    """Items on which the arm was ahead by more than a tie, on the mean of its seeds."""
    ties: int
    losses: int
    seeds_ahead: int
    """Seeds of the arm in which its mean was above that of the other's seeds."""
    n_seeds: int
    """Of the arm."""


def compare_arms(
    items: PairedItems, pairs: Sequence[tuple[str, str]], *, confidence: float = 0.95, tie: float = 0.0
) -> list[Outcome]:
    """Compare pairs of arms on every set; all of it is one family.

    Args:
        items: what the arms gave.
        pairs: (arm, other).
        confidence: of every interval by itself, and of all together.
        tie: difference up to which an item counts as a tie.

    Returns:
        The outcomes, pair by pair and scope by scope.
    """
    if not pairs:
        return []
    weights = np.stack(list(items.scopes.values()))
    found = [_outcomes(items, pair, weights, len(pairs) * len(weights), 1 - confidence, tie) for pair in pairs]
    return [outcome for each in found for outcome in each]


def _outcomes(
    items: PairedItems, pair: tuple[str, str], weights: Float[np.ndarray, "c g"], family: int, tail: float, tie: float
) -> list[Outcome]:
    """One pair in every scope."""
    arm, other = (items.values[items.arms.index(name)] for name in pair)
    x = arm.mean(axis=0) - other.mean(axis=0)
    parts = [seed_part(each, weights, items.codes) for each in (arm, other)]
    means = crossed_means(np.tile(x, (len(weights), 1)), weights, items.codes, parts)
    alone, together = student_interval(*means, tail), student_interval(*means, tail / family)
    n_seeds, rounding = min(len(arm), len(other)), ROUNDING * max(np.abs(each).max() for each in (arm, other))
    return [
        Outcome(
            *pair, scope, Estimate(float(means[0][c]), float(alone[0][c]), float(alone[1][c])),
            low := float(together[0][c]), high := float(together[1][c]), family, _verdict(low, high, n_seeds),
            *_counts(x[weights[c][items.codes] > 0], tie + rounding), _ahead(arm, other, weights[c], items.codes),
            len(arm),
        )
        for c, scope in enumerate(items.scopes)
    ]  # fmt: skip


def _verdict(low: float, high: float, n_seeds: int) -> Verdict:
    if n_seeds == 1:
        return "one seed: no claim"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def _counts(x: Float[np.ndarray, " i"], tie: float) -> tuple[int, int, int]:
    """Wins, ties and losses."""
    wins, losses = int((x > tie).sum()), int((x < -tie).sum())
    return wins, len(x) - wins - losses, losses


def _ahead(
    arm: Float[np.ndarray, "s i"], other: Float[np.ndarray, "t i"], weights: Float[np.ndarray, " g"], codes: np.ndarray
) -> int:
    means, others = (group_means(each, codes, len(weights)) @ weights for each in (arm, other))
    return int((means - others.mean() > ROUNDING * np.abs(means).max()).sum())


def estimate_arm(
    items: PairedItems, arm: str, *, seed: int | None = None, confidence: float = 0.95
) -> dict[str, Estimate]:
    """The mean of one arm on every set, with its interval by itself: Student's, or of shares Wilson's.

    Args:
        items: what the arms gave.
        arm: which.
        seed: position of the only seed to take; all by default.
        confidence: of the interval.
    """
    scopes, values = items.scopes, items.values[items.arms.index(arm)]
    values = values if seed is None else values[seed : seed + 1]
    weights = np.stack(list(scopes.values()))
    of_items = np.tile(values.mean(axis=0), (len(scopes), 1))
    means = crossed_means(of_items, weights, items.codes, [seed_part(values, weights, items.codes)])
    if items.are_shares:
        n_items = 1 / (weights**2 / np.bincount(items.codes)).sum(axis=1)
        low, high = share_interval(*means, n_items, 1 - confidence)
    else:
        low, high = student_interval(*means, 1 - confidence)
    return {name: Estimate(float(means[0][c]), float(low[c]), float(high[c])) for c, name in enumerate(scopes)}

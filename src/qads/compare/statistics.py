"""Arms against arms on the same items: paired differences, intervals that hold together, wins and losses.

A comparison is of two arms that were trained with the same seeds and evaluated on the same items. What is compared is
`arm[s, i] − other[s, i]`, seed by seed and item by item; its mean and interval are those of `kernels/crossed.py`. How
far seeds move a difference is told by all arms that are compared, since three seeds of two arms tell next to nothing.

Every interval is given twice: by itself, and such that all intervals of the family hold at once (Bonferroni: each
leaves out an equal share of what may be left out in all). The claim is made from the second alone: where it covers 0,
no difference is shown; and from one seed no claim is made. Why neither percentiles of a bootstrap nor max-t, and how
often such intervals hold: docs/decisions/0033.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from qads.errors import InputError
from qads.kernels.crossed import block_variance, crossed_means, group_means, student_interval

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
    """What some arms gave on the same items in the same seeds."""

    arms: tuple[str, ...]
    values: Float[np.ndarray, "a s i"]
    """Of every arm, seed and item; all finite."""
    sets: tuple[str, ...]
    """The evaluation sets."""
    codes: Int[np.ndarray, " i"]
    """Position in `sets` of every item's."""

    def __post_init__(self) -> None:
        if self.values.shape[0] != len(self.arms) or self.values.shape[2] != len(self.codes):
            raise InputError(
                f"PairedItems: values {self.values.shape} of {len(self.arms)} arms, {len(self.codes)} items."
            )
        if not np.isfinite(self.values).all() or 0 in self.values.shape:
            raise InputError(
                "PairedItems: every arm needs a finite value in every seed on every item, and one at least."
            )

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
    """Seeds in which its mean was the higher."""
    n_seeds: int


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
    scopes, n_seeds = items.scopes, items.values.shape[1]
    at = {arm: number for number, arm in enumerate(items.arms)}
    d = np.repeat(np.stack([items.values[at[arm]] - items.values[at[other]] for arm, other in pairs]), len(scopes), 0)
    weights = np.tile(np.stack(list(scopes.values())), (len(pairs), 1))
    seed_part, freedom = _seed_parts(
        items, [at[name] for name in dict.fromkeys(name for pair in pairs for name in pair)]
    )
    means = crossed_means(
        d, weights, items.codes, seed_part=np.tile(seed_part, len(pairs)), seed_freedom=freedom
    )  # fmt: skip
    alone = student_interval(*means, 1 - confidence)
    together = student_interval(*means, (1 - confidence) / len(d))
    named = [(*pair, scope) for pair in pairs for scope in scopes]
    return [
        Outcome(
            *named[c], Estimate(float(means[0][c]), float(alone[0][c]), float(alone[1][c])),
            low := float(together[0][c]), high := float(together[1][c]), len(d), _verdict(low, high, n_seeds),
            *_counts(d[c], weights[c], items.codes, tie),
        )
        for c in range(len(d))
    ]  # fmt: skip


def _seed_parts(items: PairedItems, arms: Sequence[int]) -> tuple[Float[np.ndarray, " g"], int]:
    """What other seeds would change of a difference, on every set and on their mean, by all arms; its freedom."""
    means = group_means(items.values[arms], items.codes, len(items.sets))
    found = [block_variance(means @ weights) for weights in items.scopes.values()]
    return np.array([2 * rest / items.values.shape[1] for rest, _ in found]), found[0][1]


def _verdict(low: float, high: float, n_seeds: int) -> Verdict:
    if n_seeds == 1:
        return "one seed: no claim"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def _counts(
    d: Float[np.ndarray, "s i"], weights: Float[np.ndarray, " g"], codes: Int[np.ndarray, " i"], tie: float
) -> tuple[int, int, int, int, int]:
    of_items = d[:, weights[codes] > 0].mean(axis=0)
    wins, losses = int((of_items > tie).sum()), int((of_items < -tie).sum())
    of_sets = np.stack([d[:, codes == g].mean(axis=1) for g in range(len(weights))], axis=1)
    ahead = int((of_sets @ weights > 0).sum())
    return wins, len(of_items) - wins - losses, losses, ahead, len(d)


def estimate_arm(
    items: PairedItems, arm: str, *, seed: int | None = None, confidence: float = 0.95
) -> dict[str, Estimate]:
    """The mean of one arm on every set, with its interval by itself.

    Args:
        items: what the arms gave.
        arm: which.
        seed: position of the only seed to take; all by default.
        confidence: of the interval.
    """
    scopes, values = items.scopes, items.values[items.arms.index(arm)]
    values = values if seed is None else values[seed : seed + 1]
    means = crossed_means(np.repeat(values[None], len(scopes), axis=0), np.stack(list(scopes.values())), items.codes)
    low, high = student_interval(*means, 1 - confidence)
    return {name: Estimate(float(means[0][c]), float(low[c]), float(high[c])) for c, name in enumerate(scopes)}

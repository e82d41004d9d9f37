"""How well a scorer predicts what anchors say that it was not fitted for.

Predictions are otherwise held against the real scores on the very anchors that gave the labels, so that a scorer is
given credit for what these anchors happen to like. Quality stands for a skill, of which anchors are a sample. Here they
are halved: the scorer is fitted on what one half says and held, out of fold, against what the other half says; and so
is what the first half says itself, which is what scoring every row for real on it would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.agreement import cell_pearson
from qads.kernels.reliability import halvings
from qads.quality.fidelity.estimates import Number

__all__ = ["OtherAnchors", "half_qualities", "halves_of_anchors", "on_other_anchors"]

_FEWEST = 8
"""Anchors of which halves say anything."""


@dataclass(frozen=True)
class OtherAnchors:
    """Pearson's r with what the other half of the anchors says, in the mean over halves."""

    n_anchors: int
    """Of a half; the smaller one where they are unequal."""
    n_halves: int
    """How many halves were fitted on."""
    scorer: Number
    """Of what was predicted by a scorer that was fitted on one half, over all rows."""
    scorer_within: Number
    """The same within sources."""
    real: Number
    """Of the real scores on one half, over all rows."""
    real_within: Number
    """The same within sources."""

    @property
    def sentence(self) -> str:
        """What it comes to."""
        return (
            f"Fitted on half of the anchors and held against the other {self.n_anchors}: r = {self.scorer:.2f}, within "
            f"sources {self.scorer_within:.2f}, where real scores on the first half reach {self.real:.2f} and "
            f"{self.real_within:.2f}."
        ).replace("-", "−")


def halves_of_anchors(groups: Sequence[str], *, n_halvings: int = 3, seed: int = 0) -> Bool[np.ndarray, "h m"]:
    """Random halves of the anchors and their complements, in turn; none where there are fewer than 8 anchors.

    >>> halves_of_anchors(("a", "b") * 4, n_halvings=1).sum(axis=1)
    array([4, 4])
    """
    if len(groups) < _FEWEST:
        return np.zeros((0, len(groups)), np.bool_)
    halves = halvings(groups, n_halvings, seed) > 0
    return np.stack([halves, ~halves], axis=1).reshape(-1, len(groups))


def half_qualities(terms: Float[np.ndarray, "n m"], halves: Bool[np.ndarray, "h m"]) -> Float[np.ndarray, "h n"]:
    """What each half says of every row: the mean of the terms on it; NaN where it scored none of them."""
    known = np.isfinite(terms)
    sums = halves.astype(np.float64) @ np.where(known, terms, 0.0).T
    counts = halves.astype(np.float64) @ known.astype(np.float64).T
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def on_other_anchors(
    qualities: Float[np.ndarray, "h n"],
    predicted: Float[np.ndarray, "h n"],
    folds: Int[np.ndarray, "h n"],
    sources: Int[np.ndarray, " n"],
    *,
    n_anchors: int,
) -> OtherAnchors:
    """Hold predictions and real scores of each half against the real scores of its complement.

    Args:
        qualities: what each half says of every row; a half and its complement follow one another.
        predicted: by a scorer that was fitted on the half, out of fold; NaN where it did not predict a row.
        folds: which model predicted a row.
        sources: number of the source of every row.
        n_anchors: of the smaller of two halves.
    """
    others = qualities.reshape(-1, 2, qualities.shape[1])[:, ::-1].reshape(qualities.shape)
    found: list[list[float]] = []
    for mine, other, said, fold in zip(qualities, others, predicted, folds, strict=True):
        known = np.isfinite(mine) & np.isfinite(other) & np.isfinite(said)
        within = fold[known] * (sources.max() + 1) + sources[known]
        found.append(
            [
                float(cell_pearson(each[known][None], other[known][None], cells, np.ones((1, int(known.sum()))))[0])
                for each in (said, mine)
                for cells in (fold[known], within)
            ]
        )
    scorer, scorer_within, real, real_within = np.mean(found, axis=0).tolist()
    return OtherAnchors(n_anchors, len(found), scorer, scorer_within, real, real_within)

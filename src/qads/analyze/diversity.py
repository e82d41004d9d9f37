"""How varied sources are, at equal numbers of rows.

Both measures depend on how many rows there are: with more rows the nearest is nearer, and there are more to cover. So
as many rows are drawn from every source, several times, and the mean over the draws is given with the least and the
greatest.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from qads.analyze.resampling import Interval
from qads.kernels.distance import greedy_scan

__all__ = ["Diversity", "measure_diversity"]

_FEWEST = 10
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class Diversity:
    """How far rows of one source lie apart; value: mean over the draws, low and high: the least and the greatest."""

    n_rows: int
    """Rows in a draw."""
    n_picks: int
    """Rows that cover a draw."""
    nearest: Interval
    """Mean distance of a row to the nearest other one; 0 where all have a twin."""
    radius: Interval
    """Largest distance of a row to the nearest of the picks that K-center Greedy makes from the draw."""


def measure_diversity(
    embeddings: Float[np.ndarray, "n d"],
    groups: Mapping[_Name, Int[np.ndarray, " r"]],
    *,
    most_rows: int,
    n_draws: int,
    seed: int,
) -> dict[_Name, Diversity]:
    """Diversity of every group that has 10 rows or more; distances are euclidean.

    Args:
        embeddings: of all rows; a memory map is read where rows are drawn only.
        groups: rows of every group.
        most_rows: to draw; fewer where the smallest group of 10 rows or more has fewer.
        n_draws: how often.
        seed: of the draws.
    """
    large = {name: rows for name, rows in groups.items() if len(rows) >= _FEWEST}
    if not large:
        return {}
    n_rows = min(most_rows, *(len(rows) for rows in large.values()))
    n_picks = max(1, n_rows // 10)
    measured: dict[_Name, Diversity] = {}
    for name, rows in large.items():
        rng = np.random.default_rng(seed)
        each = [
            _measure(np.asarray(embeddings[np.sort(drawn)], np.float64)[rng.permutation(n_rows)], n_picks)
            for drawn in (rng.choice(rows, n_rows, replace=False) for _ in range(n_draws))
        ]
        nearest, radius = np.array(each).T
        measured[name] = Diversity(n_rows, n_picks, _over_draws(nearest), _over_draws(radius))
    return measured


def _measure(x: Float[np.ndarray, "r d"], n_picks: int) -> tuple[float, float]:
    """Mean distance to the nearest other row, and the covering radius from the first row, whichever that is."""
    apart = cdist(x, x)
    picks = greedy_scan(x, np.ones(len(x)), start=[0], k=n_picks, cosine=False, distance_share=None).indices
    radius = apart[:, picks].min(axis=1).max()
    np.fill_diagonal(apart, np.inf)
    return float(apart.min(axis=1).mean()), float(radius)


def _over_draws(values: Float[np.ndarray, " b"]) -> Interval:
    return Interval(float(values.mean()), float(values.min()), float(values.max()))

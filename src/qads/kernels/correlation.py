"""Pearson's correlation, ranks for Spearman's, values without the means of their groups, what those explain."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["centred", "mean_ranks", "pearson", "share_between"]


def pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Pearson's r; NaN where one side does not vary."""
    parts: list[Float[np.ndarray, " n"]] = []
    for values in (a, b):
        apart = values - values.mean()
        length = float(np.sqrt(apart @ apart))
        if length <= 1e-12 * float(np.abs(values).max()) * len(values) or length == 0:
            return float("nan")  # What is left of a constant is rounding.
        parts.append(apart / length)
    return float(parts[0] @ parts[1])


def mean_ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks from 1; equal values have the mean of theirs."""
    from scipy.stats import rankdata  # A second to load, for nothing where nothing is ranked.

    return np.asarray(rankdata(values), np.float64)


def centred(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values less the mean of their group."""
    means = np.bincount(codes, weights=values) / np.maximum(np.bincount(codes), 1)
    return values - means[codes]


def share_between(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> float:
    """Share of the variance that lies between groups: ε² = 1 − MS_within / MS_total (Kelley 1935).

    Unlike η² it is about 0, and as often below, where groups tell nothing, however few rows they have.

    Returns:
        NaN where the values do not vary, or every row is a group by itself.
    """
    n, n_groups = len(values), len(np.unique(codes))
    if n_groups == n:
        return float("nan")
    inside, apart = centred(values, codes), values - values.mean()
    spread = float(apart @ apart)
    if spread <= (1e-12 * float(np.abs(values).max()) * n) ** 2:
        return float("nan")  # What is left of a constant is rounding.
    return float(1 - (inside @ inside) / (n - n_groups) / (spread / (n - 1)))

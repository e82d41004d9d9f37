"""Pearson's correlation, and values without the means of their groups."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["centred", "pearson"]


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


def centred(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values less the mean of their group."""
    means = np.bincount(codes, weights=values) / np.maximum(np.bincount(codes), 1)
    return values - means[codes]

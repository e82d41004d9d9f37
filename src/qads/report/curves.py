"""Curves and axes of the report: arrays -> points between 0 and 100."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Axis", "Curve", "along_budgets", "axis_over", "binned_means", "running_mean"]

_MOST_POINTS = 240


@dataclass(frozen=True)
class Curve:
    """Values along the budget, in bins of equal width where there are many."""

    numbers: tuple[float, ...]
    """Number of the pick (mean of the bin), 1 for the first."""
    values: tuple[float, ...]
    """Mean of the bin."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    n_picks: int
    """Length of the budget."""


@dataclass(frozen=True)
class Axis:
    """A scale with ticks at even steps."""

    ticks: tuple[float, ...]
    """From the lowest to the highest."""
    digits: int
    """Decimals that tell the ticks apart."""

    def place(self, value: float) -> float:
        """Where a value lies, in percent from the low end."""
        low, high = self.ticks[0], self.ticks[-1]
        return 100 * (value - low) / (high - low)


def axis_over(values: Sequence[float]) -> Axis:
    """The axis with about four steps of 1, 2, 2.5 or 5 times a power of ten that holds all values.

    >>> axis_over([0.0, 0.9]).ticks
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 2 or 0.5
        low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= (high - low) / 4 * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    exponent = math.floor(math.log10(step) + 1e-9)
    digits = max(0, -exponent + (abs(step / 10.0**exponent - 2.5) < 1e-9))
    return Axis(tuple(round(i * step, digits + 2) for i in range(first, last + 1)), digits)


def binned_means(values: Float[np.ndarray, " k"]) -> Curve | None:
    """The finite values with the least and the greatest of every bin; None if there are none."""
    finite = np.flatnonzero(np.isfinite(values))
    if len(finite) == 0:
        return None
    bins = np.array_split(finite, min(len(finite), _MOST_POINTS))
    return Curve(
        numbers=tuple(float(rows.mean()) + 1 for rows in bins),
        values=tuple(float(values[rows].mean()) for rows in bins),
        low=tuple(float(values[rows].min()) for rows in bins),
        high=tuple(float(values[rows].max()) for rows in bins),
        n_picks=len(values),
    )


def along_budgets(budgets: Int[np.ndarray, " b"], values: Float[np.ndarray, " b"]) -> Curve:
    """Values that were measured at some budgets."""
    points = tuple(values.tolist())
    return Curve(tuple(map(float, budgets)), points, points, points, int(budgets[-1]))


def running_mean(values: Float[np.ndarray, " k"]) -> Curve | None:
    """The mean of all finite values so far, at the end of every bin; None if there are none."""
    finite = np.isfinite(values)
    if not finite.any():
        return None
    first = int(np.argmax(finite))
    means = np.cumsum(np.where(finite, values, 0.0)) / np.maximum(np.cumsum(finite), 1)
    n_points = min(len(values) - first, _MOST_POINTS)
    ends = np.unique(np.linspace(first, len(values) - 1, n_points).round().astype(np.int64))
    points = tuple(float(mean) for mean in means[ends])
    return Curve(tuple(float(end) + 1 for end in ends), points, points, points, len(values))

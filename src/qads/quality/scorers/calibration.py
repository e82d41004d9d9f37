"""From what a regressor says to quality on the real scale, with an interval that holds.

Quality is a mean of positive parts: never below 0, and the higher the wider it spreads. Regressors are therefore fitted
on its square root where no label is negative, and on itself else. What rows that were not fitted on got (out of fold)
then gives

    slope and intercept   of real on predicted quality by least squares, so that a prediction means what it says
    noise of a source     mean |error| of its rows over that of all, shrunk to 1 as 10 rows of no excess would
    quantile              of |√real − √predicted| / (spread · noise): 90% of rows lie inside (split conformal prediction
                          with normalised scores, Lei et al. 2018, arXiv:1604.04173)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["COVERAGE", "Calibration", "Scale"]

COVERAGE = 0.9
"""Share of rows that a predictive interval is to hold."""
_SHRINKAGE = 10
"""Rows without excess that the noise of a source is averaged with."""


@dataclass(frozen=True)
class Scale:
    """What regressors are fitted on: the square root of quality, or quality itself."""

    is_root: bool

    @classmethod
    def of(cls, quality: Float[np.ndarray, " n"]) -> Scale:
        """The root where no label is negative."""
        return cls(bool(np.min(quality, initial=0.0) >= 0))

    def forward(self, quality: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What regressors are fitted on."""
        return np.sqrt(np.maximum(quality, 0.0)) if self.is_root else np.asarray(quality, np.float64)

    def backward(self, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Quality of what a regressor says."""
        return np.maximum(value, 0.0) ** 2 if self.is_root else value


@dataclass(frozen=True)
class Calibration:
    """The map to the real scale, and the width of intervals."""

    scale: Scale
    slope: float = 1.0
    intercept: float = 0.0
    quantile: float = math.inf
    noise: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of every source, 1 on average."""

    @classmethod
    def fit(
        cls,
        scale: Scale,
        said: Float[np.ndarray, " n"],
        real: Float[np.ndarray, " n"],
        *,
        spread: Float[np.ndarray, " n"],
        sources: Sequence[str],
    ) -> Calibration:
        """Measure on rows that were not fitted on.

        Args:
            scale: what the regressor was fitted on.
            said: by the regressor, on that scale.
            real: measured quality.
            spread: how far each row is from those fitted on, 1 where it is not.
            sources: of the rows.
        """
        raw = scale.backward(said)
        apart = raw - raw.mean()
        varies = float(apart @ apart)
        slope = max(0.0, float(apart @ (real - real.mean())) / varies) if varies > 1e-18 else 0.0
        straight = cls(scale, slope, float(real.mean() - slope * raw.mean()))
        errors = np.abs(scale.forward(real) - scale.forward(straight.real(said))) / spread
        noise = _noise(errors, np.array(sources))
        errors = np.sort(errors / np.array([noise[name] for name in sources]))
        place = math.ceil((len(errors) + 1) * COVERAGE)
        quantile = float(errors[place - 1]) if place <= len(errors) else math.inf
        return dataclasses.replace(straight, quantile=quantile, noise=noise)

    def real(self, said: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Quality on the real scale."""
        found = self.slope * self.scale.backward(said) + self.intercept
        return np.maximum(found, 0.0) if self.scale.is_root else found

    def bounds(
        self, quality: Float[np.ndarray, " n"], *, spread: Float[np.ndarray, " n"], sources: Sequence[str]
    ) -> Float[np.ndarray, "n 2"]:
        """The interval of every row, [low, high]."""
        width = self.quantile * spread * np.array([self.noise.get(name, 1.0) for name in sources])
        at = self.scale.forward(quality)
        return np.column_stack([self.scale.backward(at - width), self.scale.backward(at + width)])

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it; an infinite quantile is null."""
        numbers = dataclasses.asdict(self) | {"scale": self.scale.is_root}
        return numbers | {"quantile": self.quantile if math.isfinite(self.quantile) else None}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Calibration:
        """What `to_json` gave."""
        quantile = math.inf if found["quantile"] is None else found["quantile"]
        return cls(Scale(found["scale"]), found["slope"], found["intercept"], quantile, dict(found["noise"]))


def _noise(errors: Float[np.ndarray, " n"], sources: np.ndarray) -> dict[str, float]:
    overall = float(errors.mean())
    found: dict[str, float] = {}
    for name in np.unique(sources):
        own = errors[sources == name]
        total = float(own.sum()) + _SHRINKAGE * overall
        found[str(name)] = total / ((len(own) + _SHRINKAGE) * overall) if overall > 0 else 1.0
    return found

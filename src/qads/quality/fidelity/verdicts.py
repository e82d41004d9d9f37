"""What a comparison of predicted with real quality found, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qads.quality.fidelity.estimates import Estimate, Number

__all__ = ["Bin", "Fidelity", "LengthBand", "SourceFidelity"]

_STRENGTHS = ((0.2, "Barely tells"), (0.5, "Partly tells"))
"""What is said of r below so much: less than 4% of the variance explained, less than a quarter of it."""


@dataclass(frozen=True)
class Bin:
    """Rows of similar prediction: what was said of them, and what was so."""

    n_rows: int
    predicted: Number
    """Their mean prediction."""
    real: Estimate
    """Their mean real quality."""


@dataclass(frozen=True)
class LengthBand:
    """Rows of similar length."""

    n_rows: int
    shortest: int
    longest: int
    """Characters of problem and solution."""
    absolute_error: Estimate
    """Mean of |predicted − real|."""
    bias: Estimate
    """Mean of predicted − real."""


@dataclass(frozen=True)
class SourceFidelity:
    """The rows of one source."""

    n_rows: int
    n_clusters: int
    pearson: Estimate
    """Of its rows with each other; undefined with fewer than 10."""
    real: Number
    """Mean real quality."""
    predicted: Number
    """Mean predicted quality."""
    absolute_error: Number
    covered: Number
    """Share of its rows whose real quality lies in the predictive interval."""


@dataclass(frozen=True)
class Fidelity:
    """Agreement of predicted with real quality."""

    n_rows: int
    """Rows that were compared."""
    n_fitted_only: int
    """Labelled rows that nobody predicted without having seen them."""
    n_clusters: int
    n_folds: int
    overall: Mapping[str, Estimate]
    """``pearson``, ``spearman``, ``kendall``, ``top_10`` and ``top_25`` (share of the really best that is among the
    predicted best; 0.1 and 0.25 by chance)."""
    within_source: Mapping[str, Estimate]
    """The same between rows of one source."""
    by_source: Mapping[str, SourceFidelity]
    source_mean: Estimate
    """Pearson's r of predicting a row by its source's mean; undefined with one source or without that prediction."""
    over_source_mean: Estimate
    """How much Pearson's r overall is above that, in the same bootstrap samples."""
    ceiling: Estimate
    """Most that Pearson's r can be, overall; undefined without the influence on single anchors."""
    ceiling_within: Estimate
    """The same within sources."""
    slope: Estimate
    """Of real on predicted quality: 1 where the scale is right."""
    bias: Estimate
    """Mean of predicted less real quality."""
    mean_absolute_error: Estimate
    error_by_length: tuple[LengthBand, ...]
    """Fifths of the rows by length."""
    calibration: tuple[Bin, ...]
    """Tenths of the rows by prediction."""
    covered: Estimate
    """Share of rows whose real quality lies in its predictive interval; undefined without intervals."""

    @property
    def is_useless(self) -> bool:
        """Whether it cannot be said to order the rows of a source."""
        return not self.within_source["pearson"].low > 0

    @property
    def share_of_ceiling(self) -> float:
        """Pearson's r within sources as a share of the most that it can be; NaN where that is not known."""
        most = self.ceiling_within.value
        return self.within_source["pearson"].value / most if most > 0 else float("nan")

    @property
    def is_noise_within(self) -> bool:
        """Whether halves of the anchors do not agree on the rows of a source, so that nothing is there to be told."""
        return self.ceiling_within.value == 0

    @property
    def verdict(self) -> str:
        """What it comes to, in two sentences: within sources, and against the mean of the source."""
        return f"{self._within_sources()} {self._against_source_mean()}".strip()

    @property
    def headline(self) -> str:
        """Whether it tells rows of one source apart, in a few words."""
        within = self.within_source["pearson"]
        if within.high < 0:
            return "Worse than useless within sources"
        if self.is_useless:
            return "Useless within sources"
        if self.is_noise_within:
            return "Not to be told within sources"
        how = next((word for r, word in _STRENGTHS if within.value < r), "Tells")
        return f"{how} rows of a source apart"

    def _within_sources(self) -> str:
        within = self.within_source["pearson"]
        if not np.isfinite(within.value):
            return f"{self.headline}: nothing varies there, so that it cannot be told whether it orders rows."
        shown = f"{self.headline}: r = {_shown(within)} within sources"
        if within.high < 0:
            return f"{shown}; it orders the rows of a source the wrong way round."
        if self.is_useless:
            return f"{shown}, an interval that includes zero; it tells sources apart and not rows."
        if self.is_noise_within:
            return (
                f"{shown}, but halves of the anchors do not agree on the rows of a source, so that what is predicted "
                "there may be peculiar to these anchors; score on more."
            )
        if self.share_of_ceiling > 1:
            return f"{shown}, above the ceiling of {self.ceiling_within.value:.2f}: part is peculiar to these anchors."
        share = f", {self.share_of_ceiling:.0%} of the ceiling" if np.isfinite(self.share_of_ceiling) else ""
        return f"{shown}{share}."

    def _against_source_mean(self) -> str:
        more, mean = self.over_source_mean, self.source_mean.value
        if not np.isfinite(more.value):
            return ""
        overall = f"r = {_shown(self.overall['pearson'])} overall"
        if more.includes_zero:
            return f"It does not beat the mean of the source: {overall}, where that alone gives {mean:.2f}."
        if more.high < 0:
            return f"It is worse than the mean of the source: {overall}, where that alone gives {mean:.2f}."
        return f"It beats the mean of the source, which alone gives {mean:.2f}: {overall}, {_shown(more)} more."

    def summary(self) -> dict[str, Any]:
        """The numbers that are quoted; None where one is not defined."""
        pearson, within = self.overall["pearson"], self.within_source["pearson"]
        numbers = {
            "pearson": pearson.value,
            "pearson_low": pearson.low,
            "pearson_high": pearson.high,
            "spearman": self.overall["spearman"].value,
            "within_source": within.value,
            "within_low": within.low,
            "within_high": within.high,
            "source_mean": self.source_mean.value,
            "ceiling": self.ceiling.value,
            "ceiling_within": self.ceiling_within.value,
        }
        plain = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
        return plain | {"verdict": self.verdict, "n_rows": self.n_rows}


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]".replace("-", "−")

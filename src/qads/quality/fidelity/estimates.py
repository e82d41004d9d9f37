"""A number with its interval, from bootstrap samples of clusters of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import BeforeValidator

from qads.kernels.agreement import cluster_weights
from qads.kernels.percentiles import expanded_percentiles
from qads.kernels.shares import wilson_interval

__all__ = ["CONFIDENCE", "UNDEFINED", "Estimate", "Number", "Samples"]

CONFIDENCE = 0.95
_BLOCK = 200
"""Bootstrap samples that are computed at once."""
_FEWEST_CLUSTERS = 5
"""Clusters below which a fold is drawn from together with others."""
Number = Annotated[float, BeforeValidator(lambda value: float("nan") if value is None else value)]
"""A number; NaN where there is none, which JSON has as null."""
Statistic = Callable[[Float[np.ndarray, "b n"]], Float[np.ndarray, " b"]]
"""Weights of the rows -> a value for every sample."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where it is not defined."""

    value: Number
    low: Number
    high: Number

    @property
    def includes_zero(self) -> bool:
        """Whether the interval holds 0, or there is none."""
        return not (self.low > 0 or self.high < 0)


UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Samples:
    """Bootstrap samples of rows, by cluster inside each fold; the same for every statistic, so that they compare.

    Folds of few clusters are drawn from together: one that is drawn from alone is always itself, which would look like
    certainty.
    """

    folds: Int[np.ndarray, " n"]
    clusters: Int[np.ndarray, " n"]
    n_samples: int
    seed: int

    @cached_property
    def _weights(self) -> Float[np.ndarray, "b n"]:
        return cluster_weights(_joined(self.folds, self.clusters), self.clusters, self.n_samples, self.seed)

    def estimate(self, statistic: Statistic, rows: Bool[np.ndarray, " n"] | None = None) -> Estimate:
        """A statistic of all rows, or of `rows`, with the expanded percentile interval of the samples."""
        n_clusters = len(np.unique(self.clusters if rows is None else self.clusters[rows]))
        value = float(statistic(np.ones((1, len(self.folds))))[0])
        found = [statistic(self._weights[i : i + _BLOCK]) for i in range(0, self.n_samples, _BLOCK)]
        return Estimate(value, *expanded_percentiles(value, np.concatenate(found), CONFIDENCE, strata=[[n_clusters]]))

    def mean(self, values: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"] | None = None) -> Estimate:
        """The mean of the values of all rows, or of `rows`."""
        member = np.ones(len(values)) if rows is None else rows.astype(np.float64)

        def statistic(weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
            count = weights @ member
            return np.divide(weights @ (values * member), count, out=np.full(len(count), np.nan), where=count > 0)

        return self.estimate(statistic, rows)

    def share(self, holds: Float[np.ndarray, " n"]) -> Estimate:
        """The share of rows for which something holds (1, else 0).

        Where that is all or none, which no sample changes, the interval is Wilson's (1927) for as many clusters.
        """
        found = self.mean(holds)
        if 0 < found.value < 1:
            return found
        n = len(np.unique(self.clusters))
        return Estimate(found.value, *wilson_interval(round(found.value * n), n, CONFIDENCE))


def _joined(folds: Int[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The folds, those of few clusters joined with each other and then with the smallest that is left."""
    sizes = {int(fold): len(np.unique(clusters[folds == fold])) for fold in np.unique(folds)}
    joined = np.array(folds)
    while len(sizes) > 1 and min(sizes.values()) < _FEWEST_CLUSTERS:
        least, other = sorted(sizes, key=lambda fold: (sizes[fold], fold))[:2]
        joined[joined == other] = least
        sizes[least] += sizes.pop(other)
    return joined

"""How well predicted quality agrees with the real one, on rows that took no part in fitting or choosing.

A pooled correlation flatters: sources differ so much that each row's source mean alone correlates highly with quality.
So every number is given twice, over all rows and *within* sources (both sides less their mean over the source), beside
what the source mean alone reaches, and beside the most that any predictor can reach.

That most comes from the finite number of anchors. Quality is a mean over m anchors; with its reliability ρ over anchors
(split-half correlation over random halves, corrected to full length by Spearman 1910 and Brown 1910: ρ = 2r / (1 + r)),
a predictor that knew the quality on infinitely many anchors would correlate with the measured one at √ρ:
`noise_ceiling`. A scorer fitted on the same anchors may exceed it, since it may learn what is peculiar to them.

Where predictions come from several folds, each with its own model, a statistic is computed in every fold and averaged,
weighted by rows: the other folds' mean falls when the held-out rows are high, which pooled over folds makes a negative
correlation where there is nothing to predict. Intervals are 95% percentile bootstrap over clusters of near duplicates
inside each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from qads.errors import AlignmentError, InputError

__all__ = ["Bin", "Estimate", "Fidelity", "fidelity", "noise_ceiling"]

_BINS = 10
_HALVINGS = 200
Floats = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    @property
    def includes_zero(self) -> bool:
        """Whether the interval holds 0, or there is none."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Bin:
    """Rows of similar prediction: what was said of them, and what was so."""

    n_rows: int
    predicted: float
    real: float


@dataclass(frozen=True)
class Fidelity:
    """Agreement of predicted with real quality."""

    n_rows: int
    n_clusters: int
    overall: Mapping[str, Estimate]
    """``pearson``, ``spearman``, ``kendall``, ``top_10`` and ``top_25`` (share of the really best that is among the
    predicted best)."""
    within_source: Mapping[str, Estimate]
    """The same after the mean of the source was taken from both sides."""
    by_source: Mapping[str, Estimate]
    """Pearson's r inside every source."""
    source_mean: Estimate | None
    """Pearson's r of predicting a row by its source's mean; None with one source or without that prediction."""
    ceiling: float
    """Most that Pearson's r can be, overall; NaN without the influence on single anchors."""
    ceiling_within: float
    """The same within sources."""
    slope: float
    """Of real on predicted quality: 1 where the scale is right."""
    bias: float
    """Mean of predicted less real quality."""
    mean_absolute_error: float
    error_by_length: tuple[tuple[int, int, float], ...]
    """Least and greatest length of a fifth of the rows, and its mean absolute error."""
    calibration: tuple[Bin, ...]
    """Tenths of the rows by prediction."""
    covered: float
    """Share of rows whose real quality lies in its predictive interval; NaN without intervals."""

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        within = self.within_source["pearson"]
        shown = f"r = {within.value:.2f} [{within.low:.2f}, {within.high:.2f}] within sources"
        if within.includes_zero:
            return f"Useless within sources: {shown}; it tells sources apart and not rows."
        if np.isfinite(self.ceiling_within) and self.ceiling_within > 0:
            return f"Tells rows of a source apart: {shown}, {within.value / self.ceiling_within:.0%} of the ceiling."
        return f"Tells rows of a source apart: {shown}."


def fidelity(
    real: Floats,
    predicted: Floats,
    *,
    sources: Int[np.ndarray, " n"],
    names: tuple[str, ...],
    clusters: Int[np.ndarray, " n"] | None = None,
    folds: Int[np.ndarray, " n"] | None = None,
    by_source_mean: Floats | None = None,
    terms: Float[np.ndarray, "n m"] | None = None,
    lengths: Int[np.ndarray, " n"] | None = None,
    interval: Float[np.ndarray, "n 2"] | None = None,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> Fidelity:
    """Compare predicted with real quality.

    Args:
        real: measured quality, nats a token; no NaN.
        predicted: by a scorer that did not see these rows.
        sources: the source of every row as a position in `names`.
        names: of the sources.
        clusters: near duplicates have one number; every row its own by default.
        folds: the fold whose model predicted the row; one fold by default. No cluster may lie in two.
        by_source_mean: what the mean of the row's source, over the rows fitted on, predicts.
        terms: what quality is the mean of, on every anchor: for the noise ceiling.
        lengths: of the rows, in tokens or characters: for the error by length.
        interval: predictive interval of every row.
        n_bootstraps: bootstrap samples of an interval.
        seed: of bootstrap and halvings.

    Raises:
        AlignmentError: the lengths differ.
        InputError: fewer than 10 rows, or a value that is not finite.
    """
    n = len(real)
    given = [predicted, sources, clusters, folds, by_source_mean, terms, lengths, interval]
    if any(len(array) != n for array in given if array is not None):
        raise AlignmentError("fidelity: its arrays have different lengths; all must describe the same rows.")
    if n < 10 or not (np.isfinite(real).all() and np.isfinite(predicted).all()):
        raise InputError(f"fidelity: {n} rows; it needs 10 at least, each with a real and a predicted quality.")
    clusters = np.arange(n) if clusters is None else clusters
    folds = np.zeros(n, np.int64) if folds is None else folds
    cells = np.unique(np.column_stack([folds, sources]), axis=0, return_inverse=True)[1].reshape(-1)
    draws = _Draws(folds, clusters, n_bootstraps, seed)
    slope = _slope(_less_means(predicted, folds), _less_means(real, folds))
    return Fidelity(
        n_rows=n,
        n_clusters=len(np.unique(clusters)),
        overall={name: draws.estimate(f, real, predicted) for name, f in _STATISTICS.items()},
        within_source={
            name: draws.estimate(f, _less_means(real, cells), _less_means(predicted, cells))
            for name, f in _STATISTICS.items()
        },
        by_source={
            name: _Draws(folds[own], clusters[own], n_bootstraps, seed).estimate(_pearson, real[own], predicted[own])
            for code, name in enumerate(names)
            if (own := sources == code).sum() >= 3
        },
        source_mean=None
        if by_source_mean is None or len(np.unique(sources)) < 2
        else draws.estimate(_pearson, real, by_source_mean),
        ceiling=noise_ceiling(terms, folds, seed=seed) if terms is not None else float("nan"),
        ceiling_within=noise_ceiling(terms, cells, seed=seed) if terms is not None else float("nan"),
        slope=slope,
        bias=float(np.mean(predicted - real)),
        mean_absolute_error=float(np.mean(np.abs(predicted - real))),
        error_by_length=() if lengths is None else _error_by_length(np.abs(predicted - real), lengths),
        calibration=_calibration(real, predicted),
        covered=float("nan")
        if interval is None
        else float(np.mean((interval[:, 0] <= real) & (real <= interval[:, 1]))),
    )


def noise_ceiling(terms: Float[np.ndarray, "n m"], cells: Int[np.ndarray, " n"], *, seed: int = 0) -> float:
    """√ of the reliability of quality over anchors, after the mean of every cell is taken away; NaN if undefined.

    Args:
        terms: what quality is the mean of, on every anchor; NaN where a pair was not scored.
        cells: rows of one number are compared with each other only.
        seed: of the halvings.
    """
    generator = np.random.default_rng(seed)
    m = terms.shape[1]
    found: list[float] = []
    for _ in range(_HALVINGS if m >= 2 else 0):
        order = generator.permutation(m)
        halves = [_row_means(terms[:, part]) for part in (order[: m // 2], order[m // 2 : m // 2 * 2])]
        both = np.isfinite(halves[0]) & np.isfinite(halves[1])
        found.append(_pearson(*(_less_means(half[both], cells[both]) for half in halves)))
    half = float(np.mean([r for r in found if np.isfinite(r)])) if np.isfinite(found).any() else float("nan")
    whole = m / (m // 2) if m >= 2 else 1.0  # Brown's formula for a test `whole` times as long.
    reliability = whole * half / (1 + (whole - 1) * half)
    return float(np.sqrt(max(0.0, reliability))) if np.isfinite(reliability) else float("nan")


class _Draws:
    """Bootstrap samples of rows, by cluster inside each fold; the same for every statistic, so that they compare."""

    def __init__(
        self, folds: Int[np.ndarray, " n"], clusters: Int[np.ndarray, " n"], n_bootstraps: int, seed: int
    ) -> None:
        self._rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        generator = np.random.default_rng(seed)
        self._samples = [
            [_drawn(members, generator) for members in map(lambda rows: _members(rows, clusters), self._rows)]
            for _ in range(n_bootstraps)
        ]

    def estimate(self, statistic: Callable[[Floats, Floats], float], real: Floats, predicted: Floats) -> Estimate:
        value = self._over_folds(statistic, self._rows, real, predicted)
        found = [self._over_folds(statistic, rows, real, predicted) for rows in self._samples]
        finite = [each for each in found if np.isfinite(each)]
        low, high = np.percentile(finite, [2.5, 97.5]) if finite else (np.nan, np.nan)
        return Estimate(value, float(low), float(high))

    @staticmethod
    def _over_folds(
        statistic: Callable[[Floats, Floats], float],
        rows: list[Int[np.ndarray, " _"]],
        real: Floats,
        predicted: Floats,
    ) -> float:
        pairs = [(statistic(real[part], predicted[part]), len(part)) for part in rows]
        defined = [(value, weight) for value, weight in pairs if np.isfinite(value)]
        if not defined:
            return float("nan")
        return float(np.average([value for value, _ in defined], weights=[weight for _, weight in defined]))


def _members(rows: Int[np.ndarray, " r"], clusters: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " _"]]:
    order = rows[np.argsort(clusters[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def _drawn(members: list[Int[np.ndarray, " _"]], generator: np.random.Generator) -> Int[np.ndarray, " r"]:
    return np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])


def _pearson(real: Floats, predicted: Floats) -> float:
    parts: list[Floats] = []
    for values in (real, predicted):
        centred = values - values.mean()
        length = float(np.sqrt(centred @ centred))
        if length <= 1e-12 * float(np.abs(values).max(initial=0)) * len(values) or length == 0:
            return float("nan")  # What is left of a constant is rounding.
        parts.append(centred / length)
    return float(parts[0] @ parts[1])


def _spearman(real: Floats, predicted: Floats) -> float:
    return _pearson(stats.rankdata(real), stats.rankdata(predicted))


def _kendall(real: Floats, predicted: Floats) -> float:
    if np.ptp(real) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(cast(Any, stats.kendalltau(real, predicted)).statistic)


def _top(share: float) -> Callable[[Floats, Floats], float]:
    """Share of the really best that is among the predicted best; ties go to the lowest row."""

    def overlap(real: Floats, predicted: Floats) -> float:
        k = max(1, round(share * len(real)))
        best = [set(np.argsort(-values, kind="stable")[:k].tolist()) for values in (real, predicted)]
        return len(best[0] & best[1]) / k

    return overlap


_STATISTICS: dict[str, Callable[[Floats, Floats], float]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "kendall": _kendall,
    "top_10": _top(0.1),
    "top_25": _top(0.25),
}


def _less_means(values: Floats, cells: Int[np.ndarray, " n"]) -> Floats:
    codes = np.unique(cells, return_inverse=True)[1].reshape(-1)
    return values - (np.bincount(codes, weights=values) / np.bincount(codes))[codes]


def _row_means(terms: Float[np.ndarray, "n m"]) -> Floats:
    known = np.isfinite(terms)
    with np.errstate(invalid="ignore"):
        return np.where(known, terms, 0.0).sum(axis=1) / known.sum(axis=1)


def _slope(predicted: Floats, real: Floats) -> float:
    spread = float(predicted @ predicted)
    return float(predicted @ real) / spread if spread > 0 else float("nan")


def _calibration(real: Floats, predicted: Floats) -> tuple[Bin, ...]:
    parts = np.array_split(np.argsort(predicted, kind="stable"), _BINS)
    return tuple(Bin(len(part), float(predicted[part].mean()), float(real[part].mean())) for part in parts if len(part))


def _error_by_length(errors: Floats, lengths: Int[np.ndarray, " n"]) -> tuple[tuple[int, int, float], ...]:
    parts = np.array_split(np.argsort(lengths, kind="stable"), 5)
    return tuple((int(lengths[p].min()), int(lengths[p].max()), float(errors[p].mean())) for p in parts if len(p))

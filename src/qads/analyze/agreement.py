"""Whether two models value the same rows.

Sources differ so much that all rows taken together agree even where two models order the rows inside a source by
chance; so the correlation within sources stands beside it. A bound on what it can be is how well each model's quality
is known: its *reliability*, the correlation within sources of the quality on two halves of the anchors, stepped up to
all of them (Spearman 1910 and Brown 1910: 2r / (1 + r)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.analyze.resampling import Draw, Interval, draws, interval_of
from qads.analyze.scores import RowScores
from qads.kernels import reliability as kernel
from qads.kernels.correlation import centred, mean_ranks, pearson

__all__ = ["ModelAgreement", "compare_models", "reliability"]

_HALVES = 20
Values = Float[np.ndarray, " k"]
Codes = Int[np.ndarray, " k"]


@dataclass(frozen=True)
class ModelAgreement:
    """Correlations of one model's quality with another's, over the rows that both scored."""

    first: str
    second: str
    n_rows: int
    n_sources: int
    pearson: Interval
    spearman: Interval
    within_pearson: Interval
    """After the mean of every source is taken from both."""
    within_spearman: Interval
    """Of ranks inside the sources."""
    source_pearson: Interval
    """Of the sources' means."""
    source_spearman: Interval


def compare_models(
    first: RowScores, second: RowScores, source_of: Int[np.ndarray, " n"], *, confidence: float, n_draws: int, seed: int
) -> ModelAgreement | None:
    """How far two models agree; None where they share fewer than 10 scored rows.

    Rows are drawn again within sources; anchors too where both models were given the same ones.
    """
    rows, mine, theirs = np.intersect1d(first.rows, second.rows, return_indices=True)
    if len(rows) < 10:
        return None
    codes = np.unique(source_of[rows], return_inverse=True)[1]
    same = bool(first.anchors) and (first.anchors, first.groups) == (second.anchors, second.groups)
    common = (first.take(mine), second.take(theirs))

    def correlations(draw: Draw) -> list[float]:
        a, b = (s.means(draw.anchors if same else np.ones(len(s.groups)))[draw.rows] for s in common)
        known = np.isfinite(a) & np.isfinite(b)
        return [measure(a[known], b[known], codes[draw.rows][known]) for measure in _MEASURES.values()]

    value = correlations(Draw(np.arange(len(rows)), np.ones(len(first.groups))))
    found = np.array([correlations(draw) for draw in draws(codes, first.groups, n_draws, seed, anchors=same)])
    intervals = {
        name: interval_of(value[i], found[:, i], confidence) for i, name in enumerate(_MEASURES)
    }  # fmt: skip
    return ModelAgreement(first.model, second.model, len(rows), int(codes.max()) + 1, **intervals)


def reliability(scores: RowScores, source_of: Int[np.ndarray, " n"], seed: int) -> float | None:
    """How well the order of rows inside sources is known: 1 is perfectly, 0 not at all.

    None with one anchor, and where a rule left pairs out: halves of the anchors would be others for each row. From 20
    random halvings of the anchors, each within their groups (`kernels/reliability.py`).
    """
    if len(scores.groups) < 2 or scores.pending is not None:
        return None
    codes = np.unique(source_of[scores.rows], return_inverse=True)[1]
    found = kernel.reliability(scores.terms, codes, kernel.halvings(scores.groups, _HALVES, seed))
    return max(0.0, found) if np.isfinite(found) else None


def _pearson(a: Values, b: Values, codes: Codes) -> float:
    return pearson(a, b) if len(a) else float("nan")


def _spearman(a: Values, b: Values, codes: Codes) -> float:
    return _pearson(mean_ranks(a), mean_ranks(b), codes)


def _within_pearson(a: Values, b: Values, codes: Codes) -> float:
    return _pearson(centred(a, codes), centred(b, codes), codes)


def _within_spearman(a: Values, b: Values, codes: Codes) -> float:
    return _within_pearson(_ranks_inside(a, codes), _ranks_inside(b, codes), codes)


def _source_pearson(a: Values, b: Values, codes: Codes) -> float:
    return _of_means(a, b, codes, _pearson)


def _source_spearman(a: Values, b: Values, codes: Codes) -> float:
    return _of_means(a, b, codes, _spearman)


def _of_means(a: Values, b: Values, codes: Codes, measure: Callable[[Values, Values, Codes], float]) -> float:
    present, inverse = np.unique(codes, return_inverse=True)
    counts = np.bincount(inverse)
    first, second = (np.bincount(inverse, weights=values) / counts for values in (a, b))
    return measure(first, second, present) if len(present) > 2 else float("nan")


def _ranks_inside(values: Values, codes: Codes) -> Values:
    """Ranks among the rows of the same source, from 0 to 1."""
    ranks = np.empty(len(values))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        ranks[rows] = mean_ranks(values[rows]) / len(rows)
    return ranks


_MEASURES: dict[str, Callable[[Values, Values, Codes], float]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "within_pearson": _within_pearson,
    "within_spearman": _within_spearman,
    "source_pearson": _source_pearson,
    "source_spearman": _source_spearman,
}

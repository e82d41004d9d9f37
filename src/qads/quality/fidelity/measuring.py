"""How well predicted quality agrees with the real one, on rows that took no part in fitting or choosing.

A pooled correlation flatters: sources differ so much that each row's source mean alone correlates highly with quality.
So every number is given twice, over all rows and *within* sources, beside what the source mean alone reaches, and
beside the most that any predictor can reach (`ceiling.py`).

Where predictions come from several folds, each with its own model, rows are compared inside their fold only: the other
folds' mean falls when the held-out rows are high, which pooled over folds makes a negative correlation where there is
nothing to predict. "Within sources" therefore compares rows of one source in one fold. Intervals are 95%, from
bootstrap samples of clusters of near duplicates inside each fold, in which every mean and rank is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from qads.errors import AlignmentError, InputError
from qads.kernels.agreement import cell_kendall, cell_pearson, cell_spearman, less_cell_means, top_overlap
from qads.quality.fidelity.ceiling import noise_ceiling
from qads.quality.fidelity.estimates import UNDEFINED, Estimate, Samples
from qads.quality.fidelity.held_out import HeldOut
from qads.quality.fidelity.verdicts import Bin, Fidelity, LengthBand, SourceFidelity

# Its matrix products are small: a second thread of the linear algebra costs more than it brings.

__all__ = ["Advantage", "compare_predictions", "fidelity"]

_LEAST_ROWS = 10
"""Of all rows, and of a source for a correlation inside it."""
_BINS, _BANDS = 10, 5
Floats = Float[np.ndarray, " n"]
Codes = Int[np.ndarray, " n"]
Weights = Float[np.ndarray, "b n"]


@dataclass(frozen=True)
class Advantage:
    """Pearson's r of one prediction less that of another, on the same rows and in the same bootstrap samples."""

    overall: Estimate
    within_source: Estimate


@dataclass(frozen=True, eq=False)
class _Rows:
    """Judged rows, with who is compared with whom."""

    real: Floats
    predicted: Floats
    folds: Codes
    sources: Codes
    names: tuple[str, ...]
    clusters: Codes

    @property
    def cells(self) -> Codes:
        """Rows of one source in one fold have one number."""
        return self.folds * len(self.names) + self.sources


@threadpool_limits.wrap(1, user_api="blas")
def fidelity(
    held_out: HeldOut,
    *,
    terms: Float[np.ndarray, "n m"] | None = None,
    anchor_groups: Sequence[str] | None = None,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> Fidelity:
    """Compare predicted with real quality.

    Args:
        held_out: the rows; those without a prediction are left out and counted.
        terms: what the real quality of every row is the mean of, on every anchor: for the noise ceiling.
        anchor_groups: source of every anchor.
        n_bootstraps: bootstrap samples of an interval.
        seed: of bootstrap and halvings.

    Raises:
        AlignmentError: `terms` has not a row for each of `held_out`.
        InputError: fewer than 10 rows are judged, or near duplicates lie in two folds.

    >>> import numpy as np
    >>> real = np.arange(20.0)
    >>> found = fidelity(HeldOut(source=("a", "b") * 10, real=real, predicted=real + 1), n_bootstraps=50)
    >>> found.overall["pearson"].value, found.bias.value
    (1.0, 1.0)
    """
    if terms is not None and len(terms) != len(held_out):
        raise AlignmentError(
            f"fidelity: terms of {len(terms)} rows for {len(held_out)} held-out rows; they must match."
        )
    kept = np.flatnonzero(held_out.is_judged)
    judged = held_out.take(kept)
    rows = _rows(judged)
    samples = Samples(rows.folds, rows.clusters, n_bootstraps, seed)
    ceiling = UNDEFINED, UNDEFINED
    if terms is not None:
        ceiling = tuple(
            noise_ceiling(terms[kept], cells, anchor_groups=anchor_groups, clusters=rows.clusters, seed=seed)
            for cells in (rows.folds, rows.cells)
        )
    return Fidelity(
        n_rows=len(kept),
        n_fitted_only=len(held_out) - len(kept),
        n_clusters=len(np.unique(rows.clusters)),
        n_folds=len(np.unique(rows.folds)),
        overall={name: samples.estimate(each) for name, each in _overall(rows, rows.predicted).items()},
        within_source={name: samples.estimate(each) for name, each in _within(rows, rows.predicted).items()},
        by_source=_by_source(rows, judged, samples),
        source_mean=_source_mean(rows, judged, samples),
        over_source_mean=_over_source_mean(rows, judged, samples),
        ceiling=ceiling[0],
        ceiling_within=ceiling[1],
        slope=samples.estimate(partial(_slope, rows)),
        bias=samples.mean(rows.predicted - rows.real),
        mean_absolute_error=samples.mean(np.abs(rows.predicted - rows.real)),
        error_by_length=_error_by_length(rows, judged, samples),
        calibration=_calibration(rows, samples),
        covered=UNDEFINED if (covered := _is_covered(judged)) is None else samples.share(covered),
    )


@threadpool_limits.wrap(1, user_api="blas")
def compare_predictions(held_out: HeldOut, rival: Floats, *, n_bootstraps: int = 1000, seed: int = 0) -> Advantage:
    """How much better the predictions of `held_out` agree with what is real than a rival's for the same rows.

    Args:
        held_out: rows that both predicted; those without either prediction are left out.
        rival: the other's prediction of every row, by models of the same folds.
        n_bootstraps: bootstrap samples.
        seed: of them.

    Returns:
        r of `held_out.predicted` less r of `rival`. A rival that does not vary within sources (such as their mean)
        counts there as r = 0.

    Raises:
        AlignmentError: `rival` has another length.
        InputError: fewer than 10 rows have both.
    """
    if len(rival) != len(held_out):
        raise AlignmentError(
            f"compare_predictions: {len(rival)} predictions of the rival for {len(held_out)} held-out rows; they must "
            "be of the same rows."
        )
    kept = np.flatnonzero(held_out.is_judged & np.isfinite(rival))
    rows = _rows(held_out.take(kept))
    samples = Samples(rows.folds, rows.clusters, n_bootstraps, seed)

    def difference(cells: Codes) -> Estimate:
        return samples.estimate(partial(_difference, rows, rival[kept], cells))

    return Advantage(difference(rows.folds), difference(rows.cells))


def _difference(rows: _Rows, rival: Floats, cells: Codes, weights: Weights) -> Float[np.ndarray, " b"]:
    mine, theirs = (cell_pearson(rows.real[None], x[None], cells, weights) for x in (rows.predicted, rival))
    return mine - np.nan_to_num(theirs)


def _rows(judged: HeldOut) -> _Rows:
    n = len(judged)
    if n < _LEAST_ROWS:
        raise InputError(
            f"fidelity: {n} rows have both a real and a predicted quality; it takes {_LEAST_ROWS} at least. Label more."
        )
    names, sources = np.unique(np.array(judged.source, dtype=object).astype(str), return_inverse=True)
    folds = np.zeros(n, np.int64) if judged.fold is None else np.unique(judged.fold, return_inverse=True)[1]
    clusters = np.arange(n) if judged.cluster is None else judged.cluster
    pairs = np.unique(np.column_stack([clusters, folds.reshape(-1)]), axis=0)
    repeated = pairs[1:][np.diff(pairs[:, 0]) == 0]
    if len(repeated):
        raise InputError(
            f"fidelity: cluster {repeated[0, 0]} lies in several folds, so that a model was judged on near duplicates "
            "of rows that it was fitted on. Make folds of whole clusters."
        )
    return _Rows(judged.real, judged.predicted, folds.reshape(-1), sources.reshape(-1), tuple(names.tolist()), clusters)


Statistics = dict[str, Callable[[Weights], Float[np.ndarray, " b"]]]


def _overall(rows: _Rows, predicted: Floats) -> Statistics:
    pair = rows.real[None], predicted[None]
    return {
        "pearson": lambda w: cell_pearson(*pair, rows.folds, w),
        "spearman": lambda w: cell_spearman(*pair, rows.folds, w),
        "kendall": lambda w: cell_kendall(*pair, rows.folds, w),
        "top_10": lambda w: top_overlap(*pair, rows.folds, w, share=0.1),
        "top_25": lambda w: top_overlap(*pair, rows.folds, w, share=0.25),
    }


def _within(rows: _Rows, predicted: Floats) -> Statistics:
    """The same between rows of one source.

    Ranks are those inside the source, and the top is that of all rows, of what is left when the mean of the cell was
    taken away once: cells of a dozen rows are too small to rank in, or to take the mean of in every sample anew.
    """
    pair = rows.real[None], predicted[None]
    once = np.ones((1, len(rows.real)))
    apart = less_cell_means(pair[0], rows.cells, once), less_cell_means(pair[1], rows.cells, once)
    return {
        "pearson": lambda w: cell_pearson(*pair, rows.cells, w),
        "spearman": lambda w: cell_spearman(*apart, rows.sources, w),
        "kendall": lambda w: cell_kendall(*pair, rows.cells, w),
        "top_10": lambda w: top_overlap(*apart, rows.folds, w, share=0.1),
        "top_25": lambda w: top_overlap(*apart, rows.folds, w, share=0.25),
    }


def _by_source(rows: _Rows, judged: HeldOut, samples: Samples) -> dict[str, SourceFidelity]:
    covered = _is_covered(judged)

    def inside(own: Codes) -> Callable[[Weights], Float[np.ndarray, " b"]]:
        return lambda w: cell_pearson(rows.real[None, own], rows.predicted[None, own], rows.folds[own], w[:, own])

    found: dict[str, SourceFidelity] = {}
    for code, name in enumerate(rows.names):
        member = rows.sources == code
        own = np.flatnonzero(member)
        found[name] = SourceFidelity(
            n_rows=len(own),
            n_clusters=len(np.unique(rows.clusters[own])),
            pearson=samples.estimate(inside(own), member) if len(own) >= _LEAST_ROWS else UNDEFINED,
            real=float(rows.real[own].mean()),
            predicted=float(rows.predicted[own].mean()),
            absolute_error=float(np.abs(rows.predicted[own] - rows.real[own]).mean()),
            covered=float("nan") if covered is None else float(covered[own].mean()),
        )
    return found


def _source_mean(rows: _Rows, judged: HeldOut, samples: Samples) -> Estimate:
    if judged.source_mean is None or len(rows.names) < 2 or not np.isfinite(judged.source_mean).all():
        return UNDEFINED
    return samples.estimate(_overall(rows, judged.source_mean)["pearson"])


def _over_source_mean(rows: _Rows, judged: HeldOut, samples: Samples) -> Estimate:
    if judged.source_mean is None or len(rows.names) < 2 or not np.isfinite(judged.source_mean).all():
        return UNDEFINED
    return samples.estimate(partial(_difference, rows, judged.source_mean, rows.folds))


def _slope(rows: _Rows, weights: Weights) -> Float[np.ndarray, " b"]:
    """Of real on predicted quality, inside folds."""
    across, up = (less_cell_means(x[None], rows.folds, weights) for x in (rows.predicted, rows.real))
    spread = np.einsum("bn,bn,bn->b", weights, across, across)
    rise = np.einsum("bn,bn,bn->b", weights, across, up)
    return np.divide(rise, spread, out=np.full(len(spread), np.nan), where=spread > 0)


def _calibration(rows: _Rows, samples: Samples) -> tuple[Bin, ...]:
    """Tenths of the rows by prediction."""
    found: list[Bin] = []
    for part in np.array_split(np.argsort(rows.predicted, kind="stable"), _BINS):
        member = np.isin(np.arange(len(rows.real)), part)
        found.append(Bin(len(part), float(rows.predicted[part].mean()), samples.mean(rows.real, member)))
    return tuple(found)


def _error_by_length(rows: _Rows, judged: HeldOut, samples: Samples) -> tuple[LengthBand, ...]:
    """Fifths of the rows by length."""
    if judged.length is None:
        return ()
    error, found = rows.predicted - rows.real, list[LengthBand]()
    for part in np.array_split(np.argsort(judged.length, kind="stable"), _BANDS):
        member = np.isin(np.arange(len(error)), part)
        shortest, longest = int(judged.length[part].min()), int(judged.length[part].max())
        found.append(
            LengthBand(len(part), shortest, longest, samples.mean(np.abs(error), member), samples.mean(error, member))
        )
    return tuple(found)


def _is_covered(judged: HeldOut) -> Floats | None:
    """1 where the real quality lies in the predictive interval, 0 where not; None without intervals."""
    if judged.low is None or judged.high is None or np.isnan([judged.low, judged.high]).any():
        return None
    return ((judged.low <= judged.real) & (judged.real <= judged.high)).astype(np.float64)

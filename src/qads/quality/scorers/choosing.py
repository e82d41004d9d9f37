"""Choose a regressor by the error that it makes on rows that it was not fitted on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from qads.quality.scorers.regressors import (
    Boosted,
    Candidate,
    Family,
    candidates_of,
    drawn,
    dual_of,
    kernel_matrix,
    median_distance,
)

__all__ = ["choose"]

_FEWEST_FOR_TREES = 100
"""Rows below which trees are not tried beside others: they never won, and cost most of the time."""
_UNCHOSEN = Candidate("ridge", 0.1)
"""Serves where there is nothing to choose by."""


def choose(
    x: Float[np.ndarray, "n p"], y: Float[np.ndarray, " n"], fold: Int[np.ndarray, " n"], families: tuple[Family, ...]
) -> tuple[Candidate, Candidate]:
    """The candidate of least mean squared error over the folds, and the best that has a kernel.

    Ties go to the candidate named first. Of many rows a part is enough to choose by (`MOST_ROWS`): what fits, the noise
    and the reach of a kernel, does not change with their number.
    """
    rows = drawn(len(x))
    x, y, fold = x[rows], y[rows], fold[rows]
    if len(x) < _FEWEST_FOR_TREES and families != ("boosting",):
        families = tuple(family for family in families if family != "boosting")
    candidates = candidates_of(families)
    kernels = [candidate for candidate in candidates if candidate.family != "boosting"] or candidates_of(("kernel",))
    if len(np.unique(fold)) < 2:
        return (candidates[0] if len(candidates) == 1 else _UNCHOSEN), _UNCHOSEN
    errors = _kernel_errors(x, y, fold, kernels)
    best_kernel = min(kernels, key=lambda candidate: errors[candidate])
    if "boosting" in families:
        errors[Candidate("boosting")] = _boosting_error(x, y, fold)
    return min(candidates, key=lambda candidate: errors[candidate]), best_kernel


def _kernel_errors(
    x: Float[np.ndarray, "n p"], y: Float[np.ndarray, " n"], fold: Int[np.ndarray, " n"], candidates: list[Candidate]
) -> dict[Candidate, float]:
    """Mean squared error of every candidate; the matrix of a kernel is made once for all its penalties."""
    scale, errors = median_distance(x), dict[Candidate, float]()
    kernels: dict[tuple[Family, float], None] = dict.fromkeys((each.family, each.gamma) for each in candidates)
    for family, gamma in kernels:
        gram = kernel_matrix(x, x, Candidate(family, gamma=gamma), scale)
        unit = float(np.trace(gram)) / len(x)
        for candidate in candidates:
            if (candidate.family, candidate.gamma) != (family, gamma):
                continue
            said = np.empty(len(y))
            for number in np.unique(fold):
                rest, held = fold != number, fold == number
                centre = y[rest].mean()
                dual = dual_of(gram[np.ix_(rest, rest)], y[rest] - centre, max(candidate.penalty * unit, 1e-9))
                said[held] = gram[np.ix_(held, rest)] @ dual + centre
            errors[candidate] = float(np.mean((said - y) ** 2))
    return errors


def _boosting_error(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, " n"], fold: Int[np.ndarray, " n"]) -> float:
    said = np.empty(len(y))
    for number in np.unique(fold):
        rest, held = fold != number, fold == number
        said[held] = Boosted.fit(x[rest], y[rest]).predict(x[held])
    return float(np.mean((said - y) ** 2))

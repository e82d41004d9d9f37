"""What a kind of model says of labelled rows that it was not fitted on, as every scorer of refitted models measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool

from qads.quality.scorers.base import Labelled
from qads.quality.scorers.calibration import Calibration, Scale
from qads.quality.scorers.validation import OutOfFold, Said, grouped_folds, learning_curve, out_of_fold_of

__all__ = ["Curve", "leave_out"]

Curve = tuple[tuple[int, OutOfFold], ...]
"""Numbers of labels, and what models fitted on so many say."""


def leave_out(
    labelled: Labelled,
    fit_and_say: Callable[[Bool[np.ndarray, " k"], Bool[np.ndarray, " k"]], Said],
    *,
    n_rows: int,
    n_folds: int,
    seed: int,
    curve: bool = False,
) -> tuple[OutOfFold | None, Calibration, Curve]:
    """Predict every fold by a model of the others, and with a curve by models of fewer labels too.

    Args:
        labelled: the rows with their quality.
        fit_and_say: given which rows to fit on and which to speak of, fits and speaks.
        n_rows: candidates, labelled or not, among which predictions are placed.
        n_folds: folds at most.
        seed: of the folds.
        curve: whether to measure with fewer labels.

    Returns:
        What is said of rows that were not fitted on, None where no row can be held out; the calibration; the curve.
    """
    real, scale = labelled.quality, Scale.of(labelled.quality)
    fold = grouped_folds(labelled.groups, n_folds, seed)
    of: Any = {
        "fold": fold, "sources": labelled.rows.strings("source"), "scale": scale, "judges": labelled.judges,
    }  # fmt: skip
    found, calibration = None, Calibration(scale)
    if len(np.unique(fold[labelled.judges])) > 1:
        found, calibration = out_of_fold_of(real, fit_and_say, **of)
        found = found.spread_out(labelled.places, n_rows)
    points = learning_curve(real, fit_and_say, groups=labelled.groups, **of) if curve else ()
    return found, calibration, tuple((n, each.spread_out(labelled.places, n_rows)) for n, each in points)

"""Predictions of rows that took no part in fitting, choosing or calibrating: nested cross-validation by groups.

Near duplicates of a row give its quality away, so a group of them lies in one fold whole. A regressor is chosen inside
the other folds alone, and what it says of a fold is calibrated by the folds beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.quality.scorers.calibration import Calibration, Scale

__all__ = [
    "OutOfFold", "Said", "cross_calibrated", "grouped_folds", "held_out_part", "learning_curve", "out_of_fold_of",
    "source_means",
]  # fmt: skip

_CURVE = (0.25, 0.5)
"""Shares of the labels at which the learning curve is measured, beside all of them."""
_FEWEST_FOR_CURVE = 100
"""Labels below which a quarter of them is too few to fit on."""
_FEWEST_IN_PART = 10
"""Labels beside a fold below which that fold is not predicted from a part; groups may be large, and few."""


@dataclass(frozen=True, eq=False)
class Said:
    """What a regressor says of rows, on the scale that it was fitted on."""

    value: Float[np.ndarray, " n"]
    spread: Float[np.ndarray, " n"]
    """How far a row is from those fitted on: 1 where it is not, more elsewhere."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What was predicted of every labelled row by a model that had not seen it; NaN where every model had."""

    predicted: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    source_mean: Float[np.ndarray, " n"]
    """What the mean of the row's source, over the rows fitted on, predicts."""
    fold: Int[np.ndarray, " n"]
    """Which model predicted it; −1 for none."""

    def spread_out(self, places: Int[np.ndarray, " k"], n_rows: int) -> OutOfFold:
        """The same among `n_rows` candidates, at `places`."""

        def placed(values: np.ndarray, missing: float) -> np.ndarray:
            found = np.full(n_rows, missing, values.dtype)
            found[places] = values
            return found

        return OutOfFold(
            predicted=placed(self.predicted, np.nan),
            low=placed(self.low, np.nan),
            high=placed(self.high, np.nan),
            source_mean=placed(self.source_mean, np.nan),
            fold=placed(self.fold, -1),
        )


def grouped_folds(groups: Int[np.ndarray, " n"], n_folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """The fold of every row, whole groups together; fewer folds where there are fewer groups."""
    n_folds = min(n_folds, len(np.unique(groups)))
    fold = np.zeros(len(groups), np.int64)
    if n_folds < 2:
        return fold
    from sklearn.model_selection import GroupKFold  # A second to load, for nothing where no scorer is fitted.

    splits = GroupKFold(n_folds, shuffle=True, random_state=seed).split(fold, groups=groups)
    for number, (_, held) in enumerate(splits):
        fold[held] = number
    return fold


def held_out_part(
    groups: Int[np.ndarray, " n"], sources: Sequence[str], real: Float[np.ndarray, " n"], *, share: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """One part to hold out where refitting for every fold is too dear: about `share` of every source, low and high.

    Groups stand in the order of their source and mean quality, and one in every 1/share of them is taken from a random
    start on: a systematic sample, which is even in both, and to which each group belongs with the same probability.

    Args:
        groups: near duplicates have one number and are held out together.
        sources: of the rows; a group counts to that of its first row.
        real: measured quality.
        share: of the rows, above 0 and below 1.
        seed: of the start.

    Returns:
        Which rows are held out.
    """
    _, first, group, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((np.bincount(group, real) / size, np.array(sources)[first]))
    steps = np.arange(len(size) + 1) * share + np.random.default_rng(seed).random()
    taken = np.zeros(len(size), np.bool_)
    taken[order] = np.diff(np.floor(steps)) > 0
    return taken[group]


def out_of_fold_of(
    real: Float[np.ndarray, " n"],
    fit_and_say: Callable[[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]], Said],
    *,
    fold: Int[np.ndarray, " n"],
    sources: Sequence[str],
    scale: Scale,
    judges: Bool[np.ndarray, " n"],
) -> tuple[OutOfFold, Calibration]:
    """Predict every fold by a model of the others.

    Args:
        real: measured quality.
        fit_and_say: given which rows to fit on and which to speak of, fits and speaks.
        fold: of every row.
        sources: of the rows.
        scale: what the regressor is fitted on.
        judges: rows that are predicted and calibrated by; the others are fitted on only.

    Returns:
        The predictions, and the calibration that all of them together give.
    """
    value, spread, rows = np.zeros(len(real)), np.ones(len(real)), np.flatnonzero(judges)
    for number in np.unique(fold[rows]):
        held = fold == number
        said = fit_and_say(~held, held & judges)
        value[held & judges], spread[held & judges] = said.value, said.spread
    found, calibration = cross_calibrated(
        real[rows], Said(value[rows], spread[rows]), fold=fold[rows], sources=np.array(sources)[rows].tolist(),
        scale=scale,
    )  # fmt: skip
    return found.spread_out(rows, len(real)), calibration


def learning_curve(
    real: Float[np.ndarray, " n"],
    fit_and_say: Callable[[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]], Said],
    *,
    fold: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    sources: Sequence[str],
    scale: Scale,
    judges: Bool[np.ndarray, " n"],
) -> tuple[tuple[int, OutOfFold], ...]:
    """Predict every fold by models of a part of the other folds: how agreement grows with labels.

    Parts are random, of whole groups, and a larger one holds the smaller ones. With few labels there is no curve, and
    no point where a part has next to nothing beside some fold.

    Returns:
        Labels fitted on, in the mean over the folds, and the predictions; the fewest labels first.
    """
    if len(real) < _FEWEST_FOR_CURVE or len(np.unique(fold[judges])) < 2:
        return ()
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    place = np.random.default_rng(0).permutation(int(codes.max()) + 1)[codes] / (int(codes.max()) + 1)
    points: list[tuple[int, OutOfFold]] = []
    for share in _CURVE:
        part, counts = place < share, list[int]()
        if min(int((part & (fold != held)).sum()) for held in np.unique(fold[judges])) < _FEWEST_IN_PART:
            continue

        def fit_on_part(
            fit: Bool[np.ndarray, " n"],
            on: Bool[np.ndarray, " n"],
            part: Bool[np.ndarray, " n"] = part,
            counts: list[int] = counts,
        ) -> Said:
            counts.append(int((fit & part).sum()))
            return fit_and_say(fit & part, on)

        found, _ = out_of_fold_of(real, fit_on_part, fold=fold, sources=sources, scale=scale, judges=judges)
        points.append((round(float(np.mean(counts))), found))
    return tuple(points)


def cross_calibrated(
    real: Float[np.ndarray, " n"], said: Said, *, fold: Int[np.ndarray, " n"], sources: Sequence[str], scale: Scale
) -> tuple[OutOfFold, Calibration]:
    """Calibrate what was said of each fold by what was said of the others."""
    names = np.array(sources)

    def calibration(rows: Bool[np.ndarray, " n"]) -> Calibration:
        spread, of = said.spread[rows], names[rows].tolist()
        return Calibration.fit(scale, said.value[rows], real[rows], spread=spread, sources=of)

    predicted, bounds = np.full(len(real), np.nan), np.full((len(real), 2), np.nan)
    for number in np.unique(fold):
        held = fold == number
        other = calibration(~held)
        predicted[held] = other.real(said.value[held])
        bounds[held] = other.bounds(predicted[held], spread=said.spread[held], sources=names[held].tolist())
    by_mean = source_means(real, names, fold)
    out_of_fold = OutOfFold(predicted, bounds[:, 0], bounds[:, 1], by_mean, fold)
    return out_of_fold, calibration(np.ones(len(real), np.bool_))


def source_means(
    real: Float[np.ndarray, " n"], sources: np.ndarray, fold: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The mean of the row's source over the other folds; of all of them where it is not there."""
    found = np.empty(len(real))
    for number in np.unique(fold):
        held = fold == number
        means = {name: real[~held & (sources == name)].mean() for name in np.unique(sources[~held])}
        found[held] = [means.get(name, real[~held].mean()) for name in sources[held]]
    return found

"""Predict the quality of every row from the rows that were really scored.

Real influence costs a forward pass for every anchor; a ridge regression costs a dot product. It reads the embedding
of a row, which tells what the row is about, and indicators of its source and kind, which tell much of its style.
How well it does is measured out of fold and said next to the number that flatters: sources differ so much that each
row's source mean alone correlates highly with quality, so the correlation *within* sources is reported as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from qads.errors import AlignmentError, InputError
from qads.kernels.correlation import centred, pearson
from qads.pool import KINDS, Pool

__all__ = ["Agreement", "FittedScorer", "RidgeScorer"]

_PENALTIES = tuple(10.0**p for p in range(-2, 5))
_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Agreement:
    """Correlation of predicted with real quality, out of fold, with a 95% bootstrap interval over rows."""

    pearson: float
    pearson_low: float
    pearson_high: float
    within_source: float
    """Pearson after the mean of each source in each fold is taken from both; NaN where nothing is left to vary."""
    source_mean: float
    """Pearson of the trivial predictor, the mean of the row's source in the other folds; NaN with one source."""
    n_rows: int


@dataclass(frozen=True, eq=False)
class FittedScorer:
    """A linear predictor of quality from embedding, source and kind."""

    coefficients: Float[np.ndarray, " p"]
    """Of the embedding's dimensions, then of `groups`."""
    intercept: float
    penalty: float
    groups: tuple[str, ...]
    """Sources and kinds that were seen; a row of another source is predicted by the rest."""
    agreement: Agreement

    def predict(self, pool: Pool, embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Predicted quality of every row of `pool`, float32 [n]; memory maps are read in blocks."""
        if len(embeddings) != len(pool):
            raise AlignmentError(
                f"RidgeScorer: {len(embeddings)} embeddings for a pool of {len(pool)} rows; they must be of the same "
                "rows. Recompute: qads run … --redo embed"
            )
        blocks = [
            _features(Pool(pool.table.slice(i, 65536)), embeddings[i : i + 65536], self.groups) @ self.coefficients
            for i in range(0, len(embeddings), 65536)
        ]
        return (np.concatenate(blocks) + self.intercept).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class RidgeScorer:
    """Ridge regression on embedding, source and kind, its penalty chosen by leave-one-out error."""

    kind: Literal["ridge"] = "ridge"
    folds: int = 5
    """Folds of the cross-validation that measures the agreement."""
    seed: int = 0
    """Seed of the folds and of the bootstrap."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise InputError(f"RidgeScorer: folds is {self.folds}; cross-validation needs 2 at least.")
        if self.seed < 0:
            raise InputError(f"RidgeScorer: seed is {self.seed}; a seed is 0 or more.")

    def fit(
        self, candidates: Pool, quality: Float[np.ndarray, " k"], *, embeddings: Float[np.ndarray, "k d"]
    ) -> FittedScorer:
        """Fit on the rows that were really scored.

        Args:
            candidates: the rows.
            quality: their real quality; rows of NaN (which could not be scored) are left out.
            embeddings: their vectors.

        Raises:
            AlignmentError: the lengths differ.
            InputError: fewer than 10 rows have a quality.
        """
        if not len(embeddings) == len(quality) == len(candidates):
            raise AlignmentError(
                f"RidgeScorer: {len(candidates)} candidates, {len(embeddings)} embeddings, {len(quality)} qualities; "
                "all must describe the same rows."
            )
        scored = np.flatnonzero(np.isfinite(quality))
        if len(scored) < 10:
            lost = len(quality) - len(scored)
            why = f" ({lost} more have no quality: no anchor could score them)" if lost else ""
            raise InputError(
                f"RidgeScorer: {len(scored)} scored rows{why}; it needs 10 at least. Raise quality.sample, or "
                "give anchors whose problems are not those of the pool."
            )
        rows = candidates.take(scored)
        groups = tuple(dict.fromkeys([*(f"source {s}" for s in rows.sources), *(f"kind {k}" for k in KINDS)]))
        x, y = (
            _features(rows, np.asarray(embeddings)[scored], groups),
            np.asarray(quality, np.float64)[scored],
        )
        model: Any = RidgeCV(alphas=_PENALTIES).fit(x, y)
        agreement = self._agreement(x, y, rows.source_codes)
        return FittedScorer(
            np.asarray(model.coef_, np.float64),
            float(model.intercept_),
            float(model.alpha_),
            groups,
            agreement,
        )

    def _agreement(
        self, x: Float[np.ndarray, "k d"], y: Float[np.ndarray, " k"], codes: Int[np.ndarray, " k"]
    ) -> Agreement:
        predicted, trivial, fold = np.empty_like(y), np.empty_like(y), np.empty(len(y), np.int64)
        n_folds = min(self.folds, len(y))
        for number, (rest, held) in enumerate(KFold(n_folds, shuffle=True, random_state=self.seed).split(x)):
            fold[held] = number
            predicted[held] = RidgeCV(alphas=_PENALTIES).fit(x[rest], y[rest]).predict(x[held])
            means = {code: y[rest][codes[rest] == code].mean() for code in np.unique(codes[rest])}
            trivial[held] = [means.get(code, y[rest].mean()) for code in codes[held]]
        # The other folds' mean falls when the held-out rows are high. Left in, that alone makes a negative correlation
        # where there is nothing to predict; so both sides are centred inside each fold, and inside source and fold.
        truth, guess, by_source = (centred(values, fold) for values in (y, predicted, trivial))
        cell = codes * n_folds + fold
        within = pearson(centred(predicted, cell), centred(y, cell))
        source_mean = pearson(by_source, truth) if len(np.unique(codes)) > 1 else float("nan")
        low, high = self._interval(guess, truth)
        return Agreement(pearson(guess, truth), low, high, within, source_mean, len(y))

    def _interval(self, a: Float[np.ndarray, " k"], b: Float[np.ndarray, " k"]) -> tuple[float, float]:
        """95% bootstrap interval of Pearson's r over rows."""
        draws = np.random.default_rng(self.seed).integers(0, len(a), (_BOOTSTRAPS, len(a)))
        found = [r for draw in draws if np.isfinite(r := pearson(a[draw], b[draw]))]
        low, high = np.percentile(found, [2.5, 97.5]) if found else (np.nan, np.nan)
        return float(low), float(high)


def _features(pool: Pool, embeddings: Float[np.ndarray, "n d"], groups: tuple[str, ...]) -> Float[np.ndarray, "n p"]:
    """Embedding and indicators, both of length about 1, so that one penalty suits both."""
    position = {name: column for column, name in enumerate(groups)}
    indicators = np.zeros((len(pool), len(groups)))
    for prefix, column in (("source", "source"), ("kind", "kind")):
        found = np.array([position.get(f"{prefix} {value}", -1) for value in pool.strings(column)])
        known = np.flatnonzero(found >= 0)
        indicators[known, found[known]] = 1.0
    return np.hstack([np.asarray(embeddings, np.float64), indicators])

"""Kernel regression over the embeddings of labelled rows: the honest baseline that other scorers must beat.

    q(x) = Σ_i w_i q_i / Σ_i w_i        w_i = exp(cos(x, x_i) / h)

(Nadaraya 1964, Watson 1964), its width h chosen by cross-validation. Nothing but the embedding is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from qads.cluster import Execution
from qads.errors import InputError
from qads.pool import Pool, Progress
from qads.quality.scorers.base import FittedScorer, Labelled, MadeFor, Prediction, check_labels
from qads.quality.scorers.calibration import Calibration, Scale
from qads.quality.scorers.leaving_out import Curve, leave_out
from qads.quality.scorers.regressors import drawn
from qads.quality.scorers.validation import OutOfFold, Said

__all__ = ["FittedRetrieval", "RetrievalScorer"]

_WIDTHS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)


@dataclass(frozen=True, kw_only=True)
class RetrievalScorer:
    """Weighted mean quality of the labelled rows, the nearer ones counting more."""

    kind: Literal["retrieval"] = "retrieval"
    """Name of the method in a configuration."""
    width: float | None = None
    """How fast weight falls with cosine; None chooses it by cross-validation."""
    folds: int = 5
    """Folds of the cross-validation."""
    seed: int = 0
    """Seed of the folds."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.width is not None and not self.width > 0:
            raise InputError(f"RetrievalScorer: width is {self.width:g}; it must be above 0.")
        if self.folds < 2:
            raise InputError(f"RetrievalScorer: folds is {self.folds}; cross-validation needs 2 at least.")
        if self.seed < 0:
            raise InputError(f"RetrievalScorer: seed is {self.seed}; a seed is 0 or more.")

    def fit(
        self,
        candidates: Pool,
        quality: Float[np.ndarray, " k"],
        *,
        embeddings: Float[np.ndarray, "k d"] | None = None,
        groups: Int[np.ndarray, " k"] | None = None,
        judges: Bool[np.ndarray, " k"] | None = None,
        curve: bool = False,
        also: Float[np.ndarray, "h k"] | None = None,
        made_for: MadeFor | None = None,
        execution: Execution | None = None,
        progress: Progress | None = None,
    ) -> FittedRetrieval:
        """Fit on rows that were really scored; as `ProbeScorer.fit`, and no model runs.

        Raises:
            AlignmentError: the lengths differ.
            InputError: fewer than 10 rows have a quality, or there are no embeddings.
        """
        if embeddings is None:
            raise InputError("RetrievalScorer: it reads nothing but embeddings, and none were given: embeddings=…")
        labelled = check_labels(
            "RetrievalScorer", candidates, quality, embeddings=embeddings, groups=groups, judges=judges
        )
        assert labelled.embeddings is not None
        x, n = _unit(labelled.embeddings), len(candidates)
        whole = _Fitting(self, labelled, x)
        out_of_fold, calibration, points = whole.left_out(n, curve=curve)
        parts = [] if also is None else [dataclasses.replace(labelled, quality=each[labelled.places]) for each in also]
        others = [_Fitting(self, part, x).left_out(n)[0] for part in parts]
        return FittedRetrieval(
            method=self, support=x, values=whole.y, width=self.chosen_width(x, whole.y, labelled.groups),
            made_for=made_for or MadeFor(tuple(labelled.rows.sources)), n_labels=len(x), calibration=calibration,
            out_of_fold=out_of_fold, curve=points,
            also=tuple(each for each in others if each is not None),
        )  # fmt: skip

    def chosen_width(
        self, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
    ) -> float:
        """The width of least error when every row is predicted by those of other groups."""
        if self.width is not None:
            return self.width
        rows = drawn(len(x))  # Of many rows a part is enough to choose by.
        cosine, apart, real = x[rows] @ x.T, groups[rows][:, None] != groups, y[rows]
        if not apart.any(axis=1).all():
            return _WIDTHS[len(_WIDTHS) // 2]
        errors = [float(np.mean((_weighted_by(np.where(apart, cosine, -np.inf), y, h) - real) ** 2)) for h in _WIDTHS]
        return _WIDTHS[int(np.argmin(errors))]


@dataclass(frozen=True, eq=False)
class _Fitting:
    """Rows with a quality, ready to be held out."""

    method: RetrievalScorer
    labelled: Labelled
    x: Float[np.ndarray, "k d"]

    @property
    def scale(self) -> Scale:
        return Scale.of(self.labelled.quality)

    @property
    def y(self) -> Float[np.ndarray, " k"]:
        return self.scale.forward(self.labelled.quality)

    def _fit_and_say(self, fit: Bool[np.ndarray, " k"], on: Bool[np.ndarray, " k"]) -> Said:
        x, y = self.x, self.y
        width = self.method.chosen_width(x[fit], y[fit], self.labelled.groups[fit])
        return Said(_weighted(x[on], x[fit], y[fit], width), np.ones(int(on.sum())))

    def left_out(self, n_rows: int, *, curve: bool = False) -> tuple[OutOfFold | None, Calibration, Curve]:
        """What is said of rows that were not fitted on, among all candidates."""
        folds, seed = self.method.folds, self.method.seed
        return leave_out(self.labelled, self._fit_and_say, n_rows=n_rows, n_folds=folds, seed=seed, curve=curve)


def _unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    wide = np.asarray(x, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _weighted(
    x: Float[np.ndarray, "n d"], support: Float[np.ndarray, "k d"], values: Float[np.ndarray, " k"], width: float
) -> Float[np.ndarray, " n"]:
    return _weighted_by(x @ support.T, values, width)


def _weighted_by(
    cosine: Float[np.ndarray, "n k"], values: Float[np.ndarray, " k"], width: float
) -> Float[np.ndarray, " n"]:
    weights = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / width)
    return weights @ values / weights.sum(axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedRetrieval(FittedScorer):
    """A retrieval scorer that was fitted."""

    method: RetrievalScorer
    support: Float[np.ndarray, "k d"]
    """Embeddings of the labelled rows, of length 1."""
    values: Float[np.ndarray, " k"]
    """Their quality, on the scale of the calibration."""
    width: float

    kind: ClassVar[str] = "retrieval"

    @property
    def reads_embeddings(self) -> bool:
        """It reads nothing else."""
        return True

    @property
    def described(self) -> dict[str, Any]:
        """Settings, and the width that was chosen."""
        return {"kind": "retrieval", "chosen": f"width {self.width:g}", "labels": self.n_labels}

    def reader_now(self, execution: Execution) -> dict[str, Any]:
        """No model reads the rows."""
        return {}

    def opened(self, execution: Execution) -> Callable[[Pool, Float[np.ndarray, "n d"] | None], Prediction]:
        """Ready to predict rows."""

        @threadpool_limits.wrap(1, user_api="blas")  # Of several threads it would depend on how many there are.
        def predict(pool: Pool, embeddings: Float[np.ndarray, "n d"] | None) -> Prediction:
            assert embeddings is not None
            said = _weighted(_unit(embeddings), self.support, self.values, self.width)
            quality = self.calibration.real(said)
            bounds = self.calibration.bounds(quality, spread=np.ones(len(said)), sources=pool.strings("source"))
            low, high = bounds.astype(np.float32).T
            return Prediction(quality.astype(np.float32), low, high)

        return predict

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a folder keeps of it."""
        numbers = {"method": dataclasses.asdict(self.method), "width": self.width}
        return numbers, {"support": self.support, "values": self.values}

    @classmethod
    def load(
        cls, method: RetrievalScorer, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, folder: Path,
        **common: Any,
    ) -> FittedRetrieval:  # fmt: skip
        """What `contents` gave; nothing else lies in its folder."""
        return cls(method=method, support=arrays["support"], values=arrays["values"], width=numbers["width"], **common)

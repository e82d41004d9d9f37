"""Regressors behind a probe, kept as arrays: kernel ridge, and trees that scikit-learn has boosted.

    linear      k(x, y) = x·y                         ridge regression, solved in the rows
    gaussian    k(x, y) = exp(−γ |x − y|² / s)        s: median squared distance of the rows fitted on
    boosting    trees on the first principal components of the features

A kernel also says how far a row is from those it was fitted on: the variance v(x) = k(x, x) − k(x)ᵀ (K + λ)⁻¹ k(x) of
the Gaussian process that kernel ridge is the mean of (Rasmussen and Williams 2006, 2.26). √(v + λ) is the `spread`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import linalg
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor

from qads.kernels.trees import Trees

__all__ = [
    "Boosted", "Candidate", "Family", "KernelMachine", "candidates_of", "dual_of", "kernel_matrix", "median_distance",
]  # fmt: skip

Family = Literal["ridge", "kernel", "boosting"]
_PENALTIES = {"ridge": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "kernel": (0.01, 0.03, 0.1, 0.3, 1.0)}
_GAMMAS = (0.3, 1.0)
_COMPONENTS = 48


@dataclass(frozen=True)
class Candidate:
    """A regressor that may be chosen."""

    family: Family
    penalty: float = 0.0
    """λ, as a share of the mean of k(x, x)."""
    gamma: float = 0.0

    def __str__(self) -> str:
        if self.family == "boosting":
            return "boosting"
        width = f", width {self.gamma:g}" if self.family == "kernel" else ""
        return f"{self.family} (penalty {self.penalty:g}{width})"


def candidates_of(families: tuple[Family, ...]) -> list[Candidate]:
    """Every setting of every family, in one order."""
    found: list[Candidate] = []
    for family in families:
        if family == "boosting":
            found.append(Candidate("boosting"))
        elif family == "ridge":
            found += [Candidate("ridge", penalty) for penalty in _PENALTIES["ridge"]]
        else:
            found += [Candidate("kernel", penalty, gamma) for gamma in _GAMMAS for penalty in _PENALTIES["kernel"]]
    return found


def _squared_distances(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "k p"]) -> Float[np.ndarray, "n k"]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T, 0.0)


def median_distance(x: Float[np.ndarray, "n p"]) -> float:
    """Median squared distance of two rows; 1 where all rows are alike."""
    return float(np.median(_squared_distances(x, x))) or 1.0


def kernel_matrix(
    a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "k p"], candidate: Candidate, scale: float
) -> Float[np.ndarray, "n k"]:
    """K of every row of `a` with every row of `b`."""
    if candidate.family == "kernel":
        return np.exp(-candidate.gamma / scale * _squared_distances(a, b))
    return a.astype(np.float64) @ b.astype(np.float64).T


def dual_of(gram: Float[np.ndarray, "k k"], y: Float[np.ndarray, " k"], penalty: float) -> Float[np.ndarray, " k"]:
    """(K + λ)⁻¹ y as scikit-learn's `KernelRidge` has it, without its checks, which take longer on small matrices."""
    penalised = gram.copy()
    penalised.flat[:: len(gram) + 1] += penalty
    return linalg.solve(penalised, y[:, None], assume_a="pos")[:, 0]


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """Kernel ridge regression."""

    candidate: Candidate
    support: Float[np.ndarray, "k p"]
    """The rows fitted on, float32."""
    dual: Float[np.ndarray, " k"]
    centre: float
    """Mean of what is predicted."""
    scale: float
    """Median squared distance of the rows fitted on."""
    penalty: float
    """λ itself."""
    factor: Float[np.ndarray, "k k"]
    """Lower Cholesky factor of K + λ."""

    @classmethod
    def fit(cls, x: Float[np.ndarray, "k p"], y: Float[np.ndarray, " k"], candidate: Candidate) -> KernelMachine:
        """Fit on rows on one scale."""
        scale = median_distance(x)
        gram = kernel_matrix(x, x, candidate, scale)
        penalty = max(candidate.penalty * float(np.trace(gram)) / len(x), 1e-9)
        centre = float(y.mean())
        dual = dual_of(gram, y - centre, penalty)
        factor = np.linalg.cholesky(gram + penalty * np.eye(len(x)))
        return cls(candidate, x.astype(np.float32), dual, centre, scale, penalty, factor)

    def predict(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """What is predicted of every row."""
        return kernel_matrix(x, self.support, self.candidate, self.scale) @ self.dual + self.centre

    def spread(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """√(v + λ) of every row, as a share of √λ: 1 on rows like many that were fitted on, more elsewhere."""
        cross = np.linalg.solve(self.factor, kernel_matrix(self.support, x, self.candidate, self.scale))
        own = np.ones(len(x)) if self.candidate.family == "kernel" else (x.astype(np.float64) ** 2).sum(axis=1)
        return np.sqrt(1 + np.maximum(own - (cross * cross).sum(axis=0), 0.0) / self.penalty)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` needs beside the numbers."""
        return {"support": self.support, "dual": self.dual, "factor": self.factor}

    def numbers(self) -> dict[str, Any]:
        """What `load` needs beside the arrays."""
        of = self.candidate
        return {
            "family": of.family, "penalty": of.penalty, "gamma": of.gamma, "centre": self.centre,
            "scale": self.scale, "ridge": self.penalty,
        }  # fmt: skip

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> KernelMachine:
        """What was saved as `arrays` and `numbers`."""
        candidate = Candidate(numbers["family"], numbers["penalty"], numbers["gamma"])
        return cls(
            candidate, arrays["support"], arrays["dual"], numbers["centre"], numbers["scale"], numbers["ridge"],
            arrays["factor"],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Boosted:
    """Boosted trees on principal components."""

    mean: Float[np.ndarray, " p"]
    components: Float[np.ndarray, "c p"]
    trees: Trees

    @classmethod
    def fit(cls, x: Float[np.ndarray, "k p"], y: Float[np.ndarray, " k"]) -> Boosted:
        """Fit on rows on one scale."""
        reduced: Any = PCA(min(_COMPONENTS, len(x) - 1, x.shape[1]), svd_solver="full").fit(x)
        grown = GradientBoostingRegressor(
            n_estimators=100, learning_rate=0.1, max_depth=3, subsample=0.5, min_samples_leaf=5, random_state=0
        ).fit(reduced.transform(x), y)
        return cls(reduced.mean_.astype(np.float32), reduced.components_.astype(np.float32), Trees.of(grown))

    def predict(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """What is predicted of every row."""
        return self.trees.predict((x - self.mean) @ self.components.T)

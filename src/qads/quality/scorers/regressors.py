"""Regressors behind a probe, kept as arrays: kernel ridge, and trees that scikit-learn has boosted.

    linear      k(x, y) = x·y                         ridge regression, solved in the rows
    gaussian    k(x, y) = exp(−γ |x − y|² / s)        s: median squared distance of the rows fitted on
    boosting    trees on the first principal components of the features

A kernel also says how far a row is from those it was fitted on: the variance v(x) = k(x, x) − k(x)ᵀ (K + λ)⁻¹ k(x) of
the Gaussian process that kernel ridge is the mean of (Rasmussen and Williams 2006, 2.26). √(v + λ) is the `spread`.

Of more than `MOST_ROWS` rows a kernel knows so many, the landmarks z, and all rows are fitted through them: ridge
regression in φ(x) = L⁻¹ k_z(x), L Lᵀ = K_zz, whose weights solve (ΦᵀΦ + λ) w = Φᵀy (Nyström's approximation; projected
process, 8.3.4 of the same book). Then v(x) = k(x, x) − φᵀφ + λ φᵀ (ΦᵀΦ + λ)⁻¹ φ, which is the above where all rows are
landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

from qads.kernels.trees import Trees

__all__ = [
    "MOST_ROWS", "Boosted", "Candidate", "Family", "KernelMachine", "candidates_of", "drawn", "dual_of",
    "kernel_matrix", "median_distance",
]  # fmt: skip

MOST_ROWS = 4096
"""Rows whose kernel is written out. Its matrix grows with their square (134 MB here), solving it with their cube, and
every worker that predicts holds one. More rows are fitted through so many of them; what costs as much and needs no more
(choosing a regressor, principal components) is done on so many."""
Family = Literal["ridge", "kernel", "boosting"]
_PENALTIES = {"ridge": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "kernel": (0.01, 0.03, 0.1, 0.3, 1.0)}
_GAMMAS = (0.3, 1.0)
_COMPONENTS = 48
_JITTER = 1e-3
"""Share of λ that the matrix of landmarks gets on its diagonal: rows that are alike make it singular."""


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


def drawn(n_rows: int) -> Int[np.ndarray, " r"] | slice:
    """Rows that stand for all of them: all, or `MOST_ROWS` drawn evenly, in their order."""
    if n_rows <= MOST_ROWS:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(n_rows, MOST_ROWS, replace=False))


def _squared_distances(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "k p"]) -> Float[np.ndarray, "n k"]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T, 0.0)


def median_distance(x: Float[np.ndarray, "n p"]) -> float:
    """Median squared distance of two rows; 1 where all rows are alike."""
    x = x[drawn(len(x))]
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


def _factor(gram: Float[np.ndarray, "k k"], penalty: float) -> Float[np.ndarray, "k k"]:
    """Lower Cholesky factor of K + λ."""
    return np.linalg.cholesky(gram + penalty * np.eye(len(gram)))


def _solved(factor: Float[np.ndarray, "k k"], b: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
    """L⁻¹ b of a lower triangle L."""
    return linalg.solve_triangular(factor, b, lower=True, check_finite=False)


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """Kernel ridge regression."""

    candidate: Candidate
    support: Float[np.ndarray, "k p"]
    """The rows fitted on, or the landmarks among them; float32."""
    dual: Float[np.ndarray, " k"]
    centre: float
    """Mean of what is predicted."""
    scale: float
    """Median squared distance of the rows fitted on."""
    penalty: float
    """λ itself."""
    factor: Float[np.ndarray, "k k"]
    """Lower Cholesky factor of K + λ; with landmarks L."""
    inner: Float[np.ndarray, "k k"] | None = None
    """With landmarks, lower Cholesky factor of ΦᵀΦ + λ."""

    @classmethod
    def fit(cls, x: Float[np.ndarray, "n p"], y: Float[np.ndarray, " n"], candidate: Candidate) -> KernelMachine:
        """Fit on rows on one scale."""
        scale, support = median_distance(x), x[drawn(len(x))]
        gram = kernel_matrix(support, support, candidate, scale)
        penalty = max(candidate.penalty * float(np.trace(gram)) / len(support), 1e-9)
        centre, kept = float(y.mean()), support.astype(np.float32)
        if len(support) == len(x):
            dual = dual_of(gram, y - centre, penalty)
            return cls(candidate, kept, dual, centre, scale, penalty, _factor(gram, penalty))
        factor = _factor(gram, _JITTER * penalty)
        gram[:], seen = 0.0, np.zeros(len(support))
        for start in range(0, len(x), MOST_ROWS):
            part = slice(start, start + MOST_ROWS)
            phi = _solved(factor, kernel_matrix(x[part], support, candidate, scale).T)
            gram += phi @ phi.T
            seen += phi @ (y[part] - centre)
        inner = _factor(gram, penalty)
        weights = linalg.cho_solve((inner, True), seen, check_finite=False)
        dual = linalg.solve_triangular(factor, weights, lower=True, trans=1, check_finite=False)
        return cls(candidate, kept, dual, centre, scale, penalty, factor, inner)

    def predict(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """What is predicted of every row."""
        return self._kernel(x) @ self.dual + self.centre

    def spread(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """√(v + λ) of every row, as a share of √λ: 1 on rows like many that were fitted on, more elsewhere."""
        return self._spread(x, self._kernel(x))

    def predict_with_spread(
        self, x: Float[np.ndarray, "n p"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Both of every row, for the price of one kernel."""
        kernel = self._kernel(x)
        return kernel @ self.dual + self.centre, self._spread(x, kernel)

    def _kernel(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        return kernel_matrix(x, self.support, self.candidate, self.scale)

    def _spread(self, x: Float[np.ndarray, "n p"], kernel: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        own = np.ones(len(x)) if self.candidate.family == "kernel" else (x.astype(np.float64) ** 2).sum(axis=1)
        phi = _solved(self.factor, kernel.T)
        found = 1 + np.maximum(own - (phi * phi).sum(axis=0), 0.0) / self.penalty
        if self.inner is not None:
            found += (_solved(self.inner, phi) ** 2).sum(axis=0)
        return np.sqrt(found)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` needs beside the numbers."""
        found = {"support": self.support, "dual": self.dual, "factor": self.factor}
        return found if self.inner is None else found | {"inner": self.inner}

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
            arrays["factor"], arrays.get("inner"),
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
        from sklearn.decomposition import PCA  # A second to load, for nothing where no scorer is fitted.
        from sklearn.ensemble import GradientBoostingRegressor

        part = x[drawn(len(x))]
        reduced: Any = PCA(min(_COMPONENTS, len(part) - 1, x.shape[1]), svd_solver="full").fit(part)
        grown = GradientBoostingRegressor(
            n_estimators=100, learning_rate=0.1, max_depth=3, subsample=0.5, min_samples_leaf=5, random_state=0
        ).fit(reduced.transform(x), y)
        return cls(reduced.mean_.astype(np.float32), reduced.components_.astype(np.float32), Trees.of(grown))

    def predict(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """What is predicted of every row."""
        return self.trees.predict((x - self.mean) @ self.components.T)

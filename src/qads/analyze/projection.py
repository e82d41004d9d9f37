"""Embeddings laid out in the plane, for a map that people look at.

t-SNE (van der Maaten & Hinton 2008, JMLR 9) by openTSNE (Poličar, Stražar & Zupan 2024, JSS 109(3)): rows that are
neighbours in all dimensions are neighbours on the map. Distances between far groups and the sizes of groups mean
little there, and nothing is decided by it: selection works on the embeddings themselves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from qads.errors import InputError

__all__ = ["TSNEProjection"]

_EXAGGERATED = 12.0
_START_SPREAD = 1e-4
"""Standard deviation of the first axis at the start, small so that rows may still pass each other (Kobak & Berens 2019,
Nature Communications 10:5416)."""
_TREE_BELOW = 10_000
"""Rows under which a tree of forces is faster than a grid of them, as openTSNE has found as well."""
_FEWEST = 5
"""Rows under which there is nothing to lay out: they stand on a line."""


@dataclass(frozen=True, kw_only=True)
class TSNEProjection:
    """A map by t-SNE.

    >>> import numpy as np, qads
    >>> x = np.random.default_rng(0).normal(size=(60, 8))
    >>> qads.TSNEProjection()(x).shape
    (60, 2)
    """

    kind: Literal["tsne"] = "tsne"
    most: int = 60_000
    """Rows that are laid out; of a larger pool so many are drawn evenly."""
    perplexity: int = 30
    """About how many neighbours of a row are kept near it."""
    axes: int = 50
    """Principal axes of the embeddings that are looked at; what is beyond them is mostly noise to neighbours."""
    rounds: int = 300
    """Rounds of optimisation; in the first third the groups are found, with attraction exaggerated."""
    seed: int = 0
    """Of the approximate search for neighbours."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        settings = (
            ("most", self.most, 1),
            ("perplexity", self.perplexity, 2),
            ("axes", self.axes, 2),
            ("rounds", self.rounds, 3),
        )
        for name, value, least in settings:
            if value < least:
                raise InputError(f"TSNEProjection: {name} is {value}; it must be a whole number ≥ {least}.")
        if self.seed < 0:
            raise InputError(f"TSNEProjection: seed is {self.seed}; it must be a whole number ≥ 0.")

    @threadpool_limits.wrap(1, user_api="blas")
    def __call__(self, embeddings: npt.ArrayLike) -> Float[np.ndarray, "n 2"]:
        """Lay rows out.

        One thread alone: sums in another order end in another map, and the same run has to give the same page.

        Args:
            embeddings: float array-like [n, d], finite.

        Returns:
            Places, float32 [n, 2], centred; equal rows lie at one place or next to each other.

        Raises:
            InputError: not one row of numbers a sample.
        """
        x = np.asarray(embeddings)
        if x.ndim != 2 or x.shape[0] == 0 or not np.isfinite(x).all():
            raise InputError(
                f"TSNEProjection: embeddings have shape {x.shape}; they must be finite numbers [rows, dims], one row "
                "at least."
            )
        principal = _principal_axes(x, self.axes)
        if len(np.unique(principal, axis=0)) < _FEWEST:
            return _centred(_two_axes(principal))
        return self._optimised(principal)

    def drawn(self, n_rows: int) -> Int[np.ndarray, " m"]:
        """Positions of the rows of a pool that are laid out, rising: all, or an even draw that keeps as the pool grows.

        >>> TSNEProjection(most=3).drawn(3)
        array([0, 1, 2])
        """
        if n_rows <= self.most:
            return np.arange(n_rows)
        ranks = np.array([_rank(self.seed, row) for row in range(n_rows)], np.uint64)
        return np.sort(np.argpartition(ranks, self.most)[: self.most])

    def _optimised(self, x: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n 2"]:
        from openTSNE import TSNEEmbedding  # Takes a second to load.
        from openTSNE.affinity import PerplexityBasedNN

        n_rows = len(x)
        # With a perplexity p, 3 p neighbours are looked for.
        affinities = PerplexityBasedNN(
            x, perplexity=max(1, min(self.perplexity, (n_rows - 1) // 3)), n_jobs=1, random_state=self.seed,
        )  # fmt: skip
        forces = "bh" if n_rows < _TREE_BELOW else "fft"
        two = _two_axes(x)
        start = two * (_START_SPREAD / two[:, 0].std())
        found = TSNEEmbedding(start, affinities, n_jobs=1, random_state=self.seed, negative_gradient_method=forces)
        first = self.rounds // 3
        found = found.optimize(first, exaggeration=_EXAGGERATED, momentum=0.8)
        found = found.optimize(self.rounds - first, momentum=0.8)
        return _centred(np.asarray(found, np.float64))


def _principal_axes(x: np.ndarray, n_axes: int) -> Float[np.ndarray, "n a"]:
    """The rows along the axes of greatest variance, by the covariance of all of them."""
    moved = x.astype(np.float32) - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = (moved.T @ moved).astype(np.float64)
    _, vectors = np.linalg.eigh(covariance)  # Rising.
    axes = vectors[:, ::-1][:, :n_axes]
    # The sign of an axis is anyone's; its greatest part is made positive.
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.ascontiguousarray(moved.astype(np.float64) @ (axes * signs))


def _two_axes(x: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n 2"]:
    """The first two axes; a second one of zeros where there is one alone."""
    two = np.zeros((len(x), 2))
    two[:, : min(2, x.shape[1])] = x[:, :2]
    return two


def _centred(places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    return (places - (places.max(axis=0) + places.min(axis=0)) / 2).astype(np.float32)


def _rank(seed: int, row: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {row}".encode(), digest_size=8).digest())

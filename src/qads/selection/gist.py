"""GIST: utility and the least distance between any two rows, together.

    f(S) = g(S) + lam · div(S)          |S| ≤ k,   div(S) = the smallest distance of two rows of S

    quality              g(S) = Σ_{i ∈ S} q_i
    facility-location    g(S) = Σ_i max_{j ∈ S} max(0, cos(i, j))

Fahrbach et al. 2025, arXiv:2405.18754: for each threshold of a geometric series, greedy picks that keep that far apart;
the best of all such sets wins, with that of plain greedy and the two rows furthest apart. With a distance that is a
metric, f is at least (1/2 − eps) of the best possible for any monotone submodular g (Theorem 3.1) and (2/3 − eps) for
the sum of qualities (Theorem 3.3). The algorithm is the package `divsel`'s (Rust): `pip install 'qads[gist]'`.

A set that keeps far apart may have fewer rows than asked for, since more rows would cost it more distance than they add
of utility; `Selection.stopped` then says so. `divsel` computes in float32, and in a pool of threads that does not
survive a fork: use "spawn" in `multiprocessing`.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from qads.choices import check_choices
from qads.errors import InputError
from qads.kernels.distance import Rows, widened
from qads.kernels.lazy import greedy
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import Scale, check_directions, scaled_quality
from qads.selection.ranked import unlimited_inputs, unlimited_selection

__all__ = ["Gist"]

Metric = Literal["euclidean", "cosine"]
Utility = Literal["quality", "facility-location"]
Diameter = Literal["exact", "approx"]


@dataclass(frozen=True, kw_only=True)
class Gist:
    """Rows of high utility that keep far apart; needs the extra `gist`."""

    kind: Literal["gist"] = "gist"
    """Name of the method in a configuration."""
    utility: Utility = "quality"
    """What the rows are worth together."""
    lam: float = 1.0
    """Weight of the smallest distance, ≥ 0; the sum of k qualities grows with k, so weigh accordingly."""
    eps: float = 0.1
    """Fineness of the thresholds, in [1e-6, 1]; time grows with 1/eps."""
    metric: Metric = "euclidean"
    """Distance between embeddings; cosine is 1 − cos, no metric, for which no guarantee is proven."""
    scale: Scale = "rank"
    """How quality is brought to [0, 1]."""
    diameter: Diameter = "exact"
    """Largest distance of two rows: by all pairs, or within a factor 2 by sweeps, which is faster for large pools."""

    reads_quality: ClassVar[bool] = True
    takes_limits: ClassVar[bool] = False  # It picks a whole; see `ranked.py: unlimited_inputs`.
    prefix_closed: ClassVar[bool] = False
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if not (np.isfinite(self.lam) and self.lam >= 0):
            raise InputError(f"Gist: lam is {self.lam}; it must be a finite number ≥ 0.")
        if not 1e-6 <= self.eps <= 1:
            raise InputError(f"Gist: eps is {self.eps}; it must lie in [1e-6, 1].")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its scaled quality where that is the utility.

        Args:
            embeddings: float array-like [n, d].
            quality: one finite number a row [n], higher is better; None counts every row as 1.
            budget: number of rows at most, or a fraction in (0, 1] as a float.
            progress: called once, at the end.
            constraints: refused; see `selection/ranked.py`.

        Returns:
            The selection, in the order of the picks; another budget is another selection.

        Raises:
            InputError: an input is not what it must be, or the package `divsel` is not installed.
        """
        try:
            divsel: Any = importlib.import_module("divsel")
        except ModuleNotFoundError as error:
            raise InputError(
                "Gist: the package divsel, which holds the algorithm, is not installed: pip install 'qads[gist]'"
            ) from error
        inputs = unlimited_inputs(embeddings, quality, budget, constraints, method="Gist")
        if self.metric == "cosine" or self.utility == "facility-location":
            check_directions(inputs.x, method="Gist")
        k = inputs.terms.k
        weight = np.ones(len(inputs.x))
        if quality is not None:
            weight = scaled_quality(inputs.quality, self.scale, method="Gist")
        by_quality = self.utility == "quality"
        found = divsel.gist_select_full(
            self._single(inputs.x), weight if by_quality else None,
            k=k, lam=float(self.lam), eps=float(self.eps), metric=self.metric,
            utility="linear" if by_quality else "facility_location", diameter=self.diameter,
        )  # fmt: skip
        rows = np.array(found["selected"], np.int64)
        if progress:
            progress(len(rows), len(rows))
        stopped = (
            f"{len(rows):,} of {k:,} picks: any other would bring the smallest distance below {found['threshold']:g}, "
            "at which utility and distance together are highest"
        )
        gains = weight[rows] if by_quality else np.full(len(rows), np.nan)
        # All picks as a start: only their distances to earlier ones are wanted.
        spread = greedy(
            inputs.x[rows], np.ones(len(rows)), start=range(len(rows)), k=len(rows), cosine=self.metric == "cosine",
            distance_share=None,
        )  # fmt: skip
        return dataclasses.replace(
            unlimited_selection(rows, gains, inputs, kind=self.kind, prefix_closed=False),
            distances=spread.distances, nearest=spread.nearest, stopped=stopped if len(rows) < k else None,
        )  # fmt: skip

    def _single(self, x: Rows) -> Float32[np.ndarray, "n d"]:
        """The rows in float32, as the package takes them."""
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(widened(x), dtype=np.float32)
        if np.isinf(single).any():
            row = int(np.argmax(np.isinf(single).any(axis=1)))
            raise InputError(f"Gist: row {row} of the embeddings is too large for float32; scale the embeddings down.")
        return single

"""Facility location: rows that together stand for all others.

    F(S) = Σ_i max_{j ∈ S} sim(i, j)

    cosine   sim = max(0, cos)
    rbf      sim = exp(−gamma · |a − b|²)

the coverage function of submodular data selection (Lin & Bilmes 2009; Wei, Iyer & Bilmes 2015). It is monotone and
submodular, so the greedy picks reach at least 1 − 1/e = 0.63 of the best value for any budget (Nemhauser, Wolsey &
Fisher 1978). Quality plays no part.

The greedy search costs one product of every row with every witness and some more, so it grows with n²; its memory does
not (`kernels/facility.py`). For pools where that is too long, `n_witnesses` rows drawn by seed stand in the sum for
all: F is then estimated by a sample mean, whose error falls with the root of their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, Int

from qads.errors import InputError
from qads.kernels.distance import Points
from qads.kernels.facility import facility_location
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_choice, check_directions, check_seed
from qads.selection.ranked import unlimited_inputs, unlimited_selection

__all__ = ["FacilityLocation"]

Likeness = Literal["cosine", "rbf"]


@dataclass(frozen=True, kw_only=True)
class FacilityLocation:
    """Rows that together are most alike to all others, greedily.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.2], [1.0, -0.2], [0.0, 1.0]]
    >>> qads.FacilityLocation()(x, budget=2).indices.tolist()
    [1, 3]
    """

    kind: Literal["facility-location"] = "facility-location"
    """Name of the method in a configuration."""
    similarity: Likeness = "cosine"
    """How much a row stands for another."""
    gamma: float = 1.0
    """Of the RBF: 1 / (2σ²), per squared unit of the embeddings."""
    n_witnesses: int | None = None
    """Rows in the sum, drawn by `seed`; None for all."""
    seed: int = 0
    """Seed of the draw of witnesses."""

    takes_limits: ClassVar[bool] = False  # It picks a whole; see `ranked.py: unlimited_inputs`.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choice(self.similarity, get_args(Likeness), name="similarity", method="FacilityLocation")
        check_seed(self.seed, method="FacilityLocation")
        if not (np.isfinite(self.gamma) and self.gamma > 0):
            raise InputError(f"FacilityLocation: gamma is {self.gamma}; it must be a finite number > 0.")
        if self.n_witnesses is not None and self.n_witnesses < 1:
            raise InputError(f"FacilityLocation: n_witnesses is {self.n_witnesses}; there must be one at least.")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is what it adds to F.

        Args:
            embeddings: float array-like [n, d]; no row may be zero where the similarity is the cosine.
            quality: one number a row [n]; passed on.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).
            constraints: refused; see `selection/ranked.py`.

        Returns:
            The selection, exactly as long as the budget.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = unlimited_inputs(embeddings, quality, budget, constraints, method="FacilityLocation")
        n = len(inputs.x)
        if self.similarity == "cosine":
            check_directions(inputs.x, method="FacilityLocation")
        points = Points(inputs.x, cosine=self.similarity == "cosine")
        centre = np.zeros(inputs.x.shape[1]) if self.similarity == "cosine" else _centre(points)

        def single(rows: Int[np.ndarray, " b"]) -> Float32[np.ndarray, "b d"]:
            return (points.take(rows) - centre).astype(np.float32)

        picks, worth = facility_location(
            single, n, single(self._witnesses(n)),
            _cosine if self.similarity == "cosine" else self._rbf,
            k=inputs.terms.k, on_pick=(lambda done: progress(done, inputs.terms.k)) if progress else None,
        )  # fmt: skip
        return unlimited_selection(picks, worth, inputs, kind=self.kind)

    def _witnesses(self, n_rows: int) -> Int[np.ndarray, " m"]:
        if self.n_witnesses is None or self.n_witnesses == n_rows:
            return np.arange(n_rows)
        if self.n_witnesses > n_rows:
            raise InputError(
                f"FacilityLocation: n_witnesses is {self.n_witnesses} but the pool has {n_rows} rows; it must be at "
                "most that, or None for all."
            )
        return np.sort(np.random.default_rng(self.seed).choice(n_rows, self.n_witnesses, replace=False))

    def _rbf(
        self, rows: Float32[np.ndarray, "b d"], witnesses: Float32[np.ndarray, "m d"]
    ) -> Float32[np.ndarray, "b m"]:
        # 2ab − |a|² − |b|² in place of the squared distance, of centred points, since what all have in common would
        # cost digits; rounding may leave it a little above 0.
        product = rows @ witnesses.T
        product *= 2
        product -= (rows**2).sum(axis=1)[:, None]
        product -= (witnesses**2).sum(axis=1)
        np.minimum(product, 0, out=product)
        product *= np.float32(self.gamma)
        return np.exp(product, out=product)


def _centre(points: Points) -> Float[np.ndarray, " d"]:
    """The mean of the rows, in float64.

    Raises:
        InputError: a row is so far from it that float32 cannot hold the terms of its squared distances.
    """
    sums = (block.sum(axis=0, dtype=np.float64) for _, block in points.blocks())
    centre = sum(sums, np.zeros(points.x.shape[1])) / len(points)
    squared = np.concatenate([((block - centre) ** 2).sum(axis=1) for _, block in points.blocks()])
    row = int(np.argmax(squared))
    if squared[row] > np.finfo(np.float32).max / 4:
        raise InputError(
            f"FacilityLocation: row {row} of the embeddings is too far from the others for float32; scale the "
            "embeddings down."
        )
    return centre


def _cosine(rows: Float32[np.ndarray, "b d"], witnesses: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "b m"]:
    product = rows @ witnesses.T
    return np.maximum(product, 0, out=product)

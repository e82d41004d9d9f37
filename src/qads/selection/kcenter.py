"""Quality-aware K-center Greedy: the selector of QaDS.

At each step the row i with the highest score joins the selection,

    product   s_i = q_i^alpha · d_i                 (alpha = 0: plain K-center Greedy)
    sum       s_i = (1 − w) · d_i / d_max + w · q_i

where d_i is the distance of row i to the nearest row picked so far and q_i its quality scaled to [0, 1].
Plain K-center Greedy is within a factor 2 of the best covering radius (Gonzalez 1985); as a selector of
training data it is Sener & Savarese 2018, arXiv:1708.00489; weighted by quality it is Ni et al. 2024,
arXiv:2404.01067. How the paper joins distance and quality exactly is not public in a text we could read, so
both forms are here.

Edge cases: when every score left is 0 (duplicates, zero quality) the lowest rows fill the budget, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from qads.errors import InputError
from qads.kernels.distance import greedy_scan
from qads.pool import Progress, Selection
from qads.selection.inputs import (
    Budget,
    Scale,
    check_choice,
    check_seed,
    checked_embeddings,
    checked_quality,
    resolve_budget,
    scaled_quality,
)

__all__ = ["KCenterGreedy"]

Combine = Literal["product", "sum"]
Metric = Literal["euclidean", "cosine"]
Start = Literal["quality", "random"]


@dataclass(frozen=True, kw_only=True)
class KCenterGreedy:
    """Diverse rows of high quality, greedily.

    >>> import numpy as np, qads
    >>> x = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> qads.KCenterGreedy()(x, quality=[0.1, 0.9, 0.2, 0.8], budget=2).indices.tolist()
    [1, 3]
    """

    kind: Literal["kcenter"] = "kcenter"
    """Name of the method in a configuration."""
    combine: Combine = "product"
    """How distance and quality make a score."""
    alpha: float = 1.0
    """Exponent of quality in the product, ≥ 0; with 0 it decides the first pick only."""
    w: float = 0.5
    """Share of quality in the sum, in [0, 1]."""
    metric: Metric = "euclidean"
    """Distance between embeddings; cosine is 1 − cos."""
    scale: Scale = "rank"
    """How quality is brought to [0, 1]."""
    start: Start = "quality"
    """First pick: the row of highest quality, or `n_start` rows drawn by `seed`."""
    n_start: int = 1
    """Number of random first rows; they are part of the selection."""
    seed: int = 0
    """Seed of the random start."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        choices = (("combine", Combine), ("metric", Metric), ("scale", Scale), ("start", Start))
        for name, choice in choices:
            check_choice(getattr(self, name), get_args(choice), name=name, method="KCenterGreedy")
        check_seed(self.seed, method="KCenterGreedy")
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(f"KCenterGreedy: alpha is {self.alpha}; it must be a finite number ≥ 0.")
        if not 0 <= self.w <= 1:
            raise InputError(f"KCenterGreedy: w is {self.w}; it must lie in [0, 1].")
        if self.n_start < 1:
            raise InputError(f"KCenterGreedy: n_start is {self.n_start}; there must be one first row at least.")
        if self.start == "quality" and self.n_start != 1:
            raise InputError(
                f"KCenterGreedy: n_start is {self.n_start}; it must be 1, since only start='random' uses it."
            )

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
    ) -> Selection:
        """Select rows.

        Args:
            embeddings: float array-like [n, d]; memory maps and CPU tensors are welcome.
            quality: one finite number a row [n], higher is better; None counts every row as 1.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).

        Returns:
            The selection, in order, exactly as long as the budget.

        Raises:
            InputError: an input is not what it must be; the message names the row.
            AlignmentError: quality and embeddings have different lengths.
        """
        x = checked_embeddings(embeddings, method="KCenterGreedy")
        given = checked_quality(quality, len(x), method="KCenterGreedy")
        k = resolve_budget(budget, len(x), method="KCenterGreedy")
        self._check_rows(x, k)
        q = np.ones(len(x)) if quality is None else scaled_quality(given, self.scale, method="KCenterGreedy")
        picks = greedy_scan(
            x,
            self._weight(q),
            start=self._first_rows(q),
            k=k,
            cosine=self.metric == "cosine",
            distance_share=None if self.combine == "product" else 1 - self.w,
            on_pick=(lambda done: progress(done, k)) if progress else None,
        )
        if self.start == "quality":
            picks.gains[0] = q[picks.indices[0]]
        return Selection(
            indices=picks.indices,
            gains=picks.gains,
            distances=picks.distances,
            nearest=picks.nearest,
            quality=given[picks.indices],
            n_rows=len(x),
            method=self.kind,
        )

    def _check_rows(self, x: Float[np.ndarray, "n d"], k: int) -> None:
        if self.start == "random" and self.n_start > k:
            raise InputError(
                f"KCenterGreedy: n_start is {self.n_start} but the budget is {k}; the first rows are part of "
                "the selection, so n_start must be at most the budget."
            )
        if self.metric == "cosine":
            largest = np.maximum(x.max(axis=1), -x.min(axis=1))
            row = int(np.argmin(largest))
            # The squares of smaller values underflow in float64.
            if float(largest[row]) < 1e-150:
                raise InputError(
                    f"KCenterGreedy: row {row} of the embeddings is zero (its largest value is "
                    f"{largest[row]:g}); with metric='cosine' it must have a direction. Drop the row or use "
                    "metric='euclidean'."
                )

    def _weight(self, q: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        if self.combine == "sum":
            return self.w * q
        with np.errstate(over="ignore"):
            weight = q**self.alpha
        if weight.max() > 1e150:
            row = int(np.argmax(weight))
            raise InputError(
                f"KCenterGreedy: quality of row {row} to the power {self.alpha:g} is {weight[row]:g}; "
                "it must be at most 1e+150. Use scale='rank' or 'minmax'."
            )
        return weight

    def _first_rows(self, quality: Float[np.ndarray, " n"]) -> list[int]:
        if self.start == "quality":
            return [int(np.argmax(quality))]
        return np.random.default_rng(self.seed).choice(len(quality), self.n_start, replace=False).tolist()

"""Quality-aware K-center Greedy: the selector of QaDS.

At each step the row i with the highest score joins the selection,

    product   s_i = q_i^alpha · d_i                 (alpha = 0: plain K-center Greedy)
    sum       s_i = (1 − w) · d_i / d_max + w · q_i

where d_i is the distance of row i to the nearest row picked so far and q_i its quality scaled to [0, 1].
Plain K-center Greedy is within a factor 2 of the best covering radius (Gonzalez 1985); as a selector of
training data it is Sener & Savarese 2018, arXiv:1708.00489; weighted by quality it is Ni et al. 2024,
arXiv:2404.01067. How the paper joins distance and quality exactly is not public in a text we could read, so
both forms are here.

Rows that are *given*, what the user has trained on already, count as picked before the first step and are not picked
again; d_max is then the largest distance to the first of them.

Edge cases: when every score left is 0 (duplicates, zero quality) the lowest rows fill the budget, exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from qads.choices import check_choice, check_choices
from qads.cluster import ClusterGreedy
from qads.cluster.rows import file_of
from qads.errors import InputError
from qads.kernels.distance import Given, GreedyPicks, Rows
from qads.kernels.lazy import greedy
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import (
    Scale,
    check_directions,
    check_seed,
    checked_embeddings,
    checked_given,
    checked_quality,
    scaled_quality,
)
from qads.selection.keeping import KeptGreedy
from qads.selection.terms import Terms

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
    start: Start | int = "quality"
    """First pick: the row of highest quality, `n_start` rows drawn by `seed`, or the row of this number."""
    n_start: int = 1
    """Number of random first rows; they are part of the selection."""
    seed: int = 0
    """Seed of the random start."""
    per_token: bool = False
    """Divide the product by the row's tokens: gain per token, for a budget in tokens. The first pick is by quality."""

    reads_quality: ClassVar[bool] = True
    knows_distances: ClassVar[bool] = True  # So that a least distance means something to it.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        start = cast(object, self.start)
        if isinstance(start, np.integer):
            object.__setattr__(self, "start", int(start))
        elif not isinstance(start, int) or isinstance(start, bool):
            check_choice(start, get_args(Start), name="start", method="KCenterGreedy")
        check_seed(self.seed, method="KCenterGreedy")
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(f"KCenterGreedy: alpha is {self.alpha}; it must be a finite number ≥ 0.")
        if not 0 <= self.w <= 1:
            raise InputError(f"KCenterGreedy: w is {self.w}; it must lie in [0, 1].")
        if isinstance(self.start, int) and self.start < 0:
            raise InputError(f"KCenterGreedy: start is row {self.start}; rows count from 0.")
        if self.n_start < 1:
            raise InputError(f"KCenterGreedy: n_start is {self.n_start}; there must be one first row at least.")
        if self.start != "random" and self.n_start != 1:
            raise InputError(
                f"KCenterGreedy: n_start is {self.n_start}; it must be 1, since only start='random' uses it."
            )
        if self.per_token and self.combine == "sum":
            raise InputError("KCenterGreedy: per_token divides the product by tokens, but combine is 'sum'; leave one.")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        given: npt.ArrayLike | None = None,
        cluster: ClusterGreedy | None = None,
        checkpoint: Path | None = None,
    ) -> Selection:
        """Select rows.

        Args:
            embeddings: float array-like [n, d]. Memory maps are read in blocks and may be larger than memory; CPU
                tensors are welcome; neither is copied, in bfloat16, float16, float32 or float64.
            quality: one finite number a row [n], higher is better; None counts every row as 1.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called with (picks made, budget).
            constraints: quotas, rows in and out, a least distance. Included rows are a start: none is added to them.
            given: what is there already, in the place of a start: rows of the pool by number [g], which are not
                selected again, or vectors [g, d] of another one.
            cluster: select from shards on a Ray cluster, which changes no pick; of a memory map of a .npy file the
                shards read their rows themselves. Without token budgets, quotas and least distances.
            checkpoint: file (.npz) that keeps the picks of a selection of more than a thousand that takes long, so
                that one of the same inputs that was broken off goes on; on a cluster the cluster's own.

        Returns:
            The selection, in order, exactly as long as the budget, or `stopped` says why it is shorter. Where the
            nearest earlier row is a given one, the pick's `nearest` is −2 − its position in `given`.

        Raises:
            InputError: an input is not what it must be; the message names the row.
            AlignmentError: quality and embeddings have different lengths.
            ClusterError: a shard on the cluster was lost for good.
        """
        x = checked_embeddings(embeddings, method="KCenterGreedy")
        quality_given = checked_quality(quality, len(x), method="KCenterGreedy")
        centres = checked_given(given, x, method="KCenterGreedy")
        there = centres if centres is not None and centres.ndim == 1 else None
        terms = Terms.of(
            budget, constraints, len(x), method="KCenterGreedy", given=there, knows_distances=True
        )  # fmt: skip
        self._check_rows(x, terms, centres)
        q = np.ones(len(x))
        if quality is not None:
            q = scaled_quality(quality_given, self.scale, method="KCenterGreedy", without=terms.excluded)
        start = self._first_rows(q, terms) if centres is None or len(terms.first) else []
        picks = _search(cluster, checkpoint)(
            (cluster and file_of(embeddings)) or x,
            self._weight(q, terms),
            start=start,
            k=terms.k,
            cosine=self.metric == "cosine",
            distance_share=None if self.combine == "product" else 1 - self.w,
            given=centres,
            limits=terms.limits,
            on_pick=(lambda done: progress(done, terms.k)) if progress else None,
        )
        if self.start == "quality" and centres is None and not len(terms.first):
            picks.gains[0] = q[picks.indices[0]]
        if progress and len(picks.indices) < terms.k:
            progress(len(picks.indices), len(picks.indices))
        return Selection(
            indices=picks.indices,
            gains=picks.gains,
            distances=picks.distances,
            nearest=picks.nearest,
            quality=quality_given[picks.indices],
            n_rows=len(x),
            method=self.kind,
            prefix_closed=terms.prefix_closed,
            stopped=terms.stopped(len(picks.indices)),
            tokens=None if terms.tokens is None else terms.tokens[picks.indices],
        )

    def _check_rows(self, x: Rows, terms: Terms, given: Given | None) -> None:
        if self.per_token and terms.tokens is None:
            raise InputError("KCenterGreedy: per_token needs the rows' tokens; give the budget as a TokenBudget.")
        if self.start == "random" and self.n_start > terms.k:
            raise InputError(
                f"KCenterGreedy: n_start is {self.n_start} but the budget is {terms.k}; the first rows are part of "
                "the selection, so n_start must be at most the budget."
            )
        if isinstance(self.start, int) and self.start >= len(x):
            raise InputError(
                f"KCenterGreedy: start is row {self.start} but the pool has {len(x)}; it must lie in 0..{len(x) - 1}."
            )
        if given is not None and self.start != "quality":
            raise InputError(
                f"KCenterGreedy: start is {self.start!r}, but given rows are a start already; leave it at 'quality'."
            )
        if self.n_start > 1 and terms.limits.least_distance:
            raise InputError(
                f"KCenterGreedy: n_start is {self.n_start}, but random rows keep no min_distance; start with one row."
            )
        if len(terms.first) and self.start != "quality":
            raise InputError(
                f"KCenterGreedy: start is {self.start!r}, but included rows are a start already; leave it at 'quality'."
            )
        if self.metric == "cosine":
            check_directions(x, method="KCenterGreedy")
            if given is not None and given.ndim == 2:
                check_directions(given, method="KCenterGreedy", name="given vectors")

    def _weight(self, q: Float[np.ndarray, " n"], terms: Terms) -> Float[np.ndarray, " n"]:
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
        if not self.per_token or terms.tokens is None:
            return weight
        empty = np.flatnonzero((terms.tokens == 0) & ~terms.limits.closed)
        if len(empty):
            raise InputError(
                f"KCenterGreedy: row {empty[0]} has 0 tokens; per_token cannot divide by them. Exclude it."
            )
        return weight / np.maximum(terms.tokens, 1)

    def _first_rows(self, quality: Float[np.ndarray, " n"], terms: Terms) -> list[int]:
        """What comes before the greedy picks: included rows, else the start, of rows that are open."""
        if len(terms.first):
            return terms.first.tolist()
        closed = terms.limits.closed
        if self.start == "quality":
            return [int(np.argmax(np.where(closed, -np.inf, quality)))]
        if isinstance(self.start, int):
            if closed[self.start]:
                raise InputError(f"KCenterGreedy: start is row {self.start}, which the constraints leave out.")
            return [self.start]
        return self._random_rows(terms)

    def _random_rows(self, terms: Terms) -> list[int]:
        """`n_start` rows drawn from those that are open; the same draw as from all rows where all are."""
        rng, limits = np.random.default_rng(self.seed), copy.deepcopy(terms.limits)
        rows = np.zeros(0, np.int64)
        while (n_missing := self.n_start - len(rows)) > 0:
            # Those drawn before may have filled a group, so that some of the draw were closed.
            open_rows = np.setdiff1d(np.flatnonzero(~limits.closed), rows)
            if limits.is_out_of_tokens or not len(open_rows):
                why = "more do not fit the token budget" if limits.is_out_of_tokens else "no other row is open"
                raise InputError(
                    f"KCenterGreedy: n_start is {self.n_start}, but after {len(rows)} drawn rows {why}; lower n_start."
                )
            drawn = rng.choice(open_rows, min(n_missing, len(open_rows)), replace=False)
            rows = np.concatenate([rows, limits.walk(drawn, n_missing)])
        return rows.tolist()


def _search(cluster: ClusterGreedy | None, checkpoint: Path | None) -> Callable[..., GreedyPicks]:
    """What picks: a cluster; or this process, with a file to go on from or without."""
    if cluster is not None:
        return cluster
    return greedy if checkpoint is None else KeptGreedy(checkpoint, "KCenterGreedy")

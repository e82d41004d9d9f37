"""Quality first, then a limit of likeness: the data selector of DEITA.

Rows are looked at from the highest quality down, and one is kept if its cosine similarity to *every* row kept so far is
at most `threshold` (Liu et al. 2024, arXiv:2312.15685: its "Repr Filter").

Departures. Quality is whatever is given; DEITA multiplies two judged scores, adds them over the turns of a
conversation, so that long ones win, and gives a row that its judges cannot score a fixed middling score. Its code
looks at batches, in which a row also falls to one that was itself rejected; here each row is compared with kept ones
only. And it may keep fewer rows than asked for without a word: here `Selection.stopped` says how many and why, and
`fill` takes the others by quality.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Int

from qads.errors import InputError
from qads.kernels.lazy import greedy
from qads.pool import Progress, Selection
from qads.selection.baselines import by_order
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_directions, scaled_quality
from qads.selection.ranked import Inputs, checked_inputs, descending
from qads.selection.terms import Terms

__all__ = ["Deita"]

_ROUNDING = 1e-12
"""Rows at the threshold itself are kept, though their distance be rounded down."""


@dataclass(frozen=True, kw_only=True)
class Deita:
    """The rows of highest quality of which no two are too much alike.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]
    >>> qads.Deita()(x, quality=[0.9, 0.8, 0.1], budget=2).indices.tolist()
    [0, 2]
    """

    kind: Literal["deita"] = "deita"
    """Name of the method in a configuration."""
    threshold: float = 0.9
    """Largest cosine similarity of two kept rows, in [-1, 1)."""
    fill: bool = False
    """Where too few rows are kept: take the others by quality, or stop short and say so."""

    reads_quality: ClassVar[bool] = True
    knows_distances: ClassVar[bool] = True  # So that a least distance means something to it.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not -1 <= self.threshold < 1:
            raise InputError(
                f"Deita: threshold is {self.threshold}; it is a cosine similarity and must lie in [-1, 1)."
            )

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its quality, its distance 1 − cos.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one finite number a row [n], higher is better.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called with (picks made, budget).
            constraints: quotas, rows in and out, a larger least distance.

        Returns:
            The selection; shorter than the budget where no more rows are far enough from all kept, unless `fill`.

        Raises:
            InputError: an input is not what it must be, or there is no quality.
        """
        if quality is None:
            raise InputError("Deita: quality is None; rows are kept by quality. Give one number a row.")
        if self.fill and constraints is not None and constraints.min_distance:
            raise InputError(
                f"Deita: fill takes rows whatever their distance, but min_distance is {constraints.min_distance:g}; "
                "leave one of them out."
            )
        inputs = checked_inputs(embeddings, quality, budget, constraints, method="Deita", knows_distances=True)
        check_directions(inputs.x, method="Deita")
        kept = self._keep(inputs, progress)
        if not self.fill or kept.stopped is None or inputs.terms.limits.is_out_of_tokens:
            return kept
        others = np.ones(len(inputs.x), np.bool_)
        others[kept.indices] = False
        return self._in_order(
            np.concatenate([kept.indices, descending(inputs.quality, others)]),
            inputs._replace(terms=Terms.of(budget, constraints, len(inputs.x), method="Deita")),
            progress,
        )

    def _keep(self, inputs: Inputs, progress: Progress | None) -> Selection:
        """The rows of highest quality that are far enough from each other."""
        limits, first, k = inputs.terms.limits, inputs.terms.first, inputs.terms.k
        limits.least_distance = max(limits.least_distance, 1 - self.threshold - _ROUNDING)
        best = descending(inputs.quality, ~limits.closed)[:1]
        picks = greedy(
            inputs.x,
            scaled_quality(inputs.quality, "rank", method="Deita"),
            start=(first if len(first) else best).tolist(),
            k=k,
            cosine=True,
            distance_share=0.0,  # Quality alone makes the score.
            limits=limits,
            on_pick=(lambda done: progress(done, k)) if progress else None,
        )
        rows = picks.indices
        if progress and len(rows) < k and not self.fill:
            progress(len(rows), len(rows))
        return Selection(
            indices=rows,
            gains=inputs.quality[rows],
            distances=picks.distances,
            nearest=picks.nearest,
            quality=inputs.quality[rows],
            n_rows=len(inputs.x),
            method=self.kind,
            prefix_closed=inputs.terms.prefix_closed,
            stopped=inputs.terms.stopped(len(rows)),
            tokens=None if inputs.terms.tokens is None else inputs.terms.tokens[rows],
        )

    def _in_order(self, order: Int[np.ndarray, " n"], inputs: Inputs, progress: Progress | None) -> Selection:
        """The first rows of an order, whatever their distance, which is said."""
        chosen = by_order(order, inputs.quality, inputs.quality, inputs.terms, method=self.kind, progress=progress)
        rows = chosen.indices
        spread = greedy(
            inputs.x[rows], np.ones(len(rows)), start=range(len(rows)), k=len(rows), cosine=True, distance_share=None
        )
        return dataclasses.replace(chosen, distances=spread.distances, nearest=spread.nearest)

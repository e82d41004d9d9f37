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

from qads.errors import InputError
from qads.kernels.apart import rows_apart
from qads.kernels.distance import Points
from qads.pool import Progress, Selection
from qads.selection.inputs import Budget, check_directions
from qads.selection.ranked import checked_inputs, descending, first_rows, spread_of

__all__ = ["Deita"]


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
    ) -> Selection:
        """Select rows; the gain of a pick is its quality, its distance 1 − cos.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one finite number a row [n], higher is better.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).

        Returns:
            The selection; shorter than the budget where no more rows are far enough from all kept, unless `fill`.

        Raises:
            InputError: an input is not what it must be, or there is no quality.
        """
        if quality is None:
            raise InputError(
                "Deita: quality is None; it looks at rows from the highest quality down. Give one number a row."
            )
        inputs = checked_inputs(embeddings, quality, budget, method="Deita")
        check_directions(inputs.x, method="Deita")
        order = descending(inputs.quality)
        rows = rows_apart(
            Points(inputs.x, cosine=True), order, least=1 - self.threshold, k=inputs.k,
            on_pick=(lambda done: progress(done, inputs.k)) if progress else None,
        )  # fmt: skip
        if self.fill and len(rows) < inputs.k:
            rest = np.ones(len(order), np.bool_)
            rest[rows] = False
            rows = np.concatenate([rows, order[rest[order]]])[: inputs.k]
            if progress:
                progress(inputs.k, inputs.k)
        chosen = first_rows(
            rows, inputs.quality, inputs, kind=self.kind,
            left_out=f"each of the others has a cosine similarity above {self.threshold:g} to one of them",
        )  # fmt: skip
        return dataclasses.replace(chosen, **spread_of(inputs.x, chosen.indices, cosine=True))

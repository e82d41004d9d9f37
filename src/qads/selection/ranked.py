"""What selectors have in common that put rows into an order and take the first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from qads.kernels.distance import Rows
from qads.kernels.lazy import greedy
from qads.pool import Selection
from qads.selection.inputs import Budget, checked_embeddings, checked_quality, resolve_budget

__all__ = ["Inputs", "checked_inputs", "first_rows", "spread_of"]


class Inputs(NamedTuple):
    """What every selector is called with, checked."""

    x: Rows
    quality: Float[np.ndarray, " n"]
    """As it was given; 1 where none was."""
    k: int


def checked_inputs(embeddings: npt.ArrayLike, quality: npt.ArrayLike | None, budget: Budget, *, method: str) -> Inputs:
    """Embeddings, quality and budget, checked.

    Raises:
        InputError: an input is not what it must be; the message names the row.
        AlignmentError: quality and embeddings have different lengths.
    """
    x = checked_embeddings(embeddings, method=method)
    return Inputs(x, checked_quality(quality, len(x), method=method), resolve_budget(budget, len(x), method=method))


def first_rows(
    order: Int[np.ndarray, " r"],
    gains: Float[np.ndarray, " n"],
    inputs: Inputs,
    *,
    kind: str,
    left_out: str | None = None,
    prefix_closed: bool = True,
) -> Selection:
    """The first rows of an order as a selection.

    Args:
        order: rows that may be selected, best first.
        gains: of every row of the pool, what the order is by; NaN where it is by nothing.
        inputs: the call's.
        kind: of the selector.
        left_out: where the order lacks rows of the pool, how many and why.
        prefix_closed: whether a smaller budget takes the first of these rows.

    Returns:
        The selection; shorter than the budget, and saying why, where the order is.
    """
    rows = order[: inputs.k]
    stopped = None
    if len(rows) < inputs.k:
        stopped = f"{len(rows)} of the {inputs.k} rows asked for: {left_out}"
    return Selection(
        indices=rows.astype(np.int64),
        gains=gains[rows],
        distances=np.full(len(rows), np.nan),
        nearest=np.full(len(rows), -1, dtype=np.int64),
        quality=inputs.quality[rows],
        n_rows=len(inputs.x),
        method=kind,
        prefix_closed=prefix_closed,
        stopped=stopped,
    )


def descending(values: Float[np.ndarray, " n"], among: Bool[np.ndarray, " n"] | None = None) -> Int[np.ndarray, " r"]:
    """Rows from the highest value to the lowest; equal values go by row. Only those `among`, where that is given."""
    rows = np.arange(len(values)) if among is None else np.flatnonzero(among)
    return rows[np.argsort(-values[rows], kind="stable")]


def spread_of(x: Rows, rows: Int[np.ndarray, " k"], *, cosine: bool) -> dict[str, Any]:
    """For rows in their order the distance to the nearest earlier one, and its step: two columns of a selection."""
    found = greedy(x[rows], np.ones(len(rows)), start=range(len(rows)), k=len(rows), cosine=cosine, distance_share=None)
    return {"distances": found.distances, "nearest": found.nearest}

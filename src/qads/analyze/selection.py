"""What a selection is like, as numbers that compare across strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.errors import AlignmentError, InputError
from qads.kernels.nearest import nearest_distances

__all__ = ["SelectionSummary", "summarize_selection"]


@dataclass(frozen=True)
class SelectionSummary:
    """One selection, summarised."""

    name: str
    n_rows: int
    coverage_radius: float
    """Largest euclidean distance from any row of the pool to its nearest pick."""
    mean_distance: float
    """Mean of those distances."""
    mean_quality: float | None
    """Mean quality of the picks that have one; None without any."""
    counts: dict[str, int]
    """Picks in every group of the labels given."""


def summarize_selection(
    name: str,
    indices: Int[np.ndarray, " k"],
    *,
    embeddings: Float[np.ndarray, "n d"],
    quality: Float[np.ndarray, " n"] | None,
    labels: Sequence[str],
    measured: Int[np.ndarray, " m"] | None = None,
) -> SelectionSummary:
    """Coverage, quality and composition of a selection.

    Args:
        name: what to call it.
        indices: the picks.
        embeddings: of the pool.
        quality: of the pool, NaN for a row that has none.
        labels: the group of every row of the pool, such as its source.
        measured: rows of the pool whose distances count; all by default.

    Raises:
        AlignmentError: quality or labels are not of the rows that the embeddings describe.
        InputError: nothing was picked, or a pick is no row of the pool.
    """
    n_rows = len(embeddings)
    if len(labels) != n_rows or (quality is not None and len(quality) != n_rows):
        raise AlignmentError(
            f"summarize_selection: {n_rows} embeddings, {len(labels)} labels and "
            f"{'no' if quality is None else len(quality)} qualities; all must describe the same rows."
        )
    if len(indices) == 0 or indices.min() < 0 or indices.max() >= n_rows:
        raise InputError(
            f"summarize_selection: the {len(indices)} picks must be positions in 0..{n_rows - 1}, and one at least."
        )
    distances = nearest_distances(np.asarray(embeddings), np.asarray(indices, np.int64), of=measured)
    groups = np.asarray(labels, dtype=object)
    picked = groups[indices]
    counts = {str(group): int((picked == group).sum()) for group in dict.fromkeys(labels)}
    known = np.empty(0) if quality is None else quality[indices][np.isfinite(quality[indices])]
    mean_quality = float(known.mean()) if len(known) else None
    return SelectionSummary(name, len(indices), float(distances.max()), float(distances.mean()), mean_quality, counts)

"""What a selection is like, as numbers that compare across strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.kernels.distance import nearest_distances

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
    """Mean quality of the picks; None without quality."""
    counts: dict[str, int]
    """Picks in every group of the labels given."""


def summarize_selection(
    name: str,
    indices: Int[np.ndarray, " k"],
    *,
    embeddings: Float[np.ndarray, "n d"],
    quality: Float[np.ndarray, " n"] | None,
    labels: Sequence[str],
) -> SelectionSummary:
    """Coverage, quality and composition of a selection.

    Args:
        name: what to call it.
        indices: the picks.
        embeddings: of the pool.
        quality: of the pool.
        labels: the group of every row of the pool, such as its source.
    """
    distances = nearest_distances(np.asarray(embeddings), np.asarray(indices, np.int64))
    groups = np.asarray(labels, dtype=object)
    picked = groups[indices]
    counts = {str(group): int((picked == group).sum()) for group in dict.fromkeys(labels)}
    mean_quality = None if quality is None else float(np.mean(quality[indices]))
    return SelectionSummary(name, len(indices), float(distances.max()), float(distances.mean()), mean_quality, counts)

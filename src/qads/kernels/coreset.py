"""Greedy selection from shards in one exchange, approximately: composable coresets.

Every shard picks k rows by itself; the selection is picked from the union of what they picked. For plain K-center
Greedy the covering radius is at most 4 times the best one (Malkomes et al. 2015, "Fast Distributed k-Center Clustering
with Outliers on Massive Data", section 3; composable coresets: Indyk et al. 2014, "Composable Core-sets for Diversity
and Coverage Maximization"). For scores with weights no such bound is known to us. What it gives up is in
docs/experiments.md; the exact selection (`rounds.py`) costs few exchanges more, so this is here to be compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from qads.kernels.distance import GreedyPicks, Rows
from qads.kernels.lazy import greedy

__all__ = ["greedy_coreset"]


def greedy_coreset(
    x: Rows,
    weight: Float[np.ndarray, " n"],
    parts: Sequence[range],
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
) -> GreedyPicks:
    """Pick k rows from those that every shard picks by itself, and the start rows.

    Args:
        x: as in `greedy_scan`.
        weight: as there.
        parts: the rows of every shard. Each begins with its row of highest weight, and sums measure distances by the
            largest one to that row; the union by the largest distance in it to the first start row.
        start: as in `greedy_scan`.
        k: as there.
        cosine: as there.
        distance_share: as there.

    Returns:
        The picks, with their distances to the picks before. That no other row scored more holds among the rows of the
        union only.
    """
    kept = [np.array(start, np.int64)]
    for part in parts:
        rows = slice(part.start, part.stop)
        first = int(np.argmax(weight[rows]))
        picks = greedy(
            x[rows], weight[rows], start=[first], k=min(k, len(part)), cosine=cosine, distance_share=distance_share
        )
        kept.append(picks.indices + part.start)
    union = np.unique(np.concatenate(kept))
    picks = greedy(
        x[union], weight[union], start=np.searchsorted(union, start).tolist(), k=k, cosine=cosine,
        distance_share=distance_share,
    )  # fmt: skip
    return picks._replace(indices=union[picks.indices])

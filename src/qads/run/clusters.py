"""Which rows of a sample are so alike that knowing one gives the other away."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from qads.clean import Deduplication
from qads.pool import Pool

__all__ = ["near_duplicates"]


def near_duplicates(rows: Pool) -> Int[np.ndarray, " n"]:
    """A number for every row that is equal for rows of one problem, for near duplicates, and for what these chain."""
    found = Deduplication(near=0.6, numbers="any")(rows)
    problems = np.unique(found.problems, return_index=True, return_inverse=True)
    first = problems[1][problems[2].reshape(-1)]
    links = np.concatenate([np.column_stack([np.arange(len(rows)), first]), np.column_stack([found.rows, found.kept])])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(rows), len(rows)))
    return connected_components(graph, directed=False)[1].astype(np.int64)

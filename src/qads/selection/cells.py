"""Cells of rows by k-means over unit vectors, for the selectors that look at a row beside its like.

scikit-learn's k-means (Lloyd, or mini-batches: Sculley 2010). The selectors' papers run it on unit vectors too, with
centres put back to length 1 after every step; scikit-learn leaves them inside the sphere, and the same rows are near.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from qads.errors import InputError
from qads.kernels.distance import Points

__all__ = ["Cells", "Solver", "check_n_cells", "find_cells", "members", "n_cells_of"]

Solver = Literal["minibatch", "lloyd"]

_BLOCK = 4096


class Cells(NamedTuple):
    """Which cell every row is in, and how far from its middle."""

    labels: Int[np.ndarray, " n"]
    distances: Float[np.ndarray, " n"]
    """1 − cos of the row and the mean of its cell's rows as k-means ended with it."""
    n_cells: int


def find_cells(points: Points, rows: Int[np.ndarray, " m"], n_cells: int, *, seed: int, solver: Solver) -> Cells:
    """Partition some rows, of length 1 each, by k-means; a cell may be empty.

    Takes four bytes a number of these rows besides the rows themselves.

    Args:
        points: all rows.
        rows: those to partition.
        n_cells: number of cells, at most the number of these rows.
        seed: of the first centres and the mini-batches.
        solver: Lloyd's algorithm, or mini-batches, which are faster and a little worse.

    Returns:
        Cells of these rows, in their order.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans  # Takes longer to load than most selections to make.
    from sklearn.exceptions import ConvergenceWarning

    x = np.empty((len(rows), points.x.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        x[start : start + _BLOCK] = points.take(rows[start : start + _BLOCK])
    kind: Any = KMeans if solver == "lloyd" else MiniBatchKMeans
    settings: dict[str, Any] = {"n_init": 1} if solver == "lloyd" else {"n_init": 1, "batch_size": max(1024, n_cells)}
    state = int(np.random.default_rng(seed).integers(2**31))
    # Threads of OpenMP add centres up in the order in which they finish; one adds in the same order always.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        # Fewer distinct rows than cells leave cells empty, which is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = kind(n_cells, random_state=state, **settings).fit(x)
        labels = model.predict(x).astype(np.int64)
    centres = model.cluster_centers_.astype(np.float64)
    length = np.sqrt((centres**2).sum(axis=1, keepdims=True))
    centres /= np.where(length > 0, length, 1)
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        distances[part] = ((points.take(rows[part]) - centres[labels[part]]) ** 2).sum(axis=1) / 2
    return Cells(labels, distances, n_cells)


def members(cells: Cells) -> Iterator[Int[np.ndarray, " c"]]:
    """The places of every cell's rows, nearest to the middle first; empty cells are left out."""
    order = np.lexsort((cells.distances, cells.labels))
    starts = np.searchsorted(cells.labels[order], np.arange(1, cells.n_cells))
    return (cell for cell in np.split(order, starts) if len(cell))


def n_cells_of(n_cells: int | None, n_rows: int, *, method: str) -> int:
    """The number of cells: as set, or the square root of the number of rows, rounded up.

    Raises:
        InputError: it is more than there are rows.
    """
    if n_cells is None:
        return int(np.ceil(np.sqrt(n_rows)))
    if n_cells > n_rows:
        raise InputError(f"{method}: n_cells is {n_cells} but there are {n_rows} rows; it must be at most that.")
    return n_cells


def check_n_cells(n_cells: int | None, *, method: str) -> None:
    """Refuse a number of cells that is none.

    Raises:
        InputError: it is below 1.
    """
    if n_cells is not None and n_cells < 1:
        raise InputError(f"{method}: n_cells is {n_cells}; there must be one at least, or None for √n.")

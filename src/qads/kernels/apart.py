"""The first rows of an order that are far enough from all taken before them.

A row's cosine similarity to all rows taken so far is a product of matrices in float32. It only settles pairs that are
not near the limit; within its rounding error of the limit a pair is measured in canonical float64 (`canonical.py`),
which alone decides. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Int

from qads.kernels.canonical import apply_centre
from qads.kernels.distance import Points

__all__ = ["rows_apart"]

_BLOCK = 512


def rows_apart(
    points: Points,
    order: Int[np.ndarray, " n"],
    *,
    least: float,
    k: int,
    on_pick: Callable[[int], None] | None = None,
) -> Int[np.ndarray, " p"]:
    """Take rows in their order, each unless it is nearer than `least` to one taken before.

    Args:
        points: the rows, of length 1 each (`cosine`).
        order: the rows that may be taken, best first.
        least: smallest distance 1 − cos between two taken rows.
        k: rows at most.
        on_pick: called with the number of rows taken.

    Returns:
        The rows taken, in their order; fewer than k where no more are far enough.
    """
    search = _Search(points, least, k)
    for start in range(0, len(order), _BLOCK):
        if len(search.taken) == k:
            break
        search.look_at(order[start : start + _BLOCK])
        if on_pick and search.taken:
            on_pick(len(search.taken))
    return np.array(search.taken, np.int64)


class _Search:
    """The rows taken so far, and their points."""

    def __init__(self, points: Points, least: float, k: int) -> None:
        n_dims = points.x.shape[1]
        self.taken: list[int] = []
        self._points, self._least, self._k = points, least, k
        self._store: Float32[np.ndarray, "c d"] = np.empty((min(k, 2 * _BLOCK), n_dims), np.float32)
        # Unit vectors rounded to float32, multiplied and added there: off by d + 2 roundings of 2⁻²⁴, twice over.
        self._slack = (n_dims + 2) * 2.0**-23

    def look_at(self, rows: Int[np.ndarray, " b"]) -> None:
        """Take those of some rows that are far enough, one after the other."""
        exact = self._points.take(rows)
        block = exact.astype(np.float32)
        n_before = len(self.taken)
        hopeful = self._far_from(self._store[:n_before], block, exact)
        among = block[hopeful] @ block[hopeful].T
        fresh: list[int] = []  # Places among the hopeful.
        for place, at in enumerate(hopeful):
            if len(self.taken) == self._k:
                break
            likeness = among[place, fresh]
            if likeness.size and likeness.max() > 1 - self._least - self._slack:
                close = np.flatnonzero(likeness > 1 - self._least - self._slack)
                if likeness.max() > 1 - self._least + self._slack:
                    continue
                if _nearest(exact[hopeful[np.array(fresh)[close]]], exact[at]) < self._least:
                    continue
            fresh.append(place)
            self.taken.append(int(rows[at]))
        self._keep(block[hopeful[fresh]], n_before)

    def _far_from(
        self, taken: Float32[np.ndarray, "t d"], block: Float32[np.ndarray, "b d"], exact: Float[np.ndarray, "b d"]
    ) -> Int[np.ndarray, " h"]:
        """Places in the block of rows that are far enough from all taken before the block."""
        if not len(taken):
            return np.arange(len(block))
        likeness = block @ taken.T
        largest = likeness.max(axis=1)
        far = largest <= 1 - self._least - self._slack
        for at in np.flatnonzero(~far & (largest <= 1 - self._least + self._slack)):
            close = np.flatnonzero(likeness[at] > 1 - self._least - self._slack)
            centres = self._points.take(np.array(self.taken)[close])
            far[at] = _nearest(centres, exact[at]) >= self._least
        return np.flatnonzero(far)

    def _keep(self, fresh: Float32[np.ndarray, "f d"], n_before: int) -> None:
        n_after = n_before + len(fresh)
        if n_after > len(self._store):
            larger = np.empty((min(self._k, 2 * n_after), self._store.shape[1]), np.float32)
            larger[:n_before] = self._store[:n_before]
            self._store = larger
        self._store[n_before:n_after] = fresh


def _nearest(centres: Float[np.ndarray, "c d"], point: Float[np.ndarray, " d"]) -> float:
    """The smallest distance 1 − cos of some points to one."""
    squared, near = np.full(len(centres), np.inf), np.zeros(len(centres), np.int32)
    apply_centre(centres, np.ones(len(centres)), point, 0, squared, near)
    return 0.5 * float(squared.min())

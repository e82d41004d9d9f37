"""Rows within a radius of each other in cosine distance, exactly, in blocks of bounded memory.

A product in float32 rules pairs out; what it leaves is measured in float64 as |a − b|²/2 of unit vectors, so that
near-duplicates have no rounding noise for a distance. Every pair of rows is looked at: time grows with the square of
the rows, memory with the block. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.distance import Points

__all__ = ["greedy_cover", "nearest_within"]

_BLOCK = 4096


def greedy_cover(
    x: Points, order: Int[np.ndarray, " m"], radius: float, *, on_rows: Callable[[int], None] | None = None
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Go through rows in order and keep each that has no kept row within the radius.

    Args:
        x: all rows, as points of length 1.
        order: the rows to go through.
        radius: greatest cosine distance at which a row repeats another.
        on_rows: called with the number of rows done.

    Returns:
        For every row of `order` the nearest row kept before it that is within the radius, −1 where it is kept itself;
        and the distance, 0 for kept rows.
    """
    near, distances = np.full(len(order), -1, np.int64), np.zeros(len(order))
    for start in range(0, len(order), _BLOCK):
        part = slice(start, start + _BLOCK)
        rows = order[part]
        before = order[:start][near[:start] < 0]
        near[part], distances[part] = nearest_within(x.take(rows), x, before, radius)
        _settle_block(x, rows, radius, near[part], distances[part])
        if on_rows:
            on_rows(start + len(rows))
    return near, distances


def nearest_within(
    points: Float[np.ndarray, "q d"], x: Points, centres: Int[np.ndarray, " k"], radius: float
) -> tuple[Int[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """The nearest centre of each point within a radius; −1 and distance 0 where there is none.

    Args:
        points: vectors of length 1.
        x: rows, as points of length 1.
        centres: rows that are centres; of equally near ones the first counts.
        radius: greatest cosine distance.
    """
    near, distances = np.full(len(points), -1, np.int64), np.full(len(points), np.inf)
    narrow = points.astype(np.float32)
    for start in range(0, len(centres), _BLOCK):
        rows = centres[start : start + _BLOCK]
        vectors = x.take(rows)
        for point, candidate in np.argwhere(_hopeful(narrow, vectors, radius)).tolist():
            distance = _distance(points[point], vectors[candidate])
            if distance <= radius and distance < distances[point]:
                near[point], distances[point] = rows[candidate], distance
    return near, np.where(near < 0, 0.0, distances)


def _settle_block(
    x: Points,
    rows: Int[np.ndarray, " b"],
    radius: float,
    near: Int[np.ndarray, " b"],
    distances: Float[np.ndarray, " b"],
) -> None:
    """Let the kept rows of a block cover later ones of it, in place."""
    points = x.take(rows)
    pairs = np.argwhere(np.tril(_hopeful(points.astype(np.float32), points, radius), -1))
    for later, earlier in pairs.tolist():  # In the order of the later row, then of the earlier.
        if near[earlier] >= 0:
            continue
        distance = _distance(points[later], points[earlier])
        if distance <= radius and (near[later] < 0 or distance < distances[later]):
            near[later], distances[later] = rows[earlier], distance


def _hopeful(
    narrow: Float[np.ndarray, "q d"], vectors: Float[np.ndarray, "c d"], radius: float
) -> Bool[np.ndarray, "q c"]:
    """Pairs that may be within the radius: a float32 product of d terms of unit vectors errs by less than the slack."""
    slack = 2 * (vectors.shape[1] + 4) * 2.0**-24
    return narrow @ vectors.astype(np.float32).T >= np.float32(1 - radius - slack)


def _distance(one: Float[np.ndarray, " d"], other: Float[np.ndarray, " d"]) -> float:
    return 0.5 * float(np.square(one - other).sum())

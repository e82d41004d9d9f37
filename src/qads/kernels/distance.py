"""Greedy selection by distance: the plain scan.

One pass over all rows a pick. Distances are the direct sum Σ(a−b)² in float64, added in a fixed order, never
the expansion |a|² − 2ab + |b|², which in float32 makes negative distances and ties of near-duplicates.
Inputs are checked by the caller.

`no_type_check` keeps a run-time type checker, which wraps functions, away from what Numba compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

__all__ = ["GreedyPicks", "greedy_scan", "nearest_distances"]

_LANES = 8


class GreedyPicks(NamedTuple):
    """What greedy selection chose; step 0 first."""

    indices: Int[np.ndarray, " k"]
    gains: Float[np.ndarray, " k"]
    distances: Float[np.ndarray, " k"]
    nearest: Int[np.ndarray, " k"]


def greedy_scan(
    x: Float[np.ndarray, "n d"],
    weight: Float[np.ndarray, " n"],
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
    on_pick: Callable[[int], None] | None = None,
) -> GreedyPicks:
    """Pick k rows: those of `start` first, then always the row of highest score; ties go to the lowest row.

    Args:
        x: rows, finite; of length > 0 each where `cosine`.
        weight: for the product w_i · d_i the weights; for the sum the quality term (1 − share) · q_i.
        start: rows taken first, at most k.
        k: number of picks.
        cosine: d = 1 − cos instead of the euclidean distance.
        distance_share: None for the product; else the score is (share / d_max) · d_i + weight_i, rounded in
            that order, where d_max is the largest distance to the first pick (1 if all rows are equal).
        on_pick: called with the number of picks made.

    Returns:
        The picks; the gain of a start row is NaN, the distance of the first infinite.
    """
    scale = 1.0 / np.sqrt(_squared_norms(x)) if cosine else np.ones(len(x))
    nearest_squared = np.full(len(x), np.inf)
    nearest_step = np.full(len(x), -1, dtype=np.int64)
    taken = np.zeros(len(x), dtype=np.bool_)
    picks = GreedyPicks(np.empty(k, np.int64), np.full(k, np.nan), np.full(k, np.inf), np.full(k, -1, dtype=np.int64))
    d_max = 1.0
    for step, forced in enumerate(_padded(start, k)):
        row, gain = forced, np.nan
        if forced < 0:
            share = -1.0 if distance_share is None else distance_share / d_max
            row, gain = _best(nearest_squared, weight, taken, cosine, share)
        picks.indices[step], picks.gains[step] = row, gain
        picks.distances[step] = _distance(nearest_squared[row], cosine)
        picks.nearest[step] = nearest_step[row]
        taken[row] = True
        _apply(x, scale, row, step, nearest_squared, nearest_step)
        if step == 0:
            d_max = _distance(float(nearest_squared.max()), cosine) or 1.0
        if on_pick:
            on_pick(step + 1)
    return picks


def nearest_distances(x: Float[np.ndarray, "n d"], centres: Int[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
    """Euclidean distance of every row to the nearest of the rows `centres`; the largest is the covering radius.

    A matrix product in the precision of x names the centres that can be nearest within its rounding error; their
    distances are then computed directly in float64, so the result is exact and costs one product.
    """
    points = x[centres].astype(np.float64)
    squared = (points**2).sum(axis=1)
    # The product of rows a and b is off by at most about d · 2⁻²⁴ · |a||b|; it enters twice, on both sides.
    relative_error = 4 * (x.shape[1] + 2) * 2.0**-24 * np.sqrt(squared.max())
    nearest = np.empty(len(x))
    for start in range(0, len(x), 4096):
        block = x[start : start + 4096].astype(np.float64)
        product = x[start : start + 4096] @ x[centres].T
        reach = squared - 2.0 * product.astype(np.float64)  # |c|² − 2a·c: |a|² is the same for all centres.
        slack = relative_error * np.sqrt((block**2).sum(axis=1))
        rows, columns = np.nonzero(reach <= (reach.min(axis=1) + slack)[:, None])
        exact = ((block[rows] - points[columns]) ** 2).sum(axis=1)
        best = np.full(len(block), np.inf)
        np.minimum.at(best, rows, exact)
        nearest[start : start + len(block)] = best
    return np.sqrt(nearest)


def _padded(start: Sequence[int], k: int) -> Iterator[int]:
    yield from start
    yield from [-1] * (k - len(start))


@numba.njit(cache=True)
@no_type_check
def _distance(squared: float, cosine: bool) -> float:
    """The distance for a squared euclidean one; for unit vectors |a−b|²/2 = 1 − cos, without cancellation."""
    return 0.5 * squared if cosine else np.sqrt(squared)


@numba.njit(cache=True)
@no_type_check
def _squared_norms(x: np.ndarray) -> np.ndarray:
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += np.float64(x[i, j]) * np.float64(x[i, j])
        out[i] = total
    return out


@numba.njit(cache=True)
@no_type_check
def _best(
    nearest_squared: np.ndarray, weight: np.ndarray, taken: np.ndarray, cosine: bool, share: float
) -> tuple[int, float]:
    """The untaken row of highest score; share < 0 means the product."""
    best, best_score = -1, -np.inf
    for i in range(len(weight)):
        if taken[i]:
            continue
        distance = _distance(nearest_squared[i], cosine)
        score = weight[i] * distance if share < 0 else weight[i] + share * distance
        if score > best_score:
            best, best_score = i, score
    return best, best_score


@numba.njit(cache=True)
@no_type_check
def _apply(
    x: np.ndarray,
    scale: np.ndarray,
    centre: int,
    step: int,
    nearest_squared: np.ndarray,
    nearest_step: np.ndarray,
) -> None:
    """Lower every row's distance to the nearest pick by the new one.

    Eight sums side by side, joined in one order: fast, and the same to the bit on every machine.
    """
    n, d = x.shape
    whole = d - d % _LANES
    point = x[centre].astype(np.float64) * scale[centre]
    lanes = np.empty(_LANES)
    for i in range(n):
        lanes[:] = 0.0
        for j in range(0, whole, _LANES):
            for lane in range(_LANES):
                difference = np.float64(x[i, j + lane]) * scale[i] - point[j + lane]
                lanes[lane] += difference * difference
        for j in range(whole, d):
            difference = np.float64(x[i, j]) * scale[i] - point[j]
            lanes[j - whole] += difference * difference
        even = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6])
        odd = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7])
        total = even + odd
        if total < nearest_squared[i]:
            nearest_squared[i] = total
            nearest_step[i] = step

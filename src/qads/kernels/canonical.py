"""Canonical distances, and what is decided by them: everything compiled that selection is exact by.

A squared distance is Σ(a−b)² in float64, its squares added in one fixed order, without fused operations or
`fastmath`: the same to the bit on every machine. Only these numbers decide; bounds (`bounds.py`) only rule out.

Compiled functions call each other within this file only: Numba's cache does not see a change in another file.
`no_type_check` keeps a run-time type checker, which wraps functions, away from what Numba compiles.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

from qads.kernels.kept import KEPT

__all__ = [
    "GREEDY",
    "IN_ORDER",
    "OPEN_IN_ORDER",
    "apply_centre",
    "best_row",
    "distance",
    "hopeful",
    "race",
    "squared_norms",
    "take",
    "tighten",
    "update_scores",
]

GREEDY, IN_ORDER, OPEN_IN_ORDER = 0, 1, 2
"""How a race picks."""
_LANES = 32
_LARGEST_CUT = 2.0**30  # Bounds of rows that are out of range are larger and always pass.


@numba.njit(cache=KEPT)
@no_type_check
def distance(squared: float, cosine: bool) -> float:
    """The distance for a squared euclidean one; for unit vectors |a−b|²/2 = 1 − cos, without cancellation."""
    return 0.5 * squared if cosine else np.sqrt(squared)


@numba.njit(cache=KEPT)
@no_type_check
def _score(squared: float, weight: float, cosine: bool, share: float, least: float) -> float:
    """What is maximised; share < 0 means the product. −inf for a row that is nearer than `least` to a centre."""
    d = distance(squared, cosine)
    if d < least:
        return -np.inf
    return weight * d if share < 0 else weight + share * d


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def update_scores(
    rows: np.ndarray, squared: np.ndarray, weight: np.ndarray, cosine: bool, share: float, least: float,
    scores: np.ndarray,
) -> None:  # fmt: skip
    """Compute the scores of some rows anew, in place."""
    for i in rows:
        scores[i] = _score(squared[i], weight[i], cosine, share, least)


@numba.njit(cache=KEPT)
@no_type_check
def best_row(
    squared: np.ndarray, weight: np.ndarray, closed: np.ndarray, cosine: bool, share: float, least: float
) -> tuple[int, float]:
    """The open row of highest score, and the score; −1 where all are closed, or nearer than `least` to a centre."""
    best, best_score = -1, -np.inf
    for i in range(len(weight)):
        if not closed[i]:
            score = _score(squared[i], weight[i], cosine, share, least)
            if score > best_score:
                best, best_score = i, score
    return best, best_score


@numba.njit(cache=KEPT)
@no_type_check
def squared_norms(x: np.ndarray) -> np.ndarray:
    """Squared length of every row, its squares added from the first to the last."""
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += np.float64(x[i, j]) * np.float64(x[i, j])
        out[i] = total
    return out


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def take(x: np.ndarray, at: np.ndarray, scale: np.ndarray, out: np.ndarray) -> None:
    """Write the points of some stored rows."""
    for r in range(len(at)):
        for j in range(x.shape[1]):
            out[r, j] = np.float64(x[at[r], j]) * scale[r]


@numba.njit(cache=KEPT)
@no_type_check
def _squared_distance(row: np.ndarray, scale: float, point: np.ndarray, lanes: np.ndarray) -> float:
    """Σ(scale · row − point)²: sums side by side, folded by halves; fast, and the same to the bit on every machine."""
    d = len(point)
    whole = d - d % _LANES
    for lane in range(_LANES):
        lanes[lane] = 0.0
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            difference = np.float64(row[j + lane]) * scale - point[j + lane]
            lanes[lane] += difference * difference
    for j in range(whole, d):
        difference = np.float64(row[j]) * scale - point[j]
        lanes[j - whole] += difference * difference
    half = _LANES // 2
    while half > 0:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def apply_centre(
    x: np.ndarray, scale: np.ndarray, point: np.ndarray, number: int, squared: np.ndarray, near: np.ndarray
) -> None:
    """Lower the squared distance of every row of a block to its nearest centre by one centre more."""
    lanes = np.empty(_LANES)
    for i in range(len(x)):
        total = _squared_distance(x[i], scale[i], point, lanes)
        if total < squared[i]:
            squared[i] = total
            near[i] = number


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def tighten(
    bound: np.ndarray,
    places: np.ndarray,
    x: np.ndarray,
    at: np.ndarray,
    scale: np.ndarray,
    centres: np.ndarray,
    centres_at: np.ndarray,
    centres_scale: np.ndarray,
    first: int,
    rows: np.ndarray,
    unit: float,
    squared: np.ndarray,
    near: np.ndarray,
) -> None:
    """Lower the squared distances of some rows by the centres that the bounds do not rule out, the likeliest first.

    Args:
        bound: bounds [m, c], read as signed integers, which keeps the order of positive floats; centres that were
            looked at are erased. A pair can matter only if its bound is positive and at least unit · (what the
            squared distance has fallen by since the bound was made).
        places: the rows' places [h] in `bound`.
        x: stored rows.
        at: where the rows are [h] in `x`.
        scale: factors [n] that make points of rows.
        centres: stored rows that the centres `first`, `first + 1`, … are among.
        centres_at: where they are [c] in `centres`.
        centres_scale: factors [c] that make points of them.
        first: number of the first centre.
        rows: the rows' numbers [h].
        unit: factor of the fall.
        squared: squared distance [n] to the nearest centre, lowered.
        near: number [n] of the nearest centre; the lowest of equals.
    """
    lanes, point = np.empty(_LANES), np.empty(x.shape[1])
    for r in range(len(places)):
        i, likely, row = rows[r], bound[places[r]], x[at[r]]
        for j in range(len(point)):
            point[j] = np.float64(row[j]) * scale[i]
        before, cut = squared[i], 1
        while True:
            top = likely[0]
            for j in range(1, len(likely)):
                top = max(top, likely[j])
            if top < cut:
                break
            for j in range(len(likely)):
                if likely[j] == top:
                    likely[j] = -1  # (a − b)² is (b − a)², so centre and row may change places.
                    total = _squared_distance(centres[centres_at[j]], centres_scale[j], point, lanes)
                    if total < squared[i] or (total == squared[i] and first + j < near[i]):
                        squared[i], near[i] = total, first + j
            cut = max(1, _as_bound(unit * (before - squared[i]), bound))


@numba.njit(cache=KEPT)
@no_type_check
def _as_bound(value: float, bound: np.ndarray) -> int:
    """A value as an integer that is compared with bounds: the bits of a float32, or their upper half, rounded down."""
    bits = np.float32(min(value, _LARGEST_CUT)).view(np.int32)
    return bits if bound.itemsize == 4 else bits >> 16


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def race(
    bound: np.ndarray,
    points: np.ndarray,
    rows: np.ndarray,
    rival: tuple[float, int],
    most: int,
    mode: int,
    first: int,
    unit: float,
    cosine: bool,
    share: float,
    least: float,
    groups: np.ndarray,
    room: np.ndarray,
    weight: np.ndarray,
    squared: np.ndarray,
    near: np.ndarray,
    scores: np.ndarray,
    won: np.ndarray,
    results: np.ndarray,
) -> int:
    """Picks among a few rows: greedy ones, for as long as none outside can be better, or in their order.

    Args:
        bound: bounds [b, b] of the pair (centre, row), as in `tighten`.
        points: the rows' points [b, d].
        rows: the rows' numbers [b]; rising, for greedy picks.
        rival: the highest score outside and the lowest row that has it.
        most: largest number of picks.
        mode: `GREEDY`; `IN_ORDER`, all rows in the order given, whatever the score; or `OPEN_IN_ORDER`, the same
            without rows whose score is −inf.
        first: number that the first pick has as a centre.
        unit: as in `tighten`.
        cosine: kind of distance.
        share: share of the distance in the sum; < 0 for the product.
        least: distance below which a row's score is −inf.
        groups: group [c, b] of the rows in each column; −1 for one that may be picked without end.
        room: picks [c, g] that may follow of each group, lowered by the picks; the score of a row without is −inf.
        weight: weight [b] of the rows.
        squared: squared distances [b] of the rows, lowered by the picks.
        near: numbers [b] of the nearest centres.
        scores: scores [b]; −inf for picks.
        won: out, places [b] of the picks in their order.
        results: out, gain, squared distance and nearest [3, b] of each pick when it was made.

    Returns:
        The number of picks.
    """
    n = len(rows)
    lanes = np.empty(_LANES)
    cut = np.ones(n, dtype=np.int64)
    before = squared.copy()
    at = 0
    for step in range(most):
        while mode == OPEN_IN_ORDER and at < n and scores[at] == -np.inf:
            at += 1
        if at == n:
            return step
        best = at
        at += mode != GREEDY
        if mode == GREEDY:
            best = 0
            for i in range(1, n):
                if scores[i] > scores[best]:
                    best = i
            if scores[best] < rival[0] or (scores[best] == rival[0] and rows[best] > rival[1]):
                return step
        won[step] = best
        results[0, step], results[1, step], results[2, step] = scores[best], squared[best], near[best]
        scores[best] = -np.inf
        for column in range(len(groups)):
            group = groups[column, best]
            if group >= 0:
                room[column, group] -= 1
                if room[column, group] == 0:
                    scores[groups[column] == group] = -np.inf
        for i in range(n):
            # What was picked, and in other modes what will not be, needs no distance.
            if (i < at if mode == IN_ORDER else scores[i] == -np.inf) or bound[best, i] < cut[i]:
                continue
            total = _squared_distance(points[i], 1.0, points[best], lanes)
            if total < squared[i]:
                squared[i], near[i] = total, first + step
                scores[i] = _score(total, weight[i], cosine, share, least)
                cut[i] = max(1, _as_bound(unit * (before[i] - total), bound))
    return most


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def hopeful(bound: np.ndarray, seen: np.ndarray, out: np.ndarray) -> int:
    """Write the places of rows with a positive bound behind the centres they have seen; returns how many."""
    n = 0
    for r in range(len(bound)):
        likely = bound[r]
        likely[: seen[r]] = -1
        top = likely[0]
        for j in range(1, len(likely)):
            top = max(top, likely[j])
        if top > 0:
            out[n] = r
            n += 1
    return n

"""Facility location, lazily and in blocks: rows that together stand for all others.

    F(S) = Σ_i max_{j ∈ S} sim(i, j)          sim ≥ 0

F is monotone and submodular, so greedy picks reach 1 − 1/e of the best value (Nemhauser, Wolsey & Fisher 1978), and a
row's gain, computed after some picks, bounds its gain after more of them (Minoux 1978). The rows of highest bound are
taken a block at a time: one product of matrices gives their similarities to all witnesses; inside the block gains are
brought up to date and rows picked while none outside can be better. Memory is one block, never n²; what is kept of a
row is its bound. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from qads.kernels.kept import KEPT

__all__ = ["Similarity", "facility_location"]

Similarity = Callable[[Float32[np.ndarray, "b d"], Float32[np.ndarray, "m d"]], Float32[np.ndarray, "b m"]]
"""Similarities ≥ 0 of some rows (first) to all witnesses (second)."""

_BLOCK_NUMBERS = 2**24  # Similarities held at a time: 64 MB.
_LEAST_ROWS, _MOST_ROWS = 16, 256


def facility_location(
    rows: Callable[[Int[np.ndarray, " b"]], Float32[np.ndarray, "b d"]],
    n_rows: int,
    witnesses: Float32[np.ndarray, "m d"],
    similarity: Similarity,
    *,
    k: int,
    on_pick: Callable[[int], None] | None = None,
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Pick k rows greedily by F; equal gains go to the lowest row.

    Args:
        rows: points of the rows with some numbers.
        n_rows: how many there are.
        witnesses: the points i that F adds over.
        similarity: sim of points to all witnesses.
        k: number of picks, n_rows at most.
        on_pick: called with the number of picks made.

    Returns:
        The picks and their gains. Gains are sums of float32 similarities, so picks whose gains agree to about 1e-6
        may come in another order on another machine.
    """
    size = int(np.clip(_BLOCK_NUMBERS // len(witnesses), _LEAST_ROWS, _MOST_ROWS))
    covered = np.zeros(len(witnesses), np.float32)
    bound = np.empty(n_rows)
    for start in range(0, n_rows, size):
        block = np.arange(start, min(start + size, n_rows))
        bound[block] = _gains(similarity(rows(block), witnesses), covered)
    picks, gains, n_picked = np.empty(k, np.int64), np.empty(k), 0
    while n_picked < k:
        block, rival = _highest(bound, size)
        alike = similarity(rows(block), witnesses)
        # A bound holds for good; rounding must not let it rise.
        bound[block] = np.minimum(bound[block], _gains(alike, covered))
        won, worth = np.empty(len(block), np.int64), np.empty(len(block))
        n_won = _race(alike, block, rival, min(k - n_picked, len(block)), bound, covered, won, worth)
        picks[n_picked : n_picked + n_won], gains[n_picked : n_picked + n_won] = block[won[:n_won]], worth[:n_won]
        bound[block[won[:n_won]]] = -np.inf
        n_picked += n_won
        if on_pick and n_won:
            on_pick(n_picked)
    return picks, gains


def _highest(bound: Float[np.ndarray, " n"], size: int) -> tuple[Int[np.ndarray, " b"], tuple[float, int]]:
    """The rows of highest bound, rising; and of the others the highest bound with the lowest row that has it."""
    if size >= len(bound):
        return np.flatnonzero(bound > -np.inf), (-np.inf, -1)
    cut = np.partition(bound, len(bound) - size)[len(bound) - size]
    above = np.flatnonzero(bound > cut)
    inside = np.sort(np.concatenate([above, np.flatnonzero(bound == cut)[: size - len(above)]]))
    inside = inside[bound[inside] > -np.inf]
    outside: Bool[np.ndarray, " n"] = np.ones(len(bound), np.bool_)
    outside[inside] = False
    best = int(np.argmax(np.where(outside, bound, -np.inf)))
    return inside, (float(bound[best]), best) if outside[best] else (-np.inf, -1)


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _gains(alike: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """What each row adds to F."""
    out = np.empty(len(alike))
    for r in range(len(alike)):
        out[r] = _gain(alike[r], covered)
    return out


@numba.njit(cache=KEPT, nogil=True, fastmath={"reassoc"})
@no_type_check
def _gain(alike: np.ndarray, covered: np.ndarray) -> float:
    total = 0.0
    for i in range(len(covered)):
        total += max(np.float32(0), alike[i] - covered[i])
    return total


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _race(
    alike: np.ndarray,
    rows: np.ndarray,
    rival: tuple[float, int],
    most: int,
    bound: np.ndarray,
    covered: np.ndarray,
    won: np.ndarray,
    worth: np.ndarray,
) -> int:
    """Pick inside a block, whose bounds are fresh, while no row outside can be better; changes both in place."""
    fresh = np.ones(len(rows), np.bool_)
    out = np.zeros(len(rows), np.bool_)
    n = 0
    while n < most:
        best = -1
        for r in range(len(rows)):
            if not out[r] and (best < 0 or bound[rows[r]] > bound[rows[best]]):
                best = r
        row = rows[best]
        if not fresh[best]:
            bound[row] = min(bound[row], _gain(alike[best], covered))
            fresh[best] = True
        elif bound[row] < rival[0] or (bound[row] == rival[0] and row > rival[1]):
            return n
        else:
            won[n], worth[n] = best, bound[row]
            out[best] = True
            n += 1
            for i in range(len(covered)):
                covered[i] = max(covered[i], alike[best, i])
            fresh[:] = False
    return n

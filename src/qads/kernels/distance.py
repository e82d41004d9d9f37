"""Greedy selection by distance: rows as points, and the plain scan.

One pass over all rows a pick. Distances are the direct sum Σ(a−b)² in float64, added in a fixed order
(`canonical.py`), never the expansion |a|² − 2ab + |b|², which in float32 makes negative distances and ties of
near-duplicates. `lazy.py` gives the same picks faster where there are many rows. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt16

from qads.kernels.canonical import apply_centre, best_row, distance, squared_norms, take
from qads.kernels.limits import Limits

__all__ = ["Given", "GreedyPicks", "Points", "Rows", "greedy_scan"]

Rows = Float[np.ndarray, "n d"] | UInt16[np.ndarray, "n d"]
"""Embeddings as they are stored; uint16 holds the bits of bfloat16."""

Given = Int[np.ndarray, " g"] | Float[np.ndarray, "g d"] | UInt16[np.ndarray, "g d"]
"""Centres that are there before the first pick: rows by their number, or vectors."""

_BLOCK = 2048


class GreedyPicks(NamedTuple):
    """What greedy selection chose; step 0 first."""

    indices: Int[np.ndarray, " k"]
    gains: Float[np.ndarray, " k"]
    distances: Float[np.ndarray, " k"]
    nearest: Int[np.ndarray, " k"]

    @classmethod
    def empty(cls, k: int) -> GreedyPicks:
        """Room for k picks: no gain, infinite distance, nothing near."""
        return cls(np.full(k, -1, dtype=np.int64), np.full(k, np.nan), np.full(k, np.inf), np.full(k, -1, np.int64))

    def finished(self, n: int, n_given: int) -> GreedyPicks:
        """The first n picks; `nearest`, so far numbers of centres, the given ones first, as steps.

        −2 − g stands for the given centre g, −1 for none.
        """
        indices, gains, distances, near = (column[:n] for column in self)
        steps = np.where(near < 0, -1, np.where(near < n_given, -2 - near, near - n_given)).astype(np.int64)
        return GreedyPicks(indices, gains, distances, steps)


class Points:
    """Rows as the points that distances are measured between: float64, of length 1 where `cosine`."""

    def __init__(self, x: Rows, *, cosine: bool) -> None:
        self.cosine = cosine
        self.x = np.asarray(x)  # A memory map is an array; its own class is only slower.
        self.scale = np.ones(len(x))
        if cosine:
            for start, block in self.blocks():
                self.scale[start : start + len(block)] = 1.0 / np.sqrt(squared_norms(block))

    def __len__(self) -> int:
        return len(self.x)

    def blocks(self) -> Iterator[tuple[int, Float[np.ndarray, "b d"]]]:
        """The stored rows, widened, block by block, each with the number of its first row."""
        for start in range(0, len(self.x), _BLOCK):
            yield start, widened(self.x[start : start + _BLOCK])

    def stored(self, rows: Int[np.ndarray, " m"]) -> tuple[Float[np.ndarray, "r d"], Int[np.ndarray, " m"]]:
        """Some rows widened, as an array and their places in it: all rows, uncopied, where they are wide already."""
        if self.x.dtype.itemsize > 2:
            return self.x, rows
        return widened(self.x[rows]), np.arange(len(rows))

    def take(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        """The points of some rows."""
        out = np.empty((len(rows), self.x.shape[1]))
        take(*self.stored(rows), self.scale[rows], out)
        return out

    def apply(
        self,
        point: Float[np.ndarray, " d"],
        number: int,
        squared: Float[np.ndarray, " n"],
        near: Int[np.ndarray, " n"],
    ) -> None:
        """Lower every row's squared distance to its nearest centre, in place, by a centre and its number."""
        for start, block in self.blocks():
            part = slice(start, start + len(block))
            apply_centre(block, self.scale[part], point, number, squared[part], near[part])


def greedy_scan(
    x: Rows,
    weight: Float[np.ndarray, " n"],
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
    given: Given | None = None,
    limits: Limits | None = None,
    on_pick: Callable[[int], None] | None = None,
) -> GreedyPicks:
    """Pick k rows: those of `start` first, then always the open row of highest score; ties go to the lowest row.

    One pass over all rows a centre: for few rows, and the second opinion on `lazy.py`.

    Args:
        x: rows, finite; of length > 0 each where `cosine`.
        weight: for the product w_i · d_i the weights; for the sum the quality term (1 − share) · q_i.
        start: rows taken first, at most k; at least one where nothing is given.
        k: number of picks.
        cosine: d = 1 − cos instead of the euclidean distance.
        distance_share: None for the product; else the score is (share / d_max) · d_i + weight_i, rounded in
            that order, where d_max is the largest distance to the first centre (1 if all rows are equal).
        given: centres before the first pick; those that are rows are never picked.
        limits: which rows are open, and for how long; start rows are exempt from its distance alone. It is used up.
        on_pick: called with the number of picks made.

    Returns:
        The picks; fewer than k where the limits leave no more. The gain of a start row is NaN. The nearest of a pick
        is the step of an earlier one, −2 − g for the given centre g, or −1 where there is none and the distance is
        infinite.
    """
    points = Points(x, cosine=cosine)
    centres = given_points(points, given, cosine=cosine)
    squared, near = np.full(len(x), np.inf), np.full(len(x), -1, dtype=np.int32)
    limits = limits or Limits(len(x), k)
    taken, least = np.zeros(len(x), np.bool_), limits.least_distance
    if given is not None and given.ndim == 1:
        taken[given] = True
    picks, n_given = GreedyPicks.empty(k), 0 if given is None else len(given)
    share = -1.0 if distance_share is None else distance_share
    for number in range(n_given + k):
        step = number - n_given
        if step < 0:
            point = centres.take(np.array([number]))
        else:
            row, gain = start[step] if step < len(start) else -1, np.nan
            if row < 0:
                row, gain = best_row(squared, weight, taken | limits.closed, cosine, share, least)
            if row < 0 or not limits.admit(np.array([row])):
                return picks.finished(step, n_given)
            picks.indices[step], picks.gains[step] = row, gain
            picks.distances[step], picks.nearest[step] = distance(squared[row], cosine), near[row]
            taken[row] = True
            point = points.take(np.array([row]))
        points.apply(point[0], number, squared, near)
        if number == 0 and distance_share is not None:
            share = distance_share / (distance(squared.max(), cosine) or 1.0)
        if on_pick and step >= 0:
            on_pick(step + 1)
    return picks.finished(k, n_given)


def given_points(points: Points, given: Given | None, *, cosine: bool) -> Points:
    """The given centres as points of their own."""
    if given is None:
        return Points(points.x[:0], cosine=cosine)
    return Points(points.x[given] if given.ndim == 1 else given, cosine=cosine)


def widened(x: Float[np.ndarray, "..."] | UInt16[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """float16 and bfloat16 as float32; what is wider as it is."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32) if x.dtype == np.float16 else x

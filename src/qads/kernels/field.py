"""Rows and what each has seen of the centres: the part of `lazy.py` that is products, and runs in threads.

Rows are independent of each other when they are shown centres, so threads change nothing but the time. They are
Python's, and each computes its products alone: the pools below (OpenMP, BLAS) wait by spinning, which made two threads
slower than one on a machine with other work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from threadpoolctl import threadpool_info, threadpool_limits

from qads.kernels.bounds import BFloat16Product, BoundProduct, Bounds, Float32Product
from qads.kernels.canonical import apply_centre, hopeful, tighten
from qads.kernels.distance import Given, Points, widened

__all__ = ["Field", "Threads"]

_TILE, _TILE_STEP = 2048, 256  # Rows of a product at most, and a number that others are a multiple of.

_Tile = TypeVar("_Tile", Int[np.ndarray, " m"], range)
_Answer = TypeVar("_Answer")


class Field:
    """The rows and what each has seen of the centres."""

    def __init__(self, points: Points, given: Given | None, k: int, product: BoundProduct, threads: Threads) -> None:
        n = len(points)
        self.points, self.product, self.threads = points, product, threads
        self.n_given = 0 if given is None else len(given)
        self.centres = np.empty(self.n_given + k, np.int64)
        """Row of every centre; the given vectors, which are no rows, come first."""
        self.n_centres = self.n_given
        self.bounds = Bounds(points)
        self.squared, self.near = np.full(n, np.inf), np.full(n, -1, dtype=np.int32)
        self.seen = np.ones(n, np.int32)
        """How many centres each row has been shown."""
        self._vectors, self._vector_bounds, self.n_vectors = points, self.bounds, 0
        if given is not None and given.ndim == 1:
            self.centres[: self.n_given] = given
        elif given is not None:
            self.centres[: self.n_given] = np.arange(self.n_given)
            self._vectors, self.n_vectors = Points(given, cosine=points.cosine), self.n_given
            self._vector_bounds = Bounds(self._vectors, like=self.bounds)
            for start, block in self._vectors.blocks():
                self._vector_bounds.enclose(start, block, self._vectors.scale[start : start + len(block)])

    def add(self, rows: Int[np.ndarray, " c"]) -> None:
        """Let rows be centres; nobody has seen them yet."""
        self.centres[self.n_centres : self.n_centres + len(rows)] = rows
        self.n_centres += len(rows)

    def show_first(self) -> None:
        """Show the first centre to every row, and make the bounds."""
        points, _, centre = self._centres(0, 1)
        point = points.take(centre)[0]

        def tile(part: range) -> None:
            rows = slice(part.start, part.stop)
            block, scale = widened(self.points.x[rows]), self.points.scale[rows]
            apply_centre(block, scale, point, 0, self.squared[rows], self.near[rows])
            self.bounds.enclose(part.start, block, scale)
            self.bounds.set_reach(np.arange(part.start, part.stop), self.squared)

        self.threads.each(tile, range(len(self.points)))

    def show(self, rows: Int[np.ndarray, " m"], first: int, last: int) -> None:
        """Show some rows, which have seen the centres before `first`, those up to `last`, of one kind (`end_of`)."""
        if not len(rows):
            return
        points, bounds, centres = self._centres(first, last)
        right, (stored, at), scale = (
            self.product.prepared(bounds.right(centres)),
            points.stored(centres),
            points.scale[centres],
        )
        unit = self.bounds.unit

        def tile(rows: Int[np.ndarray, " m"]) -> None:
            bound = self.product(np.take(self.bounds.left, rows, axis=0), right)
            places = np.empty(len(rows), np.int64)
            places = places[: hopeful(bound, np.maximum(self.seen[rows] - first, 0), places)]
            near = rows[places]
            tighten(
                bound, places, *self.points.stored(near), self.points.scale, stored, at, scale, first, near, unit,
                self.squared, self.near,
            )  # fmt: skip
            self.bounds.set_reach(near, self.squared)
            self.seen[rows] = last

        self.threads.each(tile, rows)

    def end_of(self, first: int, most: int) -> int:
        """The end of at most so many centres from `first` on that are all rows or all given vectors."""
        return min(first + most, self.n_vectors if first < self.n_vectors else self.n_centres)

    def _centres(self, first: int, last: int) -> tuple[Points, Bounds, Int[np.ndarray, " c"]]:
        if first < self.n_vectors:
            return self._vectors, self._vector_bounds, self.centres[first:last]
        return self.points, self.bounds, self.centres[first:last]


class Threads:
    """Some threads whose matrix products run on one core each; what the caller has set up stays as it is."""

    def __init__(self, n_threads: int | None, product: BoundProduct) -> None:
        """None: as many threads as torch or NumPy would use."""
        self._n_threads = n_threads or _usual_threads(product)
        # OpenMP counts for each thread of its own, BLAS for the process.
        self._blas = threadpool_limits(1, "blas") if isinstance(product, Float32Product) else None
        self._pool = ThreadPoolExecutor(self._n_threads, "greedy", self._keep_to_one_core, (product,))

    @staticmethod
    def _keep_to_one_core(product: BoundProduct) -> None:
        if isinstance(product, BFloat16Product):
            import torch

            torch.get_num_threads()  # Sets this thread up, which would undo the limit later.
            threadpool_limits(1, "openmp")

    def each(self, function: Callable[[_Tile], None], rows: _Tile) -> None:
        """Call the function with every tile of rows; returns when all is done."""
        size = min(_TILE, -(-len(rows) // (self._n_threads * _TILE_STEP)) * _TILE_STEP)
        tiles = iter([rows[start : start + size] for start in range(0, len(rows), size)])

        def work() -> None:
            for tile in tiles:
                function(tile)

        for done in [self._pool.submit(work) for _ in range(min(self._n_threads, -(-len(rows) // size)))]:
            done.result()

    def one(self, function: Callable[[], _Answer]) -> _Answer:
        """Call the function in one of the threads."""
        return self._pool.submit(function).result()

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()
        if self._blas:
            self._blas.restore_original_limits()


def _usual_threads(product: BoundProduct) -> int:
    if isinstance(product, BFloat16Product):
        import torch

        return torch.get_num_threads()
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)

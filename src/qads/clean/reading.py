"""Texts read once, batch by batch, for a few numbers of every row: who reads, and where what was read is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from qads.cluster import Execution, Grid, MemoryShards, ShardStore, Work, map_shards, workers
from qads.pool import Progress

__all__ = ["Reading", "as_columns"]

_ROWS_PER_BATCH = 4096
"""Rows whose texts are in memory at a time."""


@dataclass
class Reading:
    """Reads rows for one purpose after the other, always in the same order."""

    execution: Execution = field(default_factory=Execution)
    """Who reads; this process alone unless a number of workers or a cluster is asked for."""
    shards: ShardStore | None = None
    """Where finished batches are kept, so that a killed cleaning goes on; nowhere by default."""
    _n_batches: int = field(default=0, init=False)
    """Of all purposes so far: where those of the next begin in the store."""

    def numbers(
        self, work: Work, part: Callable[[range], pa.Table], n_rows: int, n_columns: int, progress: Progress | None
    ) -> UInt64[np.ndarray, "n c"]:
        """Some numbers of every row.

        Args:
            work: the part of a batch -> its numbers, `as_columns`.
            part: rows of a batch -> what the work needs of them.
            n_rows: how many rows there are.
            n_columns: how many numbers of each.
            progress: called with (rows done, rows).

        Raises:
            ClusterError: workers died again and again.
        """
        grid = Grid(
            n_rows=n_rows, rows_per_shard=_ROWS_PER_BATCH, first_index=self._n_batches,
            of=f"{n_columns} numbers of rows",
        )  # fmt: skip
        found = _Numbers(grid, n_columns, self.shards)
        with workers(lambda: work, self.execution.reading()) as crew:
            self._n_batches += map_shards(crew, part, grid, store=found, progress=progress)
        return found.columns


def as_columns(numbers: UInt64[np.ndarray, "c n"]) -> pa.Table:
    """Numbers as what is sent and kept."""
    return pa.table({str(place): column for place, column in enumerate(numbers)})


class _Numbers(MemoryShards):
    """The numbers of all rows, filled batch by batch."""

    def __init__(self, grid: Grid, n_columns: int, kept: ShardStore | None) -> None:
        super().__init__()
        self._grid, self._kept = grid, kept
        self.columns: UInt64[np.ndarray, "n c"] = np.empty((grid.n_rows, n_columns), np.uint64)

    def get(self, index: int) -> pa.Table | None:
        """A batch that was kept, filled in where it is of these rows."""
        table = None if self._kept is None else self._kept.get(index)
        if table is not None and self._grid.is_of(table, rows := self._grid.rows(index)):
            self._fill(rows, table)
        return table

    def put(self, index: int, table: pa.Table) -> None:
        """Fill a batch in, and keep it."""
        if self._kept is not None:
            self._kept.put(index, table)
        self._fill(self._grid.rows(index), table)

    def _fill(self, rows: range, table: pa.Table) -> None:
        for place, column in enumerate(table.columns):
            self.columns[rows.start : rows.stop, place] = column.to_numpy()

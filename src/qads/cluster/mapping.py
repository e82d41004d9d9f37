"""Map work over shards, and remember the shards that are done.

A shard is a range of rows. Its result depends on its rows alone, so a run that was killed computes the missing shards
and ends with the same bytes, and who computes them is a matter of speed only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from qads.cluster.crew import Crew, Task
from qads.errors import CorruptError
from qads.pool import Progress

__all__ = ["Grid", "MemoryShards", "ShardStore", "map_shards"]

logger = logging.getLogger(__name__)

_MARK = b"shard_of"
"""What a shard says of itself, among the metadata of its schema: which rows it is of."""


class ShardStore(Protocol):
    """Where finished shards are kept."""

    def get(self, index: int) -> pa.Table | None:
        """Shard `index` if it is finished."""
        ...

    def put(self, index: int, table: pa.Table) -> None:
        """Keep shard `index`."""
        ...

    def array(self, shape: tuple[int, int]) -> Float[np.ndarray, "n d"]:
        """A float32 array to join the shards in; on disk where memory is not the place for it."""
        ...


@dataclass
class MemoryShards:
    """Keeps shards in memory: what the Python interface uses."""

    tables: dict[int, pa.Table] = field(default_factory=dict[int, pa.Table])

    def get(self, index: int) -> pa.Table | None:
        """Shard `index` if it is finished."""
        return self.tables.get(index)

    def put(self, index: int, table: pa.Table) -> None:
        """Keep shard `index`."""
        self.tables[index] = table

    def array(self, shape: tuple[int, int]) -> Float[np.ndarray, "n d"]:
        """A float32 array in memory."""
        return np.empty(shape, np.float32)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The shards of some rows."""

    n_rows: int
    rows_per_shard: int
    """Part of the result's identity, since batches never cross a shard."""
    first_index: int = 0
    """Number of the first shard in the store."""
    of: str = "rows"
    """What is counted; where a store holds several grids, each has its own word."""

    def __iter__(self) -> Iterator[tuple[int, range]]:
        return ((index, self.rows(index)) for index in range(self.first_index, self.first_index + self.n_shards))

    @property
    def n_shards(self) -> int:
        """How many there are; the last may be short."""
        return -(-self.n_rows // self.rows_per_shard)

    def rows(self, index: int) -> range:
        """The rows of a shard."""
        start = (index - self.first_index) * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.n_rows))

    def marked(self, table: pa.Table, rows: range) -> pa.Table:
        """A shard that says which rows it is of."""
        return table.replace_schema_metadata({**(table.schema.metadata or {}), _MARK: self._mark(rows)})

    def is_of(self, table: pa.Table, rows: range) -> bool:
        """Whether a shard says that it is of these rows; that of another version may be of others, or say nothing."""
        return (table.schema.metadata or {}).get(_MARK) == self._mark(rows)

    def finished(self, store: ShardStore) -> Iterator[pa.Table]:
        """Every shard in order, once all were computed.

        Raises:
            CorruptError: one was damaged since.
        """
        for index, rows in self:
            if (table := store.get(index)) is None:
                raise CorruptError(
                    f"shard {index} ({self.of} {rows.start} to {rows.stop - 1}) was damaged while the run was on. "
                    "Give the same command again: that shard is computed anew, the others are kept."
                )
            yield table

    def _mark(self, rows: range) -> bytes:
        return f"{self.of} {rows.start}-{rows.stop}".encode()


def map_shards(
    crew: Crew,
    part: Callable[[range], Any],
    grid: Grid,
    *,
    store: ShardStore,
    belongs: Callable[[pa.Table, range], bool] | None = None,
    size: Callable[[range], float] = len,
    progress: Progress | None = None,
) -> int:
    """Have the shards computed that `store` does not hold yet.

    Args:
        crew: who computes them.
        part: rows of one shard -> what its computation needs; asked for when a worker is free.
        grid: the shards.
        store: where finished shards are and go; only this process touches it.
        belongs: whether a finished shard is of these rows, where that follows from others; by default one is that says
            so (`Grid.is_of`).
        size: about how long a shard takes, in any unit. Several workers begin with the longest.
        progress: called with (rows done, rows), as shards finish.

    Returns:
        The number of shards.

    Raises:
        ClusterError: a shard was tried as often as is allowed; those that finished are kept.
        Exception: what the work raised.
    """
    missing, strange = _missing(grid, store, belongs or grid.is_of)
    if strange:
        logger.warning("finished shards of other rows than now: %d; they are computed again", strange)
    done = grid.n_rows - sum(len(task.rows) for task in missing)
    if progress:
        progress(done, grid.n_rows)
    begun: dict[int, int] = {}

    def within(task: Task, n: int) -> None:
        begun[task.index] = min(n, len(task.rows) - 1)  # It is done when it is stored.
        if progress:
            progress(done + sum(begun.values()), grid.n_rows)

    for task, table in crew.run(missing, part, size=size, within=within):
        store.put(task.index, grid.marked(table, task.rows))
        begun.pop(task.index, None)
        done += len(task.rows)
        if progress:
            progress(done + sum(begun.values()), grid.n_rows)
    return grid.n_shards


def _missing(grid: Grid, store: ShardStore, belongs: Callable[[pa.Table, range], bool]) -> tuple[list[Task], int]:
    """The shards that are to be computed, and how many of them are there, but of other rows."""
    missing, strange = list[Task](), 0
    for index, rows in grid:
        kept = store.get(index)
        if kept is None or not belongs(kept, rows):
            missing.append(Task(index, rows))
            strange += kept is not None
    return missing, strange

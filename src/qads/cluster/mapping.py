"""Map work over shards, and remember the shards that are done.

A shard is a range of rows. Its result depends on its rows alone, so a run that was killed computes the missing shards
and ends with the same bytes, and who computes them is a matter of speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from qads.cluster.crew import Crew, Task
from qads.pool import Progress

__all__ = ["MemoryShards", "ShardStore", "map_shards"]


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

    def __iter__(self) -> Iterator[tuple[int, range]]:
        starts = range(0, self.n_rows, self.rows_per_shard)
        shards = (range(start, min(start + self.rows_per_shard, self.n_rows)) for start in starts)
        return enumerate(shards, self.first_index)


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
        belongs: whether a finished shard is of these rows, where that follows from others; all are by default.
        size: about how long a shard takes, in any unit. Several workers begin with the longest.
        progress: called with (rows done, rows), as shards finish.

    Returns:
        The number of shards.

    Raises:
        ClusterError: a shard was tried as often as is allowed; those that finished are kept.
        Exception: what the work raised.
    """
    n_shards, done, missing = 0, 0, list[Task]()
    for index, rows in grid:
        n_shards += 1
        kept = store.get(index)
        if kept is None or (belongs and not belongs(kept, rows)):
            missing.append(Task(index, rows))
        else:
            done += len(rows)
    if progress:
        progress(done, grid.n_rows)
    begun: dict[int, int] = {}

    def within(task: Task, n: int) -> None:
        begun[task.index] = min(n, len(task.rows) - 1)  # It is done when it is stored.
        if progress:
            progress(done + sum(begun.values()), grid.n_rows)

    for task, table in crew.run(missing, part, size=size, within=within):
        store.put(task.index, table)
        begun.pop(task.index, None)
        done += len(task.rows)
        if progress:
            progress(done + sum(begun.values()), grid.n_rows)
    return n_shards

"""Map a function over shards, and remember the shards that are done.

A shard is a range of rows. Its result depends on its rows alone, so a run that was killed computes the
missing shards and ends with the same bytes, and the engine that maps them is a matter of speed only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import BeforeValidator

from qads.errors import InputError
from qads.pool import Progress

__all__ = ["Execution", "MemoryShards", "ShardStore", "map_shards"]


def _check_pass_size(value: object) -> object:
    where = "execution.max_tokens_per_batch"
    if value == "auto":
        return value
    if not isinstance(value, int):
        raise InputError(f"{where} is {value!r}; it must be auto, or a whole number of tokens.")
    if value < 1:
        raise InputError(f"{where} is {value}; it must be 1 at least.")
    return value


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How fast, never what: no field here changes a result beyond floating-point rounding."""

    kind: Literal["local"] = "local"
    device: str = "auto"
    """Where models run, as torch names it; ``auto`` takes CUDA, then MPS, then the CPU."""
    max_tokens_per_batch: Annotated[int | Literal["auto"], BeforeValidator(_check_pass_size)] = "auto"
    """Tokens in one forward pass of a model; bounds its memory. ``auto`` is 2048, which is best on CPUs; on CUDA it is
    found by trying when a scoring model is opened."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model. Only for models you trust as you trust their authors."""
    allow_code_execution: bool = False
    """Run programs that a model wrote, in a sandbox, where an evaluation asks for programs."""
    concurrency: int = 16
    """Requests to a remote engine at once."""
    timeout: float = 300.0
    """Seconds that a request to a remote engine may take."""
    retries: int = 6
    """How often a request is repeated that was refused for now (408, 429), failed (5xx) or got no answer."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _check_pass_size(self.max_tokens_per_batch)
        if self.concurrency < 1:
            raise InputError(f"execution.concurrency is {self.concurrency}; it must be 1 at least.")
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise InputError(f"execution.timeout is {self.timeout:g}; it must be a number of seconds above 0.")
        if self.retries < 0:
            raise InputError(f"execution.retries is {self.retries}; it must be 0 at least.")

    def pass_size(self, device: str) -> int | None:
        """Tokens in one forward pass on a device of such a type (``cpu``, ``cuda``); None: to be found by trying."""
        if self.max_tokens_per_batch != "auto":
            return self.max_tokens_per_batch
        return None if device == "cuda" else 2048


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


def map_shards(
    function: Callable[[range], pa.Table],
    n_rows: int,
    *,
    rows_per_shard: int,
    store: ShardStore,
    first_index: int = 0,
    belongs: Callable[[pa.Table, range], bool] | None = None,
    progress: Progress | None = None,
) -> int:
    """Compute the shards of `n_rows` rows that `store` does not hold yet.

    Args:
        function: rows of one shard -> its table.
        n_rows: rows in all.
        rows_per_shard: the grid; part of the result's identity, since batches never cross a shard.
        store: where finished shards are and go.
        first_index: number of the first shard in the store.
        belongs: whether a finished shard is of these rows, where that follows from others; all are by default.
        progress: called with (rows done, n_rows).

    Returns:
        The number of shards.
    """
    shards = [range(start, min(start + rows_per_shard, n_rows)) for start in range(0, n_rows, rows_per_shard)]
    for index, rows in enumerate(shards, first_index):
        if progress:
            progress(rows.start, n_rows)
        kept = store.get(index)
        if kept is None or (belongs and not belongs(kept, rows)):
            store.put(index, function(rows))
    if progress:
        progress(n_rows, n_rows)
    return len(shards)

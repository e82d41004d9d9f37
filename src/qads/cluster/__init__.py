"""Where work runs: shards of rows on workers, and selection from shards on a Ray cluster.

Where it runs is a matter of speed only; no result depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qads.cluster.connection import connected
from qads.cluster.crew import Crew, Work, workers
from qads.cluster.execution import Execution
from qads.cluster.mapping import Grid, MemoryShards, ShardStore, map_shards
from qads.cluster.session import Function, Tell

if TYPE_CHECKING:
    from qads.cluster.greedy import ClusterGreedy

__all__ = [
    "ClusterGreedy", "Crew", "Execution", "Function", "Grid", "MemoryShards", "ShardStore", "Tell", "Work", "connected",
    "map_shards", "workers",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`ClusterGreedy` on first use: it brings compiled kernels, which most that is asked for here does not need."""
    if name == "ClusterGreedy":
        from qads.cluster.greedy import ClusterGreedy

        return ClusterGreedy
    raise AttributeError(f"module 'qads.cluster' has no attribute {name!r}")

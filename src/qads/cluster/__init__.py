"""Where work runs: functions mapped over shards of rows, and selection from shards on a Ray cluster.

Where it runs is a matter of speed only; no result depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qads.cluster.mapping import Execution, MemoryShards, ShardStore, map_shards

if TYPE_CHECKING:
    from qads.cluster.greedy import ClusterGreedy

__all__ = ["ClusterGreedy", "Execution", "MemoryShards", "ShardStore", "map_shards"]


def __getattr__(name: str) -> Any:
    """`ClusterGreedy` on first use: it brings compiled kernels, which most that is asked for here does not need."""
    if name == "ClusterGreedy":
        from qads.cluster.greedy import ClusterGreedy

        return ClusterGreedy
    raise AttributeError(f"module 'qads.cluster' has no attribute {name!r}")

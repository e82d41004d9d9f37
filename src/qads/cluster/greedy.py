"""Greedy selection on a Ray cluster: the picks of one machine, to the bit.

One actor holds one shard of the rows. A round is one exchange: the shards offer their best rows, the driver has them
race, and tells all shards who won (`kernels/rounds.py`). What differs from one machine is the time, and how many rows
fit: of rows in a file that all machines read, none needs all in memory. Rows that are given as an array are sent, and
the machine of the driver has them in Ray's object store until the selection is done, for shards that are started anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt16

from qads.cluster.actors import RayShards
from qads.cluster.checkpoint import Checkpoint, identity
from qads.cluster.connection import cluster, machines
from qads.cluster.rows import StoredRows, opened
from qads.errors import InputError
from qads.kernels.bounds import fast_product
from qads.kernels.distance import Given, GreedyPicks, Rows
from qads.kernels.field import Threads
from qads.kernels.limits import Limits
from qads.kernels.rounds import ShardedGreedy
from qads.kernels.sharded import borders

__all__ = ["ClusterGreedy"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClusterGreedy:
    """`kernels/lazy.py: greedy` over shards on a Ray cluster. No setting changes a pick.

    An actor that dies is started anew and told the picks so far; where that is not allowed any more the selection ends
    with a `ClusterError`. With a checkpoint it goes on from the picks that were kept, whatever ended it.
    """

    kind: Literal["ray"] = "ray"
    """Name of the way to execute in a configuration."""
    address: str | None = None
    """Of the cluster, as `Execution.address`; None for the one that RAY_ADDRESS names, or else one that is started."""
    shards: int | None = None
    """Number of shards, each an actor; None for as many as the cluster has processors for. Never more than rows."""
    cpus_per_shard: int = 1
    """Processors of an actor, and threads that it works with. One actor a machine with all its processors keeps the
    picks in memory once a machine."""
    restarts: int = 4
    """How often a shard that died is started anew."""
    timeout: float | None = None
    """Seconds that a shard may take for one answer, its start and the reading of its rows included; None for any."""
    checkpoint: Path | None = None
    """File that keeps the picks so far (.npz). A selection of the same inputs goes on from it, to a larger or smaller
    budget too; one of others is refused. Checking that takes one read of the rows."""
    checkpoint_every: int = 1000
    """Picks after which the checkpoint is written again."""

    def __post_init__(self) -> None:
        for name in ("shards", "cpus_per_shard", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"ClusterGreedy: {name} is {value}; it must be 1 at least.")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"ClusterGreedy: timeout is {self.timeout:g}; it must be a number of seconds above 0.")
        if self.restarts < 0:
            raise InputError(f"ClusterGreedy: restarts is {self.restarts}; it must be 0 at least.")

    def __call__(
        self,
        x: Rows | Path,
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
        """Pick k rows as `greedy_scan` does.

        Args:
            x: rows as in `greedy_scan`, checked; an array is sent to the shards. Or a .npy file of them that every
                machine reads under this path: then no rows are sent, and no machine holds more than its shards.
            weight: this and all that follow as in `greedy_scan`, though picks come in bursts.
            start: as there.
            k: as there.
            cosine: as there.
            distance_share: as there.
            given: as there.
            limits: none but rows that are out.
            on_pick: as there.

        Returns:
            The picks, to the bit those of `greedy_scan`; fewer than k where no more rows may be picked.

        Raises:
            ClusterError: a shard was lost for good.
            InputError: limits change with the picks, Ray is missing, the cluster is too small, a machine cannot read
                the file, or the checkpoint is of another selection.
        """
        if limits and not limits.only_leave_out:
            raise InputError(
                "ClusterGreedy: token budgets, quotas and a least distance do not work on a Ray cluster yet; select on "
                "one machine, without cluster."
            )
        rows = opened(x) if isinstance(x, Path) else x
        out = np.zeros(len(rows), np.bool_) if limits is None else limits.closed
        checkpoint = done = None
        if self.checkpoint:
            of = identity(
                rows, weight, start=start, cosine=cosine, distance_share=distance_share, given=given, limits=limits
            )  # fmt: skip
            checkpoint = Checkpoint(self.checkpoint, of, every=self.checkpoint_every)
            done = checkpoint.load(k)
        product = fast_product(float(rows.size) * k)
        with cluster(self.address), Threads(1, product) as threads:
            shards = self._shards(x, rows, weight, out, cosine=cosine, k=k)
            search = ShardedGreedy(
                shards, cosine=cosine, distance_share=distance_share, product=product, threads=threads
            )  # fmt: skip
            kept = checkpoint.at_the_end(lambda: (search.picks, search.n_picked)) if checkpoint else nullcontext()
            try:
                with kept:
                    return search.run(
                        start, k=k, given=given, done=done, on_pick=on_pick,
                        on_round=(lambda: checkpoint.keep(search.picks, search.n_picked)) if checkpoint else None,
                    )  # fmt: skip
            finally:
                shards.close()
                _log.info("selection from %d shards: %s", len(shards), search.traffic)

    def _shards(
        self, x: Rows | Path, rows: Rows, weight: Float[np.ndarray, " n"], out: Bool[np.ndarray, " n"], *,
        cosine: bool, k: int,
    ) -> RayShards:  # fmt: skip
        """Start the actors with their rows, or with where they are read."""
        parts = borders(len(rows), self._n_shards([cpus for cpus, _ in machines()]))
        return RayShards(
            [_part(x, rows, part) for part in parts],
            [weight[part.start : part.stop] for part in parts],
            out=[out[part.start : part.stop] for part in parts],
            cosine=cosine,
            cpus=self.cpus_per_shard,
            restarts=self.restarts,
            timeout=self.timeout,
            k=k,
        )

    def _n_shards(self, cpus: Sequence[float]) -> int:
        """The number of shards that machines of so many processors can hold.

        Raises:
            InputError: they cannot hold as many as were asked for, or none; Ray would wait for processors forever.
        """
        room = sum(int(each // self.cpus_per_shard) for each in cpus)
        wanted = self.shards or max(1, room)
        if wanted > room:
            listed = ", ".join(f"{each:g}" for each in cpus)
            raise InputError(
                f"ClusterGreedy: shards={wanted} with cpus_per_shard={self.cpus_per_shard} do not fit on the Ray "
                f"cluster, whose machines have {listed} processors; start more machines or ask for less."
            )
        return wanted


def _part(x: Rows | Path, rows: Rows, part: range) -> Float[np.ndarray, "p d"] | UInt16[np.ndarray, "p d"] | StoredRows:
    """A shard's rows, or where they are read."""
    if isinstance(x, Path):
        n, d = rows.shape
        return StoredRows(path=x.absolute(), shape=(n, d), dtype=rows.dtype.name, part=part)
    return np.ascontiguousarray(rows[part.start : part.stop])

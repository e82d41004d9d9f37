"""Shards as Ray actors, each in a process of its own.

An actor that dies is started anew by Ray, on another machine if need be, and reads its rows again; the call it died in
is repeated. It then has no centres, says so, and is told all of them (`kernels/rounds.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt16

from qads.cluster.connection import import_ray
from qads.cluster.rows import StoredRows
from qads.errors import ClusterError
from qads.kernels.bounds import fast_product
from qads.kernels.distance import Rows
from qads.kernels.field import Threads
from qads.kernels.sharded import Offer, Request, Shard

__all__ = ["RayShards"]

_INLINE = 100_000  # Bytes up to which Ray sends an argument with the call.


class ShardActor:
    """A shard, as it lives in a process of its own."""

    def __init__(
        self,
        x: Rows | StoredRows,
        weight: Float[np.ndarray, " n"],
        out: Bool[np.ndarray, " n"],
        *,
        first_row: int,
        cosine: bool,
        n_threads: int,
        work: float,
    ) -> None:
        rows = x.read() if isinstance(x, StoredRows) else x
        product = fast_product(work)
        threads = Threads(n_threads, product)  # Never closed: they end with the process.
        self._shard = Shard(
            rows, weight, first_row=first_row, cosine=cosine, product=product, threads=threads, out=out
        )  # fmt: skip

    def answer(self, request: Request) -> Offer:
        """Ask the shard."""
        return self._shard(request)

    def process(self) -> int:
        """Number of the process, for those who watch it."""
        return os.getpid()


class RayShards:
    """The shards of a pool, an actor each."""

    def __init__(
        self,
        rows: Sequence[Float[np.ndarray, "_ d"] | UInt16[np.ndarray, "_ d"] | StoredRows],
        weights: Sequence[Float[np.ndarray, " _"]],
        *,
        cosine: bool,
        cpus: int,
        restarts: int,
        k: int,
        out: Sequence[Bool[np.ndarray, " _"]] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Start the actors.

        Args:
            rows: of every shard; arrays are put into Ray's object store, one after another.
            weights: of every shard.
            cosine: as in `greedy_scan`.
            cpus: processors of an actor, and its threads.
            restarts: how often each may be started anew.
            k: number of picks, from which it follows how distances are bounded fastest.
            out: rows of every shard that are never picked; None for none.
            timeout: seconds that each may take for an answer.
        """
        self._ray, self._actors, self._restarts, first_row = import_ray(), list[Any](), restarts, 0
        self._timeout = timeout
        self._held: list[Any] = []  # An actor that is started anew needs its arguments again.
        actor = self._ray.remote(
            num_cpus=cpus,
            max_restarts=restarts,
            max_task_retries=-1,  # As often as the actor is started anew.
            scheduling_strategy="SPREAD",
            # Threads that spin while they wait take the core of a shard beside them.
            runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(cpus)}},
        )(ShardActor)
        closed = [np.zeros(len(weight), np.bool_) for weight in weights] if out is None else out
        try:
            for x, weight, shut in zip(rows, weights, closed, strict=True):
                sent = x if isinstance(x, StoredRows) else self._ray.put(x)
                arguments = (sent, self._ray.put(weight), self._ray.put(shut))
                self._held.append(arguments)
                how = {"cosine": cosine, "n_threads": cpus, "work": float(len(weight)) * x.shape[1] * k}
                self._actors.append(actor.remote(*arguments, first_row=first_row, **how))
                first_row += len(weight)
        except BaseException:
            self.close()  # Nobody else knows of those that were started, and they hold processors and rows.
            raise

    def __len__(self) -> int:
        return len(self._actors)

    def ask(self, request: Request, shards: Sequence[int]) -> list[Offer]:
        """Ask some of the shards, at the same time.

        Raises:
            ClusterError: one of them is lost for good.
            InputError: one of them cannot read its rows.
        """
        argument = self._ray.put(request) if request.n_bytes > _INLINE else request
        answers = [self._actors[shard].answer.remote(argument) for shard in shards]
        return [self._answer(shard, answer) for shard, answer in zip(shards, answers, strict=True)]

    def processes(self) -> list[int]:
        """Numbers of the shards' processes."""
        return self._ray.get([actor.process.remote() for actor in self._actors])

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)

    def _answer(self, shard: int, answer: Any) -> Offer:
        errors = self._ray.exceptions
        try:
            return self._ray.get(answer, timeout=self._timeout)
        except errors.GetTimeoutError as error:
            raise ClusterError(
                f"ClusterGreedy: shard {shard} of {len(self)} gave no answer within {self._timeout:g} seconds "
                "(execution.shard_timeout). It hangs, or its machine has no room for it: look at ray status. A "
                "selection with a checkpoint goes on from there, as that of a run does."
            ) from error
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            reason = " ".join(str(error).split())
            raise ClusterError(
                f"ClusterGreedy: shard {shard} of {len(self)} is lost ({reason}). It may be started anew "
                f"{self._restarts} times. Look for what ends it, most likely memory, or give more shards or machines; "
                "a selection with a checkpoint goes on from there."
            ) from error

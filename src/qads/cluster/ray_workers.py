"""Workers as actors of a Ray cluster, one loaded model each.

An actor that died is started anew by the driver and not by Ray, so that tries are counted, and hangs ended, in one
place for all ways to execute. Ray Data was looked at and not taken (`docs/decisions/0038-shards-go-to-crews.md`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from qads.cluster.connection import cluster, import_ray, machines
from qads.cluster.crew import Lost, Worker
from qads.cluster.execution import Execution
from qads.cluster.processes import thread_variables
from qads.cluster.session import Answer, Record, RecordSender, Session, Work, answer, log_records, packed, unpacked
from qads.errors import InputError

__all__ = ["RayWorker", "ray_workers"]

logger = logging.getLogger(__name__)

_LOOK_AROUND = 60.0
"""Seconds of silence after which it is looked whether the cluster has room."""
_CPUS = 8
"""Processors of a worker unless said otherwise: what one model's passes side by side make use of."""


class WorkActor:
    """A session, as it lives in a process of its own."""

    def __init__(self, work: bytes, execution: Execution, number: int, level: int) -> None:
        self._work, self._execution, self._number = work, execution, number
        self._session: Session | None = None
        self._records: list[Record] = []
        RecordSender(self._records.append, level).install()

    def open(self) -> tuple[Answer, list[Record]]:
        """Open the work."""
        return self._told(answer(self._begin, self._number))

    def run(self, part: bytes) -> tuple[Answer, list[Record]]:
        """Do the work for a part."""
        return self._told(answer(lambda: self._done(part), self._number))

    def _done(self, part: bytes) -> pa.Table:
        assert self._session is not None, "it is opened before"
        return self._session(unpacked(part))

    def _begin(self) -> None:
        self._session = Session(unpacked(self._work), self._execution, _nobody)
        self._session.open()

    def _told(self, found: Answer) -> tuple[Answer, list[Record]]:
        """An answer with what was logged on the way to it."""
        records = self._records[:]
        del self._records[: len(records)]
        return found, records


def _nobody(_: int) -> None:
    """Hears how far a part is: an actor answers when it is asked, and then it is done."""


@contextmanager
def ray_workers(work: Work, execution: Execution) -> Generator[_Actors]:
    """Actors of the cluster at the address, or of one that is started for the time being."""
    with cluster(execution.address):
        yield _Actors(work, execution)


@dataclass(frozen=True)
class _Room:
    """How many workers a cluster holds, and what each gets."""

    n_workers: int
    cpus: int

    @classmethod
    def find(cls, execution: Execution, machines: Sequence[tuple[float, float]]) -> _Room:
        """The room on machines of so many processors and GPUs.

        Raises:
            InputError: there is none for so many; Ray would wait for it for ever.
        """
        widest = max((int(cpus) for cpus, _ in machines), default=0)
        if execution.cpus_per_worker != "auto":
            cpus = execution.cpus_per_worker
        elif execution.workers != "auto":
            cpus = max(1, min(widest, int(sum(each for each, _ in machines)) // execution.workers))
        else:
            cpus = max(1, min(widest, _CPUS))
        gpus = execution.gpus_per_worker
        room = sum(int(min(c // cpus, g // gpus if gpus else math.inf)) for c, g in machines)
        wanted = max(1, room) if execution.workers == "auto" else execution.workers
        if wanted > room:
            listed = ", ".join(f"{c:g} processors and {g:g} GPUs" for c, g in machines)
            raise InputError(
                f"execution.workers: {wanted} with {cpus} processors and {gpus:g} GPUs each do not fit on the Ray "
                f"cluster, whose machines have {listed}. Ask for fewer or smaller ones, or start more machines."
            )
        return cls(wanted, cpus)


class _Actors:
    """Starts actors, and waits for them."""

    def __init__(self, work: Work, execution: Execution) -> None:
        self._ray = ray = import_ray()
        room = _Room.find(execution, machines())
        self.n_workers, self._cpus, self._work = room.n_workers, room.cpus, ray.put(packed(work))
        self._warned = False
        self._execution = execution.here()
        self._class = ray.remote(
            num_cpus=room.cpus,
            num_gpus=execution.gpus_per_worker,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": thread_variables(room.cpus)},
        )(WorkActor)

    def start(self, number: int) -> RayWorker:
        """Start an actor."""
        level = logging.getLogger("qads").getEffectiveLevel()
        return RayWorker(number, self._class.remote(self._work, self._execution, number, level))

    def wait(self, busy: Sequence[Worker], seconds: float | None) -> Sequence[Worker]:
        """Those that have something to say or are gone."""
        by_call = {worker.call: worker for worker in busy if isinstance(worker, RayWorker)}
        end = None if seconds is None else time.monotonic() + seconds
        ready, others = [], list(by_call)
        while not ready:
            left = math.inf if end is None else end - time.monotonic()
            ready, others = self._ray.wait(list(by_call), num_returns=1, timeout=max(0.0, min(left, _LOOK_AROUND)))
            if not ready and left <= _LOOK_AROUND:
                return []
            if not ready:
                self._tell_who_has_not_begun([worker for worker in by_call.values() if not worker.is_open])
        if others:  # The first alone ends the wait; whoever else is ready is heard too.
            ready += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
        return [by_call[call] for call in ready]

    def _tell_who_has_not_begun(self, waiting: Sequence[RayWorker]) -> None:
        """Say, once, that workers may be waiting for room, which Ray does without a word and without an end."""
        free = self._ray.available_resources().get("CPU", 0.0)
        if waiting and free < self._cpus and not self._warned:
            self._warned = True
            logger.warning(
                "%d workers have not begun within %g seconds: they open the model, or wait for room on the Ray "
                "cluster, which has %g processors free where each takes %d (ray status shows who waits)",
                len(waiting), _LOOK_AROUND, free, self._cpus,
            )  # fmt: skip


class RayWorker:
    """An actor, as the driver sees it.

    Args:
        number: what it is called.
        actor: its handle.
    """

    def __init__(self, number: int, actor: Any) -> None:
        self._ray, self.number, self._actor = import_ray(), number, actor
        self.call: Any = actor.open.remote()
        """What it is asked to do at the moment."""
        self._next: list[Any] = []
        self.is_open = False
        """Whether it has said that it is ready."""

    def give(self, part: Any) -> None:
        """Hand over a part."""
        call = self._actor.run.remote(packed(part))
        if self.call is None:
            self.call = call
        else:
            self._next.append(call)

    def hear(self) -> pa.Table | None:
        """A table, or that it is open."""
        errors = self._ray.exceptions
        try:
            found, records = self._ray.get(self.call)
        except errors.RayTaskError as error:  # Beyond what the actor catches: its work cannot be unpickled there.
            raise error.cause from error
        except errors.RayError as error:
            raise Lost(" ".join(str(error).split())) from error
        self.call, self.is_open = self._next.pop() if self._next else None, True
        log_records(self.number, records)
        return found.result()

    def end(self) -> None:
        """End it, whatever it does."""
        with suppress(Exception):  # It may be gone, or the cluster.
            self._ray.kill(self._actor)

"""Who computes shards: this process, processes beside it, or actors of a Ray cluster, behind one face.

A method says what is to be done as a `Work`: an object that can be sent, and that opens what it needs (a model) where
it arrives. The driver makes the part of a shard, hands it to a worker that is free, and gets a table back; so a worker
never sees the pool, and needs no file of the driver's. Nothing is opened and no process started before the first part.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from qads.cluster.execution import Execution
from qads.cluster.session import Function, Session, Tell, Work
from qads.errors import ClusterError

__all__ = ["Backend", "Crew", "Function", "Lost", "Task", "Work", "Worker", "workers"]

logger = logging.getLogger(__name__)


class Lost(Exception):
    """A worker is gone, with the reason as message."""


@dataclass(frozen=True)
class Task:
    """One shard."""

    index: int
    """Its number in the store."""
    rows: range


class Worker(Protocol):
    """One who computes, as the driver sees it. It has one part at a time."""

    number: int
    """Counts from 1, over all that were ever started."""

    def give(self, part: Any) -> None:
        """Hand over a part; comes back at once."""
        ...

    def hear(self) -> pa.Table | int | None:
        """What it has to say, once `Backend.wait` named it: a table, the rows of it that are done, or that it lives.

        Raises:
            Lost: it is gone.
            Exception: what the work raised, as it would be raised here.
        """
        ...

    def end(self) -> None:
        """End it, whatever it does; may be called again."""
        ...


class Backend(Protocol):
    """Starts workers, and waits for them."""

    n_workers: int

    def start(self, number: int) -> Worker:
        """Start a worker; comes back at once."""
        ...

    def wait(self, busy: Sequence[Worker], seconds: float | None) -> Sequence[Worker]:
        """Those that have something to say or are gone; none after so many seconds."""
        ...


class Crew(Protocol):
    """Computes shards."""

    def run(
        self,
        tasks: Sequence[Task],
        part: Callable[[range], Any],
        *,
        size: Callable[[range], float],
        within: Callable[[Task, int], None],
    ) -> Iterator[tuple[Task, pa.Table]]:
        """The tasks with their tables, in the order in which they finish.

        Args:
            tasks: the shards.
            part: what the work needs of a shard's rows.
            size: about how long a shard takes.
            within: is told of tasks under way how many rows are done.
        """
        ...


@contextmanager
def workers(work: Callable[[], Work], execution: Execution) -> Generator[Crew]:
    """The crew that an execution stands for; whoever was started ends with the block.

    Args:
        work: makes what is to be done, when the first part comes.
        execution: where, and by how many.

    Raises:
        ClusterError: there is no Ray cluster at the address.
        InputError: Ray is not installed, or the cluster is too small.
    """
    crew = _Pool(work, execution) if execution.kind == "ray" or n_local(execution) > 1 else _Alone(work, execution)
    try:
        yield crew
    finally:
        crew.close()


def n_local(execution: Execution) -> int:
    """Workers on this machine."""
    if execution.workers != "auto":
        return execution.workers
    if execution.device not in ("auto", "cuda"):
        return 1
    import torch

    return max(1, torch.cuda.device_count())


class _Alone:
    """This process, shard by shard in order."""

    def __init__(self, work: Callable[[], Work], execution: Execution) -> None:
        self._work, self._execution = work, execution
        self._session: Session | None = None
        self._tell: Tell = lambda _: None

    def run(
        self,
        tasks: Sequence[Task],
        part: Callable[[range], Any],
        *,
        size: Callable[[range], float],
        within: Callable[[Task, int], None],
    ) -> Iterator[tuple[Task, pa.Table]]:
        """The tasks with their tables, in order: the size of a shard does not matter to one alone."""
        for task in tasks:
            self._tell = partial(within, task)
            if self._session is None:
                self._session = Session(self._work(), self._execution.here(), lambda n: self._tell(n))
            yield task, self._session(part(task.rows))

    def close(self) -> None:
        """Let go of what the work opened."""
        if self._session is not None:
            self._session.close()


@dataclass
class _Assignment:
    """What a worker is at."""

    task: Task
    deadline: float | None


class _Pool:
    """Several workers: whoever is free gets the longest shard that is left."""

    def __init__(self, work: Callable[[], Work], execution: Execution) -> None:
        self._work, self._execution = work, execution
        self._opened: tuple[AbstractContextManager[Backend], Backend] | None = None
        self._free: list[Worker] = []
        self._busy: dict[Worker, _Assignment] = {}
        self._n_started = 0
        self._tries: Counter[int] = Counter()

    def run(
        self,
        tasks: Sequence[Task],
        part: Callable[[range], Any],
        *,
        size: Callable[[range], float],
        within: Callable[[Task, int], None],
    ) -> Iterator[tuple[Task, pa.Table]]:
        """The tasks with their tables, in the order in which they finish."""
        waiting, self._tries = deque(sorted(tasks, key=lambda task: (-size(task.rows), task.index))), Counter()
        while waiting or self._busy:
            while waiting and (worker := self._next_free()) is not None:
                task = waiting.popleft()
                # Ours before anything can fail, so that whatever ends the work ends it too.
                self._busy[worker] = _Assignment(task, None)
                worker.give(part(task.rows))
                self._busy[worker].deadline = self._deadline()
            yield from self._heard(self._backend.wait(list(self._busy), self._patience()), waiting, within)
            # While a shard was written or a part made, nobody was heard: what was said in time lies there.
            late = self._late()
            speaking = self._backend.wait(late, 0) if late else ()
            for worker in late:
                if worker not in speaking:
                    told = f"it said nothing for {self._execution.shard_timeout:g} seconds (execution.shard_timeout)"
                    waiting.appendleft(self._again(worker, told))
            yield from self._heard(speaking, waiting, within)

    def _heard(
        self, speaking: Sequence[Worker], waiting: deque[Task], within: Callable[[Task, int], None]
    ) -> Iterator[tuple[Task, pa.Table]]:
        """What these have to say: tables; tasks of those that are gone wait again."""
        for worker in speaking:
            try:
                said = worker.hear()
            except Lost as loss:
                waiting.appendleft(self._again(worker, str(loss)))
                continue
            if isinstance(said, pa.Table):
                self._free.append(worker)
                yield self._busy.pop(worker).task, said
                continue
            self._busy[worker].deadline = self._deadline()
            if said is not None:
                within(self._busy[worker].task, said)

    def _late(self) -> list[Worker]:
        """Those whose time is over."""
        now = time.monotonic()
        return [worker for worker, at in self._busy.items() if at.deadline is not None and at.deadline <= now]

    def close(self) -> None:
        """End everybody, whatever they do."""
        for worker in [*self._free, *self._busy]:
            worker.end()
        self._free, self._busy = [], {}
        if self._opened is not None:
            self._opened[0].__exit__(None, None, None)
            self._opened = None

    @property
    def _backend(self) -> Backend:
        """What starts workers, opened when it is first needed."""
        if self._opened is None:
            entered = _backend_of(self._execution)(self._work(), self._execution.decided())
            self._opened = entered, entered.__enter__()
        return self._opened[1]

    def _next_free(self) -> Worker | None:
        """A worker that has nothing to do, started if there may be one more."""
        if self._free:
            return self._free.pop()
        if len(self._busy) >= self._backend.n_workers:
            return None
        self._n_started += 1
        return self._backend.start(self._n_started)

    def _again(self, worker: Worker, reason: str) -> Task:
        """The task of a worker that is lost, to be given to another.

        Raises:
            ClusterError: it was tried often enough.
        """
        worker.end()
        task = self._busy.pop(worker).task
        self._tries[task.index] += 1
        where = f"shard {task.index} (rows {task.rows.start} to {task.rows.stop - 1})"
        if self._tries[task.index] > self._execution.shard_retries:
            raise ClusterError(
                f"{where} was given up after {self._tries[task.index]} tries; the last, on worker {worker.number}: "
                f"{reason}. Finished shards are kept. Look for what ends the workers, most likely memory "
                "(execution.max_tokens_per_batch, fewer workers) or a row that takes very long "
                "(execution.shard_timeout), then give the same command again."
            )
        logger.warning("worker %d is lost, and %s goes to another: %s", worker.number, where, reason)
        return task

    def _deadline(self) -> float | None:
        seconds = self._execution.shard_timeout
        return None if seconds is None else time.monotonic() + seconds

    def _patience(self) -> float | None:
        """Seconds until the first of them has said nothing for too long."""
        deadlines = [at.deadline for at in self._busy.values() if at.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None


def _backend_of(execution: Execution) -> Callable[[Work, Execution], AbstractContextManager[Backend]]:
    if execution.kind == "ray":
        from qads.cluster.ray_workers import ray_workers

        return ray_workers
    from qads.cluster.processes import local_workers

    return local_workers

"""Several workers that share a list of programs: each takes the next one when it is done with the last."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import cast

from qads.errors import SandboxError
from qads.pool import Progress
from qads.sandbox.results import ProgramResult, Status
from qads.sandbox.worker import Lost, Worker

__all__ = ["Crew"]


class Crew:
    """Workers, what they have to do, and what they have done. Leaving its ``with`` ends all that still runs.

    Args:
        start: starts a worker.
        programs: to be run.
    """

    def __init__(self, start: Callable[[], Worker], programs: Sequence[str]) -> None:
        self._start, self._programs = start, programs
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, ProgramResult] | BaseException] = queue.SimpleQueue()
        for index in range(len(programs)):
            self._todo.put(index)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._running: set[Worker] = set()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        with self._lock:
            for worker in self._running:
                worker.kill()

    def collect(self, progress: Progress | None) -> list[ProgramResult]:
        """Wait for all programs; their results in order."""
        results: dict[int, ProgramResult] = {}
        while len(results) < len(self._programs):
            if progress:
                progress(len(results), len(self._programs))
            done = self._done.get()
            if isinstance(done, BaseException):
                raise done
            results[done[0]] = done[1]
        if progress:
            progress(len(results), len(self._programs))
        return [results[index] for index in range(len(self._programs))]

    def work(self) -> None:
        """Be one worker: the body of a thread, which must live as long as the worker does (it dies with its parent)."""
        worker: Worker | None = None
        try:
            while not self._stopped.is_set():
                try:
                    index = self._todo.get_nowait()
                except queue.Empty:
                    break
                worker, result = self._run(worker, self._programs[index])
                self._done.put((index, result))
        except BaseException as error:  # It is raised where the results are waited for.
            self._done.put(error)
        finally:
            if worker:
                self._dismiss(worker)

    def _run(self, worker: Worker | None, program: str) -> tuple[Worker | None, ProgramResult]:
        """A result of a program, and the worker for the next.

        A worker that is lost may have been ended by something else on this machine, so the program is tried again on a
        fresh one. The second loss is the program's own.
        """
        why = ""
        for _ in range(2):
            worker = worker or self._hire()
            try:
                reply = worker.run(program)
            except Lost as lost:
                why = str(lost)
                self._dismiss(worker)
                worker = None
                if self._stopped.is_set():
                    break
                continue
            return worker, ProgramResult(cast(Status, reply.status), reply.answer, reply.output, reply.message)
        return None, ProgramResult("killed", None, "", f"lost its worker twice: {why}")

    def _hire(self) -> Worker:
        try:
            worker = self._start()
        except Lost as lost:
            raise SandboxError(f"a worker of the sandbox does not start: {lost}.") from None
        with self._lock:
            self._running.add(worker)
            if self._stopped.is_set():
                worker.kill()
        return worker

    def _dismiss(self, worker: Worker) -> None:
        with self._lock:
            self._running.discard(worker)
        worker.close()

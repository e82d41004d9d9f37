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
        start: starts a worker, with or without packages imported.
        programs: to be run.
        packages: names of the packages. A program that has none of them in its text gets a worker without, whose
            forks cost a fifth; should it import one all the same, that works, and takes as long as it takes.
    """

    def __init__(self, start: Callable[[bool], Worker], programs: Sequence[str], packages: Sequence[str]) -> None:
        self._start, self._programs, self._packages = start, programs, packages
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
        """Serve programs with one worker of each kind, started when it is needed.

        The body of a thread, which must live as long as its workers do: they die with the thread that started them.
        """
        own: dict[bool, Worker] = {}
        try:
            while not self._stopped.is_set():
                try:
                    index = self._todo.get_nowait()
                except queue.Empty:
                    break
                self._done.put((index, self._run(own, self._programs[index])))
        except BaseException as error:  # It is raised where the results are waited for.
            self._done.put(error)
        finally:
            for worker in own.values():
                self._dismiss(worker)

    def _run(self, own: dict[bool, Worker], program: str) -> ProgramResult:
        """A result of a program.

        A worker that is lost may have been ended by something else on this machine, so the program is tried again on a
        fresh one. The second loss is the program's own.
        """
        why, warm = "", any(name in program for name in self._packages)
        for _ in range(2):
            if warm not in own:
                own[warm] = self._hire(warm)
            try:
                reply = own[warm].run(program)
            except Lost as lost:
                why = str(lost)
                self._dismiss(own.pop(warm))
                if self._stopped.is_set():
                    break
                continue
            return ProgramResult(cast(Status, reply.status), reply.answer, reply.output, reply.message)
        return ProgramResult("killed", None, "", f"lost its worker twice: {why}")

    def _hire(self, warm: bool) -> Worker:
        try:
            worker = self._start(warm)
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

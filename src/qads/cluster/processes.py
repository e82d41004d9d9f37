"""Workers as processes of this machine, each with its share of the cores and a connection of its own.

A process is started afresh (not forked: threads and a CUDA context do not survive that) and ends with the driver,
whatever ended that: its connection is then at its end. The standard pools were looked at and not taken: neither
`concurrent.futures` nor loky can end one worker that hangs and keep the others.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from qads.cluster.crew import Lost, Worker, n_local
from qads.cluster.execution import Execution
from qads.cluster.session import Answer, Record, Work, log_records, packed, unpacked

__all__ = ["LocalWorker", "local_workers", "thread_variables"]

_LAST_WORDS = 1500
"""Characters of a dead worker's output that are told."""


def thread_variables(n_threads: int) -> dict[str, str]:
    """Environment of a worker: its threads, which sleep while they wait and do not take the core of another."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(n_threads)) | {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def local_workers(work: Work, execution: Execution) -> Generator[_Processes]:
    """Processes of this machine."""
    yield _Processes(work, execution)


class _Processes:
    """Starts processes, and waits for them."""

    def __init__(self, work: Work, execution: Execution) -> None:
        self.n_workers = n_local(execution)
        self._work, self._execution = packed(work), execution
        self._threads = _threads(execution, self.n_workers)
        self._devices = _devices(execution)
        self._on_device: list[LocalWorker] = []

    def start(self, number: int) -> LocalWorker:
        """Start a process on the device that fewest are on."""
        self._on_device = [worker for worker in self._on_device if not worker.is_ended]
        used = Counter(worker.device for worker in self._on_device)
        device = min(self._devices, key=lambda name: used[name])
        worker = LocalWorker(number, self._work, self._execution.here(device), n_threads=self._threads)
        self._on_device.append(worker)
        return worker

    def wait(self, busy: Sequence[Worker], seconds: float | None) -> Sequence[Worker]:
        """Those that have something to say or are gone."""
        by_connection = {worker.connection: worker for worker in busy if isinstance(worker, LocalWorker)}
        return [by_connection[each] for each in wait(list(by_connection), seconds) if isinstance(each, Connection)]


class LocalWorker:
    """A process, as the driver sees it.

    Args:
        number: what it is called.
        work: what is to be done, pickled.
        execution: its own.
        n_threads: that it computes with.
    """

    def __init__(self, number: int, work: bytes, execution: Execution, *, n_threads: int) -> None:
        self.number, self.device, self.is_ended = number, execution.device, False
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = Connection(ours.detach())
            self._output = tempfile.TemporaryFile()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "qads.cluster.worker", str(theirs.fileno()), str(number)],
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, pass_fds=[theirs.fileno()],
                env=os.environ | thread_variables(n_threads) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # An interruption at the terminal is the driver's to handle.
            )  # fmt: skip
        self._outbox = SimpleQueue[bytes]()
        self._outbox.put(packed((execution, logging.getLogger("qads").getEffectiveLevel())))
        self._outbox.put(work)
        # On a thread: a process that is just beginning, or hangs, takes nothing.
        threading.Thread(target=_send_all, args=(self.connection, self._outbox), daemon=True).start()

    def give(self, part: Any) -> None:
        """Hand over a part."""
        self._outbox.put(packed(part))

    def hear(self) -> pa.Table | int | None:
        """A table, how many rows are done, or a sign of life."""
        try:
            said = unpacked(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise Lost(self._obituary()) from None
        if isinstance(said, Record):
            log_records(self.number, [said])
            return None
        if isinstance(said, int):
            return said
        assert isinstance(said, Answer)
        return said.result()

    def end(self) -> None:
        """End it with all that it started."""
        if self.is_ended:
            return
        self.is_ended = True
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._outbox.put(b"")
        self.connection.close()
        self._output.close()

    def _obituary(self) -> str:
        """How it ended, and its last words."""
        code = self._process.wait()
        ended = f"ended with exit code {code}"
        if code < 0:
            name = signal.Signals(-code).name
            memory = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
            ended = f"was ended by {name}{memory}"
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - _LAST_WORDS))
        words = self._output.read().decode(errors="replace").strip()
        return f"its process {ended}" + (f"; its last words:\n{words}\n" if words else "")


def _send_all(connection: Connection, outbox: SimpleQueue[bytes]) -> None:
    """Send what is put there, up to an empty message."""
    with suppress(OSError):  # That the other side is gone will be heard.
        while message := outbox.get():
            connection.send_bytes(message)


def _threads(execution: Execution, n_workers: int) -> int:
    """Threads of a worker: together no more than this machine has cores, or than the user allows."""
    if execution.cpus_per_worker != "auto":
        return execution.cpus_per_worker
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, (int(allowed) if allowed.isdecimal() else _n_cores()) // n_workers)


def _n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _devices(execution: Execution) -> list[str]:
    """Devices that workers take turns on."""
    if execution.device not in ("auto", "cuda"):
        return [execution.device]
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [execution.device]

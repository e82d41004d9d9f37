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
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import IO, Any

import pyarrow as pa

from qads.cluster.crew import Lost, Worker, n_local
from qads.cluster.execution import Execution
from qads.cluster.session import Answer, Record, Work, log_records, packed, unpacked
from qads.errors import StorageError
from qads.machine import n_cores

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
        self._bell = SimpleQueue[None]()
        """Rung whenever somebody has said something."""

    def start(self, number: int) -> LocalWorker:
        """Start a process on the device that fewest are on."""
        self._on_device = [worker for worker in self._on_device if not worker.is_ended]
        used = Counter(worker.device for worker in self._on_device)
        device = min(self._devices, key=lambda name: used[name])
        worker = LocalWorker(number, self._work, self._execution.here(device), self._bell, n_threads=self._threads)
        self._on_device.append(worker)
        return worker

    def wait(self, busy: Sequence[Worker], seconds: float | None) -> Sequence[Worker]:
        """Those that have something to say or are gone."""
        end = None if seconds is None else time.monotonic() + seconds
        while not (ready := [worker for worker in busy if isinstance(worker, LocalWorker) and worker.has_spoken]):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return []
            with suppress(Empty):
                self._bell.get(timeout=left)
        return ready


class LocalWorker:
    """A process, as the driver sees it.

    Args:
        number: what it is called.
        work: what is to be done, pickled.
        execution: its own.
        bell: rung when it has said something, or is gone.
        n_threads: that it computes with.
    """

    def __init__(
        self, number: int, work: bytes, execution: Execution, bell: SimpleQueue[None], *, n_threads: int
    ) -> None:
        self.number, self.device, self.is_ended = number, execution.device, False
        self._output = _no_name()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._connection = Connection(os.dup(self._socket.fileno()))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "qads.cluster.worker", str(theirs.fileno()), str(number)],
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, pass_fds=[theirs.fileno()],
                env=os.environ | thread_variables(n_threads) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # An interruption at the terminal is the driver's to handle.
            )  # fmt: skip
        self._outbox = SimpleQueue[bytes]()
        self._outbox.put(packed((execution, logging.getLogger("qads").getEffectiveLevel())))
        self._outbox.put(work)
        self._inbox = deque[bytes | None]()
        # On threads: a process that is just beginning, or hangs, takes nothing; one that stops half-way through a
        # message would keep who reads it.
        self._reader = threading.Thread(target=_receive_all, args=(self._connection, self._inbox, bell), daemon=True)
        self._reader.start()
        threading.Thread(target=_send_all, args=(self._connection, self._outbox), daemon=True).start()

    @property
    def has_spoken(self) -> bool:
        """Whether it has something to say, or is gone."""
        return bool(self._inbox)

    def give(self, part: Any) -> None:
        """Hand over a part."""
        self._outbox.put(packed(part))

    def hear(self) -> pa.Table | int | None:
        """A table, how many rows are done, or a sign of life."""
        if (message := self._inbox.popleft()) is None:
            raise Lost(self._obituary())
        said = unpacked(message)
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
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # Nothing more comes, whoever holds the other end.
        self._socket.close()
        self._reader.join()
        self._connection.close()
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


def _no_name() -> IO[bytes]:
    """A file without a name, which ends when it is closed.

    Raises:
        StorageError: no folder for temporary files can be used.
    """
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise StorageError(
            error.errno,
            f"a worker's output needs a folder for temporary files: {error.strerror}. Set TMPDIR to one that may be "
            "written to, then start the same command again: what is finished is kept.",
        ) from error


def _receive_all(connection: Connection, inbox: deque[bytes | None], bell: SimpleQueue[None]) -> None:
    """Take in what comes, and None at the end of it."""
    message: bytes | None = b""
    while message is not None:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            message = None
        inbox.append(message)
        bell.put(None)


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
    return max(1, (int(allowed) if allowed.isdecimal() else n_cores()) // n_workers)


def _devices(execution: Execution) -> list[str]:
    """Devices that workers take turns on."""
    if execution.device not in ("auto", "cuda"):
        return [execution.device]
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [execution.device]

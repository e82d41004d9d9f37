"""Work where it is done: opened at its first part, its log records and errors in a form that can be sent."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from qads.cluster.execution import Execution
from qads.errors import QadsError

__all__ = [
    "Answer",
    "Function",
    "Record",
    "RecordSender",
    "Session",
    "Tell",
    "Work",
    "answer",
    "log_records",
    "packed",
    "unpacked",
]

Function = Callable[[Any], pa.Table]
"""The part of a shard -> its table."""


Tell = Callable[[int], None]
"""Is told, if the work likes, how many rows of the part at hand are done; a sign of life, too."""


class Work(Protocol):
    """What is to be done with every shard; can be pickled where several workers do it."""

    def open(self, execution: Execution, tell: Tell, /) -> AbstractContextManager[Function]:
        """Open what it needs, on the device and with the batch size of this worker."""
        ...


class Session:
    """Work that is open in this process, or will be at its first part."""

    def __init__(self, work: Work, execution: Execution, tell: Tell) -> None:
        self._work, self._execution, self._tell, self._stack = work, execution, tell, ExitStack()
        self._function: Function | None = None

    def open(self) -> None:
        """Open the work, if it is not yet."""
        if self._function is None:
            self._function = self._stack.enter_context(self._work.open(self._execution, self._tell))

    def __call__(self, part: Any) -> pa.Table:
        """Do the work for one part."""
        self.open()
        assert self._function is not None
        return self._function(part)

    def close(self) -> None:
        """Let go of what the work opened."""
        self._stack.close()


@dataclass(frozen=True)
class Record:
    """What was logged in a worker."""

    name: str
    level: int
    message: str


@dataclass(frozen=True)
class Answer:
    """How a call ended: with a table, with nothing, or with an error."""

    table: pa.Table | None = None
    error: BaseException | None = None

    def result(self) -> pa.Table | None:
        """The table.

        Raises:
            Exception: what was raised there.
        """
        if self.error is not None:
            raise self.error
        return self.table


def answer(call: Callable[[], pa.Table | None], number: int) -> Answer:
    """Call, and keep what it gives or raises for sending; an error that is no word of ours says where it was raised."""
    try:
        return Answer(call())
    except Exception as error:
        if not isinstance(error, QadsError):
            error.add_note(f"raised in worker {number}:\n{traceback.format_exc()}")
        return Answer(error=_sendable(error))


def _sendable(error: Exception) -> Exception:
    """The error, or its words where pickle cannot take or make it."""
    try:
        unpacked(packed(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        return told
    return error


def packed(value: Any) -> bytes:
    """A value for sending; of a table that is a part of another only that part, where pickle alone takes the whole."""
    buffer = io.BytesIO()
    _Packer(buffer, protocol=5).dump(value)
    return buffer.getvalue()


def unpacked(content: bytes) -> Any:
    """What was packed, by a process of this run: nothing else is ever given to this."""
    return pickle.loads(content)  # noqa: S301 - from a worker of our own, over a socket that nobody else holds.


class _Packer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, pa.Table):
            return NotImplemented
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, obj.schema) as writer:
            writer.write_table(obj)
        return _read_table, (sink.getvalue().to_pybytes(),)


def _read_table(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


class RecordSender(logging.Handler):
    """Sends what is logged, warnings included, to the driver."""

    def __init__(self, send: Callable[[Record], None], level: int) -> None:
        super().__init__(level)
        self._send = send

    def install(self) -> None:
        """Take the place of every other handler of this process."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(self.level)
        logging.captureWarnings(True)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        try:
            self._send(Record(record.name, record.levelno, record.getMessage()))
        except Exception:
            self.handleError(record)


def log_records(number: int, records: list[Record]) -> None:
    """Log here what was logged in a worker."""
    for record in records:
        logging.getLogger(record.name).log(record.level, "worker %d: %s", number, record.message)

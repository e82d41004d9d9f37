"""Work of a moment, for tests of who does it: importable where workers are."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa

from qads.cluster import Execution, Tell
from qads.errors import TooLongError
from qads.sandbox import Sandbox

LOG = logging.getLogger("qads.jobs")
_LONG = "x" * 500_000
"""More than a socket takes at once."""


@dataclass(frozen=True)
class Squares:
    """Squares numbers, and says who did; what happens on the way is up to the kind."""

    folder: Path
    """Where it marks what it did."""
    kind: str = "plain"
    at: int = -1
    """The number at which it happens."""

    @contextmanager
    def open(self, execution: Execution, tell: Tell) -> Generator[Callable[[list[int]], pa.Table]]:
        """Ready to square."""
        if self.kind == "cannot open":
            raise TooLongError("Squares: will not open.")
        (self.folder / f"opened-{os.getpid()}").touch()
        yield lambda numbers: self._square(numbers, tell)

    def _square(self, numbers: list[int], tell: Tell) -> pa.Table:
        tell(1)
        if self.at in numbers:
            self._happens(first=not (mark := self.folder / "happened").exists())
            mark.touch()
        n = len(numbers)
        return pa.table({"square": [i * i for i in numbers], "process": [os.getpid()] * n, "long": [_LONG] * n})

    def _happens(self, *, first: bool) -> None:
        (self.folder / "happened").touch()
        match self.kind:
            case "dies once" if first:
                sys.stderr.write("going down\n")
                os.kill(os.getpid(), signal.SIGKILL)
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                sys.stderr.write("so long\n")
                sys.stderr.flush()
                os._exit(3)
            case "hangs once" if first:
                time.sleep(1000)
            case "hangs":
                time.sleep(1000)
            case "hangs with a child":
                child = subprocess.Popen(["sleep", "1000"])
                (self.folder / "child").write_text(str(child.pid))
                (self.folder / "worker").write_text(str(os.getpid()))
                time.sleep(1000)
            case "stops half-way through its answer once" if first:
                _stop_half_way()
            case "refuses":
                raise TooLongError("Squares: too long.")
            case "fails":
                raise ZeroDivisionError("by nothing")
            case "cannot be sent":
                raise Unsendable("odd", lambda: None)
            case "speaks":
                LOG.info("not heard at this level")
                LOG.warning("at %d", self.at)
                warnings.warn("beware", UserWarning, stacklevel=1)
            case _:
                pass


def _stop_half_way() -> None:
    """From now on this process is frozen as soon as a part of a long message is out."""
    whole: Any = Connection._send  # pyright: ignore[reportAttributeAccessIssue]

    def send(self: Connection, buffer: bytes, write: Any = os.write) -> None:
        if len(buffer) > len(_LONG):
            write(self.fileno(), bytes(buffer[:1000]))
            os.kill(os.getpid(), signal.SIGSTOP)
        whole(self, buffer)

    Connection._send = send  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Precisions:
    """Says which precision a model would have where it works."""

    @contextmanager
    def open(self, execution: Execution, tell: Tell) -> Generator[Callable[[list[str]], pa.Table]]:
        """Ready to say."""
        yield lambda asked: pa.table({"dtype": [execution.precision(dtype) for dtype in asked]})


@dataclass(frozen=True)
class Programs:
    """Runs programs in a sandbox that is made where it runs them, as an evaluation does."""

    @contextmanager
    def open(self, execution: Execution, tell: Tell) -> Generator[Callable[[list[str]], pa.Table]]:
        """Ready to run."""
        sandbox = Sandbox(packages=())
        yield lambda programs: pa.table({"answer": [found.answer for found in sandbox(programs)]})


class Unsendable(Exception):
    """Holds what pickle does not take."""

"""One worker: a warm interpreter in a sandbox of its own, asked through two pipes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from qads.sandbox import isolation
from qads.sandbox.guest.frames import REPLY, Limits, Reply, pack_request, reply_size

__all__ = ["Lost", "Worker"]

_START_SECONDS = 120.0
_GRACE_SECONDS = 30.0
"""What a reply may be late. The watcher inside keeps the time; this is for when there is no watcher any more."""

_LEISURE_SECONDS = 1.0


class Lost(Exception):
    """The worker ended, is silent, or says something else than a reply. Its text says which, and what it last wrote."""


class Worker:
    """Owns a process and its pipes.

    Args:
        limits: of each program.
        packages: that programs may import.
        folder: of the evaluation; without isolation programs start in a folder in it.
        warm: whether the packages are imported beforehand.

    Raises:
        Lost: it did not start.
    """

    def __init__(self, limits: Limits, packages: Sequence[str], folder: str, *, warm: bool = True) -> None:
        self._limits, self._number = limits, 0
        command, environment = (
            (isolation.inside_command(limits, packages, warm), {})
            if limits.isolated
            else isolation.open_command(limits, packages, warm, Path(folder))
        )
        start = Path(folder, "start")
        start.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=start,
            start_new_session=True,  # An interruption at the terminal is ours to pass on.
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        try:
            self._read_reply(time.monotonic() + _START_SECONDS)
        except Lost as lost:
            raise Lost(f"{lost}{self._last_words()}") from None
        except BaseException:
            self.close()
            raise

    def run(self, program: str) -> Reply:
        """Run one program.

        Raises:
            Lost: there is no result, and the worker is of no more use.
        """
        self._number += 1
        deadline = time.monotonic() + self._limits.wall_seconds + _GRACE_SECONDS
        self._send(pack_request(self._number, program), deadline)
        return self._read_reply(deadline)

    def kill(self) -> None:
        """End it and all that runs in it; from any thread."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, in peace where it is at leisure, and give back what it had; from the thread that uses it."""
        assert self._process.stdin
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEISURE_SECONDS)
        self._last_words()

    def _read_reply(self, deadline: float) -> Reply:
        header = self._receive(REPLY.size, deadline)
        try:
            status, n_output, n_answer, n_message = reply_size(header, self._number, self._limits.output_chars)
        except ValueError as error:
            raise Lost(str(error)) from None
        output = self._receive(n_output, deadline)
        answer = None if n_answer < 0 else self._receive(n_answer, deadline)
        message = self._receive(n_message, deadline)
        return Reply(status, _text(output), None if answer is None else _text(answer), _text(message))

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._requests, select.POLLOUT, deadline)
            try:
                left = left[os.write(self._requests, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Lost(f"it does not listen any more: {error.strerror}") from None

    def _receive(self, n_bytes: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while n_bytes:
            self._wait(self._replies, select.POLLIN, deadline)
            part = os.read(self._replies, n_bytes)
            if not part:
                raise Lost("it ended")
            parts.append(part)
            n_bytes -= len(part)
        return b"".join(parts)

    def _wait(self, file: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(file, event)
        if not poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            raise Lost("it is silent")

    def _last_words(self) -> str:
        """End it; what it had written to standard error last."""
        self.kill()
        with self._process as process:  # Waits, and closes the pipes.
            assert process.stderr
            lines = process.stderr.read(1 << 16).decode("utf-8", "backslashreplace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")

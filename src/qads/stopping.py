"""Signals that ask a process to end: obeyed within a stated time, with nothing lost that was finished.

The first one (SIGINT, SIGTERM, SIGHUP) raises `Stopped` where the program is, so that the shard at hand is dropped and
half-written files go; a block that can do better in time, such as a training that keeps a checkpoint after its step,
says so by `deferred`. A second one ends the process at once, and so does the end of the time of grace: what is on the
disk is whole at every moment, as it is for SIGKILL.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["GRACE_SECONDS", "StopHandler", "Stopped", "deferred"]

GRACE_SECONDS = 20.0
"""How long a process that was asked to end may take; machines that are taken away give 25 to 30 seconds and more."""
_AFTER = 5.0
"""Seconds after the time of grace when the system ends the process, by SIGALRM."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CLOSED = 0
"""No signal has this number."""


class Stopped(KeyboardInterrupt):
    """Somebody asked the process to end; no `except Exception` keeps it."""


class StopHandler:
    """What the process does when it is asked to end; one a process, in its main thread."""

    def __init__(self, *, grace: float, say: Callable[[str], object]) -> None:
        """Heed signals from now on, but for those that the process was started to ignore, as nohup does.

        Args:
            grace: seconds until the process is ended whatever it does.
            say: how to tell the user; called from another thread.
        """
        self.signal: signal.Signals | None = None
        """What asked the process to end; None where nothing has."""
        self._grace, self._say, self._n_deferring = grace, say, 0
        self._before = {each: signal.getsignal(each) for each in _SIGNALS}
        self._heeded = [each for each, was in self._before.items() if was is not signal.SIG_IGN]
        self._is_closed = False
        self._heard, self._told = os.pipe()
        os.set_blocking(self._told, False)
        # Written to by the system's own handler: heard even while the main thread is in a long computation.
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._leave_to_parent)
        for each in self._heeded:
            signal.signal(each, self)
        self._watcher = threading.Thread(target=self._watch, name="stop signals", daemon=True)
        self._watcher.start()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """As the interpreter calls it, in the main thread."""
        self.signal = signal.Signals(number)
        for each in self._heeded:
            signal.signal(each, signal.SIG_DFL)  # The second one.
        if not self._n_deferring:
            raise Stopped

    def close(self) -> None:
        """Let go: signals do again what they did before. For a process that goes on after its command.

        Where one was heard the process is to end, and nothing is let go.
        """
        if not self._is_closed and self.signal is None:
            self._is_closed = True
            signal.set_wakeup_fd(-1)
            for each in self._heeded:
                signal.signal(each, self._before[each])
            os.write(self._told, bytes([_CLOSED]))
            self._watcher.join()
            os.close(self._heard)
            os.close(self._told)

    @property
    def exit_code(self) -> int | None:
        """128 and the number of the signal, as shells have it: 130, 143 or 129; None where none came."""
        return None if self.signal is None else 128 + self.signal

    @contextmanager
    def deferring(self) -> Generator[Callable[[], bool]]:
        """Let the block ask whether it should end, instead of being ended where it is."""
        self._n_deferring += 1
        try:
            yield lambda: self.signal is not None
        finally:
            self._n_deferring -= 1
        if self.signal is not None and not self._n_deferring:
            raise Stopped

    def _watch(self) -> None:
        """Tell that a signal was heard, and end the process if it does not end in time or another one comes."""
        while (first := self._next_signal(3600.0)) is None:
            if self._is_closed:
                return
        # The system's own end, should this thread come to a stop as well, as it does when the interpreter ends.
        signal.setitimer(signal.ITIMER_REAL, self._grace + _AFTER)
        self._say(
            f"{first.name}: stopping within {self._grace:g} seconds; what is finished is kept. A second one ends it at "
            "once."
        )
        if self._next_signal(self._grace) is None:
            self._say(f"not stopped within {self._grace:g} seconds: ended. What is finished is kept.")
        os._exit(128 + first)

    def _next_signal(self, seconds: float) -> signal.Signals | None:
        """The next one that is heeded; None where none comes in time."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:  # `select` knows no file beyond the thousandth.
            selector.register(self._heard, selectors.EVENT_READ)
            while not self._is_closed and selector.select(max(0.0, end - time.monotonic())):
                heard = os.read(self._heard, 1)[0]
                if heard in self._heeded:
                    return signal.Signals(heard)
        return None

    def _leave_to_parent(self) -> None:
        """A forked process ends as it would without us."""
        if self._is_closed:
            return
        signal.set_wakeup_fd(-1)
        for each in self._heeded:
            signal.signal(each, self._before[each])


@contextmanager
def deferred() -> Generator[Callable[[], bool]]:
    """A block that ends by itself soon after it was asked to, with `Stopped` when it is ready.

    Yields:
        Whether somebody has asked; never so in a process that has no `StopHandler`.
    """
    handlers = (signal.getsignal(each) for each in _SIGNALS)
    handler = next((each for each in handlers if isinstance(each, StopHandler)), None)
    if handler is None:
        yield lambda: False
        return
    with handler.deferring() as asked:
        yield asked

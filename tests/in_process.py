"""Commands called in the process of the tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from qads.stopping import StopHandler

__all__ = ["signals_kept"]


@contextmanager
def signals_kept() -> Iterator[None]:
    """What this process does when it is asked to end stays what it was: a command sees to it until its process ends."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for each, handler in before.items():
            if isinstance(mine := signal.getsignal(each), StopHandler) and mine is not handler:
                mine.close()
            signal.signal(each, handler)

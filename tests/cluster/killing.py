"""An observer of a run that has one actor of every stage killed, while a shard is in its hands."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

_LOOK = 0.0005
"""Seconds between two looks at the actors: less than a shard of a tiny model takes."""
_RECOUNT = 0.1


class ActorKiller:
    """Kills the first actor of a stage that is seen at a shard, once in each of some stages.

    Ray gives a process the name of what it is at, so that `ray::WorkActor.run` is an actor with a shard whose result it
    has not handed over. It is stopped and looked at again before it is killed: what was killed was in the middle.
    """

    def __init__(self, stages: set[str]) -> None:
        self.left = set(stages)
        """Stages in which nobody has been killed."""
        self.killed: list[str] = []
        self._now = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ActorKiller:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """From now on its actors are looked for."""
        self._now = name

    def progress(self, done: int, total: int) -> None:
        """Nothing."""

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """Its time is over."""
        self._now = ""

    def _watch(self) -> None:
        actors, counted = list[psutil.Process](), 0.0
        while not self._over.wait(_LOOK):
            if (stage := self._now) not in self.left:
                continue
            if time.monotonic() > counted + _RECOUNT:
                actors, counted = _ray_processes(), time.monotonic()
            if any(_killed_in_mid_shard(each) for each in actors):
                self.left.discard(stage)
                self.killed.append(stage)


def _ray_processes() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if _name(each).startswith("ray::")]


def _name(process: psutil.Process) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    return ""


def _killed_in_mid_shard(process: psutil.Process) -> bool:
    if not _name(process).startswith("ray::WorkActor.run"):
        return False
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        if _name(process).startswith("ray::WorkActor.run"):
            process.kill()
            return True
        process.resume()
    return False

"""An observer of a run that kills one actor in every stage, while a shard is in its hands."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_AT_WORK, _OPENING, _IDLE = "ray::WorkActor.run", "ray::WorkActor.open", "ray::WorkActor"
"""How Ray calls the process of an actor that is at a shard, is at its model, or has handed over what it had."""
_OF_SELECTION = "ray::ShardActor"
"""How it calls one that holds rows of a selection."""


class ActorKiller:
    """Kills an actor when the first shard of a stage is finished, once in each of some stages.

    All actors are stopped, and one is killed that is in the middle of a shard. Where none is, it is one that opens its
    model, with a shard waiting for it; or else one that is idle, a second later: by then it has been given the next.
    """

    def __init__(self, stages: set[str]) -> None:
        self.left = set(stages)
        """Stages in which nobody has been killed."""
        self.killed: dict[str, str] = {}
        """Stage -> what the actor was at."""
        self._now = ""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Its actors are the ones to come."""
        self._now = name

    def progress(self, done: int, total: int) -> None:
        """Kills one, where some shards are done and others are not."""
        if self._now in self.left and 0 < done < total:
            self.left.discard(self._now)
            self.killed[self._now] = _kill_a_shard() if self._now == "select" else _kill_one()

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """Its time is over."""
        self._now = ""


def _kill_a_shard() -> str:
    """Kill an actor of a selection, which knows the picks so far."""
    actors = [each for each in psutil.Process().children(recursive=True) if _name(each).startswith(_OF_SELECTION)]
    assert actors, "there is no actor"
    actors[0].kill()
    return _OF_SELECTION


def _kill_one() -> str:
    """Kill an actor; gives what it was at."""
    actors = [each for each in psutil.Process().children(recursive=True) if _name(each).startswith(_IDLE)]
    for each in actors:
        with suppress(psutil.NoSuchProcess):  # Of a crew that has just been let go.
            each.suspend()
    for state in (_AT_WORK, _OPENING, _IDLE):
        for each in actors:
            if _name(each).startswith(state):
                threading.Timer(1.0 if state == _IDLE else 0.0, each.kill).start()
                for other in actors:
                    with suppress(psutil.NoSuchProcess):
                        if other.pid != each.pid:
                            other.resume()
                return state
    raise AssertionError("there is no actor")


def _name(process: psutil.Process) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    return ""

"""One stage from its plan to its manifest, and who hears of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

from qads.run.directory import Manifest, StageDirectory

__all__ = ["Observer", "SilentObserver", "complete_stage"]


class Observer(Protocol):
    """Hears what a run does."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Stage `name` starts to compute."""
        ...

    def progress(self, done: int, total: int) -> None:
        """The stage has done `done` of `total` (−1: unknown)."""
        ...

    def stage_finished(self, name: str, manifest: Manifest, *, reused: bool) -> None:
        """Stage `name` is complete, now or since an earlier run."""
        ...


class SilentObserver:
    """Hears and says nothing."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Nothing."""

    def progress(self, done: int, total: int) -> None:
        """Nothing."""

    def stage_finished(self, name: str, manifest: Manifest, *, reused: bool) -> None:
        """Nothing."""


def complete_stage(
    stage: StageDirectory,
    compute: Callable[[], dict[str, Any]],
    observer: Observer,
    *,
    name: str,
    number: int,
    n_stages: int,
) -> Manifest:
    """The manifest of a stage that is complete, its files checked; else compute it.

    Args:
        stage: its folder and plan.
        compute: fills the folder, returns what the manifest says beside the plan.
        observer: hears of it.
        name: what to call it there.
        number: of the stage in what is going on, from 1.
        n_stages: in all.

    Raises:
        CorruptError: a file of a complete stage is not what its manifest says.
        RunError: the folder is not ours.
    """
    if (manifest := stage.manifest()) is not None:
        stage.check_files()
        stage.remove_shards()
        observer.stage_finished(name, manifest, reused=True)
        return manifest
    observer.stage_started(name, number, n_stages)
    started = time.monotonic()
    stage.begin()
    try:
        facts = compute()
    except Exception:
        # A stage that failed before it finished any shard leaves nothing behind.
        if stage.shards.count() == 0:
            with contextlib.suppress(OSError):
                stage.remove()
        raise
    manifest = stage.finish(seconds=time.monotonic() - started, facts=facts)
    observer.stage_finished(name, manifest, reused=False)
    return manifest

"""Who hears what a run does."""

from __future__ import annotations

from typing import Protocol

from qads.run.directory import Manifest

__all__ = ["Observer", "SilentObserver"]


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

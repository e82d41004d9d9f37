"""Stages that two runs have in common are computed once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from qads.run.directory import BEGUN, RunDirectory, StagePlan
from qads.storage import flush

__all__ = ["share_stages"]


def share_stages(source: Path, target: Path, names: Sequence[str]) -> list[str]:
    """Give a run the finished stages of another, as far as it has none of these.

    Files are linked where the file system can, else copied; since no file of a run is ever written to again, but
    replaced, neither run can change what the other has. Whether they serve, `run_pipeline` finds out by their
    fingerprints.

    Args:
        source: directory of the run that has them.
        target: directory of the other, made if it is not there.
        names: of the stages, in order.

    Returns:
        The stages that were taken over.

    Raises:
        LockedError: another run is in the target.
    """
    shared: list[str] = []
    with RunDirectory(target).lock():
        for name in names:
            stage = RunDirectory(source).stage(StagePlan(name, {}))
            if stage.manifest() is None or (target / name).exists():
                continue
            unfinished = target / f".{name}{BEGUN}"
            shutil.copytree(stage.path, unfinished, copy_function=_link_or_copy)
            for path in (*unfinished.rglob("*"), unfinished):
                flush(path)
            unfinished.replace(target / name)
            flush(target)
            shared.append(name)
    return shared


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

"""What a run directory holds, whether its run is alive or dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.errors import CorruptError, RunError
from qads.run.directory import RunDirectory, StageDirectory, StagePlan
from qads.run.pipeline import OCCASIONAL, STAGES
from qads.run.sealed import ON_DEMAND, read_json, read_stage_record

__all__ = ["RunStatus", "StageStatus", "read_status", "stages_of_run"]


@dataclass(frozen=True)
class StageStatus:
    """One stage on disk."""

    name: str
    state: str
    """``done``, ``partial``, ``to do``; or ``damaged``: its manifest is, or a file is gone or has another size."""
    rows: int | None
    seconds: float | None
    shards: int
    """Finished shards of a stage that is not complete; of a training checkpoints."""


@dataclass(frozen=True)
class RunStatus:
    """A run directory."""

    directory: Path
    running: str | None
    """Process that is using it now, or None."""
    stages: tuple[StageStatus, ...]

    @property
    def is_finished(self) -> bool:
        """Whether every stage is complete but those that are made when they are first asked for."""
        return all(stage.state == "done" for stage in self.stages if stage.name not in ON_DEMAND)

    @property
    def damaged(self) -> tuple[str, ...]:
        """Stages that are used by nothing until they are computed again."""
        return tuple(stage.name for stage in self.stages if stage.state == "damaged")


def read_status(directory: str | Path) -> RunStatus:
    """Which stages of a run directory are complete.

    Raises:
        RunError: the directory is not one of a run.
    """
    root = Path(directory)
    config = read_json(root / "config.json")
    if config is None:
        raise RunError(
            f"{root}: is not a run directory (it has no config.json). Runs are made by qads run or qads select."
        )
    stages = tuple(_stage_status(root / name) for name in stages_of_run(root, config))
    return RunStatus(root, RunDirectory(root).owner, stages)


def stages_of_run(root: Path, config: Mapping[str, Any]) -> list[str]:
    """The stages that a run directory has or should have, in order, by its `config.json`."""
    asked = {name for name in OCCASIONAL if config.get(name)}
    if (config.get("constraints") or {}).get("given"):
        asked.add("given")
    here = [name for name in STAGES if name not in OCCASIONAL or name in asked or (root / name).exists()]
    unused = set[str]() if config.get("clean") else {"clean"}  # What an earlier configuration left.
    if config.get("report", {}).get("projection", {}) is None:
        unused.add("projection")
    quality: Mapping[str, Any] = config.get("quality") or {}
    unused |= {name for name in ("train", "evaluate") if not config.get(name)}
    if not quality:
        unused.add("quality")
    if not quality or (quality.get("scorer") or {}).get("kind") == "saved":
        unused |= {"influence", "scorer"} | (set() if "targets" in here else {"anchors"})
    return [name for name in here if name not in unused]


def _stage_status(path: Path) -> StageStatus:
    try:
        manifest: dict[str, Any] | None = read_stage_record(path / "manifest.json")
    except CorruptError:
        return StageStatus(path.name, "damaged", None, None, 0)
    if manifest is not None:
        state = "done" if _has_all_files(path, manifest) else "damaged"
        return StageStatus(path.name, state, manifest.get("rows"), manifest.get("seconds"), 0)
    if path.name == "report" and (path / "report.html").exists():
        return StageStatus(path.name, "done", None, None, 0)
    parts = StageDirectory(path, StagePlan(path.name, {})).n_parts
    return StageStatus(path.name, "partial" if path.exists() else "to do", None, None, parts)


def _has_all_files(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether every file is there and as long as it was; their bytes are compared by whoever uses them."""
    stated: Mapping[str, Any] = manifest.get("files") or {}
    files = {path / name: facts["bytes"] for name, facts in stated.items()}
    return all(file.is_file() and file.stat().st_size == n_bytes for file, n_bytes in files.items())

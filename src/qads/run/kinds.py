"""What a directory is of: a run, a training, an evaluation, an experiment, a mixture. Each has one of its own.

They would share a lock, a state and the names of their folders otherwise, and which command goes on with what is there
could not be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qads.errors import RunError
from qads.run.directory import RunDirectory, StageDirectory, StagePlan
from qads.run.sealed import read_json
from qads.run.telling import read_told

__all__ = ["Kind", "TaskStatus", "kinds_in", "read_task_status", "refuse_other_kinds"]

Kind = Literal["run", "experiment", "training", "evaluation", "mixture"]
_COMMANDS: Mapping[Kind, str] = {
    "run": "qads run", "experiment": "qads compare", "training": "qads train", "evaluation": "qads evaluate",
    "mixture": "qads mix",
}  # fmt: skip
_STAGES: Mapping[Kind, str] = {"training": "train", "evaluation": "evaluate"}
"""Kinds that are one stage without a configuration, and its name."""
_UNITS: Mapping[Kind, str] = {"training": "steps", "evaluation": "items"}


def kinds_in(root: Path) -> tuple[Kind, ...]:
    """What of these is in a directory; the stages of a run or of an experiment are no things of their own."""
    found: list[Kind] = []
    # A run whose configuration is damaged or gone is one still.
    if {"pool", "budget"} <= _object(root / "config.json").keys() or _begun(root / "pool", "pool"):
        found.append("run")
    if {"arms", "budgets"} <= _object(root / "experiment.json").keys():
        found.append("experiment")
    if not found:
        found.extend(kind for kind, stage in _STAGES.items() if _begun(root / stage, stage))
    if _object(root / "manifest.json").get("what") == "qads mixture":
        found.append("mixture")
    return tuple(found)


def refuse_other_kinds(root: Path, kind: Kind) -> None:
    """Refuse a directory that something of another kind is in; one that holds both already is gone on with.

    Raises:
        RunError: names what lies there.
    """
    there = kinds_in(root)
    if there and kind not in there:
        article = "an" if there[0][0] in "ae" else "a"
        raise RunError(
            f"{root}: is the directory of {article} {there[0]}, made by {_COMMANDS[there[0]]}. Give {_COMMANDS[kind]} "
            "a directory of its own."
        )


@dataclass(frozen=True)
class TaskStatus:
    """A training or an evaluation on disk."""

    kind: Kind
    directory: Path
    running: str | None
    """Process that is using it now, or None."""
    state: str
    """``done`` or ``partial``."""
    unit: str
    """What is counted: ``steps`` or ``items``."""
    done: int | None
    """How many, as the process that is or was at it told last; None where it told nothing yet."""
    of: int | None
    parts: int
    """Finished shards, or checkpoints, that the same command goes on from."""
    seconds: float | None
    """That it took; None where it is not done."""
    model: str | None
    """Model that came of the training, or that was measured; None where it is not done."""


def read_task_status(root: Path, kind: Kind) -> TaskStatus:
    """How far the training or evaluation of a directory is.

    Raises:
        CorruptError: its manifest is damaged.
    """
    stage = StageDirectory(root / _STAGES[kind], StagePlan(_STAGES[kind], {}))
    manifest, told = stage.manifest(), read_told(root)
    if manifest is None:
        done, of = (None, None) if told is None else told
        return TaskStatus(
            kind, root, RunDirectory(root).owner, "partial", _UNITS[kind], done, of, stage.n_parts, None, None
        )
    n = _amount(kind, manifest)
    model = manifest.get("model")
    return TaskStatus(
        kind, root, RunDirectory(root).owner, "done", _UNITS[kind], n, n, 0, manifest.get("seconds"),
        str(stage.path / str(model)) if kind == "training" else model,
    )  # fmt: skip


def _amount(kind: Kind, manifest: Mapping[str, Any]) -> int | None:
    if kind == "training":
        return manifest.get("steps")
    return sum(n for sets in manifest.get("measured", {}).values() for n in sets.values())


def _begun(folder: Path, stage: str) -> bool:
    return any(_object(folder / name).get("stage") == stage for name in ("manifest.json", "plan.json"))


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none, or something else."""
    with suppress(RunError):
        return read_json(path) or {}
    return {}

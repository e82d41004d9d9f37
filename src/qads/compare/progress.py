"""How far the experiment of a directory is, told by its files alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.compare.experiment import load_experiment
from qads.compare.grid import all_cells, chosen_as
from qads.compare.running import EXPERIMENT_FILE
from qads.compare.trials import CELL_STAGES
from qads.errors import RunError
from qads.run import RunDirectory, read_json

__all__ = ["ArmProgress", "ExperimentProgress", "read_progress"]


@dataclass(frozen=True)
class ArmProgress:
    """One arm of one size on one base model."""

    selected: tuple[int, ...]
    """Seeds whose rows are chosen."""
    done: tuple[int, ...]
    """Seeds of which every stage is there."""


@dataclass(frozen=True)
class ExperimentProgress:
    """An experiment on disk."""

    running: str | None
    """Process that is using it now, or None."""
    n_cells: int
    n_done: int
    arms: Mapping[tuple[str, str, str], ArmProgress]
    """(size, model, arm) -> its seeds."""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        arms = [
            dict(zip(("size", "model", "arm"), key, strict=True)) | dataclasses.asdict(each)
            for key, each in self.arms.items()
        ]
        return {"running": self.running, "cells": self.n_cells, "cells_done": self.n_done, "arms": arms}


def read_progress(directory: str | Path) -> ExperimentProgress:
    """Which cells of an experiment are done.

    Raises:
        RunError: the directory is not one of an experiment.
    """
    root = Path(directory)
    raw = read_json(root / EXPERIMENT_FILE)
    if raw is None:
        raise RunError(f"{root}: is no experiment (it has no {EXPERIMENT_FILE}). Experiments are made by qads compare.")
    experiment = load_experiment(raw)
    last = ["select"] if experiment.train is None else list(CELL_STAGES[: 2 if experiment.evaluate is None else 3])
    arms: dict[tuple[str, str, str], tuple[list[int], list[int]]] = {}
    cells = all_cells(experiment)
    for cell in cells:
        selected, done = arms.setdefault((cell.size.name, cell.model, cell.arm), ([], []))
        of = {stage: chosen_as(experiment, cell) if stage == "select" else cell for stage in last}
        finished = [
            any((root / place / stage / "manifest.json").is_file() for place in (each.folder, each.arm_folder))
            for stage, each in of.items()
        ]
        selected += [cell.seed] if finished[0] else []
        done += [cell.seed] if all(finished) else []
    found = {key: ArmProgress(tuple(selected), tuple(done)) for key, (selected, done) in arms.items()}
    n_done = sum(len(each.done) for each in found.values())
    return ExperimentProgress(RunDirectory(root).owner, len(cells), n_done, found)

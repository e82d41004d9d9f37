"""What came of training on the rows of a cell: a base model trained on them, and evaluated.

Trained weights are half a gigabyte and more, and a grid has many: they lie beside the stages and go when they have been
evaluated, unless they are to be kept. A cell whose weights are gone before that is trained again.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qads.compare.cells import Facts, GridContext, finished
from qads.compare.experiment import Experiment
from qads.compare.grid import Cell, folder_name
from qads.compare.launching import train_launched
from qads.errors import CorruptError
from qads.run import Manifest, RunDirectory, StageDirectory, StagePlan
from qads.run.evaluating import measure_model
from qads.run.measured import evaluation_plan
from qads.run.shards import file_sha256
from qads.run.training import train_in
from qads.train import FineTuning

__all__ = [
    "CELL_STAGES", "cell_items", "cell_stages", "evaluate_untrained", "has_old_weights", "is_done", "run_trial",
    "train_manifest", "training_of", "untrained_items", "untrained_manifest",
]  # fmt: skip

CELL_STAGES = ("select", "train", "evaluate")
"""Stages of a cell, in order, as far as the experiment has them."""


def cell_stages(context: GridContext, cell: Cell) -> dict[str, StageDirectory]:
    """The stages of a cell, in order."""
    experiment = context.experiment
    found = {"select": context.select_stage(cell)}
    folder = RunDirectory(context.root / cell.folder)
    if experiment.train is not None:
        settings = _training(experiment, cell).identity(experiment.execution) | _batch(experiment, cell)
        inputs = {"select": found["select"].plan.fingerprint}
        found["train"] = folder.stage(StagePlan("train", {"train": settings} | _foreign_code(context), inputs))
    if experiment.evaluate is not None:
        trained = found["train"].plan.fingerprint
        found["evaluate"] = folder.stage(
            evaluation_plan(experiment.evaluate, cell.model, experiment.execution, trained=trained)
        )
    return found


def training_of(context: GridContext, cell: Cell) -> FineTuning:
    """How a cell is trained; selects the rows that its tokens are counted by if that was not done yet."""
    method = _training(context.experiment, cell)
    if not _batch(context.experiment, cell):
        return method
    return dataclasses.replace(method, batch_tokens=max(1, round(method.step_tokens(context.mean_tokens(cell)))))


def _training(experiment: Experiment, cell: Cell) -> FineTuning:
    assert experiment.train is not None
    return dataclasses.replace(experiment.train, model=cell.model, seed=cell.seed)


def _batch(experiment: Experiment, cell: Cell) -> dict[str, str]:
    """What a step has where arms are matched in tokens: as many, so that all of them have as many steps too."""
    if not cell.size.counts_tokens or not experiment.steps_by_match:
        return {}
    rows = "the pool" if cell.size.match == "rows" else str(experiment.tokens_of)
    return {"batch_tokens": f"as many as train.batch_size rows of {rows} have on average"}


def is_done(context: GridContext, cell: Cell) -> bool:
    """Whether nothing is left to do."""
    return all(finished(stage) is not None for stage in cell_stages(context, cell).values())


def has_old_weights(context: GridContext, cell: Cell) -> bool:
    """Whether weights are left of a cell that is done and evaluated."""
    return (
        context.experiment.evaluate is not None
        and (context.root / cell.folder / "weights").exists()
        and is_done(context, cell)
    )


def run_trial(context: GridContext, cell: Cell, *, number: int, n_cells: int) -> None:
    """Train a cell and evaluate it, as far as that is not done."""
    stages, weights = cell_stages(context, cell), context.root / cell.folder / "weights"
    if "train" not in stages or is_done(context, cell):
        return
    if stages["train"].manifest() is not None and not weights.exists():
        stages["train"].remove()

    def complete(name: str) -> None:
        compute = {"train": lambda: _train(context, cell, stages[name], weights), "evaluate": evaluate}
        context.complete(stages[name], compute[name], f"{cell}: {name}", number=number, n_stages=n_cells)

    def evaluate() -> Facts:
        _check_weights(stages["train"].manifest() or {}, weights)
        return _evaluate(context, str(weights), stages["evaluate"])

    complete("train")
    if "evaluate" in stages:
        complete("evaluate")
        if not context.experiment.keep_models:
            shutil.rmtree(weights)


def evaluate_untrained(context: GridContext, model: str) -> None:
    """Evaluate a base model as it is."""
    if (stage := _untrained_stage(context, model)) is not None:
        context.complete(stage, lambda: _evaluate(context, model, stage), f"{model}, untrained: evaluate")


def train_manifest(context: GridContext, cell: Cell) -> Manifest | None:
    """What the training of a cell says; None where it is not finished."""
    stage = cell_stages(context, cell).get("train")
    return None if stage is None else finished(stage)


def cell_items(context: GridContext, cell: Cell) -> pa.Table | None:
    """A row an item and measure; None where the cell is not evaluated."""
    return _items(cell_stages(context, cell).get("evaluate"))


def untrained_items(context: GridContext, model: str) -> pa.Table | None:
    """The same of a base model."""
    return _items(_untrained_stage(context, model))


def untrained_manifest(context: GridContext, model: str) -> Manifest | None:
    """What the evaluation of a base model says; None where it is not finished."""
    stage = _untrained_stage(context, model)
    return None if stage is None else finished(stage)


def _items(stage: StageDirectory | None) -> pa.Table | None:
    if stage is None or finished(stage) is None:
        return None
    return pq.read_table(stage.path / "items.parquet")


def _untrained_stage(context: GridContext, model: str) -> StageDirectory | None:
    evaluation = context.experiment.evaluate
    if evaluation is None:
        return None
    plan = evaluation_plan(evaluation, model, context.experiment.execution)
    return RunDirectory(context.root / "models" / folder_name(model)).stage(plan)


def _foreign_code(context: GridContext) -> dict[str, Any]:
    return {"trust_remote_code": True} if context.experiment.execution.trust_remote_code else {}


def _train(context: GridContext, cell: Cell, stage: StageDirectory, weights: Path) -> Facts:
    """Rows -> losses.jsonl, left_out.jsonl; the model beside the stage."""
    method, rows, execution = training_of(context, cell), context.rows_pool(cell), context.experiment.execution
    if context.launcher:
        facts, folder = train_launched(
            context.launcher, method, rows, stage.path, execution=execution, progress=context.observer.progress
        )
    else:
        facts, folder = train_in(stage, method, rows, execution=execution, progress=context.observer.progress)
    hashes = _hashes(folder)  # Before the weights go: a kill between that and the manifest costs a training.
    shutil.rmtree(weights, ignore_errors=True)
    os.replace(folder, weights)
    return facts | {"weights": hashes, "seed": cell.seed}


def _check_weights(manifest: Manifest, weights: Path) -> None:
    if _hashes(weights) != manifest.get("weights"):
        raise CorruptError(
            f"{weights}: is not what its training left; it was changed or damaged. Train again: --redo train"
        )


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


def _evaluate(context: GridContext, model: str, stage: StageDirectory) -> Facts:
    """A model -> items.parquet, summary.json."""
    experiment = context.experiment
    assert experiment.evaluate is not None
    return measure_model(experiment.evaluate, model, stage, experiment.execution, context.observer.progress)

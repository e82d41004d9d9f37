"""The stage that trains on the mixture, in a run; and the same stage in a directory of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from qads.cluster import Execution
from qads.config import TrainConfig
from qads.datasets import refuse_own_output
from qads.machine import is_first_process, n_processes
from qads.models import refuse_inside_model, resolve_device
from qads.pool import Pool
from qads.run.context import Facts, StageContext
from qads.run.directory import KEEPS_CHECKPOINTS, Manifest, RunDirectory, StageDirectory, StagePlan
from qads.run.kinds import refuse_other_kinds
from qads.run.speed import cpu_seconds
from qads.run.telling import Told
from qads.run.training_rows import TrainingFiles, find_training_files
from qads.train import FineTuning, StepLog, TrainingPlan

__all__ = ["TRAINING_UTILISATION", "estimate_training", "run_train", "train_files", "train_in", "training_seconds"]

TRAINING_UTILISATION = 0.35
"""Share of the matrix-product peak that training reaches on a CPU, as seen beside other work; a first look only."""


def run_train(context: StageContext, stage: StageDirectory) -> Facts:
    """The file for the trainer -> model/, losses.jsonl, left_out.jsonl."""
    method = context.config.train
    assert method is not None
    mixture = context.stages["mixture"]
    files = TrainingFiles((str(mixture.path / (mixture.manifest() or {})["train_file"]),))
    facts, _ = train_in(stage, method, files.load(), execution=context.config.execution, progress=context.progress)
    return facts | {"train_files": files.identities}


def train_in(stage: StageDirectory, method: FineTuning, rows: Pool, **hears: Any) -> tuple[Facts, Path]:
    """Train in the folder of a stage; gives what its manifest says, and the folder of the model.

    Checkpoints stay until the manifest is written, since a kill between the last step and that would cost all steps;
    the stage throws them away then, unless the user wants them kept.
    """
    kept = replace(method, checkpoints=replace(method.checkpoints, keep=True))
    trained = kept(rows, stage.path, **hears)
    return trained.facts | ({KEEPS_CHECKPOINTS: True} if method.checkpoints.keep else {}), trained.folder


def train_files(
    config: TrainConfig,
    out: Path,
    *,
    redo: bool = False,
    started: Callable[[int, int], None] | None = None,
    on_step: Callable[[StepLog, TrainingPlan], None] | None = None,
) -> tuple[Manifest, bool]:
    """Train on files, in a directory of its own: `out/train/` as in a run.

    Args:
        config: what on, and how.
        out: the directory; what is there of the same training is gone on with, or used as it is.
        redo: throw away what is there.
        started: called with (rows, steps) before the first step.
        on_step: hears of every step.

    Returns:
        The manifest, and whether it was there already.

    Raises:
        DriftError: the directory holds a training with other settings or on other rows.
        LockedError: another process trains there.
        RunError: the directory is of something else or lies in the model's, or a folder in it is not ours.
        InputError: the settings cannot be carried out.
    """
    config.train.check(config.execution)
    refuse_inside_model(config.train.model, out)
    files, method, plan = _planned(config)
    refuse_own_output(files.locations, [], folders=[out / "train"])
    run = RunDirectory(out)
    stage, is_first = run.stage(plan), is_first_process()
    with run.lock() if is_first else nullcontext():  # Of processes that a launcher has started, one writes.
        if is_first:
            refuse_other_kinds(out, "training")
            _make_ready(stage, redo=redo)
        _wait_for_others(config)
        if (manifest := stage.manifest()) is not None:
            return manifest, True
        rows = files.load(columns=config.columns, on_bad_row=config.on_bad_row)
        coming = method.plan(rows, execution=config.execution)
        if started is not None:
            started(len(rows), coming.n_steps)
        began, told = time.monotonic(), Told(out)

        def heard(step: StepLog) -> None:
            if is_first:
                told(step.step, coming.n_steps)
            if on_step is not None:
                on_step(step, coming)

        facts, _ = train_in(stage, method, rows, execution=config.execution, on_step=heard)
        facts |= {"train_files": files.identities, "rejected": len(rows.rejected), "seed": method.seed}
        return (stage.finish(seconds=time.monotonic() - began, facts=facts) if is_first else facts), False


def _make_ready(stage: StageDirectory, *, redo: bool) -> None:
    """Check what is there, and begin where nothing complete is."""
    stage.check_owner()
    if redo:
        stage.remove()
    stage.check_drift()
    if stage.manifest() is None:
        stage.begin()
    else:
        stage.check_files()


def _wait_for_others(config: TrainConfig) -> None:
    """Until all processes that a launcher has started are here; they start alone otherwise."""
    if n_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=resolve_device(config.execution.device).type == "cpu").wait_for_everyone()


def estimate_training(config: TrainConfig) -> dict[str, Any]:
    """What a training would come to; nothing is computed or written.

    Raises:
        InputError: the settings cannot be carried out.
    """
    files, method, _ = _planned(config)
    rows = files.load(columns=config.columns, on_bad_row=config.on_bad_row)
    plan = method.plan(rows, execution=config.execution)
    return {
        "rows": len(rows), "rows_trained": plan.n_rows, "rows_unseen": len(plan.texts.texts) - len(plan.times),
        "affected_rows": len(plan.texts.affected),
        "tokens": plan.n_tokens, "answer_tokens": plan.n_answer_tokens, "steps": plan.n_steps, "flops": plan.flops,
        "seconds": training_seconds(plan.flops, method, config.execution),
    }  # fmt: skip


def training_seconds(flops: int | None, method: FineTuning, execution: Execution) -> float | None:
    """Seconds that so many operations take to train here, about; None where nobody knows."""
    if flops is None:
        return None
    return cpu_seconds(flops, share=TRAINING_UTILISATION, execution=execution, dtype=method.dtype)


def _planned(config: TrainConfig) -> tuple[TrainingFiles, FineTuning, StagePlan]:
    files = find_training_files(config.sources)
    method = files.method(config.train)
    settings = {
        "train": method.identity(config.execution), "columns": config.columns, "on_bad_row": config.on_bad_row,
    }  # fmt: skip
    inputs = {f"file {name}": content for name, content in files.identities.items()}
    execution = {"device": config.execution.found_device, "processes": n_processes()}
    return files, method, StagePlan("train", settings, inputs, execution)

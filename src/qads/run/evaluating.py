"""A model measured on evaluation sets: as the last stage of a run, or alone in a directory of its own."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from qads.cluster import Execution
from qads.config import EvaluateConfig
from qads.datasets import refuse_own_output
from qads.evaluate import EvaluationResult, Summary
from qads.models import refuse_inside_model
from qads.pool import Progress
from qads.run.completing import complete
from qads.run.context import Facts, StageContext, write_table
from qads.run.directory import Manifest, RunDirectory, StageDirectory
from qads.run.kinds import refuse_other_kinds
from qads.run.measured import evaluated_model, evaluates_trained, evaluation_plan, named_model
from qads.run.observing import Observer
from qads.run.sealed import write_json
from qads.run.telling import Told

__all__ = ["Evaluated", "evaluate_model", "measure_model", "run_evaluate", "summary_json"]

_LIBRARIES = ("lm_eval", "math-verify")


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation left behind."""

    folder: Path
    result: EvaluationResult
    manifest: Manifest


def run_evaluate(context: StageContext, stage: StageDirectory) -> Facts:
    """Model -> items.parquet (a row for every item and measure), summary.json; through shards."""
    assert context.config.evaluate is not None
    model = evaluated_model(context.config)
    if evaluates_trained(context.config):
        trained = context.stages["train"]
        model = str(trained.path / (trained.manifest() or {})["model"])
    return measure_model(context.config.evaluate, model, stage, context.config.execution, context.progress)


def evaluate_model(
    method: EvaluateConfig, out: Path, *, execution: Execution, observer: Observer, redo: bool = False
) -> Evaluated:
    """Measure a model, in a directory that goes on where it was left.

    Args:
        method: the model, and what is measured.
        out: the directory; what is found is in its folder `evaluate`.
        execution: device, batch size, and whether programs may run.
        observer: hears of progress.
        redo: whether to measure again what is there.

    Raises:
        DriftError: the directory holds another evaluation.
        LockedError: another process is in it.
        RunError: it lies in the model's own folder, or is of something else.
        InputError: no model is named, something cannot be used, or a file that is read lies where it is written.
    """
    model = named_model(method)
    method.check_possible(may_run_programs=execution.allow_code_execution)
    refuse_inside_model(model, out)
    refuse_own_output(method.files, [], folders=[out / "evaluate"])
    run = RunDirectory(out)
    stage = run.stage(evaluation_plan(method, model, execution))
    with run.lock():
        refuse_other_kinds(out, "evaluation")
        stage.check_owner()
        if redo:
            stage.remove()
        stage.check_drift()
        manifest = complete(
            stage, lambda: measure_model(method, model, stage, execution, Told(out, observer.progress)),
            observer=observer,
        )  # fmt: skip
    return Evaluated(stage.path, read_result(stage.path), manifest)


def read_result(folder: Path) -> EvaluationResult:
    """What a finished evaluation found."""
    return EvaluationResult(pq.read_table(folder / "items.parquet"))


def measure_model(
    method: EvaluateConfig, model: str, stage: StageDirectory, execution: Execution, progress: Progress
) -> Facts:
    """Model -> items.parquet, summary.json, in the folder of a stage; through shards."""
    sandbox = _sandbox(method) if method.runs_programs and execution.allow_code_execution else None
    found = method(model, execution=execution, sandbox=sandbox, shards=stage.shards, progress=progress)
    write_table(found.items, stage.path / "items.parquet")
    write_json(stage.path / "summary.json", [summary_json(each) for each in found.summary()])
    spent = found.items.select(["measure", "n_tokens", "truncated", "verdict"]).to_pylist()
    tokens: Counter[str] = Counter()
    for row in spent:
        tokens[row["measure"]] += row["n_tokens"] or 0
    return {
        "rows": found.items.num_rows,
        **found.facts,
        "model": model,
        "answer_tokens": dict(tokens),
        "truncated": sum(bool(row["truncated"]) for row in spent),
        "verdicts": dict(Counter(row["verdict"] for row in spent if row["measure"] == "accuracy")),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "sandbox": sandbox.versions() if sandbox is not None else None,
    }


def _sandbox(method: EvaluateConfig) -> Any:
    from qads.sandbox import Sandbox

    return Sandbox(isolation=method.isolation, seconds=method.program_seconds, memory_mb=method.program_memory_mb)


def summary_json(found: Summary) -> dict[str, Any]:
    """A line of the summary; NaN, which JSON has not, becomes null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in dataclasses.asdict(found).items()
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

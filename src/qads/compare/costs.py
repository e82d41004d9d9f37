"""What it took to choose the rows of an arm: the stages that it hangs on, and no others.

    selection FLOPs = embedding + scoring + fitting the scorer + reading the pool with it + likelihoods

each only where the arm needs it (an arm of random rows needs none of them). An arm with the source shares of another
pays for that one too, since without its selection there would be no shares. Scoring and reading are counted exactly
(`kernels/cost.py`); embedding and likelihoods as two operations a parameter and token. Scores that were taken over
from another run cost what they cost: their operations are counted again, their seconds are not known here. What a
scorer cost that was fitted before is known to nobody here, and the page says that it is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from qads.compare.cells import GridContext
from qads.compare.experiment import Arm
from qads.compare.grid import Cell
from qads.compare.shared import SharedRun
from qads.models import count_parameters
from qads.run import labelled_file
from qads.run.context import read_pool
from qads.run.plan import stage_reads

__all__ = ["StageCost", "parameters_of", "selection_cost", "total"]


@dataclass(frozen=True)
class StageCost:
    """What one stage took."""

    stage: str
    flops: int | None
    """None where they are not known."""
    seconds: float | None
    """None where they were not spent here."""


def selection_cost(context: GridContext, cell: Cell) -> tuple[StageCost, ...]:
    """The stages that the rows of a cell hang on, the shared ones and its own selection."""
    run, arms = context.run_of(cell.model), context.experiment.arms
    arm = arms[cell.arm]
    both = [arm] if arm.source_shares_of is None else [arm, arms[arm.source_shares_of]]
    stages = dict.fromkeys(name for each in both for name in _stages(run, each))
    selected = context.select_stage(cell).manifest() or {}
    return (
        *(_stage_cost(context, cell.model, name) for name in stages),
        StageCost("select", 0, selected.get("seconds")),
    )


def total(values: Iterable[float | None]) -> float | None:
    """Their sum; None where one of them is not known."""
    found = list(values)
    return None if None in found else sum(each for each in found if each is not None)


def _stages(run: SharedRun, arm: Arm) -> list[str]:
    """The stages in which a model runs, among those that an arm's rows are made from."""
    reads = stage_reads(run.config)
    if _scored_all(run):  # No scorer was fitted, so that nothing read embeddings for it.
        reads |= {"scorer": (), "quality": ("influence",)}
    wanted = {name for name in getattr(arm.selection, "needs", ()) if name in run.fingerprints}
    wanted |= {"embed"} if getattr(arm.selection, "reads_embeddings", True) else set()
    wanted |= {"quality"} if arm.needs_quality else set()
    for name in reversed(reads):
        wanted.update(reads[name] if name in wanted else ())
    order = ("embed", "influence", "scorer", "quality", "targets", "likelihoods")
    return [name for name in order if name in wanted and name in run.fingerprints]


def _scored_all(run: SharedRun) -> bool:
    scorer = run.manifest("scorer")
    return scorer is not None and scorer.get("scorer") is None


def _stage_cost(context: GridContext, model: str, name: str) -> StageCost:
    run = context.run_of(model)
    manifest = run.manifest(name) or {}
    seconds = manifest.get("model_seconds", manifest.get("seconds"))
    if name == "influence":
        return _influence_cost(run, seconds)
    if name in ("scorer", "quality"):
        return StageCost(name, manifest.get("flops", 0), seconds)
    if name == "likelihoods":
        rows, method = context.tokens(model), run.config.answer_likelihoods
        solutions = np.array([len(text) for text in run.pool.strings("solution")], np.float64)
        texts = solutions + [len(text) for text in run.pool.strings("problem")]
        tokens = int((rows * (1 + solutions / np.maximum(texts, 1))).sum())
        return StageCost(name, _operations(parameters_of(method.model), tokens), seconds)
    if manifest.get("taken_over"):  # Cleaning has embedded the rows already.
        manifest = run.manifest("clean") or {}
    tokens = manifest.get("tokens") or 0
    body = parameters_of(run.config.embedding.model, body=True) if tokens else 0
    return StageCost(name, _operations(body, tokens), seconds)


def _operations(parameters: int | None, tokens: int) -> int | None:
    """Two operations a parameter and token; those of attention, a few per cent more, are left out."""
    return None if parameters is None else 2 * parameters * tokens


@cache
def parameters_of(model: str, *, body: bool = False) -> int | None:
    """`count_parameters`; the header of a GGUF file takes seconds, so each is read once."""
    return count_parameters(model, body=body)


def _influence_cost(run: SharedRun, seconds: float | None) -> StageCost:
    """As its manifest says; of scores that were taken over what they would have cost here."""
    manifest = run.manifest("influence") or {}
    if not manifest.get("pairs_reused"):
        return StageCost("influence", manifest.get("flops"), seconds)
    assert run.config.quality is not None
    labelled = run.pool.take(np.load(labelled_file(run.root)))
    anchors = read_pool(run.root / "anchors" / "anchors.parquet")
    found = run.config.quality.influence.expected_cost(labelled, anchors, execution=run.config.execution)
    return StageCost("influence", found.flops, None)

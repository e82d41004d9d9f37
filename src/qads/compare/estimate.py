"""What an experiment would cost, before it starts: shared stages, and every cell.

Tokens and operations of a training are exact as soon as its rows are chosen; before that they are those of so many rows
of mean length. Times are those of cells that are done, where there are any, else of a share of the matrix-product peak.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qads.amounts import Tokens
from qads.compare.amounts import check_amounts, counted_models, merge_budgets, pool_so_far
from qads.compare.cells import GridContext, count_row_tokens, finished
from qads.compare.costs import parameters_of
from qads.compare.experiment import Experiment
from qads.compare.grid import Cell
from qads.compare.shared import open_shared, shared_folder
from qads.compare.trials import cell_stages, training_of, untrained_manifest
from qads.config import check_suffixes
from qads.errors import RunError
from qads.pool import Pool
from qads.prompts import sample_text
from qads.run import SilentObserver, StageEstimate, estimate_evaluation, estimate_run
from qads.run.estimate import CHARS_PER_TOKEN
from qads.run.training import TRAINING_UTILISATION, training_seconds
from qads.selection.budget import resolve_budget

__all__ = ["CellEstimate", "ExperimentEstimate", "estimate_experiment"]


@dataclass(frozen=True)
class CellEstimate:
    """What one cell would do."""

    cell: Cell
    status: str
    """``done``, ``partial`` or ``to do``."""
    rows: float | None
    """None where a budget in tokens says how many."""
    tokens: int | None
    """Through the model in training, all epochs."""
    flops: int | None
    is_exact: bool
    """Whether tokens and operations are counted."""
    seconds: float | None
    """Left to do: training and evaluation; None where it is unknown."""


@dataclass(frozen=True)
class ExperimentEstimate:
    """What an experiment would do."""

    shared: dict[str, list[StageEstimate]]
    """Scoring model -> the stages of its run."""
    cells: tuple[CellEstimate, ...]
    basis: str
    """What times are taken from."""
    notes: tuple[str, ...] = ()
    """What there is to say of the amounts that were asked for, and of the evaluation sets."""

    @property
    def seconds(self) -> float | None:
        """Left to do, of all whose time is known; None where it is known of nothing."""
        stages = [stage.seconds for each in self.shared.values() for stage in each if stage.status != "done"]
        known = [seconds for seconds in (*stages, *(cell.seconds for cell in self.cells)) if seconds is not None]
        return sum(known) if known else None


def estimate_experiment(
    experiment: Experiment, out: str | Path, *, only: Mapping[str, Sequence[str]] | None = None,
    reuse: Sequence[str] = (),
) -> ExperimentEstimate:  # fmt: skip
    """Rows, tokens, operations and time of every cell. Runs no model, leaves the directory as it is.

    Args:
        experiment: what would be computed.
        out: its directory, which need not be there.
        only: part of the cells (``arm``, ``size``, ``model``, ``seed``) -> values; all by default.
        reuse: directories of other runs whose scores would be taken over.

    Raises:
        InputError: settings or data cannot be used, or an arm could not fill its budget.
    """
    root = Path(out)
    check_suffixes(experiment.train, experiment.evaluate)
    pool, excluded = pool_so_far(experiment, root)
    tokens = {model: count_row_tokens(experiment, model, pool) for model in counted_models(experiment)}
    check_amounts(experiment, pool, excluded, tokens)
    merged = merge_budgets(experiment, len(pool), root)
    experiment, notes = merged.experiment, merged.notes
    if (evaluation := experiment.evaluate) is not None:
        notes += tuple(evaluation.lacking(evaluation.items()))
    cells = merged.cells(only)
    scored = any(arm.needs_quality for arm in experiment.arms.values())
    shared: dict[str, list[StageEstimate]] = {}
    for model in experiment.scoring_models:
        config = experiment.shared_config(model)
        found = estimate_run(config, shared_folder(root, model), reuse=reuse)
        last = ("pool", "clean", "embed", *(("anchors", "influence", "scorer", "quality") if scored else ()))
        shared[model] = [stage for stage in found if stage.name in last]
    try:
        context = GridContext(experiment, root, open_shared(experiment, root), SilentObserver())
    except RunError:
        context = None
    timing = _Timing.of(experiment, context, cells)
    lengths = _Lengths.of(pool)
    return ExperimentEstimate(
        shared, tuple(_cell(experiment, context, c, lengths, timing) for c in cells), timing.basis, notes
    )


@dataclass(frozen=True)
class _Lengths:
    """How many rows there are, and how long they are."""

    n_rows: int
    mean_tokens: float

    @classmethod
    def of(cls, pool: Pool) -> _Lengths:
        return cls(len(pool), float(np.mean([len(sample_text(row)) for row in pool])) / CHARS_PER_TOKEN)


@dataclass(frozen=True)
class _Timing:
    """Seconds of a training by its operations and tokens, and of an evaluation, for every model."""

    training: dict[str, Callable[[int | None, int], float | None]]
    evaluation: dict[str, float | None]
    basis: str

    @classmethod
    def of(cls, experiment: Experiment, context: GridContext | None, cells: Sequence[Cell]) -> _Timing:
        training: dict[str, Callable[[int | None, int], float | None]] = {}
        evaluation: dict[str, float | None] = {}
        measured = 0
        for model in dict.fromkeys(cell.model for cell in cells):
            done = [] if context is None else [cell_stages(context, cell) for cell in cells if cell.model == model]
            trained = [m for s in done if "train" in s and (m := finished(s["train"])) is not None]
            evaluated = [m for s in done if "evaluate" in s and (m := finished(s["evaluate"])) is not None]
            if context is not None and (base := untrained_manifest(context, model)) is not None:
                evaluated.append(base)
            if trained:
                rate = sum(m["seconds"] for m in trained) / sum(m["tokens"] for m in trained)
                training[model] = lambda flops, tokens, rate=rate: rate * tokens
                measured += len(trained)
            else:
                training[model] = lambda flops, tokens: _by_peak(experiment, flops)
            evaluation[model] = float(np.mean([m["seconds"] for m in evaluated])) if evaluated else None
            if not evaluated:
                evaluation[model] = _evaluation_seconds(experiment, model)
        share = f"{TRAINING_UTILISATION:.0%} of the matrix-product peak of this machine"
        return cls(training, evaluation, f"{measured} trainings that are done" if measured else share)


def _by_peak(experiment: Experiment, flops: int | None) -> float | None:
    return None if experiment.train is None else training_seconds(flops, experiment.train, experiment.execution)


def _evaluation_seconds(experiment: Experiment, model: str) -> float | None:
    if experiment.evaluate is None:
        return 0.0
    method = dataclasses.replace(experiment.evaluate, model=model)
    return estimate_evaluation(method, Path("of-the-experiment"), experiment.execution).seconds


def _cell(
    experiment: Experiment, context: GridContext | None, cell: Cell, lengths: _Lengths, timing: _Timing
) -> CellEstimate:
    stages = {} if context is None else cell_stages(context, cell)
    done = {name for name, stage in stages.items() if finished(stage) is not None}
    status = "done" if stages and done == set(stages) else "partial" if done else "to do"
    rows, tokens, flops, is_exact = _amounts(experiment, context if "select" in done else None, cell, lengths)
    seconds: list[float | None] = []
    if experiment.train is not None and not {"train", "evaluate"} & done:
        seconds.append(None if tokens is None else timing.training[cell.model](flops, tokens))
    if experiment.evaluate is not None and "evaluate" not in done:
        seconds.append(timing.evaluation[cell.model])
    left = None if None in seconds else sum(each for each in seconds if each is not None)
    return CellEstimate(cell, status, rows, tokens, flops, is_exact, left)


def _amounts(
    experiment: Experiment, context: GridContext | None, cell: Cell, lengths: _Lengths
) -> tuple[float | None, int | None, int | None, bool]:
    """Rows, tokens and operations of a training, and whether they are counted."""
    if context is not None:
        rows = context.rows_pool(cell)
        if experiment.train is None:
            return len(rows), None, None, True
        plan = training_of(context, cell).plan(rows, execution=experiment.execution)
        return len(rows), plan.n_tokens, plan.flops, True
    amount, method = cell.size.amount, experiment.train
    if isinstance(amount, Tokens):
        rows, once = None, float(amount.tokens)
    else:
        rows = resolve_budget(amount, lengths.n_rows, method=cell.arm)
        once = rows * lengths.mean_tokens
    if method is None:
        return rows, None, None, False
    if method.tokens is not None:
        once = float(method.tokens)
    elif method.steps is not None:
        once = method.steps * method.step_tokens(lengths.mean_tokens)
    else:
        once *= method.n_epochs
    parameters = parameters_of(cell.model)
    each = 4 if method.lora else 6  # Under an adapter the weights are not trained: forth, and back to the states.
    return rows, int(once), None if parameters is None else int(each * parameters * once), False

"""An experiment in one directory: shared stages, then cell by cell, each once.

```
OUT/experiment.json            what was asked for last
OUT/shared/MODEL/              a run up to its quality, for every model that scores
OUT/models/MODEL/              tokens of the rows as the base model is trained on them; the untrained model evaluated
OUT/cells/MODEL/SIZE/ARM/      select, if every seed chooses the same rows
OUT/cells/MODEL/SIZE/ARM/seed-N/   select otherwise; train, evaluate
```
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from qads.compare.amounts import check_amounts, counted_models, has_pool, merge_budgets, pool_so_far
from qads.compare.cells import GridContext
from qads.compare.experiment import Experiment
from qads.compare.grid import Cell, all_cells, only_cells
from qads.compare.results import Results, collect
from qads.compare.shared import SHARED_STAGES, SharedRun, compute_shared, open_shared
from qads.compare.trials import CELL_STAGES, cell_stages, evaluate_untrained, has_old_weights, is_done, run_trial
from qads.config import check_suffixes
from qads.datasets import refuse_own_output
from qads.errors import ConfigError, RunError
from qads.run import Observer, RunDirectory, SilentObserver, read_json
from qads.run.kinds import refuse_other_kinds
from qads.run.sealed import write_json

__all__ = ["EXPERIMENT_FILE", "read_results", "run_experiment"]

logger = logging.getLogger(__name__)

EXPERIMENT_FILE = "experiment.json"


def run_experiment(
    experiment: Experiment,
    out: str | Path,
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    max_cells: int | None = None,
    redo: Sequence[str] = (),
    reuse: Sequence[str] = (),
    launch: Sequence[str] = (),
    observer: Observer | None = None,
) -> Results:
    """Compute the cells that the directory does not hold yet.

    Args:
        experiment: what to compute.
        out: where; made if it is not there.
        only: part of the cells (``arm``, ``size``, ``model``, ``seed``) -> values; all by default.
        max_cells: trainings to begin in this start, at most.
        redo: stages to compute again, with all that is made from them; those of cells only in the chosen cells.
        reuse: directories of other runs whose scores are taken over for the same texts.
        launch: program and arguments that start trainings on several GPUs, such as ``accelerate launch``, before
            ``-m qads train``; by default they run in this process.
        observer: hears of progress.

    Returns:
        What the finished cells say, those of earlier starts too.

    Raises:
        DriftError: a stage in the directory was made with other settings or inputs.
        LockedError: another process is in the directory.
        CorruptError: a file of a finished stage is not what its manifest says.
        RunError: the directory is of something else, or a training that was launched has failed.
        InputError: settings or data cannot be used, or an arm cannot fill its budget.
    """
    root, observer = Path(out), observer or SilentObserver()
    only_cells(all_cells(experiment), only or {})
    _check_redo(redo)
    _check_possible(experiment, root)
    with RunDirectory(root).lock():
        _check_experiment_file(root / EXPERIMENT_FILE)
        _write_experiment(experiment, root)
        of_shared = [name for name in redo if name in SHARED_STAGES]
        shared = compute_shared(
            experiment, root, redo=of_shared, reuse=reuse, observer=observer,
            check=lambda run: _check_amounts(experiment, root, run, observer),
        )  # fmt: skip
        merged = merge_budgets(experiment, len(shared[experiment.scoring_models[0]].pool), root)
        experiment, chosen = merged.experiment, merged.cells(only)
        _write_experiment(experiment, root)
        context = GridContext(experiment, root, shared, observer, tuple(launch))
        _remove(context, chosen, ["select"] if of_shared else [name for name in redo if name in CELL_STAGES])
        for cell in chosen:
            for stage in cell_stages(context, cell).values():
                stage.check_owner()
                stage.check_drift()
        for cell in chosen:
            context.select(cell)
        _run_trials(context, chosen, max_cells)
        return collect(context, all_cells(experiment), merged.notes)


def _write_experiment(experiment: Experiment, root: Path) -> None:
    """Keep what was asked for; that programs may run is said anew at every start."""
    execution = dataclasses.replace(experiment.execution, allow_code_execution=False)
    write_json(root / EXPERIMENT_FILE, dataclasses.asdict(dataclasses.replace(experiment, execution=execution)))


def _check_possible(experiment: Experiment, root: Path) -> None:
    """Refuse before the work what would stop it later."""
    if experiment.train is not None:
        for model in experiment.models:
            dataclasses.replace(experiment.train, model=model).check(experiment.execution)
    if experiment.evaluate is not None:
        experiment.evaluate.check_possible(may_run_programs=experiment.execution.allow_code_execution)
        experiment.evaluate.items()  # Refuses what could not be measured on them.
    check_suffixes(experiment.train, experiment.evaluate)
    chosen_from = experiment.run_config(experiment.arms[experiment.reference].selection, 1, experiment.models[0])
    measured_on = () if experiment.evaluate is None else experiment.evaluate.files
    refuse_own_output((*chosen_from.files, *experiment.anchors.sources, *measured_on), [], folders=[root])
    if not has_pool(experiment, root):
        check_amounts(experiment, *pool_so_far(experiment, root), {})


def read_results(out: str | Path, experiment: Experiment) -> Results:
    """What the finished cells of a directory say, without computing anything.

    Raises:
        RunError: the shared stages are not there.
    """
    root = Path(out)
    shared = open_shared(experiment, root)
    merged = merge_budgets(experiment, len(shared[experiment.scoring_models[0]].pool), root)
    context = GridContext(merged.experiment, root, shared, SilentObserver())
    return collect(context, all_cells(merged.experiment), merged.notes)


def _check_amounts(experiment: Experiment, root: Path, run: SharedRun, observer: Observer) -> None:
    """Refuse after the first stage what would come to nothing after the last."""
    context = GridContext(experiment, root, dict.fromkeys(experiment.scoring_models, run), observer)
    tokens = {model: context.tokens(model) for model in counted_models(experiment)}
    check_amounts(experiment, run.pool, run.excluded, tokens)


def _run_trials(context: GridContext, chosen: Sequence[Cell], max_cells: int | None) -> None:
    if context.experiment.train is None:
        return
    for model in dict.fromkeys(cell.model for cell in chosen):
        evaluate_untrained(context, model)
    _tell_weights(context, chosen)
    left = [cell for cell in chosen if not is_done(context, cell)][:max_cells]
    for number, cell in enumerate(left, 1):
        run_trial(context, cell, number=number, n_cells=len(left))


def _tell_weights(context: GridContext, chosen: Sequence[Cell]) -> None:
    """Of weights that nobody needs any more, as a kill at the end of a cell or `keep_models` leaves them."""
    if context.experiment.keep_models:
        return
    found = [str(context.root / cell.folder / "weights") for cell in chosen if has_old_weights(context, cell)]
    if found:
        logger.warning(
            "trained weights of %d finished cells are there, and nothing needs them; remove them if you do not: %s",
            len(found), ", ".join(found[:3]) + (", …" if len(found) > 3 else ""),
        )  # fmt: skip


def _remove(context: GridContext, cells: Sequence[Cell], names: Sequence[str]) -> None:
    """Throw away these stages of the cells, and those made from them, the last first."""
    for cell in cells:
        stages = cell_stages(context, cell)
        first = min((list(stages).index(name) for name in names if name in stages), default=len(stages))
        for stage in list(stages.values())[first:][::-1]:
            stage.remove()


def _check_redo(redo: Sequence[str]) -> None:
    known = (*SHARED_STAGES, *CELL_STAGES)
    if unknown := [name for name in redo if name not in known]:
        raise ConfigError(f"--redo {unknown[0]}: an experiment has the stages {', '.join(known)}.")


def _check_experiment_file(path: Path) -> None:
    """Refuse the directory of a run, a training, an evaluation, or of another program."""
    refuse_other_kinds(path.parent, "experiment")
    if (path.parent / "config.json").exists() and not path.exists():
        raise RunError(f"{path.parent}: is the directory of a run or a model; give an experiment one of its own.")
    found = read_json(path)
    if found is not None and not {"arms", "budgets"} <= set(found):
        raise RunError(f"{path}: is not of an experiment, and would be written over. Give another directory.")

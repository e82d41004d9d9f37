"""Run the stages of a configuration in one directory, each once."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qads.cluster import connected
from qads.config import RunConfig, check_suffixes
from qads.datasets import refuse_own_output
from qads.errors import CorruptError, DriftError, InputError, RunError
from qads.quality import LMScorer
from qads.run.budgets import largest_budget
from qads.run.completing import complete
from qads.run.context import Facts, StageContext
from qads.run.directory import Manifest, RunDirectory, StageDirectory, StagePlan
from qads.run.kinds import refuse_other_kinds
from qads.run.limits import check_limits
from qads.run.measured import evaluates_trained
from qads.run.observing import Observer, SilentObserver
from qads.run.plan import (
    check_unmoved,
    computed_names,
    names_until,
    plan_stages,
    with_dependents,
)
from qads.run.reuse import read_reused
from qads.run.scoring import check_saved_scorer
from qads.run.sealed import ON_DEMAND, read_json, write_json
from qads.run.stages import STAGE_FUNCTIONS
from qads.run.stdin import local_sources, spool_stdin, stdin_file, stdin_stage, told_as_stdin

__all__ = ["OCCASIONAL", "STAGES", "Observer", "RunResult", "SilentObserver", "run_pipeline"]

logger = logging.getLogger(__name__)

STAGES = (*STAGE_FUNCTIONS, *ON_DEMAND)
"""Every stage there is, in order."""

OCCASIONAL = ("clean", "tokens", "targets", "likelihoods", "given", "train", "evaluate")
"""Stages that few runs have."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind."""

    directory: Path
    manifests: dict[str, Manifest]

    @property
    def train_file(self) -> Path:
        """The file for the trainer."""
        return self.directory / "mixture" / self.manifests["mixture"]["train_file"]


def run_pipeline(
    config: RunConfig,
    directory: str | Path,
    *,
    until: str | None = None,
    redo: Sequence[str] = (),
    reuse: Sequence[str | Path] = (),
    observer: Observer | None = None,
) -> RunResult:
    """Compute the stages that the directory does not hold yet.

    Args:
        config: what to compute.
        directory: where; made if it is not there. A complete stage of the same fingerprint is used as it is.
        until: last stage to compute; all of them by default.
        redo: stages to compute again, with all that is made from them.
        reuse: directories of other runs whose scores are taken over for the same texts.
        observer: hears of progress.

    Raises:
        DriftError: a stage in the directory was made with other settings or inputs.
        LockedError: another run is in the directory.
        CorruptError: a file of a finished stage is not what its manifest says.
        RunError: a folder of a stage is there and is not of a run.
        InputError: configuration or data cannot be used.
    """
    observer = observer or SilentObserver()
    wanted = _wanted(config, until, redo)
    run = RunDirectory(Path(directory))
    own = (run.root / "pool" / "pool.parquet", run.root / "mixture" / "train.jsonl")
    folders = [run.root / name for name in STAGES]
    refuse_own_output(config.files, own, folders)
    if config.evaluate is not None and "evaluate" in wanted:
        config.evaluate.check_possible(may_run_programs=config.execution.allow_code_execution)
    with run.lock() as check_held, contextlib.ExitStack() as stack, told_as_stdin(run.root):
        refuse_other_kinds(run.root, "run")
        _check_config_file(run.root / "config.json")
        stages, context = _prepare(config, run, redo, wanted[-1], observer)
        context.reused = read_reused(reuse, run.root, config)
        if _make_way(run, context, wanted, with_dependents(config, redo)):
            execution = dataclasses.replace(config.execution, allow_code_execution=False)  # Said anew at every start.
            write_json(run.root / "config.json", dataclasses.asdict(dataclasses.replace(config, execution=execution)))
        if any(stages[name].manifest() is None for name in wanted):
            stack.enter_context(connected(config.execution))
        manifests: dict[str, Manifest] = {}
        for number, name in enumerate(wanted, 1):
            check_held()
            compute = partial(_facts, name, context, stages[name])
            try:
                manifests[name] = complete(
                    stages[name], compute, number=number, n_stages=len(wanted), observer=observer
                )
            except Exception:
                check_held()  # Of a directory that is gone any error may come.
                raise
            if name == ("pool" if config.clean is None else "clean"):
                _check_early(context, wanted)
            if name == "tokens" and "select" in wanted and context.stages["select"].manifest() is None:
                largest_budget(config, len(context.pool), context.array("tokens", "tokens.npy"), context.named.out)
        check_held()
    return RunResult(run.root, manifests)


def _wanted(config: RunConfig, until: str | None, redo: Sequence[str]) -> list[str]:
    """The stages to compute, in order."""
    names = computed_names(config)
    for name in redo:
        names_until(names, name)
    return names_until(names, until)


def _make_way(run: RunDirectory, context: StageContext, wanted: Sequence[str], again: Sequence[str]) -> bool:
    """Throw away what is computed again, once it is clear that every other stage can be used.

    Returns:
        Whether `config.json` is to say what this start was asked for.
    """
    stages = context.stages
    for name in wanted:
        stages[name].check_owner()
        if name not in again:
            stages[name].check_drift()
    described = _describes_later(run, context, wanted, again)
    for name in reversed(again):
        stages.get(name, run.stage(StagePlan(name, {}))).remove()
    return described


def _describes_later(run: RunDirectory, context: StageContext, wanted: Sequence[str], again: Sequence[str]) -> bool:
    """Whether the finished stages after those that are wanted, and stay, were made with this configuration.

    Raises:
        DriftError: one was not, and something is computed, of which it would not be made.
        CorruptError, InputError: so too where that cannot be told.
    """
    names = [name for name in computed_names(context.config) if name not in again]
    later = [name for name in names if name not in wanted and (run.root / name / "manifest.json").exists()]
    try:
        plans = plan_stages(context.config, context.sources, context.anchor_sources, until=later[-1]) if later else {}
        for name in later:
            run.stage(plans[name]).check_drift()
    except (RunError, InputError) as error:
        config_file = run.root / "config.json"
        computes = any(name in again or context.stages[name].manifest() is None for name in wanted)
        if computes or not config_file.exists():
            raise
        logger.warning("%s stays as it is, since nothing is computed: %s", config_file, error)
        return False
    return True


def _check_config_file(path: Path) -> None:
    """Refuse to write over a `config.json` of another program, such as that of a model's folder."""
    with contextlib.suppress(CorruptError):
        if not path.is_file() or {"pool", "budget"} <= set(read_json(path) or {}):
            return
    raise RunError(
        f"{path}: is no configuration of a run, and a run would write over it. Give another run directory, or move "
        "the file away."
    )


def _check_early(context: StageContext, wanted: Sequence[str]) -> None:
    """Find now what would stop the run after hours of embedding and scoring."""
    if context.config.train is not None and "train" in wanted:
        context.config.train.check(context.config.execution)
    scorer = None if context.config.quality is None else context.config.quality.scorer
    if isinstance(scorer, LMScorer) and "scorer" in wanted and context.stages["scorer"].manifest() is None:
        scorer.check(context.config.execution)
    trains_first = evaluates_trained(context.config) and "evaluate" in wanted
    if trains_first and context.stages["train"].manifest() is None:
        check_suffixes(context.config.train, context.config.evaluate)
    if context.config.evaluate is not None and "evaluate" in wanted and context.stages["evaluate"].manifest() is None:
        context.config.evaluate.items()  # Refuses what could not be measured on them.
    if "select" in wanted and context.stages["select"].manifest() is None:
        check_limits(context.pool, context.config, context.named)
    if "anchors" in wanted and context.stages["anchors"].manifest() is None:
        _ = context.own_anchors  # Read now, kept for the stage.
    if "quality" in wanted and context.stages["quality"].manifest() is None:
        check_saved_scorer(context)


def _prepare(
    config: RunConfig, run: RunDirectory, redo: Sequence[str], until: str, observer: Observer
) -> tuple[dict[str, StageDirectory], StageContext]:
    kept, reader = stdin_file(run.root), stdin_stage(config) or ""
    replace = reader in redo or not (run.root / reader / "manifest.json").exists()
    stdin = spool_stdin(config, kept, kept, replace=replace)
    sources = local_sources(config.pool.sources, stdin)
    anchor_sources = local_sources(config.anchors.sources, stdin)
    plans = plan_stages(config, sources, anchor_sources, until=until)
    stages = {name: run.stage(plan) for name, plan in plans.items()}
    return stages, StageContext(config, stages, observer.progress, sources, anchor_sources)


def _facts(name: str, context: StageContext, stage: StageDirectory) -> Facts:
    """What a stage says, computed from what was planned and nothing else: hours may lie between plan and reading."""
    sources = {"pool": context.sources, "anchors": context.anchor_sources}.get(name, ())
    check_unmoved(context.config, stage.plan, sources)
    facts = STAGE_FUNCTIONS[name](context, stage) | {"seed": context.config.seed}
    try:
        check_unmoved(context.config, stage.plan, sources)
    except DriftError:
        stage.remove()  # Which of its shards were made from what, nobody knows.
        raise
    return facts

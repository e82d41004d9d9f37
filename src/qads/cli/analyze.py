"""The sources of a pool compared: runs up to their quality, what was found as tables and as a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.options import (
    Anchors,
    AsJson,
    Columns,
    Device,
    OnBadRow,
    Redo,
    Sample,
    config_from_flags,
    set_option,
)

if TYPE_CHECKING:
    import numpy as np

    from qads.analyze import AnalysisSettings, Interval, RowScores, SourceAnalysis
    from qads.cli.terminal import Terminal
    from qads.cluster import Execution
    from qads.pool import Pool, Progress
    from qads.report import FinishedRun

__all__ = ["analyze"]

# The command imports what it needs: `qads --help` has to answer at once.

_SHARED = ("pool", "embed", "anchors")
"""Stages in which the model that scores plays no part."""


def analyze(
    pool: Annotated[
        list[str] | None, typer.Argument(metavar="[POOL...]", help="Files, globs, folders, - or hf://owner/name.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory for the page, the tables and the runs behind them.")
    ] = Path("analysis"),
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="In the place of POOL: a run that has scored it. Repeatable."),
    ] = None,
    anchors: Anchors = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Causal model that scores: alias, folder, file or hub id. Repeatable."),
    ] = None,
    sample: Sample = None,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Rows, texts and diversity alone.")] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation sets that must not be in the pool: files, globs, folders. After POOL."),
    ] = None,
    fixed_anchors: Annotated[
        bool, typer.Option("--fixed-anchors", help="Anchors are the whole target, not a sample of it.")
    ] = False,
    examples: Annotated[int, typer.Option(min=0, help="Rows of the top, middle and bottom of a source.")] = 2,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    column: Columns = None,
    on_bad_row: OnBadRow = "error",
    device: Device = None,
    settings: Annotated[list[str] | None, set_option("embedding.text=problem")] = None,
    redo: Redo = None,
    as_json: AsJson = False,
) -> None:
    """Compare the sources of a pool: quality with ranks that can be defended, diversity, what each adds, and texts."""
    from qads.analyze import AnalysisSettings
    from qads.cli.terminal import Terminal
    from qads.datasets import refuse_own_output
    from qads.report import ANALYSIS_FILES

    terminal = Terminal(as_json=as_json)
    if bool(pool) == bool(run):
        raise typer.BadParameter("give either POOL or --run RUN: a pool, or the runs that scored it")
    if run and (model or anchors or sample is not None or no_quality or column or device or settings or redo):
        raise typer.BadParameter("--run takes runs as they are; options of scoring go with POOL")
    if run and on_bad_row != "error":
        raise typer.BadParameter("--run takes runs as they are; --on-bad-row goes with POOL")
    flags = _Flags(
        tuple(pool or ()), tuple(anchors or ()), sample, no_quality, tuple(column or ()), on_bad_row, device,
        tuple(settings or ()), tuple(redo or ()),
    )  # fmt: skip
    refuse_own_output([*(pool or ()), *(against or ())], [out / name for name in ANALYSIS_FILES])
    directories = [Path(name) for name in run or ()] or _run_models(flags, model or [], out, terminal)
    how = AnalysisSettings(draw_anchors=not fixed_anchors, examples=examples, draws=draws, seed=seed)
    _analyze_runs(directories, out, terminal, against=against or [], settings=how)


@dataclass(frozen=True)
class _Flags:
    """What makes the configuration of a run, but for the model."""

    pool: tuple[str, ...]
    anchors: tuple[str, ...]
    sample: int | None
    no_quality: bool
    column: tuple[str, ...]
    on_bad_row: str
    device: str | None
    settings: tuple[str, ...]
    redo: tuple[str, ...]


def _run_models(flags: _Flags, models: Sequence[str], out: Path, terminal: Terminal) -> list[Path]:
    """Run the pipeline up to quality, once for every model; what does not hang on the model once only."""
    from qads.run import run_pipeline, share_stages

    if repeated := [name for name, n in Counter(models).items() if n > 1]:
        raise typer.BadParameter(f"--model {repeated[0]} is given twice")
    directories: list[Path] = []
    for model in models or [None]:
        config = config_from_flags(
            list(flags.pool), "10%", anchors=list(flags.anchors), model=model, sample=flags.sample,
            no_quality=flags.no_quality, column=list(flags.column), on_bad_row=flags.on_bad_row, device=flags.device,
            settings=list(flags.settings),
        )  # fmt: skip
        until = "embed" if config.quality is None else "quality"
        name = "pool" if config.quality is None else config.quality.influence.model
        directory = out / "runs" / re.sub(r"[^\w.-]+", "--", name).strip("-.")
        if directory in directories:
            raise typer.BadParameter(f"--model {model}: its run would be in {directory}, which is another model's")
        if directories:
            share_stages(directories[0], directory, _SHARED)
        with terminal.running() as observer:
            # What the first run shares was computed again there already.
            redo = [stage for stage in flags.redo if not (directories and stage in _SHARED)]
            run_pipeline(config, directory, until=until, redo=redo, observer=observer)
        directories.append(directory)
    return directories


def _analyze_runs(
    directories: Sequence[Path], out: Path, terminal: Terminal, *, against: Sequence[str], settings: AnalysisSettings
) -> None:
    from qads.analyze import analyze_sources
    from qads.config import load_config
    from qads.datasets import load_pool
    from qads.report import analysis_as_json, open_scored_run, read_scores, write_analysis
    from qads.run import count_tokens

    runs = [open_scored_run(directory) for directory in directories]
    _check_same_pool(runs)
    first, config = runs[0], load_config(dict(runs[0].config))
    with terminal.reading() as progress:
        evaluation = load_pool(list(against), require_solution=False, progress=progress) if against else None
    with terminal.running() as display:
        display.stage_started("analyze", 1, 1)
        found = analyze_sources(
            first.pool,
            embeddings=first.embeddings,
            scores=_distinct([(read_scores(run), run.root) for run in runs if run.has_quality]),
            tokens=count_tokens(config, first.pool, display.progress),
            flags=_flagged(first.pool, evaluation, config.execution, display.progress),
            settings=settings,
        )
    files = write_analysis(found, first.pool, out)
    if terminal.as_json:
        terminal.emit(analysis_as_json(found) | {"files": [str(path) for path in files]})
        return
    _show(found, terminal)
    terminal.line(f"Page: {files[0]}  (the same as JSON, CSV and Parquet beside it)")
    terminal.go_on("run", first.root, "--set", "budget=10%")


def _check_same_pool(runs: Sequence[FinishedRun]) -> None:
    from qads.errors import AlignmentError

    for run in runs[1:]:
        if run.pool.fingerprint != runs[0].pool.fingerprint:
            raise AlignmentError(
                f"{run.root}: its pool of {len(run.pool)} rows is not that of {runs[0].root} (of {len(runs[0].pool)}); "
                "models can be compared on one pool only. Run both over the same files."
            )


def _distinct(scores: Sequence[tuple[RowScores, Path]]) -> list[RowScores]:
    """Two runs of one model by their directories."""
    names = Counter(each.model for each, _ in scores)
    return [
        each if names[each.model] == 1 else replace(each, model=f"{each.model} ({directory})")
        for each, directory in scores
    ]


def _flagged(pool: Pool, evaluation: Pool | None, execution: Execution, progress: Progress) -> dict[str, np.ndarray]:
    """Rows that repeat others, rows whose problem another source has too, and rows with a problem of the evaluation."""
    import numpy as np

    from qads.clean import Decontamination, Deduplication

    # A cluster that a run was computed on need not be there any more.
    here = execution if execution.kind == "local" else execution.here()
    found = Deduplication()(pool, execution=here, progress=progress)
    repeated = np.zeros(len(pool), np.bool_)
    repeated[found.rows] = True
    # The problem of every row: a number for those with several solutions, else the row that stays for it.
    problems = np.arange(len(pool))
    problems[found.solution_rows] = len(pool) + found.solution_groups
    problems[found.rows] = problems[found.kept]
    pairs = np.unique(np.column_stack([problems, pool.source_codes]), axis=0)
    several, n_sources = np.unique(pairs[:, 0], return_counts=True)
    shared = np.isin(problems, several[n_sources > 1])
    flags = {"duplicates": repeated, "problem in other sources": shared}
    if evaluation is not None:
        find, flags["contaminated"] = Decontamination(), np.zeros(len(pool), np.bool_)
        flags["contaminated"][find(pool, evaluation, execution=here, progress=progress).rows] = True
    return flags


def _show(found: SourceAnalysis, terminal: Terminal) -> None:
    from qads.report import analysis_findings

    for position, model in enumerate(found.models):
        terminal.table(
            f"Quality under {model.name}: {model.n_scored:,} rows of {found.n_rows:,} scored",
            ("source", "scored", "mean", "95%", "rank", "between", "tier", "top 10%", "lost without it", "95%"),
            [
                (s.name, q.n_scored, q.mean.value, _pair(q.mean), q.rank, _between(q.rank_low, q.rank_high), q.tier,
                 f"{q.top_share.value:.0%}", f"{q.marginal.value:.1%}" if q.marginal else "–",
                 _pair(q.marginal, percent=True) if q.marginal else "–")
                for s in found.sources if (q := s.quality[position]) is not None
            ],
        )  # fmt: skip
    flags = list(found.sources[0].flags)
    terminal.table(
        "Rows and texts (medians)",
        ("source", "rows", *flags, "tokens", "words", "steps", "equations", "nearest", "radius"),
        [
            (s.name, s.n_rows, *s.flags.values(), None if s.tokens is None else s.tokens.median, s.words.median,
             s.steps.median, s.equations.median, s.diversity and s.diversity.nearest.value,
             s.diversity and s.diversity.radius.value)
            for s in found.sources
        ],
    )  # fmt: skip
    for sentence in analysis_findings(found):
        terminal.line(sentence)


def _pair(interval: Interval, *, percent: bool = False) -> str:
    low, high = interval.low, interval.high
    if low != low:
        return "–"
    return f"{100 * low:.1f} to {100 * high:.1f}" if percent else f"{low:.3g} to {high:.3g}"


def _between(low: int | None, high: int | None) -> str:
    return "–" if low is None else f"{low} to {high}"

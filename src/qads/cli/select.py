"""From files to a selected file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.cleaning import Against, Dedup, Solutions, settings_from_flags
from qads.cli.limits import (
    AtLeast,
    AtMost,
    Exclude,
    Given,
    Include,
    MinDistance,
    Share,
    constraints_from_flags,
)
from qads.cli.options import (
    AllowOther,
    Anchors,
    AsJson,
    Budgets,
    Columns,
    Device,
    DryRun,
    Model,
    OnBadRow,
    Ray,
    Redo,
    Reuse,
    Sample,
    ScorerOption,
    Settings,
    Sources,
    Style,
    UntilRankStable,
    UntilSe,
    Workers,
    check_out,
    config_from_flags,
    execution_from_flags,
    scorer_from_flags,
)
from qads.cli.running import make_terminal, run_stages, show_estimate, show_next

if TYPE_CHECKING:
    from qads.config import RunConfig
    from qads.run import RunResult

__all__ = ["select"]

# Commands import what they need: `qads --help` has to answer at once.


def select(
    pool: Sources,
    budget: Budgets,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the selected rows: .jsonl, .json or .parquet.")],
    anchors: Anchors = None,
    run_dir: Annotated[Path | None, typer.Option(help="Run directory; by default OUT with the ending .qads.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help="jsonl, parquet, alpaca, messages or sharegpt; by default by OUT's ending."),
    ] = None,
    model: Model = None,
    sample: Sample = None,
    scorer: ScorerOption = None,
    allow_other: AllowOther = None,
    style: Style = "off",
    until_se: UntilSe = None,
    until_rank_stable: UntilRankStable = False,
    reuse: Reuse = None,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Diversity alone: plain K-center Greedy.")] = False,
    at_most: AtMost = None,
    at_least: AtLeast = None,
    share: Share = None,
    exclude: Exclude = None,
    include: Include = None,
    given: Given = None,
    min_distance: MinDistance = None,
    dedup: Dedup = None,
    against: Against = None,
    solutions: Solutions = None,
    column: Columns = None,
    on_bad_row: OnBadRow = "error",
    device: Device = None,
    workers: Workers = None,
    ray: Ray = None,
    settings: Settings = None,
    redo: Redo = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """From files to a selected file, with a reason for every row."""
    shape = format or ("parquet" if out.suffix == ".parquet" else "jsonl")
    constraints = constraints_from_flags(
        at_most=at_most, at_least=at_least, share=share, exclude=exclude, include=include, given=given,
        min_distance=min_distance,
    )  # fmt: skip
    config = config_from_flags(
        pool, budget, anchors=anchors, model=model, sample=sample, style=style, no_quality=no_quality,
        scorer=scorer_from_flags(scorer, allow_other),
        column=column, on_bad_row=on_bad_row, device=device, until_se=until_se, until_rank_stable=until_rank_stable,
        constraints=constraints,
        settings=[
            f"output.format={shape}", *settings_from_flags(dedup, against, solutions),
            *execution_from_flags(workers, ray), *(settings or []),
        ],
    )  # fmt: skip
    check_out(out, config)
    directory = run_dir or out.with_name(out.name + ".qads")
    terminal = make_terminal(as_json)
    if dry_run:
        show_estimate(config, directory, terminal, reuse)
        return
    result = run_stages(config, directory, terminal, redo=redo, reuse=reuse)
    files = _copy_files(result, config, out)
    terminal.run_finished(result, files)
    show_next(result, terminal)


def _copy_files(result: RunResult, config: RunConfig, out: Path) -> dict[Path, int]:
    """Copy what is for a trainer: the largest budget to `out`, the others beside it; returns the rows of each."""
    from qads.datasets import refuse_own_output

    (name, n_rows), *smaller = result.manifests["mixture"]["train_files"].items()
    files = {out: n_rows}
    copies = [(name, out)]
    for name, n_rows in smaller:
        beside = out.with_name(out.stem + Path(name).stem.removeprefix("train") + out.suffix)
        copies.append((name, beside))
        files[beside] = n_rows
    refuse_own_output(config.files, files)  # Shares of the pool have their names only now.
    for name, target in copies:
        _copy_rows(result.directory / "mixture" / name, target)
    return files


def _copy_rows(source: Path, target: Path) -> None:
    """Copy the selected rows, whole or not at all; JSON Lines become one array in a file named .json."""
    from qads.datasets import atomic_path

    with atomic_path(target) as temporary:
        if target.suffix != ".json":
            shutil.copyfile(source, temporary)
            return
        with (
            source.open(encoding="utf-8", newline="\n") as rows,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.write("[\n")
            for number, row in enumerate(rows):
                file.write((",\n" if number else "") + row.rstrip("\n"))
            file.write("\n]\n")

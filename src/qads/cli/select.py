"""From files to a selected file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qads.cli import options
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
from qads.cli.running import make_terminal, run_stages, show_estimate, show_next

__all__ = ["select"]

# Commands import what they need: `qads --help` has to answer at once.


def select(
    pool: options.Sources,
    budget: options.Budgets,
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="File for the selected rows, also s3://… or gs://…: .jsonl, .json or .parquet."
        ),
    ],
    anchors: options.Anchors = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Run directory; by default OUT with the ending .qads, of s3://… its last part, here."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="jsonl, parquet, alpaca, messages or sharegpt; by default by OUT's ending."),
    ] = None,
    model: options.Model = None,
    sample: options.Sample = None,
    scorer: options.ScorerOption = None,
    allow_other: options.AllowOther = None,
    style: options.Style = "off",
    until_se: options.UntilSe = None,
    until_rank_stable: options.UntilRankStable = False,
    reuse: options.Reuse = None,
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
    column: options.Columns = None,
    on_bad_row: options.OnBadRow = "error",
    device: options.Device = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    settings: options.Settings = None,
    redo: options.Redo = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """From files to a selected file, with a reason for every row."""
    shape = format or ("parquet" if out.endswith(".parquet") else "jsonl")
    constraints = constraints_from_flags(
        at_most=at_most, at_least=at_least, share=share, exclude=exclude, include=include, given=given,
        min_distance=min_distance,
    )  # fmt: skip
    config = options.config_from_flags(
        pool, budget, anchors=anchors, model=model, sample=sample, style=style, no_quality=no_quality,
        scorer=options.scorer_from_flags(scorer, allow_other),
        column=column, on_bad_row=on_bad_row, device=device, until_se=until_se, until_rank_stable=until_rank_stable,
        constraints=constraints, workers=workers, ray=ray,
        settings=[f"output.format={shape}", *settings_from_flags(dedup, against, solutions), *(settings or [])],
    )  # fmt: skip
    from qads.cli.delivering import copy_files, refuse_foreign

    options.check_out(out, config)
    directory = run_dir or Path((out.rpartition("/")[2] if "://" in out else out) + ".qads")
    refuse_foreign(out, directory)
    terminal = make_terminal(as_json)
    if dry_run:
        show_estimate(config, directory, terminal, reuse)
        return
    result = run_stages(config, directory, terminal, redo=redo, reuse=reuse)
    files = copy_files(result, config, out)
    terminal.run_finished(result, files)
    show_next(result, terminal)

"""Fit a scorer on rows that are scored for real, and predict the quality of other rows with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qads.cli import options
from qads.cli.running import make_terminal, run_stages, show_estimate, show_next

__all__ = ["fit_scorer", "predict"]

# Commands import what they need: `qads --help` has to answer at once.


def fit_scorer(
    pool: options.Sources,
    out: options.RunDir,
    anchors: options.Anchors = None,
    model: options.Model = None,
    labels: Annotated[int, typer.Option(min=10, help="Rows that are really scored, to fit and to judge by.")] = 256,
    scorer: Annotated[
        Literal["probe", "lm", "retrieval"],
        typer.Option(help="States of the scoring model and more; a model that is fine-tuned; or the nearest rows."),
    ] = "probe",
    in_rounds: Annotated[
        bool,
        typer.Option(
            "--in-rounds",
            help="Draw half of the labels evenly, then label where the scorer is least sure, until that helps no more.",
        ),
    ] = False,
    style: options.Style = "off",
    until_se: options.UntilSe = None,
    until_rank_stable: options.UntilRankStable = False,
    reuse: options.Reuse = None,
    column: options.Columns = None,
    on_bad_row: options.OnBadRow = "error",
    device: options.Device = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    settings: Annotated[list[str] | None, options.set_option("quality.scorer.folds=10")] = None,
    redo: options.Redo = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Score some rows for real, fit a scorer on them, and say how well it predicts: OUT/scorer.

    What was scored is kept: the same command with more labels, or another scorer, takes it over with --reuse.
    """
    from qads.cli.validate import show_measured

    planned = ["quality.labelling={kind: rounds}"] if in_rounds else []
    config = options.config_from_flags(
        pool, "1", anchors=anchors, model=model, sample=labels, scorer={"kind": scorer}, column=column,
        on_bad_row=on_bad_row, device=device, until_se=until_se, until_rank_stable=until_rank_stable, style=style,
        workers=workers, ray=ray, settings=[*planned, *(settings or [])],
    )  # fmt: skip
    terminal = make_terminal(as_json)
    if dry_run:
        show_estimate(config, out, terminal, reuse, until="scorer")
        return
    result = run_stages(config, out, terminal, redo=redo, reuse=reuse, until="scorer")
    terminal.run_finished(result)
    show_measured(out, terminal)
    terminal.next_command("predict", *pool, "--scorer", out, "-o", "quality.parquet")


def predict(
    pool: options.Sources,
    scorer: Annotated[str, typer.Option(metavar="RUN", help="The run that fitted it, or a folder that holds it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the predictions: .parquet or .jsonl.")],
    allow_other: options.AllowOther = None,
    run_dir: Annotated[Path | None, typer.Option(help="Run directory; by default OUT with the ending .qads.")] = None,
    column: options.Columns = None,
    on_bad_row: options.OnBadRow = "error",
    device: options.Device = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    settings: Annotated[list[str] | None, options.set_option("execution.max_tokens_per_batch=4096")] = None,
    redo: options.Redo = None,
    as_json: options.AsJson = False,
) -> None:
    """Predict the quality of every row of a pool, with an interval that holds for 9 in 10.

    A row that the scorer cannot read gets no number, and the reason. A killed command goes on where it was.
    """
    from qads.datasets import refuse_own_output
    from qads.errors import InputError

    if out.suffix not in (".parquet", ".jsonl"):
        raise InputError(f"--out {out}: predictions are written as .parquet or .jsonl")
    config = options.config_from_flags(
        pool, "1", scorer=options.saved_scorer(scorer, allow_other), column=column, on_bad_row=on_bad_row,
        device=device, workers=workers, ray=ray, settings=settings,
    )  # fmt: skip
    refuse_own_output(config.files, [out])
    terminal = make_terminal(as_json)
    result = run_stages(config, run_dir or out.with_name(out.name + ".qads"), terminal, redo=redo, until="quality")
    _write_predictions(result.directory / "quality" / "quality.parquet", out)
    terminal.run_finished(result, {str(out): result.manifests["quality"]["rows"]})
    if not as_json:
        terminal.line(f"Predictions: {out}")
    show_next(result, terminal, new_budget=True)


def _write_predictions(table: Path, out: Path) -> None:
    """Copy the table, whole or not at all; as JSON Lines where that is asked for."""
    import json
    import shutil

    import pyarrow.parquet as pq

    from qads.datasets import atomic_path

    with atomic_path(out) as temporary:
        if out.suffix == ".parquet":
            shutil.copyfile(table, temporary)
            return
        with temporary.open("w", encoding="utf-8") as file:
            for batch in pq.ParquetFile(table).iter_batches():
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())

"""The `qads` command."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

# Threads that spin while they wait make two processes on a small machine several times slower; must be set
# before the libraries load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import typer

from qads.cli import options
from qads.cli.analyze import analyze
from qads.cli.check import check
from qads.cli.cleaning import Against, Dedup, Solutions, settings_from_flags
from qads.cli.compare import compare
from qads.cli.evaluate import AllowCode, evaluate
from qads.cli.report import report
from qads.cli.running import make_terminal, run_stages, show_estimate, show_next
from qads.cli.scorers import fit_scorer, predict
from qads.cli.select import select
from qads.cli.status import status
from qads.cli.train import train
from qads.cli.validate import validate
from qads.errors import QadsError
from qads.stopping import GRACE_SECONDS, StopHandler

__all__ = ["app", "main"]

# Commands import what they need: `qads --help` has to answer at once.

app = typer.Typer(
    name="qads",
    epilog="An error is one readable block; with --debug, after any command, it shows where it came from.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"qads {importlib.metadata.version('qads')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Decide which fine-tuning data is worth training on: quality-aware diverse selection (QaDS)."""


@app.command(epilog="Example:  qads demo --out demo-run")
def demo(
    out: options.RunDir = Path("demo-run"),
    rows: Annotated[int, typer.Option(min=50, help="Rows of the generated pool.")] = 2000,
    budget: options.Budget = "10%",
    seed: Annotated[int, typer.Option(help="Seed of the generated pool.")] = 0,
    settings: options.Settings = None,
    redo: options.Redo = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the whole pipeline on a generated pool with planted flaws, and show what QaDS kept."""
    from qads.cli.demo import prepare_demo, show_demo

    terminal = make_terminal(as_json)
    config = prepare_demo(out, n_rows=rows, budget=budget, seed=seed, settings=settings or [])
    result = run_stages(config, out, terminal, redo=redo, label_key="flaw")
    show_demo(result, terminal)
    show_next(result, terminal)


app.command(
    cls=options.ManyValues,
    epilog="Example:  qads select data/*.jsonl.gz --budget 10% --anchors gsm8k_dev.jsonl -o picked.jsonl",
)(select)


@app.command(
    name="run", cls=options.ManyValues, epilog="Example:  qads run examples/select.yaml --set selection.alpha=0.5"
)
def run_command(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run directory; by default runs/CONFIG.")] = None,
    settings: options.Settings = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    publish: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Folder of s3:// or gs:// for the files for trainers, the picks, the page."),
    ] = None,
    redo: options.Redo = None,
    reuse: options.Reuse = None,
    dedup: Dedup = None,
    against: Against = None,
    solutions: Solutions = None,
    allow_code: AllowCode = False,
    workers: options.Workers = None,
    ray: options.Ray = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Compute every stage of a configuration; what is done already is used as it is."""
    from qads.config import load_config

    from_flags = [*settings_from_flags(dedup, against, solutions), *options.execution_from_flags(workers, ray)]
    leave = ["execution.allow_code_execution=true"] if allow_code else []
    config = load_config(config_file, [*from_flags, *(settings or []), *leave])
    directory = out or Path("runs") / config_file.stem
    terminal = make_terminal(as_json)
    if dry_run:
        show_estimate(config, directory, terminal, reuse, until=until)
        return
    result = run_stages(config, directory, terminal, redo=redo, reuse=reuse, until=until, publish=publish)
    terminal.run_finished(result, published=publish)
    show_next(result, terminal)


@app.command(epilog="Example:  qads embed data/*.parquet --out runs/mine")
def embed(
    pool: options.Sources,
    out: options.RunDir,
    column: options.Columns = None,
    on_bad_row: options.OnBadRow = "error",
    device: options.Device = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    settings: Annotated[list[str] | None, options.set_option("embedding.text=problem")] = None,
    redo: options.Redo = None,
    as_json: options.AsJson = False,
) -> None:
    """Embed a pool: OUT/embed/embeddings.npy."""
    config = options.config_from_flags(
        pool, "1", column=column, on_bad_row=on_bad_row, device=device, workers=workers, ray=ray, settings=settings,
    )  # fmt: skip
    terminal = make_terminal(as_json)
    result = run_stages(config, out, terminal, redo=redo, until="embed")
    terminal.run_finished(result)
    show_next(result, terminal, new_budget=True)


@app.command(
    cls=options.ManyValues,
    epilog="Example:  qads score data/*.jsonl --sample 500 --until-se 0.01 --out runs/mine --anchors target.jsonl",
)
def score(
    pool: options.Sources,
    out: options.RunDir,
    anchors: options.Anchors = None,
    model: options.Model = None,
    sample: options.Sample = None,
    scorer: options.ScorerOption = None,
    allow_other: options.AllowOther = None,
    style: options.Style = "off",
    until_se: options.UntilSe = None,
    until_rank_stable: options.UntilRankStable = False,
    reuse: options.Reuse = None,
    dedup: Dedup = None,
    against: Against = None,
    solutions: Solutions = None,
    column: options.Columns = None,
    on_bad_row: options.OnBadRow = "error",
    device: options.Device = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    settings: Annotated[list[str] | None, options.set_option("quality.influence.aggregate=win_rate")] = None,
    redo: options.Redo = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Score a sample of a pool for real and predict the rest: OUT/quality/quality.parquet."""
    config = options.config_from_flags(
        pool, "1", anchors=anchors, model=model, sample=sample, scorer=options.scorer_from_flags(scorer, allow_other),
        style=style, column=column, on_bad_row=on_bad_row,
        device=device, until_se=until_se, until_rank_stable=until_rank_stable,
        workers=workers, ray=ray, settings=[*settings_from_flags(dedup, against, solutions), *(settings or [])],
    )  # fmt: skip
    terminal = make_terminal(as_json)
    if dry_run:
        show_estimate(config, out, terminal, reuse, until="quality")
        return
    result = run_stages(config, out, terminal, redo=redo, reuse=reuse, until="quality")
    terminal.run_finished(result)
    show_next(result, terminal, new_budget=True)


app.command(cls=options.ManyValues, epilog="Example:  qads check data/*.jsonl --against gsm8k math500.jsonl --show 20")(
    check
)


@app.command(epilog="Example:  qads mix examples/openmathmix.yaml -o openmathmix")
def mix(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Parts, and how much of each.")],
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Folder to write, also s3://… or gs://…; a mixture there is replaced."),
    ],
    settings: Annotated[list[str] | None, options.set_option("format=alpaca")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would come to; write nothing.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Put pools and selections together, and write the folder that trainers read."""
    from qads.cli.mix import mix_recipe

    mix_recipe(recipe_file, out, make_terminal(as_json), settings=settings or (), dry_run=dry_run)


app.command(epilog="Example:  qads train openmathmix --model smollm2-135m --epochs 2 -o trained")(train)


app.command(epilog="Example:  qads status runs/mine")(status)


app.command(epilog="Example:  qads report runs/mine runs/other -o side-by-side.html")(report)


@app.command(epilog="Example:  qads explain runs/mine --row gsm8k-17 --row gsm8k-18")
def explain(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    row: Annotated[list[str] | None, typer.Option("--row", metavar="ID", help="A row of the pool. Repeatable.")] = None,
    not_picked: Annotated[
        bool, typer.Option("--not-picked", help="Rows that were not picked, the best first, and what covers them.")
    ] = False,
    show: Annotated[int, typer.Option(min=1, help="How many of those.")] = 20,
    as_json: options.AsJson = False,
) -> None:
    """Show why a row was picked or what covers it instead; without rows, what each budget would have covered."""
    from qads.cli.explain import explain_run

    explain_run(directory, make_terminal(as_json), ids=row or (), not_picked=not_picked, show=show)


app.command(
    cls=options.ManyValues,
    epilog="Example:  qads analyze data/*.jsonl.gz --anchors target.jsonl --sample 960 --out analysis",
)(analyze)


app.command(epilog="Example:  qads compare examples/compare.yaml -o experiment --max-cells 4")(compare)
app.command(
    name="fit-scorer", cls=options.ManyValues,
    epilog="Example:  qads fit-scorer data/*.jsonl.gz --anchors target.jsonl --labels 640 --out scorers/mine",
)(fit_scorer)  # fmt: skip
app.command(
    cls=options.ManyValues,
    epilog="Example:  qads predict new/*.jsonl --scorer scorers/mine --allow-other pool -o quality.parquet",
)(predict)
app.command(
    cls=options.ManyValues,
    epilog="Example:  qads evaluate smollm2-135m --sets gsm8k=gsm8k_test.jsonl --limit 100 -o eval/base",
)(evaluate)
app.command(name="validate-scorer", epilog="Example:  qads validate-scorer runs/mine --labels 200")(validate)


_NOISY = (
    "httpx", "httpcore", "urllib3", "filelock", "numba", "sentence_transformers", "fsspec", "asyncio",
)  # fmt: skip
"""Loggers of libraries that would drown our own in --debug."""
_EX_SOFTWARE = 70
"""As in BSD's sysexits.h: a fault of the program; 1 means that `check` found something."""


def main() -> None:
    """Run the command line; errors become one readable block and exit code 2, what nobody expected 70."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stopping = _heed_signals()
    try:
        app()
    except (SystemExit, KeyboardInterrupt) as stop:
        if stopping.exit_code is None or (isinstance(stop, SystemExit) and stop.code != 130):
            raise
        typer.echo("\ninterrupted; what was finished is kept: the same command goes on from there.", err=True)
        sys.exit(stopping.exit_code)
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough. What is buffered has nowhere to go any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (QadsError, OSError) as error:
        if debug:
            raise
        _say_error(str(error))
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        _say_error(f"unexpected {type(error).__name__}: {error}; run again with --debug for the traceback")
        sys.exit(_EX_SOFTWARE)


def _heed_signals() -> StopHandler:
    """End within the time of grace when asked to."""
    grace = os.environ.get("QADS_GRACE", str(GRACE_SECONDS))
    try:
        seconds = float(grace)
        if not 0 <= seconds <= threading.TIMEOUT_MAX:
            raise ValueError
    except ValueError:
        _say_error(f"QADS_GRACE is {grace!r}; it must be a number of seconds.")
        sys.exit(2)
    return StopHandler(grace=seconds, say=_say_at_once)


def _say_at_once(text: str) -> None:
    """From another thread, while the first may be in the middle of anything."""
    os.write(2, f"\n{text}\n".encode())


def _say_error(message: str) -> None:
    from qads.cli.terminal import inert

    typer.echo(f"error: {inert(message)}", err=True)

"""The page of a run, or the page that sets several runs side by side."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.options import AsJson
from qads.cli.running import make_terminal, write_run_report

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.report import RunsReport

__all__ = ["report"]

# The command imports what it needs: `qads --help` has to answer at once.


def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="A run directory; several are set side by side.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The page, which several runs need; else RUN/report/report.html."
        ),
    ] = None,
    texts: Annotated[
        int | None,
        typer.Option(min=0, help="Rows whose whole text is in the page, picks first; 10000 by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page that shows what a run chose and why, or what one run chose and another did not."""
    terminal = make_terminal(as_json)
    if out is not None and (out.suffix != ".html" or out.is_dir()):
        raise typer.BadParameter(f"--out {out}: the page is a file that ends in .html")
    if len(directories) > 1:
        _report_runs(directories, out, texts, terminal)
        return
    from qads.run import read_status

    (directory,) = directories
    read_status(directory)  # Nothing is written, not even a lock, where no run is.
    with terminal.running() as observer:
        page = write_run_report(directory, texts=texts, observer=observer)
    if out is not None:
        from qads.datasets import atomic_path

        with atomic_path(out) as temporary:
            shutil.copyfile(page, temporary)
        page = out
    if terminal.as_json:
        terminal.emit({"page": str(page)})
        return
    terminal.line(f"Report: {page}")
    terminal.next_command("explain", directory, "--not-picked")


def _report_runs(directories: list[Path], out: Path | None, texts: int | None, terminal: Terminal) -> None:
    from qads.report import runs_as_json, write_runs_report
    from qads.run import read_status

    if out is None:
        raise typer.BadParameter(f"{len(directories)} runs are set side by side in a page of its own: --out FILE.html")
    for directory in directories:
        read_status(directory)
    with terminal.running() as observer:
        observer.stage_started("comparing", 1, 1)
        found = write_runs_report(directories, out, texts=texts)
    if terminal.as_json:
        terminal.emit(runs_as_json(found) | {"page": str(out)})
        return
    _show(found, terminal)
    terminal.line(f"Report: {out}")
    terminal.next_command("explain", directories[0], "--not-picked")


def _show(found: RunsReport, terminal: Terminal) -> None:
    facts = found.facts
    if not facts.shared.is_one_pool:
        terminal.line(f"The pools differ; compared are the {len(facts.shared):,} rows that all of them have.")
    scored = [i for i, run in enumerate(found.runs) if run.has_quality]
    terminal.table(
        "What the runs chose",
        (
            "run",
            "chosen by",
            "rows",
            "alone",
            facts.counted_in,
            "mean distance",
            *(f"quality by {facts.names[i]}" for i in scored),
        ),
        [
            (c.name, c.kind, c.n_shared_picks, c.n_alone, c.size, c.mean_distance, *(c.quality[i] for i in scored))
            for c in facts.chosen
        ],
    )
    agreement = {(a.first, a.second): a for a in facts.agreements}
    terminal.table(
        "Pairs (agreement: correlation of quality)",
        ("runs", "in both", "by chance", "Jaccard", "agreement", "within sources"),
        [
            (
                f"{facts.names[o.first]}, {facts.names[o.second]}", o.both, o.by_chance, o.jaccard,
                *((a.pearson, a.within_source) if (a := agreement.get((o.first, o.second))) else (None, None)),
            )
            for o in facts.overlaps
        ],
    )  # fmt: skip
    changed = [each.name for each in facts.settings]
    terminal.line(
        f"Settings that differ: {', '.join(changed[:8])}{' …' if len(changed) > 8 else ''}."
        if changed
        else "No setting differs."
    )

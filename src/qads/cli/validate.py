"""How well a run's scorer predicts: from what the run measured, or on rows that are drawn and scored for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.options import AsJson, Device

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.quality.fidelity import Estimate, FidelityReport, HeldOut
    from qads.report import FinishedRun

__all__ = ["show_measured", "validate"]

# The command imports what it needs: `qads --help` has to answer at once.

_NEW = "Rows drawn anew, which took no part in fitting or choosing; near duplicates of labelled rows are left out."


def validate(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    labels: Annotated[
        int | None,
        typer.Option("--labels", metavar="N", help="Draw N rows that were never labelled, score them for real, test."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of that draw; 0 by default.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Where the page goes; by default in RUN.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Say how well a run's scorer predicts, within sources too, and write the page that shows it."""
    from qads.cli.terminal import Terminal
    from qads.report import OUT_OF_FOLD, open_run, write_fidelity

    if out is not None and (out.suffix != ".html" or out.is_dir()):
        raise typer.BadParameter(f"--out {out}: the page is one file, and ends in .html")
    if labels is None and (seed is not None or device is not None):
        raise typer.BadParameter("--seed and --device are of the rows that --labels N draws")
    terminal = Terminal(as_json=as_json)
    run = open_run(directory, until="scorer")
    if labels is None:
        (report, rows), page, about = _measured(run), directory / "report" / "fidelity.html", OUT_OF_FOLD
    else:
        report, rows, folder = _tested(run, labels, seed or 0, device, terminal)
        page, about = folder / "fidelity.html", _NEW
    page = write_fidelity(out or page, report, rows, about=about)
    if as_json:
        terminal.emit(report.as_json() | {"summary": report.fidelity.summary(), "about": about, "page": str(page)})
        return
    _show(report, about, terminal)
    terminal.line(f"Page: {page}")
    if labels is None:
        terminal.next_command("validate-scorer", directory, "--labels", 200)
    else:
        terminal.next_command("predict", "POOL", "--scorer", directory, "-o", "quality.parquet")


def show_measured(directory: Path, terminal: Terminal) -> None:
    """Show what a run measured of its scorer, if it did, and write the page."""
    from qads.report import OUT_OF_FOLD, read_fidelity, write_fidelity

    found = read_fidelity(directory)
    if found is None:
        return
    page = write_fidelity(directory / "report" / "fidelity.html", *found, about=OUT_OF_FOLD)
    if not terminal.as_json:
        _show(found[0], OUT_OF_FOLD, terminal)
        terminal.line(f"Page: {page}")


def _measured(run: FinishedRun) -> tuple[FidelityReport, HeldOut]:
    """What the run itself left."""
    from qads.errors import RunError
    from qads.report import read_fidelity

    if (found := read_fidelity(run.root)) is None:
        raise RunError(
            f"{run.root}: this run measured no scorer: it scored every row or none, used a scorer that was fitted "
            "before, or labelled too few rows to say. Test its scorer on new rows: --labels N"
        )
    return found


def _tested(
    run: FinishedRun, n_labels: int, seed: int, device: str | None, terminal: Terminal
) -> tuple[FidelityReport, HeldOut, Path]:
    """What new rows say."""
    from qads.config import load_config
    from qads.run import validate_scorer

    overrides = [] if device is None else [f"execution.device={device}"]
    with terminal.running() as display:
        found = validate_scorer(
            run.root, load_config(dict(run.config), overrides), n_labels, seed=seed, observer=display
        )
    return found.report, found.held_out, found.folder


def _show(report: FidelityReport, about: str, terminal: Terminal) -> None:
    from qads.report import STATISTICS

    found = report.fidelity
    rows = [
        (name, found.overall[key].value, _pair(found.overall[key]), found.within_source[key].value,
         _pair(found.within_source[key]), chance or 0)
        for key, (name, chance) in STATISTICS.items()
    ]  # fmt: skip
    rows += [
        ("source’s mean alone, r", found.source_mean.value, _pair(found.source_mean), 0.0, "–", 0),
        ("noise ceiling of r", found.ceiling.value, _pair(found.ceiling), found.ceiling_within.value,
         _pair(found.ceiling_within), None),
    ]  # fmt: skip
    title = f"{report.scorer.get('kind', 'scorer')} on {found.n_rows:,} rows of {len(found.by_source)} sources"
    terminal.table(title, ("", "all rows", "95%", "within sources", "95%", "by chance"), [_nulled(row) for row in rows])
    terminal.line(about)
    terminal.line(found.verdict)
    if report.other_anchors is not None:
        terminal.line(report.other_anchors.sentence)
    if found.covered.value == found.covered.value:
        terminal.line(f"Real quality lies in its 90% interval for {found.covered.value:.0%} of the rows.")
    if report.cost is not None and report.cost.token_ratio == report.cost.token_ratio:
        cost = report.cost
        terminal.line(
            f"Predicting a row takes {cost.token_ratio:.1%} of the tokens and {cost.second_ratio:.1%} of the seconds "
            f"of scoring it on {cost.n_anchors} anchors."
        )
    if report.unscored:
        listed = ", ".join(f"{n:,} × {reason}" for reason, n in report.unscored.items())
        terminal.line(f"Not compared: {sum(report.unscored.values()):,} rows ({listed}).")


def _nulled(row: tuple[object, ...]) -> tuple[object, ...]:
    """The row with None for NaN, which the table shows as a dash."""
    return tuple(None if value != value else value for value in row)


def _pair(estimate: Estimate) -> str:
    if estimate.low != estimate.low:
        return "–"
    return f"{estimate.low:.2f} to {estimate.high:.2f}"

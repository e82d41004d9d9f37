"""Why rows were picked or not, and what each budget would have covered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from qads.cli.terminal import Terminal
from qads.report import Explanation, FinishedRun, explain_rows, open_run, rows_by_id, rows_not_picked
from qads.run import RunDirectory, ensure_coverage, read_coverage
from qads.selection import Coverage

__all__ = ["explain_run"]


def explain_run(
    directory: Path, terminal: Terminal, *, ids: Sequence[str] = (), not_picked: bool = False, show: int = 20
) -> None:
    """Explain rows of a finished run, or its curves where none are named.

    Args:
        directory: of the run.
        terminal: where to.
        ids: rows to explain.
        not_picked: explain rows that were not picked.
        show: how many of those.

    Raises:
        RunError: the run is not finished.
        InputError: an id is not in the pool.
    """
    run = open_run(directory)
    rows = rows_by_id(run, ids)
    if read_coverage(directory) is None:
        with RunDirectory(directory).lock(), terminal.running() as display:
            display.stage_started("coverage", 1, 1)
            ensure_coverage(directory, display.progress)
    if not_picked:
        rows += rows_not_picked(run, show)
    if ids or not_picked:
        _show_rows(explain_rows(run, rows), terminal)
        terminal.next_command("explain", directory)
    else:
        _show_curves(run, run.coverage, terminal)
        terminal.next_command("explain", directory, "--not-picked")


def _show_rows(found: Sequence[Explanation], terminal: Terminal) -> None:
    if terminal.as_json:
        terminal.emit({"rows": [dataclasses.asdict(row) for row in found]})
        return
    if picked := [row for row in found if row.picked]:
        terminal.table(
            "Picked",
            ("id", "source", "step", "gain", "distance", "nearest earlier pick", "quality", "", "covers rows"),
            [
                (r.id, r.source, r.step, r.gain, r.distance, r.nearest, r.quality, r.quality_origin, r.covers)
                for r in picked
            ],
        )
    if others := [row for row in found if not row.picked]:
        terminal.table(
            "Not picked",
            ("id", "source", "covered by", "at step", "distance", "quality", ""),
            [(r.id, r.source, r.nearest, r.nearest_step, r.distance, r.quality, r.quality_origin) for r in others],
        )


def _show_curves(run: FinishedRun, found: Coverage, terminal: Terminal) -> None:
    columns = {
        "budget": found.budgets.tolist(),
        "radius": found.radius.tolist(),
        "mean_distance": found.mean_distance.tolist(),
        "mean_quality": None if found.mean_quality is None else found.mean_quality.tolist(),
        "tokens": None if found.n_tokens is None else found.n_tokens.tolist(),
    }
    prefix_closed = bool(run.manifests["select"].get("prefix_closed", True))
    if terminal.as_json:
        said = {"directory": str(run.root), "metric": found.metric, "prefix_closed": prefix_closed, "knee": found.knee}
        terminal.emit(said | {"curves": columns})
        return
    titles = {"radius": "covering radius", "mean_distance": "mean distance", "mean_quality": "mean quality"}
    known = {titles.get(name, name): values for name, values in columns.items() if values is not None}
    title = f"First picks of {run.root}: how they cover its {len(run.pool):,} rows ({found.metric} distances)"
    terminal.table(title, tuple(known), list(zip(*known.values(), strict=True)))
    terminal.line(_knee_sentence(found))
    if not prefix_closed:
        terminal.line("Under its constraints a smaller budget would have chosen other rows than these first picks.")


def _knee_sentence(found: Coverage) -> str:
    if (knee := found.knee) is None:
        return "Knee: none; no budget stands out."
    at, last = found.mean_distance[found.budgets == knee][0], found.mean_distance[-1]
    return (
        f"Knee: {knee:,} rows, where the mean distance is {at:.3g}; with all {found.budgets[-1]:,} it is {last:.3g}. "
        "What a model learns from more rows only training tells."
    )

"""How far a directory is: of a run its stages, of an experiment its cells, of a training its steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.options import AsJson
from qads.cli.running import make_terminal

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.run import TaskStatus

__all__ = ["status"]

# The command imports what it needs: `qads --help` has to answer at once.


def status(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of a run, an experiment, a training or an evaluation.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show how far a directory is, and whether a process is at it: stages of a run, cells of an experiment, steps."""
    from qads.run import kinds_in, read_status, read_task_status

    terminal, there = make_terminal(as_json), kinds_in(directory)
    if "experiment" in there:
        _show_experiment(directory, terminal)
    elif "run" in there or not set(there) & {"training", "evaluation"}:
        terminal.status(read_status(directory))
    else:
        found = [read_task_status(directory, kind) for kind in there if kind in ("training", "evaluation")]
        _show_tasks(directory, found, terminal)


def _show_experiment(directory: Path, terminal: Terminal) -> None:
    from qads.compare import read_progress

    progress = read_progress(directory)
    if terminal.as_json:
        terminal.emit({"kind": "experiment", "directory": str(directory)} | progress.as_json())
        return
    rows = [
        (size, model, arm, *(", ".join(str(seed) for seed in seeds) or "–" for seeds in (each.selected, each.done)))
        for (size, model, arm), each in progress.arms.items()
    ]
    terminal.table(f"Experiment {directory}", ("size", "model", "arm", "seeds selected", "seeds done"), rows)
    terminal.line(f"{progress.n_done} of {progress.n_cells} cells are done, {progress.n_cells - progress.n_done} left.")
    _say_owner(progress.running, terminal)
    if progress.running:
        terminal.next_command("status", directory)
    elif progress.n_done == progress.n_cells:
        terminal.line(f"Page: {directory / 'report' / 'experiment.html'}")
        terminal.go_on("compare", directory, "--json", "found.json")
    else:
        terminal.go_on("compare", directory)


def _show_tasks(directory: Path, found: list[TaskStatus], terminal: Terminal) -> None:
    import dataclasses

    if terminal.as_json:
        first, *more = map(dataclasses.asdict, found)
        terminal.emit(first | ({"also": more} if more else {}))
        return
    rows = [(each.kind, each.state, each.unit, each.done, each.of, each.parts or None, each.seconds) for each in found]
    columns = ("of", "state", "counted in", "done", "of them", "checkpoints, shards", "seconds")
    terminal.table(f"Directory {directory}", columns, rows)
    _say_owner(found[0].running, terminal)
    for each in found:
        if each.state == "done":
            terminal.line(f"Model: {each.model}")
    if found[0].running:
        terminal.next_command("status", directory)
    elif all(each.state == "done" for each in found):
        _name_next(found[0], terminal)
    else:
        terminal.line("What is done is kept; the command that began it goes on from there.")


def _name_next(found: TaskStatus, terminal: Terminal) -> None:
    if found.kind == "training":
        terminal.next_command("evaluate", found.model, "--sets", "gsm8k", "-o", "measured")
    else:
        terminal.next_command("compare", "EXPERIMENT.yaml", "-o", "experiment", "--dry-run")


def _say_owner(running: str | None, terminal: Terminal) -> None:
    terminal.line(f"In use by process {running}." if running else "No process is using it.")

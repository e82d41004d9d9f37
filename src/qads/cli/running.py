"""Run stages for a command, with progress on the terminal and the page at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.config import RunConfig
    from qads.run import Observer, RunResult

__all__ = ["make_terminal", "run_stages", "show_estimate", "show_next", "write_run_report"]

# Commands import what they need: `qads --help` has to answer at once.


def make_terminal(as_json: bool) -> Terminal:
    """Where a command speaks."""
    from qads.cli.terminal import Terminal

    return Terminal(as_json=as_json)


def run_stages(
    config: RunConfig,
    directory: Path,
    terminal: Terminal,
    *,
    redo: list[str] | None = None,
    reuse: list[str] | None = None,
    until: str | None = None,
    label_key: str | None = None,
    publish: str | None = None,
) -> RunResult:
    """Run the stages of a configuration; a whole run has its page written, and is published where that is asked for."""
    if publish is not None:
        _check_publish(publish, until)
    from qads.run import publish_run, run_pipeline

    with terminal.running() as observer:
        result = run_pipeline(config, directory, redo=redo or (), reuse=reuse or (), until=until, observer=observer)
        if until is None or until == "mixture":
            write_run_report(directory, label_key=label_key, observer=observer)
            if publish is not None:
                observer.stage_started("publish", 1, 1)
                publish_run(result, publish, progress=observer.progress)
    return result


def show_estimate(
    config: RunConfig, directory: Path, terminal: Terminal, reuse: list[str] | None, *, until: str | None = None
) -> None:
    """Show what a run would cost, of its stages up to one; nothing is computed."""
    from qads.run import estimate_run

    found = estimate_run(config, directory, reuse=reuse or (), until=until)
    terminal.estimate(found, where=config.execution.described)


def _check_publish(location: str, until: str | None) -> None:
    from qads.datasets.publishing import check_publishable
    from qads.errors import InputError

    check_publishable(location)
    if until not in (None, "mixture"):
        raise InputError(f"--publish {location}: is of finished runs; with --until {until} there is no selection yet.")


def show_next(result: RunResult, terminal: Terminal, *, new_budget: bool = False) -> None:
    """The command to type after a run: look at what was chosen, or compute the stages that were not asked for.

    Args:
        result: of the run.
        terminal: where to.
        new_budget: whether the command selects nothing, so that the budget of its run means nothing.
    """
    directory = result.directory
    if "select" in result.manifests:
        terminal.next_command("explain", directory, "--not-picked")
    else:
        settings = ("--set", "budget=10%") if new_budget else ()
        terminal.go_on("run", directory, *settings)


def write_run_report(
    directory: Path, *, label_key: str | None = None, texts: int | None = None, observer: Observer | None = None
) -> Path:
    """Write the page of a run and, where its scorer was measured, that of the scorer.

    Args:
        directory: of the run.
        label_key: a key of the rows' `meta` by which picks are counted as well.
        texts: rows whose whole text is in the page; as the run's configuration says by default.
        observer: hears that the map is laid out, which takes a while.
    """
    import dataclasses

    from qads.report import OUT_OF_FOLD, read_fidelity, report_settings, write_fidelity, write_report
    from qads.run import RunDirectory, has_projection, read_json

    with RunDirectory(directory).lock():
        settings = report_settings(read_json(directory / "config.json") or {})
        if texts is not None:
            settings = dataclasses.replace(settings, texts=texts)
        if observer and settings.projection and not has_projection(directory, settings.projection):
            observer.stage_started("projection", 1, 1)
        page = write_report(directory, label_key=label_key, settings=settings)
        if (measured := read_fidelity(directory)) is not None:
            write_fidelity(page.with_name("fidelity.html"), *measured, about=OUT_OF_FOLD)
        return page

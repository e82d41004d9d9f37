"""What the command line prints: tables and bars on a terminal, plain lines elsewhere, JSON with --json.

Names and texts come from files that others wrote: they are shown as they are, never read as markup, and
control characters in them are written out, so that they cannot steer the terminal.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import textwrap
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from qads.amounts import duration
from qads.cli.cleaned import cleaning_sentences
from qads.cli.scored import quality_sentences
from qads.pool import Progress as ProgressCallback
from qads.pool import to_json

if TYPE_CHECKING:
    from qads.run import Manifest, RunResult, RunStatus, StageEstimate

__all__ = ["RunDisplay", "Terminal", "inert"]

_PLAIN_SECONDS = 15.0
"""How often a run that is not on a terminal says how far it is."""


_LEAST_NAME = 12
"""Characters that a column of names keeps, where it has to be folded."""
_NARROW = 60
"""Columns of a terminal below which a bar shows less."""


class Terminal:
    """Standard output for results, standard error for progress."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self.err = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    def line(self, text: str) -> None:
        """One line of result."""
        self.out.print(inert(text))

    def next_command(self, *words: object) -> None:
        """The command that most take after this one; machines are not told."""
        if not self.as_json:
            self.line(f"Next: {shlex.join(['qads', *map(str, words)])}")

    def go_on(self, command: Literal["run", "compare"], directory: Path, *words: object) -> None:
        """The command that goes on with a directory; leave to run programs, which no file keeps, is part of it."""
        from qads.run import read_json

        file = directory / {"run": "config.json", "compare": "experiment.json"}[command]
        evaluate: Mapping[str, Any] = (read_json(file) or {}).get("evaluate") or {}
        runs_programs = evaluate.get("generate", True) and evaluate.get("method", "cot") != "cot"
        leave = ["--allow-code-execution"] if runs_programs else []
        self.next_command(command, file, "--out", directory, *leave, *words)

    def emit(self, value: object) -> None:
        """The result as JSON; what JSON lacks (NaN, infinities) becomes null, what a terminal may obey is escaped."""
        text = json.dumps(json.loads(to_json(value)), indent=2, ensure_ascii=False)
        sys.stdout.write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; columns of numbers to the right."""
        numeric = [all(isinstance(row[c], int | float | None) for row in rows) for c in range(len(columns))]
        # A cell is one line: a name with a line break in it would pass for lines of ours.
        cells = [[_shown(value).replace("\n", "\\n") for value in row] for row in rows]
        if not self.out.is_terminal:
            widths = [max(len(r[c]) for r in [list(columns), *cells]) for c in range(len(columns))]
            self.out.print(inert(title))
            for row in [list(columns), *cells]:
                aligned = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(row, widths, numeric, strict=True)]
                self.out.print(inert("  " + "  ".join(aligned).rstrip()), soft_wrap=True)
            return
        least = _least_widths(columns, cells, numeric)
        if sum(least) + 2 * (len(columns) - 1) > self.out.width:
            self.out.print(inert(title))
            for row in cells:
                told = (f"{name} {cell}".strip() for name, cell in zip(columns[1:], row[1:], strict=True))
                self.out.print(inert(f"{row[0]}: {', '.join(told)}"))
            return
        table = Table(title=inert(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
        is_tight = sum(max(map(len, column)) + 2 for column in zip(columns, *cells, strict=True)) > self.out.width
        for name, right, width in zip(columns, numeric, least, strict=True):
            # No number is broken: Rich folds columns of names alone. The words above a number are folded here.
            shown = "\n".join(textwrap.wrap(name, max(width, 1))) if right and is_tight else name
            table.add_column(inert(shown), justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in cells:
            table.add_row(*map(inert, row))
        self.out.print(table)

    @contextmanager
    def running(self) -> Generator[RunDisplay]:
        """Shows the progress of a run while the block runs."""
        display = RunDisplay(self.err, quiet=self.as_json)
        try:
            yield display
        finally:
            display.close()

    @contextmanager
    def reading(self) -> Generator[ProgressCallback]:
        """Shows how many rows were read."""
        with self.running() as display:
            display.stage_started("reading", 1, 1)
            yield display.progress

    def run_finished(
        self, result: RunResult, out: Mapping[str, int] | None = None, *, published: str | None = None
    ) -> None:
        """What a run left behind.

        Args:
            result: of the run.
            out: copies of its files for trainers, with their rows, the largest first.
            published: where it was published.
        """
        if self.as_json:
            names = [str(path) for path in out or ()]
            files: dict[str, Any] = {"out": names[0]} if names else {}
            if len(names) > 1:
                files["smaller"] = names[1:]
            if published is not None:
                files["published"] = published
            self.emit({"directory": str(result.directory), "stages": result.manifests} | files)
            return
        manifests = result.manifests
        rows = [(name, m.get("rows"), m.get("tokens"), m["seconds"]) for name, m in manifests.items()]
        self.table(f"Run {result.directory}", ("stage", "rows", "model tokens", "seconds"), rows)
        pool, anchors = manifests["pool"], manifests.get("anchors", {})
        self._rejected("rows", pool["rejected_reasons"], result.directory / "pool")
        self._rejected("rows of the anchors", anchors.get("anchors_rejected_reasons", {}), result.directory / "anchors")
        for sentence in cleaning_sentences(manifests, result.directory):
            self.line(sentence)
        for sentence in _stopping_sentences(manifests.get("influence", {})):
            self.line(sentence)
        if "model_seconds" in manifests.get("influence", {}):
            self.line(_cost_sentence(manifests["influence"]))
        for sentence in quality_sentences(manifests, result.directory):
            self.line(sentence)
        if "select" in manifests:
            total, picked = manifests.get("clean", pool)["sources"], manifests["select"]["sources"]
            rows = [(name, n, picked.get(name, 0), _percent(picked.get(name, 0), n)) for name, n in total.items()]
            self.table("Rows chosen", ("source", "pool", "chosen", "%"), rows)
            for sentence in _budget_sentences(manifests["select"]):
                self.line(sentence)
        if "mixture" in manifests:
            made = {result.train_file.with_name(n): rows for n, rows in manifests["mixture"]["train_files"].items()}
            for path, n_rows in (out or made).items():
                self.line(f"Selected rows: {path}  ({n_rows} rows, each with its reason)")
            if "train" in manifests:
                self.line(_training_sentence(manifests["train"], result.directory))
            self.line(f"Report:        {result.directory / 'report' / 'report.html'}")
        if published is not None:
            self.line(f"Published: {published}")

    def _rejected(self, what: str, reasons: Mapping[str, int], stage: Path) -> None:
        if reasons:
            listed = ", ".join(f"{n} × {reason}" for reason, n in reasons.items())
            self.line(f"Set aside: {sum(reasons.values())} {what} ({listed}); see {stage / 'rejected.jsonl'}")

    def estimate(self, stages: Sequence[StageEstimate], *, where: str | None = None) -> None:
        """What a run would do, and where; its seconds are those of one process."""
        if self.as_json:
            self.emit({"stages": [dataclasses.asdict(stage) for stage in stages]})
            return
        rows = [
            (s.name, s.status, s.rows, s.tokens, None if s.flops is None else s.flops / 1e12, s.basis, s.seconds)
            for s in stages
        ]
        self.table(
            "Dry run: nothing is computed (seconds are estimates)",
            ("stage", "status", "rows", "model tokens", "TFLOP", "these are", "seconds"), rows,
        )  # fmt: skip
        for stage in stages:
            if stage.note:
                self.line(f"{stage.name}: {stage.note}.")
        open_stages = [s for s in stages if s.status != "done"]
        unknown = [s.name for s in open_stages if s.tokens is not None and s.seconds is None]
        left = f"About {duration(sum(s.seconds or 0 for s in open_stages))} of model time is left to do"
        self.line(f"{left}, and {', '.join(unknown)}, of which the time is unknown." if unknown else f"{left}.")
        if where is not None:
            self.line(where)
        self.line("Next: the same command without --dry-run")

    def status(self, status: RunStatus) -> None:
        """The stages of a run directory."""
        if self.as_json:
            self.emit({"kind": "run"} | dataclasses.asdict(status))
            return
        rows = [(s.name, s.state, s.rows, s.seconds, s.shards or None) for s in status.stages]
        self.table(f"Run {status.directory}", ("stage", "state", "rows", "seconds", "shards so far"), rows)
        self.line(f"In use by process {status.running}." if status.running else "No process is using it.")
        if status.running:
            self.next_command("status", status.directory)
        elif status.damaged:
            self._damaged(status)
        elif status.is_finished:
            self.next_command("explain", status.directory, "--not-picked")
        else:
            self.line("What is done is kept; what is missing is computed by the command that began it, or by this one.")
            self.go_on("run", status.directory)

    def _damaged(self, status: RunStatus) -> None:
        """What computes damaged stages again; those that no run computes are made by the page."""
        from qads.run import ON_DEMAND

        self.line("A damaged stage is used by nothing; it is computed again where that is asked for.")
        if again := [word for name in status.damaged if name not in ON_DEMAND for word in ("--redo", name)]:
            self.go_on("run", status.directory, *again)
        else:
            self.next_command("report", status.directory)


def _least_widths(columns: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """Characters that each column needs: numbers whole, of names some, and every word above them."""
    widths = [max((len(row[c]) for row in cells), default=0) for c in range(len(columns))]
    words = [max(map(len, name.split()), default=0) for name in columns]
    return [max(word, w if n else min(w, _LEAST_NAME)) for word, w, n in zip(words, widths, numeric, strict=True)]


class _RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """As Rich asks for it."""
        speed = task.finished_speed or task.speed
        return Text(f"{_shown(float(speed))}/s" if speed else "")


class RunDisplay:
    """Hears a run and shows it: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name = self._note = ""
        self._started = self._said = time.monotonic()
        self._before: int | None = None
        """What of the stage was done before it was started now."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Stage `name` starts to compute."""
        self.close()
        self._name, self._note = f"[{number}/{n_stages}] {name}", ""
        self._started = self._said = time.monotonic()
        self._before = None
        if self._quiet:
            return
        if self._console.is_terminal:
            wide = self._console.width >= _NARROW
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                *([BarColumn()] if wide else []),
                MofNCompleteColumn(),
                *([_RateColumn(), TimeElapsedColumn()] if wide else []),
                TextColumn("left"),
                TimeRemainingColumn(compact=not wide),
                TextColumn("{task.fields[note]}", markup=False),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._name, total=None, note="")
            self._bar.start()
        else:
            self._console.print(inert(f"{self._name} …"))

    def progress(self, done: int, total: int) -> None:
        """The stage has done `done` of `total`."""
        if self._before is None:
            self._before = done
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total if total >= 0 else None)
        elif not self._quiet and time.monotonic() - self._said > _PLAIN_SECONDS:
            self._said = time.monotonic()
            rate = (done - self._before) / (self._said - self._started)
            pace = f", {_shown(rate)}/s" if rate > 0 else ""
            left = f", about {duration((total - done) / rate)} left" if rate > 0 and total >= 0 else ""
            noted = f"; {self._note}" if self._note else ""
            of = f" of {total}" if total >= 0 else ""
            self._console.print(inert(f"{self._name}: {done}{of}{pace}{left}{noted}"))

    def note(self, text: str) -> None:
        """What to say beside how far it is."""
        self._note = text
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, note=text)

    def stage_finished(self, name: str, manifest: Manifest, *, reused: bool) -> None:
        """Stage `name` is complete."""
        self.close()
        if not self._quiet:
            how = "done before" if reused else f"{duration(manifest['seconds'])}"
            self._console.print(inert(f"✓ {name:<10} {manifest.get('rows', ''):>8} rows  {how}"))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def inert(text: str) -> Text:
    """Text that a terminal shows and does not obey: no markup, control characters as Python writes them."""
    return Text("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text))


def _stopping_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """How many anchors were enough, and what another run had scored already."""
    sentences: list[str] = []
    if "stopping" in manifest.get("settings", {}).get("quality", {}).get("influence", {}):
        stopped, scored = manifest["stopped"], manifest["pairs_scored"]
        used = sum(part["n_anchors"] for part in manifest["rounds"])
        sentences.append(
            f"Anchors: {stopped.get('early', 0)} of {manifest['rows']} scored rows stopped before the last of "
            f"{manifest['anchors']} anchors ({used} used), {stopped.get('every anchor', 0)} with the last, "
            f"{stopped.get('ran out', 0)} ran out of anchors before the rule was met; {_shown(scored)} of "
            f"{_shown(scored + manifest['pairs_left_out'])} pairs scored."
        )
    if manifest.get("reused"):
        names = ", ".join(run["directory"] for run in manifest["reused"])
        sentences.append(f"Taken over: {_shown(manifest['pairs_reused'])} pairs that were scored in {names}.")
    return sentences


def _budget_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """What of a budget in tokens was used, and why a selection is shorter than asked."""
    sentences = [
        f"Tokens: {_shown(budget['tokens'])} in {_shown(budget['rows'])} rows, of {budget['asked']} asked for."
        for budget in manifest.get("budgets", [])
        if budget["tokens"] is not None
    ]
    return [*sentences, *([f"The selection ended early: {why}."] if (why := manifest.get("stopped")) else [])]


def _cost_sentence(manifest: Mapping[str, Any]) -> str:
    """What scoring took."""
    spent = f"Scoring: {_shown(manifest['tokens'])} tokens"
    if manifest["extra_tokens"]:
        spent += f" and {_shown(manifest['extra_tokens'])} of padding or thrown away"
    if manifest["flops"] is not None:
        spent += f", {_shown(manifest['flops'] / 1e12)} TFLOP"
    spent += f" in {duration(manifest['model_seconds'])}"
    if manifest["utilisation"] is not None:
        peak = _shown(manifest["matmul_peak"] / 1e9)
        spent += f": {manifest['utilisation']:.0%} of what matrix products alone reach here ({peak} GFLOP/s)"
    return f"{spent}."


def _training_sentence(manifest: Mapping[str, Any], directory: Path) -> str:
    """What training took, and where the model is."""
    losses = manifest["losses"]
    return (
        f"Trained model: {directory / 'train' / manifest['model']}  ({_shown(manifest['steps'])} steps on "
        f"{_shown(manifest['tokens'])} tokens, loss {losses[0]:.3f} to {losses[-1]:.3f})"
    )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)

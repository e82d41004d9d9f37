"""Several runs as one page: what one chose and the other did not, and why."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from qads.config import ReportConfig
from qads.datasets import atomic_path
from qads.report.evidence import FinishedRun, open_run
from qads.report.explanations import Explanation, explain_rows
from qads.report.facts import report_settings
from qads.report.numbers import digits_for
from qads.report.page import page_scripts, render_page
from qads.report.passages import Passage, beginning, line, visible
from qads.report.payload import packed
from qads.report.runs import RunsFacts, compare_runs
from qads.report.samples import SampleFacts, Texts, choice_columns, closed_rows, sample_columns, steps_of, with_rows
from qads.report.still import still_map
from qads.run import Plane, RunDirectory, ensure_projection, read_status

__all__ = ["RunsReport", "render_runs", "runs_as_json", "write_runs_report"]

_FIRST = 15
"""Rows that one run alone chose which are listed where no script runs."""


@dataclass(frozen=True)
class Lone:
    """A row that one run alone chose."""

    id: Passage
    source: Passage
    problem: Passage
    step: int
    """From 1 on."""
    gain: float | None
    quality: float | None
    missed: tuple[tuple[str, str], ...]
    """(other run, why it has not chosen the row)."""


@dataclass(frozen=True, eq=False)
class RunsReport:
    """Several runs that were read together."""

    facts: RunsFacts
    runs: tuple[FinishedRun, ...]
    samples: SampleFacts | None
    """Map and table; None where the first run asks for no map."""
    lone: tuple[tuple[Lone, ...], ...]
    """Of every run the first rows that it alone chose."""


def write_runs_report(directories: Sequence[Path], path: Path, *, texts: int | None = None) -> RunsReport:
    """Write the page that sets runs side by side; the same runs give the same bytes.

    Args:
        directories: of two or more finished runs; the first one's map is drawn.
        path: of the page.
        texts: rows whose whole text is in it; as the first run's configuration says by default.

    Returns:
        What the page shows.

    Raises:
        InputError: their pools share no row, or there are too few or too many.
        RunError: a stage of a run is missing.
        LockedError: a run is at work.
        CorruptError: a file of a run is not what its manifest says.
    """
    with contextlib.ExitStack() as locks:
        for root in sorted({directory.resolve() for directory in directories}):
            read_status(root)  # Nothing is written, not even a lock, where no run is.
            locks.enter_context(RunDirectory(root).lock())
        found = _read(tuple(open_run(directory) for directory in directories), texts)
        page = render_runs(found)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return found


def render_runs(found: RunsReport) -> str:
    """The page."""
    means = [value for each in found.facts.chosen for value in each.quality if value is not None]
    return render_page(
        "runs.html",
        **page_scripts(found.samples is not None),
        facts=found.facts,
        names=[line(name) for name in found.facts.names],
        samples=found.samples,
        lone=found.lone,
        has_quality=[run.has_quality for run in found.runs],
        quality_digits=digits_for(means),
    )


def runs_as_json(found: RunsReport) -> dict[str, Any]:
    """Everything that was found, as plain values, and every row that some runs chose and others did not."""
    facts = found.facts
    return {
        "runs": [dataclasses.asdict(each) for each in facts.chosen],
        "shared_rows": len(facts.shared),
        "one_pool": facts.shared.is_one_pool,
        "counted_in": facts.counted_in,
        "settings": {each.name: list(each.values) for each in facts.settings},
        "stages": {each.name: list(each.values) for each in facts.stages},
        "versions": {each.name: list(each.values) for each in facts.versions},
        "overlaps": [dataclasses.asdict(each) | {"jaccard": each.jaccard} for each in facts.overlaps],
        "quality_agreement": [dataclasses.asdict(each) for each in facts.agreements],
        "sources": [dataclasses.asdict(each) | {"name": each.name.text} for each in facts.sources],
        "chosen_by_all": facts.by_all,
        "chosen_by_none": facts.by_none,
        "rows_that_differ": _differing(found),
    }


def _differing(found: RunsReport) -> list[dict[str, Any]]:
    """In the order of the first run's pool: id, source, and the step in every run, null where it was not chosen."""
    picked, shared = found.facts.picked, found.facts.shared
    times = picked.sum(axis=0)
    rows = np.flatnonzero((times > 0) & (times < len(picked)))
    steps = [steps_of(run)[at[rows]] for run, at in zip(found.runs, shared.positions, strict=True)]
    table = found.runs[0].pool.take(shared.positions[0][rows])
    return [
        {"id": name, "source": source, "steps": [None if step < 0 else int(step) for step in each]}
        for name, source, *each in zip(table.strings("id"), table.strings("source"), *steps, strict=True)
    ]


def _read(runs: tuple[FinishedRun, ...], texts: int | None) -> RunsReport:
    facts = compare_runs(runs)
    settings = report_settings(runs[0].config)
    if texts is not None:
        settings = dataclasses.replace(settings, texts=texts)
    lone = tuple(tuple(_lone(runs, facts, r)) for r in range(len(runs)))
    return RunsReport(facts, runs, _samples(runs, facts, settings), lone)


def _samples(runs: Sequence[FinishedRun], facts: RunsFacts, settings: ReportConfig) -> SampleFacts | None:
    """Map and table of the shared rows, laid out as in the page of the first run."""
    if settings.projection is None:
        return None
    first, mine, chosen = runs[0], facts.shared.positions[0], facts.picked.sum(axis=0) > 0
    plane, n_placed = with_rows(first, ensure_projection(first.root, settings.projection), mine[chosen])
    number = np.full(len(first.pool), -1, np.int64)
    number[mine] = np.arange(len(mine))
    kept = number[plane.rows] >= 0
    plane = Plane(plane.rows[kept], plane.places[kept])
    shown = number[plane.rows]
    choices: list[dict[str, Any]] = []
    for run, at, name in zip(runs, facts.shared.positions, facts.names, strict=True):
        rows = at[shown]
        choices.append({"name": visible(str(line(name))), **choice_columns(run, rows, steps_of(run)[rows])})
    whole = Texts(first.pool, plane.rows, _rows_with_texts(runs, facts, shown, settings.texts), settings.characters)
    written = packed(whole.as_json())
    return SampleFacts(
        n_shown=len(shown), n_left_out=len(facts.shared) - len(shown), n_placed=n_placed, n_texts=len(whole.whole),
        n_cut=whole.n_cut, characters=settings.characters, n_formulas=whole.n_formulas, n_untyped=whole.n_untyped,
        has_gain=False, still=still_map(plane.places, chosen[shown]),
        columns=packed({**sample_columns(first.pool, plane), "runs": choices}), texts=written,
    )  # fmt: skip


def _rows_with_texts(
    runs: Sequence[FinishedRun], facts: RunsFacts, shown: Int[np.ndarray, " m"], n: int
) -> Int[np.ndarray, " t"]:
    """Positions in `shown`: picks by the earliest step that a run picked them at, then an even draw of the rest."""
    steps = np.stack([steps_of(run)[at[shown]] for run, at in zip(runs, facts.shared.positions, strict=True)])
    earliest = np.where(steps < 0, np.iinfo(np.int32).max, steps).min(axis=0)
    is_picked = (steps >= 0).any(axis=0)
    picks, rest = np.argsort(earliest, kind="stable")[: is_picked.sum()], np.flatnonzero(~is_picked)
    n_left = min(len(rest), max(0, n - len(picks)))
    drawn = rest[np.linspace(0, len(rest) - 1, n_left).round().astype(np.int64)] if n_left else rest[:0]
    return np.concatenate([picks[:n], drawn])


def _lone(runs: Sequence[FinishedRun], facts: RunsFacts, r: int) -> list[Lone]:
    """The first rows that run `r` alone chose, in the order of its picks."""
    run, at = runs[r], facts.shared.positions
    alone = np.flatnonzero(facts.picked[r] & (facts.picked.sum(axis=0) == 1))
    rows = alone[np.argsort(steps_of(run)[at[r][alone]], kind="stable")][:_FIRST]
    mine = explain_rows(run, at[r][rows].tolist())
    others = {o: _misses(runs[o], at[o][rows]) for o in range(len(runs)) if o != r}
    samples = run.pool.take(at[r][rows])
    return [
        Lone(
            line(sample.id), line(sample.source), beginning(sample.problem), (why.step or 0) + 1, why.gain, why.quality,
            tuple((facts.names[o], found[i]) for o, found in others.items()),
        )
        for i, (sample, why) in enumerate(zip(samples, mine, strict=True))
    ]  # fmt: skip


def _misses(run: FinishedRun, rows: Int[np.ndarray, " k"]) -> list[str]:
    """Why a run has not chosen these rows."""
    closed, reasons = closed_rows(run)
    return [
        reasons[closed[row]] or _covered(why)
        for row, why in zip(rows.tolist(), explain_rows(run, rows.tolist()), strict=True)
    ]


def _covered(why: Explanation) -> str:
    quality = "" if why.quality is None else f"; quality {why.quality:.3g}"
    return f"covered by {line(why.nearest or '')}, {why.distance or 0.0:.3f} away{quality}"

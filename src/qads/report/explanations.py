"""Why single rows were picked, and what stands for those that were not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from qads.errors import InputError
from qads.report.evidence import FinishedRun

__all__ = ["Explanation", "explain_rows", "rows_by_id", "rows_not_picked"]


@dataclass(frozen=True)
class Explanation:
    """One row of the pool: the reason for its pick, or the pick that covers it."""

    id: str
    source: str
    row: int
    """Position in the pool."""
    picked: bool
    step: int | None
    """Of its pick, from 0; None for a row that was not picked."""
    gain: float | None
    """What the selector maximised; None for a row that was not picked, or where nothing was maximised."""
    distance: float | None
    """Of a pick: to the nearest earlier one when it was picked. Else: to the pick that covers the row."""
    nearest: str | None
    """Id of that pick."""
    nearest_step: int | None
    """Step of that pick; None where `nearest` is no pick."""
    quality: float | None
    quality_origin: str | None
    """``real`` or ``predicted``."""
    covers: int | None
    """Of a pick: rows of the pool, itself among them, to which no pick is nearer. Else None."""


def explain_rows(run: FinishedRun, rows: Sequence[int]) -> list[Explanation]:
    """The explanation of rows by their positions in the pool."""
    found = _Explainer(run)
    return [found.explain(row) for row in rows]


def rows_by_id(run: FinishedRun, ids: Sequence[str]) -> list[int]:
    """Positions of the rows with these ids.

    Raises:
        InputError: no row has one of the ids; names the nearest one there is.
    """
    known = run.pool.strings("id")
    position = {name: row for row, name in enumerate(known)}
    for name in ids:
        if name not in position:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
            raise InputError(f"--row {name}: no row of the pool in {run.root} has this id{hint}")
    return [position[name] for name in ids]


def rows_not_picked(run: FinishedRun, n: int) -> list[int]:
    """The n rows of highest quality that were not picked; without quality those farthest from every pick."""
    value = run.coverage.distances if run.quality is None else run.quality
    left = np.ones(len(value), np.bool_)
    left[run.picks] = False
    rows = np.flatnonzero(left)
    return rows[np.argsort(-value[rows], kind="stable")][:n].tolist()


class _Explainer:
    """What explanations of many rows share."""

    def __init__(self, run: FinishedRun) -> None:
        self._run, self._coverage = run, run.coverage
        self._step = {row: step for step, row in enumerate(run.picks.tolist())}
        self._step_of_id = {name: step for step, name in enumerate(run.reasons["id"])}
        self._covers = np.bincount(self._coverage.steps, minlength=len(run.picks))
        self._ids: Any = run.pool.table["id"]
        self._sources: Any = run.pool.table["source"]
        self._origins: Any = None
        if run.has_quality:
            self._origins = pq.read_table(run.root / "quality" / "quality.parquet", columns=["origin"])["origin"]

    def explain(self, row: int) -> Explanation:
        run, step = self._run, self._step.get(row)
        if step is None:
            gain, covers = None, None
            distance, nearest_step = float(self._coverage.distances[row]), int(self._coverage.steps[row])
            nearest = run.reasons["id"][nearest_step]
        else:
            gain, distance, nearest = (run.reasons[name][step] for name in ("gain", "distance", "nearest"))
            nearest_step, covers = self._step_of_id.get(nearest), int(self._covers[step])
        return Explanation(
            id=self._ids[row].as_py(),
            source=self._sources[row].as_py(),
            row=row,
            picked=step is not None,
            step=step,
            gain=gain,
            distance=distance,
            nearest=nearest,
            nearest_step=nearest_step,
            quality=None if run.quality is None or np.isnan(run.quality[row]) else float(run.quality[row]),
            quality_origin=None if self._origins is None else self._origins[row].as_py(),
            covers=covers,
        )

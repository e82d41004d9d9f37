"""How well a scorer predicts, as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from qads.datasets import atomic_path
from qads.errors import CorruptError, InputError
from qads.kernels.correlation import centred
from qads.quality.fidelity import CurvePoint, Estimate, FidelityReport, HeldOut
from qads.report.curves import Axis, axis_over
from qads.report.page import digits_for, number, render_page
from qads.report.passages import Passage, line
from qads.run import read_json, read_stage_record

__all__ = ["OUT_OF_FOLD", "STATISTICS", "read_fidelity", "render_fidelity", "write_fidelity"]

STATISTICS = {
    "pearson": ("Pearson’s r", None),
    "spearman": ("Spearman’s rank correlation", None),
    "kendall": ("Kendall’s τ-b", None),
    "top_10": ("Best 10% found", 0.1),
    "top_25": ("Best 25% found", 0.25),
}
"""Name of every statistic, and what chance gives where that is not 0."""
OUT_OF_FOLD = "Rows that the run labelled, each predicted by a model that saw neither it nor a near duplicate of it."
"""What rows a run measures its scorer on."""
_MOST_DOTS = 2000
_FARTHEST = 20
_LOOKS = 16
"""Sources that look different in a plot: eight colours, as circles and as squares."""


@dataclass(frozen=True)
class Dot:
    """A row in the plane of predicted (across) and real (up); in percent from the top left."""

    look: int
    x: float
    y: float
    low: float | None
    """Of its predictive interval; it stands upright, since it is of the real quality."""
    high: float | None
    label: Passage
    text: str


@dataclass(frozen=True)
class Plane:
    """One scale for both directions."""

    axis: Axis
    dots: tuple[Dot, ...]
    n_rows: int
    """Rows that there are; of more than a plot can hold some are drawn, evenly over the predictions."""


@dataclass(frozen=True)
class Far:
    """A row whose prediction is far off."""

    id: Passage
    source: Passage
    predicted: float
    real: float


@dataclass(frozen=True)
class Series:
    """A statistic along the labels, as points of a polyline in a square of 100 by 100 and of the band around it."""

    name: str
    points: str
    band: str


@dataclass(frozen=True)
class LearningCurve:
    """What more labels bring."""

    across: Axis
    up: Axis
    series: tuple[Series, ...]


def read_fidelity(root: Path) -> tuple[FidelityReport, HeldOut] | None:
    """What a run measured of its scorer, and the rows; None where it predicted nothing, or had too few rows to say.

    Raises:
        CorruptError: the files are not what a run writes.
    """
    folder = root / "scorer"
    manifest = read_stage_record(folder / "manifest.json")
    raw = read_json(folder / "fidelity.json") if manifest is not None else None
    if manifest is None or raw is None:
        return None
    try:
        report = FidelityReport.from_json(raw)
        if report.cost is not None:  # Seconds are no part of a result, so the manifest has them.
            seconds = {name: value for name, value in manifest["seconds_a_row"].items() if value is not None}
            report = replace(report, cost=replace(report.cost, **seconds))
        return report, HeldOut.from_table(pq.read_table(folder / "held_out.parquet"))
    except (InputError, KeyError, OSError, TypeError, pa.ArrowException) as error:
        raise CorruptError(f"{folder / 'fidelity.json'}, held_out.parquet: {error}") from error


def write_fidelity(path: Path, report: FidelityReport, held_out: HeldOut, *, about: str) -> Path:
    """Write the page; the same report and rows, the same bytes.

    Args:
        path: of the page; its folder is made if it is not there.
        report: of the scorer.
        held_out: the rows that it was judged on.
        about: what rows they are, in a sentence.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(render_fidelity(report, held_out, about=about), encoding="utf-8", newline="\n")
    return path


def render_fidelity(report: FidelityReport, held_out: HeldOut, *, about: str) -> str:
    """The page."""
    found = report.fidelity
    rows = held_out.take(np.flatnonzero(held_out.is_judged))
    looks = {name: min(number, _LOOKS) for number, name in enumerate(found.by_source)}
    inside = [found.within_source["pearson"], *(each.pearson for each in found.by_source.values())]
    return render_page(
        "fidelity.html",
        report=report,
        f=found,
        about=about,
        kind=line(str(report.scorer.get("kind", "scorer"))),
        statistics=STATISTICS,
        digits=(digits := digits_for(rows.real.tolist()) + 1),
        names={name: line(name) for name in looks},
        looks=looks,
        n_looks=_LOOKS,
        plane=_plane(rows, looks, digits),
        plane_within=_plane(_less_source_means(rows), looks, digits),
        farthest=_farthest(rows),
        calibration=_calibration(report),
        inside_span=_span([0.0, *(v for r in inside for v in (r.low, r.value, r.high))]),
        length_span=_span([0.0, *(v for b in found.error_by_length for v in _bounds(b.absolute_error))]),
        curve=_learning_curve(report.curve),
    )


def _bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.value, estimate.high


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest of what is drawn."""
    finite = [v for v in values if np.isfinite(v)]
    low, high = min(finite), max(finite)
    return low, high if high > low else low + 1.0


def _less_source_means(rows: HeldOut) -> HeldOut:
    """Real and predicted quality less their means over the row's source in its fold."""
    sources = np.unique(np.array(rows.source, dtype=str), return_inverse=True)[1].reshape(-1)
    folds = np.zeros(len(rows), np.int64) if rows.fold is None else rows.fold
    cells = np.unique(np.column_stack([folds, sources]), axis=0, return_inverse=True)[1].reshape(-1)
    real, predicted = centred(rows.real, cells), centred(rows.predicted, cells)
    return replace(rows, real=real, predicted=predicted, low=None, high=None)


def _plane(rows: HeldOut, looks: Mapping[str, int], digits: int) -> Plane:
    axis = axis_over([*rows.real.tolist(), *rows.predicted.tolist()])
    drawn = _evenly(np.argsort(rows.predicted, kind="stable"))
    return Plane(axis, tuple(_dot(rows, int(i), looks[rows.source[i]], axis, digits) for i in drawn), len(rows))


def _dot(rows: HeldOut, i: int, look: int, axis: Axis, digits: int) -> Dot:
    real, predicted = float(rows.real[i]), float(rows.predicted[i])
    low = high = None
    text = f"predicted {number(predicted, digits)}"
    if rows.low is not None and rows.high is not None:
        text += f" ({number(float(rows.low[i]), digits)} to {number(float(rows.high[i]), digits)})"
        low, high = (100 - _inside(axis.place(float(ends[i]))) for ends in (rows.low, rows.high))
    return Dot(
        look=look,
        x=axis.place(predicted),
        y=100 - axis.place(real),
        low=low,
        high=high,
        label=line(rows.source[i] if rows.id is None else f"{rows.source[i]}, {rows.id[i]}"),
        text=f"{text}, real {number(real, digits)}",
    )


def _inside(percent: float) -> float:
    """An interval's end, at the border of the plot where it lies beyond."""
    return min(100.0, max(0.0, percent))


def _evenly(order: Int[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    if len(order) <= _MOST_DOTS:
        return order
    return order[np.linspace(0, len(order) - 1, _MOST_DOTS).round().astype(np.int64)]


def _farthest(rows: HeldOut) -> tuple[Far, ...]:
    order = np.argsort(-np.abs(rows.predicted - rows.real), kind="stable")[:_FARTHEST]
    ids = rows.id or ("–",) * len(rows)
    return tuple(Far(line(ids[i]), line(rows.source[i]), float(rows.predicted[i]), float(rows.real[i])) for i in order)


def _calibration(report: FidelityReport) -> Plane:
    """Tenths of the rows as dots, with the interval of their real mean."""
    bins = report.fidelity.calibration
    finite = [v for b in bins for v in (b.predicted, *_bounds(b.real)) if np.isfinite(v)]
    axis = axis_over(finite)
    dots = tuple(
        Dot(
            look=0,
            x=axis.place(b.predicted),
            y=100 - axis.place(b.real.value),
            low=100 - axis.place(b.real.low) if np.isfinite(b.real.low) else None,
            high=100 - axis.place(b.real.high) if np.isfinite(b.real.high) else None,
            label=line(f"tenth {place}"),
            text=f"{b.n_rows} rows",
        )
        for place, b in enumerate(bins, 1)
    )
    return Plane(axis, dots, len(dots))


def _learning_curve(curve: Sequence[CurvePoint]) -> LearningCurve | None:
    """None with fewer than two points: there is no line to draw."""
    if len(curve) < 2:
        return None
    across = axis_over([0.0, *(float(point.n_labels) for point in curve)])
    both = {"all rows": [point.pearson for point in curve], "within sources": [point.within for point in curve]}
    finite = [v for estimates in both.values() for each in estimates for v in _bounds(each) if np.isfinite(v)]
    up = axis_over([0.0, *finite])
    series: list[Series] = []
    for name, estimates in both.items():
        known = [(across.place(p.n_labels), e) for p, e in zip(curve, estimates, strict=True) if np.isfinite(e.value)]
        sure = [(x, e) for x, e in known if np.isfinite(e.low)]
        series.append(
            Series(
                name,
                _points([(x, up.place(e.value)) for x, e in known]),
                _points([(x, up.place(e.high)) for x, e in sure] + [(x, up.place(e.low)) for x, e in sure[::-1]]),
            )
        )
    return LearningCurve(across, up, tuple(series))


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in places)

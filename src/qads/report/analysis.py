"""The analysis of sources as one page, beside its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.analyze import Example, Interval, SourceAnalysis, SourceFacts, SourceQuality
from qads.datasets import atomic_path
from qads.pool import Pool
from qads.report.curves import Axis, axis_over
from qads.report.page import digits_for, number, render_page
from qads.report.passages import Passage, beginning, line
from qads.report.tables import TABLE_FILES, write_tables

__all__ = ["ANALYSIS_FILES", "analysis_findings", "render_analysis", "write_analysis"]

ANALYSIS_FILES = ("analysis.html", *TABLE_FILES)
"""What an analysis leaves."""
UNITS = {
    "positive_gain": "nats a token",
    "mean_gain": "nats a token",
    "win_rate": "share of anchors helped",
    "relative": "relative change of the token probability",
}
"""Of every aggregate."""


@dataclass(frozen=True)
class ExampleText:
    """A row that is shown."""

    place: str
    id: Passage
    quality: float
    problem: Passage
    solution: Passage


@dataclass(frozen=True)
class ScatterPoint:
    """A source in the plane of two models; all in percent from the low end."""

    number: int
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float


@dataclass(frozen=True)
class Scatter:
    """Means of the sources under two models."""

    first: str
    second: str
    across: Axis
    up: Axis
    points: tuple[ScatterPoint, ...]


def write_analysis(analysis: SourceAnalysis, pool: Pool, directory: Path) -> list[Path]:
    """Write `analysis.html`, `analysis.json`, `sources.csv` and `sources.parquet`; the same analysis, the same bytes.

    Args:
        analysis: what was found.
        pool: that was analysed; texts of its rows are shown, cut.
        directory: made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ANALYSIS_FILES[0]
    with atomic_path(path) as temporary:
        temporary.write_text(render_analysis(analysis, pool), encoding="utf-8", newline="\n")
    return [path, *write_tables(analysis, directory)]


def render_analysis(analysis: SourceAnalysis, pool: Pool) -> str:
    """The page."""
    measured = [q for source in analysis.sources for q in source.quality if q is not None]
    aggregate = str(analysis.models[0].facts.get("aggregate", "")) if analysis.models else ""
    return render_page(
        "analysis.html",
        a=analysis,
        findings=analysis_findings(analysis),
        unit=UNITS.get(aggregate, "as it was measured"),
        names=[line(source.name) for source in analysis.sources],
        flags=list(analysis.sources[0].flags),
        flag_totals={flag: sum(s.flags[flag] for s in analysis.sources) for flag in analysis.sources[0].flags},
        examples=[_examples(source, pool) for source in analysis.sources],
        scatters=[_scatter(analysis, each.first, each.second) for each in analysis.agreements],
        quality_digits=digits_for([q.mean.value for q in measured]) + 1 if measured else 3,
        spans=_spans(analysis),
    )


def analysis_findings(analysis: SourceAnalysis) -> list[str]:
    """What the numbers say, in sentences: who leads, who cannot be told from him, how far models agree."""
    found = [sentence for position in range(len(analysis.models)) for sentence in _ranking(analysis, position)]
    for each in analysis.agreements:
        found.append(
            f"{each.first} and {each.second}, {each.n_rows:,} rows scored by both: Pearson {_interval(each.pearson)}, "
            f"within sources {_interval(each.within_pearson)}; means of {each.n_sources} sources "
            f"{_interval(each.source_pearson)}."
        )
    return found


def _ranking(analysis: SourceAnalysis, position: int) -> list[str]:
    model = analysis.models[position]
    ranked = [(s, q) for s in analysis.sources if (q := s.quality[position]) is not None and q.rank is not None]
    if not ranked or model.ranking is None:
        if model.n_anchors == 1 and analysis.settings.draw_anchors:
            return [
                f"{model.name}: one anchor tells nothing of others, so sources have neither intervals nor ranks. "
                "Score on more; --fixed-anchors counts it as the whole target."
            ]
        return [f"{model.name}: too few rows were scored to rank any sources."]
    best = min(ranked, key=lambda each: each[1].rank or 0)[0].name
    leader = model.ranked.index(best)
    tied = [n for k, n in enumerate(model.ranked) if k != leader and not model.ranking.better[leader, k]]
    n, pairs = len(model.ranked), len(model.ranked) * (len(model.ranked) - 1) // 2
    rest = f"not told apart from {_listed(tied)}" if tied else "told apart from every other source"
    found = [
        f"{model.name}: {line(best)} has the highest mean quality, {rest}; {model.ranking.better.sum()} of {pairs} "
        f"pairs of {n} sources were told apart."
    ]
    without = [s.name for s in analysis.sources if (q := s.quality[position]) is None or q.rank is None]
    if without:
        found.append(f"{model.name}: too few scored rows for a rank: {_listed(without)}.")
    return found


def _listed(names: Sequence[str]) -> str:
    shown = [str(line(name)) for name in names[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _interval(value: Interval) -> str:
    return f"{number(value.value, 2)} [{number(value.low, 2)}, {number(value.high, 2)}]"


def _examples(source: SourceFacts, pool: Pool) -> list[ExampleText]:
    def text(example: Example) -> ExampleText:
        row = pool[example.row]
        return ExampleText(
            example.place, line(row.id), example.quality, beginning(row.problem), beginning(row.solution)
        )  # fmt: skip

    return [text(example) for example in source.examples]


def _scatter(analysis: SourceAnalysis, first: str, second: str) -> Scatter:
    at = {model.name: position for position, model in enumerate(analysis.models)}
    pairs = [
        (place, a.mean, b.mean)
        for place, source in enumerate(analysis.sources, 1)
        if (a := source.quality[at[first]]) is not None and (b := source.quality[at[second]]) is not None
    ]
    across = axis_over([v for _, mean, _ in pairs for v in _finite(mean)])
    up = axis_over([v for _, _, mean in pairs for v in _finite(mean)])
    return Scatter(first, second, across, up, tuple(_point(*pair, across, up) for pair in pairs))


def _point(place: int, a: Interval, b: Interval, across: Axis, up: Axis) -> ScatterPoint:
    (x_low, x_high), (y_low, y_high) = ((min(_finite(v)), max(_finite(v))) for v in (a, b))
    return ScatterPoint(
        place, across.place(a.value), 100 - up.place(b.value), across.place(x_low), across.place(x_high),
        100 - up.place(y_low), 100 - up.place(y_high),
    )  # fmt: skip


def _finite(value: Interval) -> list[float]:
    """What of an interval is a number; all three, or the value alone."""
    return [v for v in (value.value, value.low, value.high) if v == v]


def _spans(analysis: SourceAnalysis) -> Mapping[str, Any]:
    """Least and greatest of what is drawn, for every model, and for the measures of diversity."""

    def over(values: Sequence[float]) -> tuple[float, float]:
        finite = [v for v in values if v == v] or [0.0]
        low, high = min(finite), max(finite)
        return low, high if high > low else low + 1.0

    def of_models(parts: str) -> list[tuple[float, float]]:
        return [over([v for q in _under(analysis, i) for v in _drawn(q, parts)]) for i in range(len(analysis.models))]

    varied = [s.diversity for s in analysis.sources if s.diversity] + ([analysis.whole] if analysis.whole else [])
    return {
        "mean": of_models("mean"),
        "marginal": of_models("marginal"),
        "quartiles": of_models("quartiles"),
        "nearest": over([v for d in varied for v in (d.nearest.low, d.nearest.high)]),
        "radius": over([v for d in varied for v in (d.radius.low, d.radius.high)]),
    }


def _under(analysis: SourceAnalysis, position: int) -> list[SourceQuality]:
    return [q for source in analysis.sources if (q := source.quality[position]) is not None]


def _drawn(quality: SourceQuality, part: str) -> list[float]:
    if part == "quartiles":
        return list(quality.quartiles)
    found = getattr(quality, part)
    return [] if found is None else [0.0, found.value, found.low, found.high]

"""Everything that a report shows, as numbers and short texts: a run directory -> `RunFacts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from qads.config import ReportConfig
from qads.quality import AnchorGroups
from qads.report.cleaning import CleaningFacts, read_cleaning
from qads.report.comparison import Comparison, compare_with_random
from qads.report.curves import Curve, along_budgets, binned_means, running_mean
from qads.report.evidence import FinishedRun, RealQuality, open_run
from qads.report.passages import Passage, beginning, line
from qads.report.samples import SampleFacts, read_samples
from qads.run.context import floats
from qads.selection import Coverage
from qads.settings import read_settings

__all__ = ["AsideFacts", "PickFacts", "RunFacts", "SourceFacts", "read_facts", "report_settings"]

_FIRST_PICKS, _LAST_PICKS = 50, 10
_FIRST_ASIDE = 20
_BINS = 48


@dataclass(frozen=True)
class SourceFacts:
    """One source in the pool and in the selection."""

    name: Passage
    rows: int
    share: float
    """Of the pool."""
    picks: int
    pick_share: float
    """Of the picks."""
    expected: float
    """Picks it would have if every row of the pool were as likely."""
    quality: float | None
    """Mean over its rows in the pool that have one, real or predicted; None without any."""
    pick_quality: float | None
    """Mean over its picks that have one; None without any."""
    real_quality: float | None
    """Mean over its rows that were really scored."""
    n_real: int
    quartiles: tuple[float, float, float, float, float] | None
    """Least, first quartile, median, third quartile and greatest quality of its rows."""
    histogram: tuple[float, ...]
    """Its rows by quality, in bins between the least and the greatest of the pool; the fullest bin is 1."""
    pick_histogram: tuple[float, ...]
    """The same of its picks."""

    @property
    def lift(self) -> float:
        """Picks in relation to those expected."""
        return self.picks / self.expected


@dataclass(frozen=True)
class PickFacts:
    """One pick with the reason for it."""

    number: int
    """1 for the first."""
    id: Passage
    source: Passage
    kind: str
    gain: float | None
    distance: float | None
    nearest: Passage | None
    quality: float | None
    origin: str | None
    n_turns: int
    """Earlier turns of the conversation."""
    problem: Passage
    solution: Passage


@dataclass(frozen=True)
class AsideFacts:
    """Rows that something happened to; nothing is left out in silence."""

    n_rejected: int
    n_anchors_rejected: int
    reasons: tuple[tuple[Passage, int], ...]
    """The most frequent reasons."""
    n_reasons: int
    rejected: tuple[tuple[Passage, Passage, Passage], ...]
    """Where, reason and content of the first."""
    n_affected: int
    """Scored rows and anchors that did not fit the model's context."""
    affected: tuple[tuple[Passage, Passage], ...]
    """Id and what happened, of the first."""
    n_truncated: int
    """Rows of which the embedder read the beginning only."""


@dataclass(frozen=True)
class RunFacts:
    """Everything that is shown."""

    name: str
    config: Mapping[str, Any]
    manifests: Mapping[str, Mapping[str, Any]]
    n_rows: int
    n_picks: int
    sources: tuple[SourceFacts, ...]
    comparison: Comparison
    distances: Curve | None
    """Distance of each pick to its nearest earlier pick, along the budget."""
    qualities: Curve | None
    """Mean quality of the picks so far, along the budget."""
    budgets: tuple[Mapping[str, Any], ...]
    """What was asked for, and the rows and tokens that it came to; the largest first."""
    prefix_closed: bool
    """Whether the first picks are the selection for a smaller budget."""
    radius: Curve
    """Covering radius along the budget: the largest distance of a row of the pool to its nearest pick."""
    mean_distance: Curve
    """Mean of those distances, along the budget."""
    knee: tuple[int, float] | None
    """Budget after which more rows bring the pool little nearer, and the mean distance there."""
    metric: str
    """Of those distances."""
    mean_quality: float | None
    """Of the pool."""
    mean_real_quality: float | None
    """Of the rows that were really scored."""
    agreement: Mapping[str, Any] | None
    """Of predicted with real quality."""
    anchor_groups: AnchorGroups | None
    """None without quality, or where the run is from before they were measured."""
    first_picks: tuple[PickFacts, ...]
    last_picks: tuple[PickFacts, ...]
    """Those after the first ones only."""
    aside: AsideFacts
    cleaning: CleaningFacts | None
    """None where nothing was looked for."""
    samples: SampleFacts | None
    """Map and table; None where none were asked for."""


def read_facts(directory: Path, *, label_key: str | None = None, settings: ReportConfig | None = None) -> RunFacts:
    """Everything that a report of a run shows.

    Args:
        directory: of a finished run.
        label_key: a key of the rows' `meta` by which picks are counted as well.
        settings: what of map and samples is shown; as the run's own configuration says by default.

    Raises:
        RunError: a stage is missing.
        CorruptError: a file is not what its manifest says.
        InputError: no row has `label_key`.
    """
    run = open_run(directory)
    covered = run.coverage
    n_picks = len(run.picks)
    first = range(min(n_picks, _FIRST_PICKS))
    last = range(max(len(first), n_picks - _LAST_PICKS), n_picks)
    return RunFacts(
        name=directory.resolve().name,
        config=run.config,
        manifests=run.manifests,
        n_rows=len(run.pool),
        n_picks=n_picks,
        sources=_sources(run),
        comparison=compare_with_random(run, label_key),
        distances=binned_means(floats(run.reasons["distance"])),
        qualities=running_mean(floats(run.reasons["quality"])) if run.has_quality else None,
        budgets=tuple(run.manifests["select"]["budgets"]),
        prefix_closed=run.manifests["select"].get("prefix_closed", True),
        radius=along_budgets(covered.budgets, covered.radius),
        mean_distance=along_budgets(covered.budgets, covered.mean_distance),
        knee=_knee(covered),
        metric=covered.metric,
        mean_quality=None if run.quality is None else float(np.nanmean(run.quality, dtype=np.float64)),
        mean_real_quality=None if run.real is None else _mean(_scored(run.real.quality)),
        agreement=run.manifests["scorer"]["fidelity"] if run.is_scored else None,
        anchor_groups=run.anchor_groups,
        first_picks=_picks(run, first),
        last_picks=_picks(run, last),
        aside=_aside(run),
        cleaning=read_cleaning(directory, run.manifests),
        samples=read_samples(run, settings or report_settings(run.config)),
    )


def report_settings(config: Mapping[str, Any]) -> ReportConfig:
    """What the configuration of a run says of its page; the defaults for a run from before it said anything."""
    return read_settings(ReportConfig, config.get("report") or {})


def _knee(covered: Coverage) -> tuple[int, float] | None:
    if (knee := covered.knee) is None:
        return None
    return knee, float(covered.mean_distance[covered.budgets == knee][0])


def _sources(run: FinishedRun) -> tuple[SourceFacts, ...]:
    """Every source, that with the most picks first."""
    scored = _real_by_source(run.real)
    counts = np.bincount(run.pool.source_codes[run.picks], minlength=len(run.pool.sources))
    taken = np.zeros(len(run.pool), np.bool_)
    taken[run.picks] = True
    found: list[SourceFacts] = []
    edges = _edges(run)
    for (name, rows), n_picks in zip(run.pool.rows_by_source().items(), counts.tolist(), strict=True):
        quality = np.empty(0) if run.quality is None else _scored(run.quality[rows].astype(np.float64))
        picked = np.empty(0) if run.quality is None else _scored(run.quality[rows[taken[rows]]].astype(np.float64))
        real = scored.get(name, np.empty(0))
        least, low, median, high, most = np.quantile(quality, [0, 0.25, 0.5, 0.75, 1]) if len(quality) else np.zeros(5)
        found.append(
            SourceFacts(
                name=line(name),
                rows=len(rows),
                share=len(rows) / len(run.pool),
                picks=n_picks,
                pick_share=n_picks / len(run.picks),
                expected=len(run.picks) * len(rows) / len(run.pool),
                quality=_mean(quality),
                pick_quality=_mean(picked),
                real_quality=_mean(real),
                n_real=len(real),
                quartiles=(float(least), float(low), float(median), float(high), float(most)) if len(quality) else None,
                histogram=_histogram(quality, edges),
                pick_histogram=_histogram(picked, edges),
            )
        )
    return tuple(sorted(found, key=lambda source: (-source.picks, -source.rows)))


def _edges(run: FinishedRun) -> Float[np.ndarray, " e"]:
    known = np.zeros(1) if run.quality is None else _scored(run.quality.astype(np.float64))
    return np.linspace(known.min(initial=np.inf), known.max(initial=-np.inf), _BINS + 1) if len(known) else np.zeros(1)


def _histogram(values: Float[np.ndarray, " k"], edges: Float[np.ndarray, " e"]) -> tuple[float, ...]:
    """Shares of the fullest bin; nothing without values."""
    if len(values) == 0 or not edges[0] < edges[-1]:
        return ()
    counts = np.histogram(values, edges)[0]
    return tuple((counts / counts.max()).round(3).tolist())


def _real_by_source(real: RealQuality | None) -> dict[str, Float[np.ndarray, " k"]]:
    if real is None:
        return {}
    sources = np.array(real.sources, dtype=object)
    return {name: _scored(real.quality[sources == name]) for name in dict.fromkeys(real.sources)}


def _picks(run: FinishedRun, steps: range) -> tuple[PickFacts, ...]:
    reasons = run.reasons
    rows = run.pool.take(run.picks[steps.start : steps.stop])
    return tuple(
        PickFacts(
            number=step + 1,
            id=line(row.id),
            source=line(row.source),
            kind=row.kind,
            gain=reasons["gain"][step],
            distance=reasons["distance"][step],
            nearest=None if (nearest := reasons["nearest"][step]) is None else line(nearest),
            quality=reasons["quality"][step],
            origin=reasons["quality_origin"][step],
            n_turns=len(row.context),
            problem=beginning(row.problem),
            solution=beginning(row.solution),
        )
        for step, row in zip(steps, rows, strict=True)
    )


def _aside(run: FinishedRun) -> AsideFacts:
    reasons = sorted(run.manifests["pool"]["rejected_reasons"].items(), key=lambda item: -item[1])
    affected: dict[str, str] = run.manifests["influence"]["affected_rows"] if run.is_scored else {}
    return AsideFacts(
        n_rejected=run.manifests["pool"]["rejected"],
        n_anchors_rejected=run.manifests["anchors"]["anchors_rejected"] if run.is_scored else 0,
        reasons=tuple((line(reason), count) for reason, count in reasons[:_FIRST_ASIDE]),
        n_reasons=len(reasons),
        rejected=tuple(
            (line(r.where), line(r.reason), beginning(r.content, length=r.length)) for r in run.rejected(_FIRST_ASIDE)
        ),
        n_affected=len(affected),
        affected=tuple((line(name), line(why)) for name, why in list(affected.items())[:_FIRST_ASIDE]),
        n_truncated=run.manifests["embed"]["truncated"],
    )


def _scored(quality: Float[np.ndarray, " k"]) -> Float[np.ndarray, " s"]:
    return quality[np.isfinite(quality)]


def _mean(values: Float[np.ndarray, " k"]) -> float | None:
    return float(values.mean()) if len(values) else None

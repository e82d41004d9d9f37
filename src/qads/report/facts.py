"""Everything that a report shows, as numbers and short texts: a run directory -> `RunFacts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from qads.analyze import SelectionSummary, summarize_selection
from qads.errors import InputError
from qads.pool import Pool
from qads.report.curves import Curve, binned_means, running_mean
from qads.report.evidence import FinishedRun, open_run
from qads.selection import RandomSelection

__all__ = ["Passage", "PickFacts", "RunFacts", "SourceFacts", "read_facts"]

_RANDOM_SEEDS = (0, 1, 2)
_FIRST_PICKS, _LAST_PICKS = 50, 10
_FIRST_ASIDE = 20
_MOST_LABELS = 20
_TEXT, _LINE = 400, 120
"""Characters of a text, and of a name or reason, that are shown."""


@dataclass(frozen=True)
class Passage:
    """The beginning of a text."""

    text: str
    length: int
    """Characters of the whole text."""

    @property
    def is_cut(self) -> bool:
        """Whether there is more."""
        return len(self.text) < self.length


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
    """Mean over its rows in the pool, real or predicted."""
    pick_quality: float | None
    """Mean over its picks; None without any."""
    real_quality: float | None
    """Mean over its rows that were really scored."""
    n_real: int
    quartiles: tuple[float, float, float, float, float] | None
    """Least, first quartile, median, third quartile and greatest quality of its rows."""

    @property
    def lift(self) -> float:
        """Picks in relation to those expected."""
        return self.picks / self.expected


@dataclass(frozen=True)
class Spread:
    """One number over several random selections."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Measure:
    """One number of this selection and of random ones."""

    name: str
    chosen: float
    random: Spread


@dataclass(frozen=True)
class LabelFacts:
    """The rows of one label."""

    name: Passage
    rows: int
    picks: int
    random: Spread


@dataclass(frozen=True)
class AnchorGroups:
    """Mean quality of candidate sources on the anchors of each source."""

    anchor_sources: tuple[Passage, ...]
    rows: tuple[tuple[Passage, int, tuple[float | None, ...]], ...]
    """Candidate source, its scored rows, a mean for each of `anchor_sources`."""


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
    measures: tuple[Measure, ...]
    n_random: int
    label_key: str | None
    labels: tuple[LabelFacts, ...]
    distances: Curve | None
    """Distance of each pick to its nearest earlier pick, along the budget."""
    qualities: Curve | None
    """Mean quality of the picks so far, along the budget."""
    mean_quality: float | None
    """Of the pool."""
    agreement: Mapping[str, float | None] | None
    """Of predicted with real quality."""
    anchor_groups: AnchorGroups | None
    first_picks: tuple[PickFacts, ...]
    last_picks: tuple[PickFacts, ...]
    """Those after the first ones only."""
    aside: AsideFacts


def read_facts(directory: Path, *, label_key: str | None = None) -> RunFacts:
    """Everything that a report of a run shows.

    Args:
        directory: of a finished run.
        label_key: a key of the rows' `meta` by which picks are counted as well.

    Raises:
        RunError: a stage is missing.
        CorruptError: a file is not what its manifest says.
        InputError: no row has `label_key`.
    """
    run = open_run(directory)
    n_picks, table = len(run.picks), run.selection
    labels = _labels(run.pool, label_key)
    chosen, random = _summaries(run, labels)
    first = range(min(n_picks, _FIRST_PICKS))
    last = range(max(len(first), n_picks - _LAST_PICKS), n_picks)
    return RunFacts(
        name=directory.resolve().name,
        config=run.config,
        manifests=run.manifests,
        n_rows=len(run.pool),
        n_picks=n_picks,
        sources=_sources(run),
        measures=_measures(chosen, random),
        n_random=len(random),
        label_key=label_key,
        labels=_label_facts(labels, chosen, random) if label_key else (),
        distances=binned_means(_floats(table["distance"])),
        qualities=running_mean(_floats(table["quality"])) if run.has_quality else None,
        mean_quality=None if run.quality is None else float(run.quality.mean(dtype=np.float64)),
        agreement=run.manifests["quality"]["agreement"] if run.has_quality else None,
        anchor_groups=None if run.real is None else _anchor_groups(run.real),
        first_picks=_picks(run, first),
        last_picks=_picks(run, last),
        aside=_aside(run),
    )


def _sources(run: FinishedRun) -> tuple[SourceFacts, ...]:
    """Every source, that with the most picks first."""
    scored = _real_by_source(run.real)
    counts = np.bincount(run.pool.source_codes[run.picks], minlength=len(run.pool.sources))
    taken = np.zeros(len(run.pool), np.bool_)
    taken[run.picks] = True
    found: list[SourceFacts] = []
    for (name, rows), n_picks in zip(run.pool.rows_by_source().items(), counts.tolist(), strict=True):
        quality = None if run.quality is None else run.quality[rows].astype(np.float64)
        real = scored.get(name, np.empty(0))
        least, low, median, high, most = np.zeros(5) if quality is None else np.quantile(quality, [0, 0.25, 0.5, 0.75, 1])
        found.append(
            SourceFacts(
                name=_line(name),
                rows=len(rows),
                share=len(rows) / len(run.pool),
                picks=n_picks,
                pick_share=n_picks / len(run.picks),
                expected=len(run.picks) * len(rows) / len(run.pool),
                quality=_mean(quality),
                pick_quality=None if quality is None else _mean(quality[taken[rows]]),
                real_quality=_mean(real),
                n_real=len(real),
                quartiles=None if quality is None else (float(least), float(low), float(median), float(high), float(most)),
            )
        )
    return tuple(sorted(found, key=lambda source: (-source.picks, -source.rows)))


def _real_by_source(real: pa.Table | None) -> dict[str, Float[np.ndarray, " k"]]:
    if real is None:
        return {}
    names, quality = np.array(real["source"].to_pylist(), dtype=object), _floats(real["quality"])
    scored = np.isfinite(quality)
    return {str(name): quality[scored & (names == name)] for name in dict.fromkeys(names)}


def _summaries(run: FinishedRun, labels: Sequence[str]) -> tuple[SelectionSummary, list[SelectionSummary]]:
    """This selection and random ones of the same budget."""

    def summary(name: str, indices: Int[np.ndarray, " k"]) -> SelectionSummary:
        return summarize_selection(name, indices, embeddings=run.embeddings, quality=run.quality, labels=labels)

    draws = [RandomSelection(seed=seed)(run.embeddings, budget=len(run.picks)) for seed in _RANDOM_SEEDS]
    return summary("chosen", run.picks), [summary("random", draw.indices) for draw in draws]


def _measures(chosen: SelectionSummary, random: Sequence[SelectionSummary]) -> tuple[Measure, ...]:
    names = ("n_rows", "coverage_radius", "mean_distance", *(() if chosen.mean_quality is None else ("mean_quality",)))
    return tuple(Measure(name, getattr(chosen, name), _spread([getattr(s, name) for s in random])) for name in names)


def _labels(pool: Pool, key: str | None) -> list[str]:
    if key is None:
        return [""] * len(pool)
    metas = [row.meta for row in pool]
    if not any(key in meta for meta in metas):
        raise InputError(f"label_key: no row of the pool has {key!r} in its meta; name a column that the sources have.")
    return ["clean" if (label := meta.get(key)) is None else str(label) for meta in metas]


def _label_facts(
    labels: Sequence[str], chosen: SelectionSummary, random: Sequence[SelectionSummary]
) -> tuple[LabelFacts, ...]:
    names, counts = np.unique(np.array(labels, dtype=object), return_counts=True)
    ordered = [(str(names[i]), int(counts[i])) for i in np.argsort(-counts, kind="stable")]
    found = [
        LabelFacts(_line(name), rows, chosen.counts[name], _spread([s.counts[name] for s in random]))
        for name, rows in ordered[:_MOST_LABELS]
    ]
    if rest := ordered[_MOST_LABELS:]:
        sums = [sum(s.counts[name] for name, _ in rest) for s in (chosen, *random)]
        name = _line(f"{len(rest)} other labels")
        found.append(LabelFacts(name, sum(rows for _, rows in rest), sums[0], _spread(sums[1:])))
    return tuple(found)


def _anchor_groups(real: pa.Table) -> AnchorGroups:
    columns = [name for name in real.column_names if name.startswith("quality on ")]
    values = np.stack([_floats(real[name]) for name in columns], axis=1)
    names = np.array(real["source"].to_pylist(), dtype=object)
    rows = []
    for name in dict.fromkeys(names):
        of_source = values[names == name]
        means = tuple(_mean(column[np.isfinite(column)]) for column in of_source.T)
        rows.append((_line(str(name)), len(of_source), means))
    return AnchorGroups(tuple(_line(name.removeprefix("quality on ")) for name in columns), tuple(rows))


def _picks(run: FinishedRun, steps: range) -> tuple[PickFacts, ...]:
    reasons = run.selection.slice(steps.start, len(steps)).to_pylist()
    rows = run.pool.take(run.picks[steps.start : steps.stop])
    return tuple(
        PickFacts(
            number=reason["step"] + 1,
            id=_line(row.id),
            source=_line(row.source),
            kind=row.kind,
            gain=reason["gain"],
            distance=reason["distance"],
            nearest=None if reason["nearest"] is None else _line(reason["nearest"]),
            quality=reason["quality"],
            origin=reason["quality_origin"],
            n_turns=len(row.context),
            problem=_text(row.problem),
            solution=_text(row.solution),
        )
        for reason, row in zip(reasons, rows, strict=True)
    )


def _aside(run: FinishedRun) -> AsideFacts:
    reasons = sorted(run.manifests["pool"]["rejected_reasons"].items(), key=lambda item: -item[1])
    affected = run.manifests["influence"]["affected_rows"] if run.has_quality else {}
    return AsideFacts(
        n_rejected=run.manifests["pool"]["rejected"],
        n_anchors_rejected=run.manifests["anchors"]["anchors_rejected"] if run.has_quality else 0,
        reasons=tuple((_line(reason), count) for reason, count in reasons[:_FIRST_ASIDE]),
        n_reasons=len(reasons),
        rejected=tuple((_line(r.where), _line(r.reason), _text(r.content)) for r in run.rejected(_FIRST_ASIDE)),
        n_affected=len(affected),
        affected=tuple((_line(name), _line(why)) for name, why in list(affected.items())[:_FIRST_ASIDE]),
        n_truncated=run.manifests["embed"]["truncated"],
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(min(values)), float(max(values)))


def _floats(column: pa.ChunkedArray) -> Float[np.ndarray, " k"]:
    """A column with its nulls as NaN."""
    return np.array([np.nan if value is None else value for value in column.to_pylist()], np.float64)


def _mean(values: Float[np.ndarray, " k"] | None) -> float | None:
    return None if values is None or len(values) == 0 else float(values.mean())


def _line(text: str) -> Passage:
    return Passage(text[:_LINE], len(text))


def _text(text: str) -> Passage:
    return Passage(text[:_TEXT], len(text))

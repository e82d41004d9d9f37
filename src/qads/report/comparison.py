"""A selection against random ones of the same budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from qads.analyze import SelectionSummary, summarize_selection
from qads.errors import InputError
from qads.pool import Pool
from qads.report.evidence import FinishedRun
from qads.report.passages import Passage, line
from qads.selection import RandomSelection

__all__ = ["Comparison", "LabelFacts", "Measure", "Spread", "compare_with_random"]

_SEEDS = (0, 1, 2)
_MOST_MEASURED = 1 << 17
"""Rows of which distances are measured."""
_MOST_LABELS = 20


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
    share: float
    """Of the pool."""
    picks: int
    random: Spread


@dataclass(frozen=True)
class Comparison:
    """This selection and random ones."""

    measures: tuple[Measure, ...]
    seeds: tuple[int, ...]
    """Of the random selections."""
    n_measured: int | None
    """Rows of the pool, drawn evenly, whose distances are measured; None where all are."""
    label_key: str | None
    labels: tuple[LabelFacts, ...]
    """The most frequent label first; the rare ones together."""


def compare_with_random(run: FinishedRun, label_key: str | None) -> Comparison:
    """Coverage, quality and, where asked for, labels of the picks of a run and of random rows.

    Raises:
        InputError: no row has `label_key`.
    """
    labels = _labels(run.pool, label_key)
    measured = _measured(len(run.pool))

    def summary(name: str, indices: Int[np.ndarray, " k"]) -> SelectionSummary:
        return summarize_selection(
            name, indices, embeddings=run.embeddings, quality=run.quality, labels=labels, measured=measured
        )

    chosen = summary("chosen", run.picks)
    draws = [RandomSelection(seed=seed)(run.embeddings, budget=len(run.picks)) for seed in _SEEDS]
    random = [summary("random", draw.indices) for draw in draws]
    return Comparison(
        measures=_measures(chosen, random),
        seeds=_SEEDS,
        n_measured=None if measured is None else len(measured),
        label_key=label_key,
        labels=_label_facts(labels, chosen, random) if label_key is not None else (),
    )


def _measured(n_rows: int) -> Int[np.ndarray, " m"] | None:
    """The rows whose distances to picks are measured: every pick is held against each, so of a large pool a draw."""
    return None if n_rows <= _MOST_MEASURED else np.sort(np.random.default_rng(0).choice(n_rows, _MOST_MEASURED, False))


def _measures(chosen: SelectionSummary, random: Sequence[SelectionSummary]) -> tuple[Measure, ...]:
    names = ["n_rows", "coverage_radius", "mean_distance"]
    if chosen.mean_quality is not None:
        names.append("mean_quality")
    return tuple(
        Measure(name, float(getattr(chosen, name)), _spread([getattr(s, name) for s in random])) for name in names
    )


def _labels(pool: Pool, key: str | None) -> list[str]:
    if key is None:
        return [""] * len(pool)
    found = pool.meta(key)
    if all(label is None for label in found):
        raise InputError(f"label_key: no row of the pool has {key!r} in its meta; name a column that the sources have.")
    return ["clean" if label is None else str(label) for label in found]


def _label_facts(
    labels: Sequence[str], chosen: SelectionSummary, random: Sequence[SelectionSummary]
) -> tuple[LabelFacts, ...]:
    names, counts = np.unique(np.array(labels, dtype=object), return_counts=True)
    ordered = [(str(names[i]), int(counts[i])) for i in np.argsort(-counts, kind="stable")]
    groups = [(name, [name]) for name, _ in ordered[:_MOST_LABELS]]
    if rare := [name for name, _ in ordered[_MOST_LABELS:]]:
        groups.append((f"{len(rare)} other labels", rare))
    rows = dict(ordered)
    return tuple(
        LabelFacts(
            name=line(title),
            rows=(n := sum(rows[name] for name in members)),
            share=n / len(labels),
            picks=sum(chosen.counts[name] for name in members),
            random=_spread([sum(s.counts[name] for name in members) for s in random]),
        )
        for title, members in groups
    )


def _spread(values: Sequence[int | float]) -> Spread:
    return Spread(float(np.mean(values)), float(min(values)), float(max(values)))

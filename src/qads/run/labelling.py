"""Score rows in rounds: what a plan asks for, by the methods of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.cluster import Grid
from qads.pool import Pool
from qads.quality import Influence, LabellingPlan, Prediction, ProbeScorer, RetrievalScorer
from qads.quality.scorers import FittedProbe, FittedScorer
from qads.quality.scorers.reading import Readings
from qads.run.clusters import near_duplicates
from qads.run.context import Facts, StageContext, write_array
from qads.run.directory import StageDirectory
from qads.run.labels import Labels
from qads.run.shards import DiskShards

__all__ = ["score_in_rounds"]

_ROWS_AT_A_TIME = 512
"""Watched rows whose intervals are computed at once: what is known of them stands in memory beside the labels."""


def score_in_rounds(context: StageContext, stage: StageDirectory) -> tuple[Influence, Facts]:
    """Candidates x anchors, as many as the plan asks for -> labelled.npy; the scores in the order of the rounds.

    Every round has shards of its own, and so has the reading of the watched rows: a killed run scores and reads again
    only the shards that were at work. Which rows a round has follows from the scores of those before, so the plan is
    gone through from its beginning, and the scorer of every round is fitted again.
    """
    quality = context.config.quality
    assert quality is not None and isinstance(quality.labelling, LabellingPlan)
    rounds = _Rounds(context, stage)
    drawn = np.load(context.stages["anchors"].path / "first.npy")
    first = np.searchsorted(context.candidates, drawn).astype(np.int64)
    found = quality.labelling(
        rounds.watched, first, quality.sample, label=rounds.label, fit=rounds.fit, widths=rounds.widths
    )
    write_array(context.candidates[found.rows], stage.path / "labelled.npy")
    return Influence.joined(rounds.parts), {
        "evenly_drawn": found.n_first,
        "labelling": {"ended": found.ended, "rounds": [dataclasses.asdict(each) for each in found.rounds]},
    }


class _Rounds:
    """The rounds so far: their scores, and what the scorer needs of the rows that are watched."""

    def __init__(self, context: StageContext, stage: StageDirectory) -> None:
        assert context.config.quality is not None
        self._context, self._stage, self._quality = context, stage, context.config.quality
        self.watched: Pool = context.pool.take(context.candidates)
        self._embeddings = context.embeddings[context.candidates]
        self._clusters = near_duplicates(self.watched)
        self._readings: Readings | None = None
        self.parts: list[Influence] = []

    def label(self, number: int, rows: Int[np.ndarray, " r"]) -> None:
        """Score the rows of a round."""
        context = self._context
        self.parts.append(
            self._quality.influence(
                self.watched.take(rows),
                context.anchors,
                known=[run.influence for run in context.reused],
                execution=context.config.execution,
                shards=DiskShards(self._stage.path / "shards" / f"round-{number:03d}"),
                progress=context.progress,
            )
        )

    def fit(
        self, rows: Int[np.ndarray, " k"], judges: Bool[np.ndarray, " k"]
    ) -> tuple[FittedScorer, Float[np.ndarray, " k"]]:
        """The scorer fitted on the rows of all rounds, and their quality."""
        labels = Labels(self._quality, self.watched.take(rows), Influence.joined(self.parts))
        method = self._quality.scorer_method
        assert isinstance(method, ProbeScorer | RetrievalScorer), "the configuration refuses others"
        known: dict[str, Any] = {}
        if isinstance(method, ProbeScorer) and method.reads_model:
            known = {"readings": self._read(method).take(rows)}
        fitted = method.fit(
            labels.rows, labels.quality, embeddings=self._embeddings[rows], groups=self._clusters[rows], judges=judges,
            execution=self._context.config.execution, **known,
        )  # fmt: skip
        return fitted, labels.quality

    def widths(self, fitted: FittedScorer) -> Float[np.ndarray, " w"]:
        """The predictive interval of every watched row; NaN for one that the scorer cannot read."""
        opened = None if isinstance(fitted, FittedProbe) else fitted.opened(self._context.config.execution)

        def predict(rows: range) -> Prediction:
            some, vectors = self.watched.slice(rows), self._embeddings[rows.start : rows.stop]
            if opened is not None:
                return opened(some, vectors)
            assert isinstance(fitted, FittedProbe)
            read = None if self._readings is None else self._readings.take(np.arange(rows.start, rows.stop))
            return fitted.predict_read(some, vectors, read)

        parts = [predict(rows) for _, rows in Grid(n_rows=len(self.watched), rows_per_shard=_ROWS_AT_A_TIME)]
        return np.concatenate([found.high - found.low for found in parts]).astype(np.float64)

    def _read(self, method: ProbeScorer) -> Readings:
        """What the model makes of the watched rows, once."""
        if self._readings is None:
            context = self._context
            self._readings = method.read(
                self.watched, context.config.execution, context.progress,
                shards=DiskShards(self._stage.path / "shards" / "reading"),
            )  # fmt: skip
        return self._readings

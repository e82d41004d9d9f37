"""A test of a run's scorer on rows that took no part in fitting or choosing: drawn anew, scored for real, predicted.

Folds of the labelled rows say how well such a scorer does; that its settings were tried on them beforehand, they cannot
show. Rows that nobody has looked at can.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from qads.config import QualityConfig, RunConfig
from qads.errors import InputError, RunError
from qads.pool import Pool
from qads.quality import AnchorGroups, EveryAnchor, Influence, Prediction, load_scorer, stratified_sample
from qads.quality.fidelity import FidelityReport, HeldOut, ScoringCost, fidelity
from qads.run.clusters import near_duplicates
from qads.run.context import StageContext, write_table
from qads.run.directory import RunDirectory, StageDirectory, StagePlan
from qads.run.labels import Labels
from qads.run.observing import Observer
from qads.run.plan import method_identity
from qads.run.sealed import write_json
from qads.run.status import stages_of_run

__all__ = ["Validation", "validate_scorer"]

_FEWEST = 10
_LABELLED_BEFORE = "near duplicate of a row that was fitted on"


@dataclass(frozen=True, eq=False)
class Validation:
    """What a test on new rows found, and where it is kept."""

    folder: Path
    report: FidelityReport
    held_out: HeldOut


def validate_scorer(root: Path, config: RunConfig, n_labels: int, *, seed: int, observer: Observer) -> Validation:
    """Draw rows that the scorer of a run has not seen, score them for real, and compare with what it says of them.

    Rows with a problem of a labelled row or of an anchor are not drawn, and near duplicates of labelled rows are left
    out and counted. Every row is scored on every anchor, whatever stops the run's own scoring early. What is scored is
    kept in `validation/` in the run directory: a killed test goes on, a larger one of the same seed takes over what a
    smaller one scored.

    Args:
        root: directory of a run of which the stage `scorer` is complete.
        config: of the run; where the model runs may differ.
        n_labels: rows to draw, evenly over the sources.
        seed: of the draw.
        observer: hears of progress.

    Raises:
        InputError: fewer than 10 rows are asked for or can be drawn.
        RunError: the run fitted no scorer.
        LockedError: another run is in the directory.
    """
    if n_labels < _FEWEST:
        raise InputError(f"validate-scorer: {n_labels} rows asked for; a test needs {_FEWEST} at least.")
    with RunDirectory(root).lock():
        test = _Test(root, config, n_labels, seed)
        observer.stage_started("label", 1, 2)
        scored = test.scored(observer)
        observer.stage_started("predict", 2, 2)
        return test.compared(scored, observer)


class _Test:
    """Rows that were drawn from the pool of a run."""

    def __init__(self, root: Path, config: RunConfig, n_labels: int, seed: int) -> None:
        if config.quality is None or not (root / "scorer" / "scorer.json").is_file():
            raise RunError(
                f"{root}: this run fitted no scorer (it scored every row, none, or used one that was fitted before). "
                "Give the run that fitted it."
            )
        self.root, self.n_labels, self.seed = root, n_labels, seed
        names = stages_of_run(root, dataclasses.asdict(config))
        stages = {name: RunDirectory(root).stage(StagePlan(name, {})) for name in names}
        self.context = StageContext(config, stages, lambda done, total: None, (), ())
        self.quality: QualityConfig = config.quality
        self.labels = Labels.of(self.context)
        self.method = dataclasses.replace(self.quality.influence, stopping=EveryAnchor())

    @cached_property
    def _made_of(self) -> dict[str, Any]:
        """What scores must have in common to be of one kind: other anchors or other labels are another test."""
        of = {name: (self.context.stages[name].manifest() or {})["fingerprint"] for name in ("anchors", "influence")}
        return {"influence": method_identity(self.method, self.context.config), "of": of}

    @cached_property
    def stage(self) -> StageDirectory:
        """Where the test is kept."""
        plan = StagePlan("validation", {"labels": self.n_labels, "seed": self.seed, **self._made_of})
        name = f"{self.n_labels}-rows-seed-{self.seed}-{plan.fingerprint[:8]}"
        return StageDirectory(self.root / "validation" / name, plan)

    @cached_property
    def drawn(self) -> Int[np.ndarray, " k"]:
        """Positions in the pool."""
        pool, known = self.context.pool, set(self.labels.rows.problem_keys) | set(self.context.anchors.problem_keys)
        seen = [i for i, key in enumerate(pool.problem_keys) if key in known]
        rows = stratified_sample(pool, self.n_labels, exclude=seen, seed=self.seed)
        if len(rows) < _FEWEST:
            raise InputError(
                f"validate-scorer: {len(rows)} of {len(pool)} rows have a problem that was neither labelled nor is an "
                f"anchor's; a test needs {_FEWEST} at least."
            )
        return rows

    @cached_property
    def clusters(self) -> Int[np.ndarray, " k"]:
        """Near duplicates among the drawn rows have one number; −1 for those of labelled rows."""
        labelled = self.labels.rows
        rows = [*labelled, *self.context.pool.take(self.drawn)]
        found = near_duplicates(Pool.from_rows(rows))
        mine, theirs = found[len(labelled) :], found[: len(labelled)]
        return np.where(np.isin(mine, theirs), -1, mine)

    @property
    def is_new(self) -> Bool[np.ndarray, " k"]:
        """Drawn rows that are unlike every labelled one."""
        return self.clusters >= 0

    @cached_property
    def rows(self) -> Pool:
        """The new rows."""
        places = self.drawn[self.is_new]
        if len(places) < _FEWEST:
            raise InputError(
                f"validate-scorer: of {len(self.drawn)} drawn rows {len(self.drawn) - len(places)} are near duplicates "
                f"of rows that were fitted on, which leaves {len(places)}; a test needs {_FEWEST} at least. Ask for "
                "more (--labels)."
            )
        return self.context.pool.take(places)

    def scored(self, observer: Observer) -> Influence:
        """Their influence, from the disk where it is there."""
        file = self.stage.path / "influence.parquet"
        if self.stage.manifest() is not None:
            self.stage.check_files()
            return Influence.from_table(pq.read_table(file))
        self.stage.begin()
        found = self.method(
            self.rows, self.context.anchors, known=list(self._scored_before()),
            execution=self.context.config.execution, shards=self.stage.shards, progress=observer.progress,
        )  # fmt: skip
        write_table(found.to_table(), file)
        facts = {
            "rows": len(found.candidate_ids), "tokens": found.cost.tokens, "flops": found.cost.flops,
            "model_seconds": found.cost.seconds, "pairs_reused": found.n_reused,
        }  # fmt: skip
        self.stage.finish(seconds=found.cost.seconds, facts=facts)
        return found

    def _scored_before(self) -> Iterator[Influence]:
        """What earlier tests with the same model and anchors have scored."""
        for folder in sorted((self.root / "validation").glob("*-rows-seed-*")):
            stage = StageDirectory(folder, StagePlan("validation", {}))
            settings = (stage.manifest() or {}).get("settings", {})
            same = StagePlan("validation", {**settings, **self._made_of})
            if settings and same.fingerprint == StagePlan("validation", settings).fingerprint:
                stage.check_files()
                yield Influence.from_table(pq.read_table(folder / "influence.parquet"))

    def compared(self, scored: Influence, observer: Observer) -> Validation:
        """What the scorer says of them, against what was measured."""
        fitted = load_scorer(self.root / "scorer")
        places = self.drawn[self.is_new]
        predicted = fitted.prediction(
            self.rows, np.asarray(self.context.embeddings[places]), execution=self.context.config.execution,
            progress=observer.progress,
        )  # fmt: skip
        influence = self._quality_influence(scored)
        real = influence.quality(self.quality.aggregate)
        held_out = self._held_out(real, predicted)
        terms = influence.terms(self.quality.aggregate)
        report = FidelityReport(
            fitted.described,
            fidelity(held_out, terms=terms, anchor_groups=scored.anchor_groups),
            cost=self._cost(predicted),
            unscored=self._unscored(real, predicted),
            groups=AnchorGroups.of(scored, self.rows.strings("source")),
        )
        write_table(held_out.to_table(), self.stage.path / "held_out.parquet")
        write_json(self.stage.path / "fidelity.json", report.as_json())
        return Validation(self.stage.path, report, held_out)

    def _quality_influence(self, scored: Influence) -> Influence:
        """The scores that quality is made of; what a style gives is known from labelled rows too."""
        if (style := self.quality.style) is None:
            return scored
        before, n_new = self.labels.measured, len(scored.candidate_ids)
        joined = dataclasses.replace(
            before,
            one_shot=np.vstack([before.one_shot, scored.one_shot]),
            candidate_ids=before.candidate_ids + scored.candidate_ids,
            left_out=None,
            origin=None,
        )
        whole = style(joined, Pool.from_rows([*self.labels.rows, *self.rows]))
        return dataclasses.replace(whole, one_shot=whole.one_shot[-n_new:], candidate_ids=scored.candidate_ids)

    def _held_out(self, real: Float[np.ndarray, " k"], predicted: Prediction) -> HeldOut:
        rows, sources = self.rows, np.array(self.labels.rows.strings("source"))
        known = np.isfinite(self.labels.quality)
        labels, sources = self.labels.quality[known], sources[known]
        means = {name: float(labels[sources == name].mean()) for name in np.unique(sources)}
        return HeldOut(
            id=tuple(rows.strings("id")),
            source=tuple(rows.strings("source")),
            real=real,
            predicted=predicted.quality.astype(np.float64),
            low=predicted.low.astype(np.float64),
            high=predicted.high.astype(np.float64),
            cluster=self.clusters[self.is_new],
            source_mean=None
            if self.labels.are_level
            else np.array([means.get(name, float(labels.mean())) for name in rows.strings("source")]),
            length=np.array([len(row.problem) + len(row.solution) for row in rows], np.int64),
        )

    def _unscored(self, real: Float[np.ndarray, " k"], predicted: Prediction) -> dict[str, int]:
        """Drawn rows that were not compared, by reason."""
        reasons = Counter({_LABELLED_BEFORE: int((~self.is_new).sum())})
        for i in np.flatnonzero(~np.isfinite(real) | ~np.isfinite(predicted.quality)):
            reasons[predicted.reasons.get(int(i), "no anchor could score it")] += 1
        return dict(+reasons)

    def _cost(self, predicted: Prediction) -> ScoringCost:
        """A row's share of what labelling it took, and of what predicting it took."""
        manifest = self.stage.manifest() or {}
        n_scored = manifest["rows"] if not manifest["pairs_reused"] else 0
        n_said = int(np.isfinite(predicted.quality).sum())

        def share(total: float | None, n: int) -> float:
            return total / n if total is not None and n else float("nan")

        return ScoringCost(
            n_anchors=len(self.context.anchors),
            real_tokens=share(manifest["tokens"], n_scored),
            real_flops=share(manifest["flops"], n_scored),
            real_seconds=share(manifest["model_seconds"], n_scored),
            predicted_tokens=share(predicted.cost.tokens, n_said),
            predicted_flops=share(predicted.cost.flops, n_said),
            predicted_seconds=share(predicted.cost.seconds, n_said),
        )

"""The stages that give every row its quality: labels from influence, a scorer fitted on them, what it predicts."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from qads.config import QualityConfig, SavedScorer
from qads.datasets import atomic_path
from qads.pool import Pool
from qads.quality import LMScorer, MadeFor, OneShotInfluence, Prediction, ProbeScorer, load_scorer
from qads.quality.fidelity import CurvePoint, Fidelity, FidelityReport, HeldOut, ScoringCost, fidelity
from qads.quality.scorers import FittedScorer
from qads.run.clusters import near_duplicates
from qads.run.context import Facts, StageContext, nullable, write_array, write_table
from qads.run.directory import StageDirectory
from qads.run.halves import AnchorHalves
from qads.run.labels import Labels
from qads.run.sealed import write_json

__all__ = ["check_saved_scorer", "run_quality", "run_scorer"]

_CURVE_BOOTSTRAPS = 300


def run_scorer(context: StageContext, stage: StageDirectory) -> Facts:
    """Labels -> scorer.json and scorer.safetensors, held_out.parquet, fidelity.json."""
    labels = Labels.of(context)
    n_labels = int(np.isfinite(labels.quality).sum())
    if n_labels == len(context.pool):
        return {"rows": n_labels, "labels": n_labels, "scorer": None, "fidelity": None, "tokens": 0, "flops": 0}
    clusters, halves = near_duplicates(labels.rows), AnchorHalves.of(labels)
    method = labels.config.scorer_method
    kept: dict[str, Any] = {"shards": stage.shards} if isinstance(method, ProbeScorer) else {}
    fitted = method.fit(
        labels.rows,
        labels.quality,
        embeddings=context.embeddings[context.labelled],
        groups=clusters,
        **_measuring(context, len(labels.rows), halves),
        made_for=_made_for(context),
        execution=context.config.execution,
        progress=context.progress,
        **kept,
    )
    fitted.save(stage.path)
    report = _measured(context, labels, fitted, clusters, halves, stage)
    return {
        "rows": n_labels,
        "labels": n_labels,
        "scorer": fitted.described,
        "fidelity": None if report is None else report.fidelity.summary(),
        "other_anchors": None
        if report is None or report.other_anchors is None
        else dataclasses.asdict(report.other_anchors),
        "tokens": (spent := fitted.reading + fitted.fitting).tokens,
        "flops": spent.flops,
        "model_seconds": round(spent.seconds, 3),
        "seconds_a_row": _seconds_a_row(context, fitted),
    }


def _measuring(context: StageContext, n_rows: int, halves: AnchorHalves | None) -> dict[str, Any]:
    """How a scorer that can be fitted again and again is measured: with a learning curve, halved anchors, and by whom.

    Where labels came in rounds, the rows of the first alone judge; the others were chosen since they are hard.
    """
    assert context.config.quality is not None
    if isinstance(context.config.quality.scorer, LMScorer):
        return {}
    n_first = (context.stages["influence"].manifest() or {}).get("evenly_drawn")
    also = None if halves is None else halves.qualities
    return {"curve": True, "also": also} | ({} if n_first is None else {"judges": np.arange(n_rows) < n_first})


def _measured(
    context: StageContext,
    labels: Labels,
    fitted: FittedScorer,
    clusters: Int[np.ndarray, " k"],
    halves: AnchorHalves | None,
    stage: StageDirectory,
) -> FidelityReport | None:
    """How well it predicts rows that it did not see; None where there are too few to say."""
    out = fitted.out_of_fold
    if out is None or np.isfinite(out.predicted).sum() < 10:
        return None
    rows = labels.rows
    held_out = HeldOut(
        source=tuple(rows.strings("source")), id=tuple(rows.strings("id")), real=labels.quality,
        predicted=out.predicted, low=out.low, high=out.high, fold=out.fold, cluster=clusters,
        source_mean=None if labels.are_level else out.source_mean,
        length=np.array([len(row.problem) + len(row.solution) for row in rows], np.int64),
    )  # fmt: skip
    write_table(held_out.to_table(), stage.path / "held_out.parquet")
    found = fidelity(held_out, terms=labels.terms, anchor_groups=labels.influence.anchor_groups)
    report = FidelityReport(
        fitted.described, found, curve=_curve(fitted, held_out, found), cost=_cost(context, fitted),
        groups=labels.anchor_groups, other_anchors=None if halves is None else halves.compared(fitted),
    )  # fmt: skip
    write_json(stage.path / "fidelity.json", report.as_json())
    return report


def _curve(fitted: FittedScorer, held_out: HeldOut, whole: Fidelity) -> tuple[CurvePoint, ...]:
    """Agreement with fewer labels, then with all that a fold leaves."""
    if not fitted.curve:
        return ()
    points: list[CurvePoint] = []
    for n_labels, fewer in fitted.curve:
        part = dataclasses.replace(held_out, predicted=fewer.predicted, low=None, high=None)
        found = fidelity(part, n_bootstraps=_CURVE_BOOTSTRAPS)
        points.append(CurvePoint(n_labels, found.overall["pearson"], found.within_source["pearson"]))
    n_fitted = round(whole.n_rows * (1 - 1 / whole.n_folds))
    return (*points, CurvePoint(n_fitted, whole.overall["pearson"], whole.within_source["pearson"]))


def _cost(context: StageContext, fitted: FittedScorer) -> ScoringCost:
    """A row's share of what scoring took, and of what reading takes; seconds are in the manifest."""
    scored = context.stages["influence"].manifest() or {}
    reading, n_read, n_scored = fitted.reading, fitted.n_read, _freshly_scored(scored)
    return ScoringCost(
        n_anchors=len(context.anchors),
        real_tokens=_share(scored.get("tokens"), n_scored),
        real_flops=_share(scored.get("flops"), n_scored),
        real_seconds=float("nan"),
        predicted_tokens=_share(reading.tokens, n_read),
        predicted_flops=_share(reading.flops, n_read),
        predicted_seconds=float("nan"),
    )


def _seconds_a_row(context: StageContext, fitted: FittedScorer) -> dict[str, float | None]:
    """What a row took, scored and read; None where scores were taken over from elsewhere."""
    scored = context.stages["influence"].manifest() or {}
    n_scored = _freshly_scored(scored)
    return {
        "real_seconds": round(scored["model_seconds"] / n_scored, 6) if n_scored else None,
        "predicted_seconds": round(fitted.reading.seconds / fitted.n_read, 6) if fitted.n_read else None,
    }


def _freshly_scored(manifest: Facts) -> int:
    """Rows that were scored here; 0 where scores of another run were taken over, whose cost is not known."""
    return 0 if manifest.get("pairs_reused") else manifest.get("rows", 0)


def _share(total: float | None, n: int) -> float:
    return float("nan") if total is None or not n else total / n


def _made_for(context: StageContext) -> MadeFor:
    """What a scorer of this run is fitted on and with."""
    config, pool = context.config, context.pool
    assert config.quality is not None
    return MadeFor(
        sources=tuple(pool.sources),
        pool=pool.fingerprint,
        anchors=context.anchors.fingerprint,
        influence=_identity(context, config.quality),
        embedding=context.embedding_identity,
        embedder=dataclasses.asdict(config.embedding),
    )


def _identity(context: StageContext, quality: QualityConfig) -> dict[str, Any]:
    """What makes the labels: another style is another quality, and none leaves no trace."""
    method, style = quality.influence, quality.style
    apart = {} if style is None else {"style": dataclasses.asdict(style)}
    return method.identity(context.config.execution) | {"aggregate": method.aggregate} | apart


def run_quality(context: StageContext, stage: StageDirectory) -> Facts:
    """Labels; with predictions of the rest -> quality.parquet, quality.npy, unscored.jsonl."""
    assert context.config.quality is not None
    n_rows = len(context.pool)
    quality, low, high = (np.full(n_rows, np.nan, np.float32) for _ in range(3))
    reasons: dict[int, str] = {}
    real = np.empty(0, np.int64)
    predicted = _predicted(context, stage)
    if predicted is not None:
        quality, low, high = (np.array(part) for part in (predicted.quality, predicted.low, predicted.high))
        reasons = dict(predicted.reasons)
    style = None
    if not isinstance(context.config.quality.scorer, SavedScorer):
        labels = Labels.of(context)
        style = _write_labels(labels, stage)
        known = np.isfinite(labels.quality)
        real = context.labelled[known]
        quality[real] = labels.quality[known]
    origin = np.where(np.isnan(quality), "none", "predicted").astype(object)
    origin[real] = "real"
    low[real] = high[real] = np.nan
    columns = {"quality": nullable(quality), "low": nullable(low), "high": nullable(high)}
    table = pa.table({"id": context.pool.table["id"], **columns, "origin": pa.array(origin, pa.string())})
    write_table(table, stage.path / "quality.parquet")
    write_array(quality, stage.path / "quality.npy")
    unscored = np.flatnonzero(np.isnan(quality))
    told = {int(i): reasons.get(int(i), "no anchor could score it, and nothing predicts it") for i in unscored}
    _write_unscored(context.pool, told, stage.path / "unscored.jsonl")
    spent = {} if predicted is None else {
        "tokens": predicted.cost.tokens, "flops": predicted.cost.flops,
        "model_seconds": round(predicted.cost.seconds, 3),
    }  # fmt: skip
    return {
        "rows": n_rows,
        "real": len(real),
        "predicted": n_rows - len(real) - len(told),
        "unscored": len(told),
        "unscored_reasons": dict(Counter(told.values())),
        "style": style,
        **spent,
    }


def _write_labels(labels: Labels, stage: StageDirectory) -> Facts | None:
    """What was measured -> quality_real.parquet, anchor_groups.json; what was made of styles."""
    write_table(labels.table(), stage.path / "quality_real.parquet")
    write_json(stage.path / "anchor_groups.json", labels.anchor_groups.as_json())
    return labels.style_facts()


def check_saved_scorer(context: StageContext) -> None:
    """Refuse a scorer that was fitted for something else, before the pool is embedded.

    Raises:
        InputError: names every difference that is not allowed.
    """
    assert context.config.quality is not None
    saved = context.config.quality.scorer
    if isinstance(saved, SavedScorer):
        fitted = load_scorer(saved.folder)
        reader = fitted.reader_now(context.config.execution)
        fitted.made_for.check(dataclasses.replace(_used_on(context), reader=reader), saved.allow)


def _used_on(context: StageContext) -> MadeFor:
    """What a scorer that was fitted before is used on; of the influence only what was asked for."""
    quality = context.config.quality
    assert quality is not None
    asked = quality.influence != OneShotInfluence() or quality.style is not None
    return MadeFor(
        tuple(context.pool.sources), pool=context.pool.fingerprint, embedding=context.embedding_identity,
        influence=_identity(context, quality) if asked else {},
    )  # fmt: skip


def _predicted(context: StageContext, stage: StageDirectory) -> Prediction | None:
    """Of every row; None where all were really scored."""
    config = context.config
    assert config.quality is not None
    saved = config.quality.scorer if isinstance(config.quality.scorer, SavedScorer) else None
    if saved is None and not (context.stages["scorer"].path / "scorer.json").exists():
        return None
    fitted = load_scorer(context.stages["scorer"].path if saved is None else saved.folder)
    now, allow = (_made_for(context), ()) if saved is None else (_used_on(context), saved.allow)
    return fitted.prediction(
        context.pool, context.embeddings, now=now, allow=allow, execution=config.execution, shards=stage.shards,
        progress=context.progress,
    )  # fmt: skip


def _write_unscored(pool: Pool, reasons: dict[int, str], path: Path) -> None:
    """The rows that have no quality, a line each."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        ids = pool.table["id"].take(pa.array(list(reasons), pa.int64())).to_pylist()
        for (row, reason), name in zip(reasons.items(), ids, strict=True):
            file.write(json.dumps({"row": row, "id": name, "reason": reason}, ensure_ascii=False) + "\n")

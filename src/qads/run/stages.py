"""What each stage does: reads the folders before it, fills its own, returns the facts for its manifest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qads.config import RunConfig
from qads.datasets import atomic_path, load_pool, write_pool
from qads.embed import Embeddings
from qads.errors import AlignmentError, InputError
from qads.pool import Pool, Progress, Selection
from qads.quality import Cost, Influence, choose_anchors, stopping_outcomes, stratified_sample
from qads.run.directory import StageDirectory, write_json
from qads.run.reuse import ReusedRun

__all__ = ["STAGE_FUNCTIONS", "StageContext"]

Facts = dict[str, Any]


@dataclass
class StageContext:
    """What stages share: configuration, folders, and arrays that an earlier stage left, read when needed."""

    config: RunConfig
    stages: Mapping[str, StageDirectory]
    progress: Progress
    sources: tuple[str, ...]
    anchor_sources: tuple[str, ...]
    reused: tuple[ReusedRun, ...] = ()
    """Other runs whose scores are taken over."""

    @cached_property
    def pool(self) -> Pool:
        """The candidates."""
        return _read_pool(self.stages["pool"].path / "pool.parquet")

    @cached_property
    def own_anchors(self) -> Pool | None:
        """The target skill as the user's files give it; None where it is chosen from the pool."""
        settings = self.config.anchors
        if not self.anchor_sources:
            return None
        return load_pool(self.anchor_sources, columns=settings.columns, on_bad_row=settings.on_bad_row)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """Vectors of the pool, memory-mapped."""
        vectors = np.load(self.stages["embed"].path / "embeddings.npy", mmap_mode="r")
        if len(vectors) != len(self.pool):
            raise AlignmentError(f"embeddings have {len(vectors)} rows but the pool {len(self.pool)}: --redo embed")
        return vectors

    @cached_property
    def anchors(self) -> Pool:
        """The target skill."""
        return _read_pool(self.stages["anchors"].path / "anchors.parquet")

    @cached_property
    def candidates(self) -> np.ndarray:
        """Positions in the pool of the rows that are really scored."""
        return np.load(self.stages["anchors"].path / "candidates.npy")


def run_pool(context: StageContext, stage: StageDirectory) -> Facts:
    """Files -> pool.parquet, rejected.jsonl."""
    settings = context.config.pool
    pool = load_pool(
        context.sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row,
        progress=context.progress,
    )  # fmt: skip
    _write_table(pool.table, stage.path / "pool.parquet")
    return {
        "rows": len(pool),
        "rejected": len(pool.rejected),
        "rejected_reasons": _write_rejected(pool, stage),
        "sources": {name: len(rows) for name, rows in pool.rows_by_source().items()},
        "pool_fingerprint": pool.fingerprint,
    }


def run_embed(context: StageContext, stage: StageDirectory) -> Facts:
    """Pool -> embeddings.npy, through shards."""
    found: Embeddings = context.config.embedding(
        context.pool, execution=context.config.execution, shards=stage.shards, progress=context.progress
    )
    found.check_aligned(context.pool)
    n_dims = found.vectors.shape[1]
    if isinstance(found.vectors, np.memmap):
        found.vectors.flush()
    os.replace(stage.path / "joined.npy.partial", stage.path / "embeddings.npy")
    return {"rows": len(found), "dims": n_dims, "tokens": found.n_tokens, "truncated": found.n_truncated,
            "pool_fingerprint": found.pool_fingerprint}  # fmt: skip


def run_anchors(context: StageContext, stage: StageDirectory) -> Facts:
    """The user's file or rows of the pool -> anchors.parquet, rejected.jsonl; a stratified draw -> candidates.npy."""
    chosen: list[int] = []
    anchors = context.own_anchors
    if anchors is None:
        chosen = choose_anchors(context.pool, context.embeddings, context.config.anchors.n_chosen).tolist()
        anchors = context.pool.take(chosen)
    if len(chosen) == len(context.pool):
        raise InputError(
            f"anchors: all {len(chosen)} rows of the pool were chosen as anchors, so none is left to score. Choose "
            "fewer (--anchors N), give samples of your own (--anchors FILE), or select without quality."
        )
    assert context.config.quality is not None
    sample = context.config.quality.sample
    candidates = stratified_sample(context.pool, sample, exclude=chosen, seed=context.config.seed)
    _write_table(anchors.table, stage.path / "anchors.parquet")
    with atomic_path(stage.path / "candidates.npy") as temporary, temporary.open("wb") as file:
        np.save(file, candidates)
    return {
        "rows": len(anchors),
        "candidates": len(candidates),
        "anchor_sources": {name: len(rows) for name, rows in anchors.rows_by_source().items()},
        "anchors_rejected": len(anchors.rejected),
        "anchors_rejected_reasons": _write_rejected(anchors, stage),
        "chosen_from_pool": not context.anchor_sources,
    }


def run_influence(context: StageContext, stage: StageDirectory) -> Facts:
    """Candidates × anchors -> influence.parquet, through shards."""
    assert context.config.quality is not None
    method = context.config.quality.influence
    candidates = context.pool.take(context.candidates)
    found = method(
        candidates,
        context.anchors,
        known=[run.influence for run in context.reused],
        execution=context.config.execution,
        shards=stage.shards,
        progress=context.progress,
    )
    _write_table(found.to_table(), stage.path / "influence.parquet")
    return {
        "rows": len(candidates),
        "anchors": len(context.anchors),
        **_cost_facts(found.cost),
        "pairs_scored": int(np.isfinite(found.one_shot).sum()),
        "pairs_own_problem_or_dropped": int((np.isnan(found.one_shot) & ~found.pending).sum()),
        "pairs_left_out": int(found.pending.sum()),
        "pairs_reused": found.n_reused,
        "reused": [run.as_json() for run in context.reused],
        "rounds": [dataclasses.asdict(part) for part in found.rounds],
        "stopped": dict(
            Counter(end or "no anchor" for end in stopping_outcomes(method.stopping, found, method.aggregate))
        ),
        "affected_rows": dict(found.affected),
    }


def _cost_facts(cost: Cost) -> Facts:
    """What scoring took; null what is not known."""
    peak, share = cost.matmul_peak, cost.utilisation
    return {
        "tokens": cost.tokens,
        "answer_tokens": cost.answer_tokens,
        "extra_tokens": cost.extra_tokens,
        "flops": cost.flops,
        "model_seconds": round(cost.seconds, 3),
        "matmul_peak": None if peak is None else round(peak),
        "utilisation": None if share is None else round(share, 4),
        "max_tokens_per_batch": list(cost.max_tokens_per_batch),
    }


def run_quality(context: StageContext, stage: StageDirectory) -> Facts:
    """Real quality of the sample -> quality_real.parquet; predicted of the rest -> quality.parquet, quality.npy."""
    assert context.config.quality is not None
    sample = context.pool.take(context.candidates)
    labels = _write_real_quality(context, stage, sample)
    scored = context.candidates[np.isfinite(labels)]
    quality, facts = np.zeros(len(context.pool), np.float32), {"penalty": None, "agreement": None}
    if len(scored) < len(quality):  # Else there is nothing to predict.
        fitted = context.config.quality.scorer.fit(sample, labels, embeddings=context.embeddings[context.candidates])
        quality = fitted.predict(context.pool, context.embeddings)
        facts = {"penalty": fitted.penalty, "agreement": _finite(dataclasses.asdict(fitted.agreement))}
    quality[scored] = labels[np.isfinite(labels)]
    origin = np.full(len(quality), "predicted", dtype=object)
    origin[scored] = "real"
    table = pa.table({"id": context.pool.table["id"], "quality": quality, "origin": pa.array(origin, pa.string())})
    _write_table(table, stage.path / "quality.parquet")
    with atomic_path(stage.path / "quality.npy") as temporary, temporary.open("wb") as file:
        np.save(file, quality)
    write_json(stage.path / "agreement.json", facts["agreement"])
    return {"rows": len(quality), "real": len(scored), "predicted": len(quality) - len(scored), **facts}


def _write_real_quality(context: StageContext, stage: StageDirectory, sample: Pool) -> np.ndarray:
    """Quality of every scored row, by the aggregate that is asked for; NaN where no anchor could score it."""
    assert context.config.quality is not None
    method = context.config.quality.influence
    aggregate = method.aggregate
    found = Influence.from_table(pq.read_table(context.stages["influence"].path / "influence.parquet"))
    quality = found.quality(aggregate)
    summary = {
        "candidate": pa.array(found.candidate_ids),
        "source": pa.array(sample.strings("source")),
        "quality": pa.array(quality, mask=np.isnan(quality)),
        "standard_error": pa.array(se := found.standard_error(aggregate), mask=np.isnan(se)),
        "anchors_scored": pa.array(found.n_scored),
        "stopped": pa.array(stopping_outcomes(method.stopping, found, aggregate), pa.string()),
    }
    groups = found.by_group(aggregate)
    summary |= {f"quality on {name}": pa.array(q, mask=np.isnan(q)) for name, q in groups.items()}
    _write_table(pa.table(summary), stage.path / "quality_real.parquet")
    return quality


def run_select(context: StageContext, stage: StageDirectory) -> Facts:
    """Embeddings and quality -> selection.parquet."""
    config = context.config
    quality = None if config.quality is None else np.load(context.stages["quality"].path / "quality.npy")
    chosen: Selection = config.selection(context.embeddings, quality, budget=config.budget, progress=context.progress)
    origin = pa.nulls(len(chosen), pa.string())
    if config.quality is not None:
        table = pq.read_table(context.stages["quality"].path / "quality.parquet", columns=["origin"])
        origin = table["origin"].take(pa.array(chosen.indices))
    ids = context.pool.table["id"].take(pa.array(chosen.indices))
    names = ids.to_pylist()
    columns = {
        "step": pa.array(range(len(chosen)), pa.int64()),
        "row": pa.array(chosen.indices),
        "id": ids,
        "gain": _nullable(chosen.gains),
        "distance": _nullable(chosen.distances),
        "nearest": pa.array([names[step] if step >= 0 else None for step in chosen.nearest], pa.string()),
        "quality": pa.array(chosen.quality) if config.quality else pa.nulls(len(chosen), pa.float64()),
        "quality_origin": origin,
    }
    _write_table(pa.table(columns), stage.path / "selection.parquet")
    sources = context.pool.take(chosen.indices).rows_by_source()
    return {
        "rows": len(chosen),
        "prefix_closed": chosen.prefix_closed,
        "sources": {name: len(rows) for name, rows in sources.items()},
    }


def run_mixture(context: StageContext, stage: StageDirectory) -> Facts:
    """The selected rows with their reasons -> the file for the trainer."""
    table = pq.read_table(context.stages["select"].path / "selection.parquet")
    reasons = table.drop_columns(["row", "id"]).to_pylist()
    rows = context.pool.take(table["row"].to_numpy())
    name = "train.parquet" if context.config.output.format == "parquet" else "train.jsonl"
    write_pool(rows, stage.path / name, format=context.config.output.format, extra=reasons)
    return {"rows": len(rows), "train_file": name}


STAGE_FUNCTIONS: dict[str, Callable[[StageContext, StageDirectory], Facts]] = {
    "pool": run_pool,
    "embed": run_embed,
    "anchors": run_anchors,
    "influence": run_influence,
    "quality": run_quality,
    "select": run_select,
    "mixture": run_mixture,
}
"""Every stage, in the order in which they run."""


def _read_pool(path: Path) -> Pool:
    return Pool(pq.read_table(path))


def _write_table(table: pa.Table, path: Path) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _write_rejected(pool: Pool, stage: StageDirectory) -> dict[str, int]:
    """The rows that were set aside -> rejected.jsonl; how many for which reason."""
    with (
        atomic_path(stage.path / "rejected.jsonl") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row in pool.rejected:
            file.write(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n")
    return dict(Counter(row.reason for row in pool.rejected))


def _nullable(values: np.ndarray) -> pa.Array:
    """What is not finite (nothing was maximised, there was no earlier pick) as null."""
    return pa.array(values, mask=~np.isfinite(values))


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if np.isfinite(value) else None for name, value in values.items()}

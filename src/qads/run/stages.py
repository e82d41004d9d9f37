"""What each stage does: reads the folders before it, fills its own, returns the facts for its manifest."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable

import numpy as np

from qads.datasets import atomic_path, load_pool
from qads.embed import Embeddings
from qads.errors import InputError
from qads.pool import Pool
from qads.quality import Cost, choose_anchors, stopping_outcomes, stratified_sample
from qads.run.cleaning import run_clean
from qads.run.context import Facts, StageContext, write_array, write_table
from qads.run.decontamination import contamination_facts, evidence
from qads.run.directory import StageDirectory
from qads.run.evaluating import run_evaluate
from qads.run.labelling import score_in_rounds
from qads.run.scoring import run_quality, run_scorer
from qads.run.selecting import run_given, run_likelihoods, run_mixture, run_select, run_targets, run_tokens
from qads.run.training import run_train

__all__ = ["STAGE_FUNCTIONS"]


def run_pool(context: StageContext, stage: StageDirectory) -> Facts:
    """Files -> pool.parquet, rejected.jsonl."""
    settings = context.config.pool
    pool = load_pool(
        context.sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row,
        progress=context.progress,
    )  # fmt: skip
    write_table(pool.table, stage.path / "pool.parquet")
    return {
        "rows": len(pool),
        "rejected": len(pool.rejected),
        "rejected_reasons": _write_rejected(pool, stage),
        "sources": {name: len(rows) for name, rows in pool.rows_by_source().items()},
        "pool_fingerprint": pool.fingerprint,
    }


def run_embed(context: StageContext, stage: StageDirectory) -> Facts:
    """Pool -> embeddings.npy, through shards."""
    if context.config.clean is not None and context.config.clean.is_semantic:
        return _take_over(context, stage)
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


def _take_over(context: StageContext, stage: StageDirectory) -> Facts:
    """The embeddings that cleaning made, instead of the same ones again."""
    with atomic_path(stage.path / "embeddings.npy") as temporary:
        shutil.copyfile(context.stages["clean"].path / "embeddings.npy", temporary)
    cleaning = context.stages["clean"].manifest() or {}
    rows, n_dims = context.embeddings.shape
    return {"rows": rows, "dims": n_dims, "tokens": 0, "truncated": cleaning["truncated"], "taken_over": rows,
            "pool_fingerprint": context.pool.fingerprint}  # fmt: skip


def run_anchors(context: StageContext, stage: StageDirectory) -> Facts:
    """The user's file or rows of the pool -> anchors.parquet, rejected.jsonl; a stratified draw -> candidates.npy."""
    chosen: list[int] = []
    own = context.own_anchors
    anchors = None if own is None else own.pool
    if anchors is None:
        chosen = choose_anchors(context.pool, context.embeddings, context.config.anchors.n_chosen).tolist()
        anchors = context.pool.take(chosen)
    if len(chosen) == len(context.pool) and context.config.quality is not None:
        raise InputError(
            f"anchors: all {len(chosen)} rows of the pool were chosen as anchors, so none is left to score. Choose "
            "fewer (--anchors N), give samples of your own (--anchors FILE), or select without quality."
        )
    write_table(anchors.table, stage.path / "anchors.parquet")
    contaminated: Facts = {}
    if own is not None and own.contamination is not None:
        write_table(evidence(own.contamination), stage.path / "contaminated.parquet")
        contaminated = contamination_facts(own.contamination, context.config.clean, context.evaluation)
    candidates = np.empty(0, np.int64)
    if (quality := context.config.quality) is not None:
        candidates = stratified_sample(context.pool, quality.n_watched, exclude=chosen, seed=context.config.seed)
        write_array(candidates, stage.path / "candidates.npy")
        if quality.labelling is not None:  # A smaller draw of a seed is part of a larger one.
            n_first = quality.labelling.n_first(quality.sample)
            first = stratified_sample(context.pool, n_first, exclude=chosen, seed=context.config.seed)
            write_array(first, stage.path / "first.npy")
    return {
        "rows": len(anchors),
        "candidates": len(candidates),
        "anchor_sources": {name: len(rows) for name, rows in anchors.rows_by_source().items()},
        "anchors_rejected": len(anchors.rejected),
        "anchors_rejected_reasons": _write_rejected(anchors, stage),
        "chosen_from_pool": not context.anchor_sources,
        **contaminated,
    }


def run_influence(context: StageContext, stage: StageDirectory) -> Facts:
    """Candidates × anchors -> influence.parquet, through shards."""
    assert context.config.quality is not None
    method = context.config.quality.influence
    planned: Facts = {}
    if context.config.quality.labelling is not None:
        found, planned = score_in_rounds(context, stage)
    else:
        found = method(
            context.pool.take(context.candidates),
            context.anchors,
            known=[run.influence for run in context.reused],
            execution=context.config.execution,
            shards=stage.shards,
            progress=context.progress,
        )
    # The scores of a run are the same whatever the aggregate is: the stage `quality` applies it.
    write_table(dataclasses.replace(found, aggregate="positive_gain").to_table(), stage.path / "influence.parquet")
    return {
        "rows": len(found.candidate_ids),
        **planned,
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


STAGE_FUNCTIONS: dict[str, Callable[[StageContext, StageDirectory], Facts]] = {
    "pool": run_pool,
    "clean": run_clean,
    "tokens": run_tokens,
    "embed": run_embed,
    "anchors": run_anchors,
    "influence": run_influence,
    "scorer": run_scorer,
    "quality": run_quality,
    "targets": run_targets,
    "likelihoods": run_likelihoods,
    "given": run_given,
    "select": run_select,
    "mixture": run_mixture,
    "train": run_train,
    "evaluate": run_evaluate,
}
"""Every stage, in the order in which they run."""


def _write_rejected(pool: Pool, stage: StageDirectory) -> dict[str, int]:
    """The rows that were set aside -> rejected.jsonl; how many for which reason."""
    with (
        atomic_path(stage.path / "rejected.jsonl") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row in pool.rejected:
            file.write(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n")
    return dict(Counter(row.reason for row in pool.rejected))

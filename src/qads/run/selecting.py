"""The stages around the selection: what it needs beside embeddings and quality, itself, the files for trainers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.cluster import ClusterGreedy
from qads.cluster.checkpoint import UnusableCheckpointError
from qads.config import RunConfig
from qads.datasets import atomic_path, write_pool
from qads.embed import Embeddings
from qads.errors import InputError
from qads.models import open_tokenizer, training_tokens
from qads.pool import Pool, Progress, Selection
from qads.quality import OneShotInfluence
from qads.run.budgets import budget_prefixes, largest_budget
from qads.run.card import selection_card
from qads.run.closed import closed_rows
from qads.run.context import Facts, StageContext, write_array, write_table
from qads.run.directory import StageDirectory
from qads.run.limits import make_constraints
from qads.run.worth import worth_by_group
from qads.selection import Constraints, KCenterGreedy, TokenBudget
from qads.storage import storing

__all__ = ["count_tokens", "run_given", "run_likelihoods", "run_mixture", "run_select", "run_targets", "run_tokens"]

logger = logging.getLogger(__name__)


def run_tokens(context: StageContext, stage: StageDirectory) -> Facts:
    """Pool -> tokens.npy: tokens of every row as a trainer would see it."""
    tokens = count_tokens(context.config, context.pool, context.progress)
    write_array(tokens, stage.path / "tokens.npy")
    return {"rows": len(tokens), "training_tokens": int(tokens.sum()), "longest": int(tokens.max())}


def count_tokens(config: RunConfig, pool: Pool, progress: Progress | None = None) -> Int[np.ndarray, " n"]:
    """Tokens of every row as a trainer would see it, by the tokenizer and the template of a configuration."""
    method = config.quality.influence if config.quality else OneShotInfluence()
    opened = open_tokenizer(
        config.tokenizer or method.model,
        revision=None if config.tokenizer else method.revision,
        trust_remote_code=config.execution.trust_remote_code,
    )
    renderer = method.template.renderer(opened.render_chat)
    asked = pool if config.train is None else config.train.asked(pool)
    return training_tokens(opened.tokenizer, renderer, asked, progress=progress)


def run_targets(context: StageContext, stage: StageDirectory) -> Facts:
    """Anchors -> targets.npy, their embeddings."""
    found = _embedded(context, context.anchors, stage)
    write_array(found.vectors, stage.path / "targets.npy")
    return {"rows": len(found), "tokens": found.n_tokens, "truncated": found.n_truncated}


def run_likelihoods(context: StageContext, stage: StageDirectory) -> Facts:
    """Pool -> likelihoods.npy [rows, 2]: of the solution given its problem, and alone; through shards."""
    found = context.config.answer_likelihoods(
        context.pool, execution=context.config.execution, shards=stage.shards, progress=context.progress
    )
    write_array(found, stage.path / "likelihoods.npy")
    return {"rows": len(found), "without_likelihood": int(np.isnan(found).any(axis=1).sum())}


def run_given(context: StageContext, stage: StageDirectory) -> Facts:
    """What is trained on already -> given.npy, its embeddings; given.parquet, id and row where it is in the pool."""
    named = context.named.given
    vectors, facts = [context.embeddings[named.rows]], {"tokens": 0, "truncated": 0}
    ids, rows = context.pool.table["id"].take(pa.array(named.rows)).to_pylist(), [*named.rows.tolist()]
    if named.others is not None:
        found = _embedded(context, named.others, stage)
        vectors.append(found.vectors)
        facts = {"tokens": found.n_tokens, "truncated": found.n_truncated}
        ids, rows = [*ids, *named.others.strings("id")], [*rows, *[None] * len(found)]
    write_array(np.concatenate(vectors), stage.path / "given.npy")
    write_table(pa.table({"id": pa.array(ids), "row": pa.array(rows, pa.int64())}), stage.path / "given.parquet")
    return {"rows": len(ids), "in_pool": len(named.rows), "embedded": named.n_others, **facts}


def _embedded(context: StageContext, rows: Pool, stage: StageDirectory) -> Embeddings:
    found = context.config.embedding(
        rows, execution=context.config.execution, shards=stage.shards, progress=context.progress
    )
    vectors = np.array(found.vectors)
    stage.shards.drop_array()
    return Embeddings(vectors, found.pool_fingerprint, found.n_tokens, found.n_truncated)


@dataclass(frozen=True)
class _Request:
    """What the selector is asked for."""

    tokens: Int[np.ndarray, " n"] | None
    quality: Float[np.ndarray, " n"] | None
    """Of every row; 0 where it has none."""
    unscored: Int[np.ndarray, " u"]
    """Rows that are out since they have no quality."""
    out: Int[np.ndarray, " o"]
    """All rows that are out."""
    limits: Constraints | None
    budget: int | TokenBudget

    @classmethod
    def of(cls, context: StageContext) -> _Request:
        """What the configuration asks for, of this pool.

        Raises:
            InputError: it asks for what the pool does not have.
        """
        config, pool = context.config, context.pool
        tokens, quality = context.array("tokens", "tokens.npy"), context.array("quality", "quality.npy")
        limits, out = make_constraints(pool, config.constraints, context.named), context.named.out
        unscored = _unscored(context, quality)
        if quality is not None:
            quality = np.where(np.isnan(quality), np.float32(0), quality)  # Rows that go, or are in without one.
        if len(unscored):
            out = np.union1d(out, unscored)
            limits = replace(limits or Constraints(), exclude=out)
        return cls(tokens, quality, unscored, out, limits, largest_budget(config, len(pool), tokens, out))


def run_select(context: StageContext, stage: StageDirectory) -> Facts:
    """Embeddings and quality -> selection.parquet."""
    config, pool = context.config, context.pool
    asked = _Request.of(context)
    chosen = _selected(context, stage, asked)
    assert chosen.prefix_closed or len(config.budgets) == 1, "the configuration refuses several budgets here"
    write_table(_reasons(context, chosen), stage.path / "selection.parquet")
    closed = closed_rows(
        chosen, context.named, asked.limits, budget=asked.budget, unscored=asked.unscored,
        too_long=_too_long(asked.budget, asked.tokens),
    )  # fmt: skip
    write_table(closed, stage.path / "closed.parquet")
    sources = {name: len(rows) for name, rows in pool.take(chosen.indices).rows_by_source().items()}
    return {
        "rows": len(chosen),
        "tokens_selected": None if asked.tokens is None else int(asked.tokens[chosen.indices].sum()),
        "stopped": chosen.stopped,
        "prefix_closed": chosen.prefix_closed,
        "budgets": budget_prefixes(config, len(pool), chosen.indices, asked.tokens),
        "closed": closed.num_rows,
        "excluded_without_quality": len(asked.unscored),
        "excluded_not_in_pool": context.named.exclude.n_others,
        "sources": sources,
        "worth": worth_by_group(context, chosen.indices, asked.out),
    }


def _selected(context: StageContext, stage: StageDirectory, asked: _Request) -> Selection:
    """The selection, here or on a cluster; it goes on from picks that were kept, if they can be used."""
    config, embeddings = context.config, context.embeddings
    more = {name: _need(context, name) for name in config.needs}
    if config.constraints.given:
        more["given"] = context.array("given", "given.npy")
    if asked.limits is not None:
        more["constraints"] = asked.limits
    if isinstance(config.selection, KCenterGreedy):
        with storing(stage.picks):
            stage.picks.parent.mkdir(exist_ok=True)
        more["checkpoint"] = stage.picks
    if _selects_on_cluster(config, asked.budget, asked.limits):
        more["cluster"] = _on_cluster(config, stage.picks)
        embeddings = embeddings.view(np.ndarray)  # Rows are sent: other machines need not have the file.
    select = partial(
        config.selection, embeddings, asked.quality, budget=asked.budget, progress=context.progress, **more
    )  # fmt: skip
    try:
        return select()
    except UnusableCheckpointError as error:
        logger.warning("%s; it is thrown away, and all rows are picked anew", error.reason)
        stage.picks.unlink()
        return select()


def _selects_on_cluster(config: RunConfig, budget: int | TokenBudget, limits: Constraints | None) -> bool:
    """Whether the actors of a cluster select: the selector must know how, and no pick may close other rows."""
    if config.execution.kind != "ray":
        return False
    reasons = [
        *([] if isinstance(config.selection, KCenterGreedy) else [f"selection.kind {config.selection.kind}"]),
        *(["quotas"] if limits and limits.groupings else []),
        *(["least distance"] if limits and limits.min_distance else []),
        *(["a budget in tokens"] if isinstance(budget, TokenBudget) else []),
    ]
    if reasons:
        logger.warning("select runs in this process and not on the cluster, which knows no %s", " and ".join(reasons))
    return not reasons


def _on_cluster(config: RunConfig, kept: Path) -> ClusterGreedy:
    """Selection by actors."""
    how = config.execution
    return ClusterGreedy(
        address=how.address, shards=None if how.workers == "auto" else how.workers,
        cpus_per_shard=1 if how.cpus_per_worker == "auto" else how.cpus_per_worker, timeout=how.shard_timeout,
        checkpoint=kept,
    )  # fmt: skip


def _too_long(budget: int | TokenBudget, tokens: Int[np.ndarray, " n"] | None) -> Int[np.ndarray, " t"]:
    """Rows that alone exceed a budget in tokens."""
    if tokens is None or not isinstance(budget, TokenBudget):
        return np.empty(0, np.int64)
    return np.flatnonzero(tokens > budget.max_tokens)


def _unscored(context: StageContext, quality: Float[np.ndarray, " n"] | None) -> Int[np.ndarray, " u"]:
    """Rows without a quality, which are not selected unless they are to be in.

    Raises:
        InputError: the selector picks rows as a whole, and cannot leave any out.
    """
    missing = np.empty(0, np.int64) if quality is None else np.flatnonzero(np.isnan(quality))
    rows = np.setdiff1d(missing, context.named.include.rows)
    if len(rows) and not getattr(context.config.selection, "takes_limits", True):
        raise InputError(
            f"selection: {len(rows)} rows have no quality (quality/unscored.jsonl lists them), and selection.kind "
            f"{context.config.selection.kind!r} picks rows as a whole, so that none can be left out. Take them out of "
            "the pool, or take a kind that picks one by one, such as kcenter."
        )
    return rows


def _need(context: StageContext, name: str) -> Any:
    """What a selector takes by this keyword."""
    if name == "groups":
        return context.pool.strings("source")
    if name == "lengths":
        tokens = context.array("tokens", "tokens.npy")
        return [len(text) for text in context.pool.strings("solution")] if tokens is None else tokens
    if name in ("targets", "likelihoods"):
        return context.array(name, f"{name}.npy")
    raise InputError(f"selection: needs {name!r}, which a run cannot give; call the selector from Python.")


def _reasons(context: StageContext, chosen: Selection) -> pa.Table:
    """A row a pick, in order, with the reason for it."""
    has_quality = context.config.quality is not None
    tokens = context.array("tokens", "tokens.npy")
    origin, quality = pa.nulls(len(chosen), pa.string()), pa.nulls(len(chosen), pa.float64())
    if has_quality:
        table = pq.read_table(context.stages["quality"].path / "quality.parquet", columns=["origin"])
        origin = table["origin"].take(pa.array(chosen.indices))
        # A row that was to be in is in without one.
        quality = pa.array(chosen.quality, mask=np.array(origin.to_pylist(), dtype=object) == "none")
    ids = context.pool.table["id"].take(pa.array(chosen.indices))
    columns = {
        "step": pa.array(range(len(chosen)), pa.int64()),
        "row": pa.array(chosen.indices),
        "id": ids,
        "gain": _nullable(chosen.gains),
        "distance": _nullable(chosen.distances),
        "nearest": pa.array(_nearest_ids(context, chosen, ids.to_pylist()), pa.string()),
        "quality": quality,
        "quality_origin": origin,
    }
    if tokens is not None:
        columns["tokens"] = pa.array(tokens[chosen.indices])
    return pa.table(columns)


def _nearest_ids(context: StageContext, chosen: Selection, names: list[str]) -> list[str | None]:
    """The id of the nearest earlier pick, or of what was given."""
    given: list[str] = []
    if context.config.constraints.given:
        given = pq.read_table(context.stages["given"].path / "given.parquet")["id"].to_pylist()
    return [names[step] if step >= 0 else given[-2 - step] if step <= -2 else None for step in chosen.nearest.tolist()]


def run_mixture(context: StageContext, stage: StageDirectory) -> Facts:
    """The selected rows with their reasons -> a file for the trainer, one for each smaller budget, and their card."""
    table = pq.read_table(context.stages["select"].path / "selection.parquet")
    reasons = table.drop_columns(["row", "id"]).to_pylist()
    rows, shape = table["row"].to_numpy(), context.config.output.format
    ending = "parquet" if shape == "parquet" else "jsonl"
    largest, *smaller = (context.stages["select"].manifest() or {})["budgets"]
    files = {f"train.{ending}": largest["rows"]} | {f"train-{b['name']}.{ending}": b["rows"] for b in smaller}
    for name, n in files.items():
        write_pool(context.pool.take(rows[:n]), stage.path / name, format=shape, extra=reasons[:n])
    with atomic_path(stage.path / "README.md") as temporary:
        temporary.write_text(selection_card(context, context.pool.take(rows), files), encoding="utf-8", newline="\n")
    return {"rows": len(rows), "train_file": f"train.{ending}", "train_files": files}


def _nullable(values: np.ndarray) -> pa.Array:
    """What is not finite (nothing was maximised, there was no earlier pick) as null."""
    return pa.array(values, mask=~np.isfinite(values))

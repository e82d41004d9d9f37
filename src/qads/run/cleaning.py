"""The stage that takes out of the pool what repeats, and what is in the evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from qads.clean import Duplicates
from qads.cluster import MemoryShards
from qads.embed import Embeddings
from qads.errors import InputError
from qads.pool import Pool
from qads.run.context import Facts, StageContext, write_array_parts, write_rows, write_table
from qads.run.decontamination import contamination_facts, evidence, refuse_contamination, rows_left
from qads.run.directory import StageDirectory
from qads.run.shards import DiskShards

__all__ = ["run_clean"]

_PART = 65_536
"""Rows whose vectors are copied at once."""


def run_clean(context: StageContext, stage: StageDirectory) -> Facts:
    """pool.parquet as it was read -> as it is used; dropped.parquet, contaminated.parquet[, embeddings.npy].

    Problems of the evaluation go first, so that none of them stands for rows that repeat it.
    """
    config, pool = context.config.clean, context.uncleaned
    assert config is not None
    contamination = None
    if context.evaluation is not None:
        contamination = config.contamination(
            pool, context.evaluation, execution=context.config.execution,
            shards=DiskShards(stage.path / "shards" / "contamination"), progress=context.progress,
        )  # fmt: skip
        try:
            refuse_contamination(contamination, config, what="rows of the pool")
        except InputError:
            stage.remove_parts()  # They are no work to go on from: other settings are what is needed.
            raise
        write_table(evidence(contamination), stage.path / "contaminated.parquet")
    left = rows_left(len(pool), contamination, config)
    found, kept, facts = None, left, dict[str, Any]()
    if config.duplicates is not None:
        rows = pool if len(left) == len(pool) else pool.take(left)
        vectors = None if config.duplicates.semantic is None else _Vectors(context, rows, stage)
        found = config.duplicates(
            rows, embeddings=vectors and vectors.of, execution=context.config.execution,
            shards=DiskShards(stage.path / "shards" / "duplicates"), progress=context.progress,
        )  # fmt: skip
        kept = left[found.kept_rows]
        if vectors is not None:
            facts = _keep_vectors(vectors, found, stage)
    cleaned = write_rows(pool, kept, stage.path / "pool.parquet")
    dropped = _dropped(pool, left, found)
    write_table(dropped, stage.path / "dropped.parquet")
    return {
        "rows": len(cleaned),
        "rows_before": len(pool),
        "sources": {name: len(rows) for name, rows in cleaned.rows_by_source().items()},
        "dropped": dict(Counter(dropped["reason"].to_pylist())),
        "dropped_by_source": _by_source(pool, dropped),
        **_solution_facts(found),
        **contamination_facts(contamination, config, context.evaluation),
        **facts,
        "pool_fingerprint": cleaned.fingerprint,
    }


class _Vectors:
    """Embeddings of rows of a pool, computed when they are first asked for: first through the stage's shards."""

    def __init__(self, context: StageContext, pool: Pool, stage: StageDirectory) -> None:
        self._context, self._pool, self._stage = context, pool, stage
        self._parts: list[Embeddings] = []
        self._place = np.full(len(pool), -1, np.int64)
        """Of every row among all vectors so far."""

    @property
    def n_tokens(self) -> int:
        return sum(part.n_tokens for part in self._parts)

    @property
    def n_truncated(self) -> int:
        return sum(part.n_truncated for part in self._parts)

    def of(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m d"]:
        self.embed(rows)
        if len(self._parts) == 1 and np.array_equal(self._place[rows], np.arange(len(self._parts[0]))):
            return self._parts[0].vectors
        place, first = self._place[rows], 0
        joined = np.empty((len(rows), self._parts[0].vectors.shape[1]), np.float32)
        for part in self._parts:
            here = (place >= first) & (place < first + len(part))
            joined[here] = part.vectors[place[here] - first]
            first += len(part)
        return joined

    def embed(self, rows: Int[np.ndarray, " m"]) -> None:
        """Those of them that were not embedded yet."""
        missing = rows[self._place[rows] < 0]
        if len(missing):
            shards = MemoryShards() if self._parts else self._stage.shards
            self._place[missing] = sum(map(len, self._parts)) + np.arange(len(missing))
            found = self._context.config.embedding(
                self._pool.take(missing), execution=self._context.config.execution, shards=shards,
                progress=self._context.progress,
            )  # fmt: skip
            self._parts.append(found)


def _keep_vectors(vectors: _Vectors, found: Duplicates, stage: StageDirectory) -> Facts:
    """The embeddings of what stays, for the stage `embed` to take over."""
    vectors.embed(kept := found.kept_rows)
    parts = (vectors.of(kept[start : start + _PART]) for start in range(0, len(kept), _PART))
    write_array_parts(parts, len(kept), stage.path / "embeddings.npy")
    stage.shards.drop_array()
    return {"tokens": vectors.n_tokens, "truncated": vectors.n_truncated}


def _dropped(pool: Pool, left: Int[np.ndarray, " k"], found: Duplicates | None) -> pa.Table:
    """A row for every row that went: why, and for which row that stays."""
    ids, sources = pool.table["id"], pool.table["source"]
    contaminated = np.delete(np.arange(len(pool)), left)
    none = np.empty(0, np.int64)
    rows, kept = (none, none) if found is None else (left[found.rows], left[found.kept])
    n = len(contaminated)
    both = pa.array(np.concatenate([contaminated, rows]))
    columns: Mapping[str, pa.Array | pa.ChunkedArray] = {
        "id": ids.take(both),
        "source": sources.take(both),
        "reason": pa.array(["contaminated"] * n + ([] if found is None else found.reasons.tolist()), pa.string()),
        "group": pa.array([None] * n + ([] if found is None else found.groups.tolist()), pa.int64()),
        "kept": pa.array([None] * n + ids.take(pa.array(kept)).to_pylist(), pa.large_string()),
        "similarity": pa.array([None] * n + ([] if found is None else found.similarity.tolist()), pa.float32()),
    }
    return pa.table(columns)


def _by_source(pool: Pool, dropped: pa.Table) -> dict[str, dict[str, int]]:
    """For every source that lost rows how many for which reason."""
    lost: dict[str, Counter[str]] = {name: Counter() for name in pool.sources}
    for source, reason in zip(dropped["source"].to_pylist(), dropped["reason"].to_pylist(), strict=True):
        lost[source][reason] += 1
    return {name: dict(reasons) for name, reasons in lost.items() if reasons}


def _solution_facts(found: Duplicates | None) -> Facts:
    """Problems that had several different solutions before any cap, and the rows of these; null if not looked for."""
    if found is None:
        return {"problems_with_several_solutions": None, "rows_of_these": None}
    return {
        "problems_with_several_solutions": found.n_problems_with_several,
        "rows_of_these": len(found.solution_rows),
    }

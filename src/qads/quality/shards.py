"""Shards of scores: which pairs they are of, what they hold, and what they say of themselves."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from qads.kernels.cost import Cost
from qads.pool import Pool, to_json
from qads.quality.origin import Origin

__all__ = ["cost_of_shard", "is_of", "pairs_key", "pairs_to_score", "rows_key", "score_shard", "scores_of_shard"]


def rows_key(candidates: Pool, anchors: Pool, settings: Any) -> str:
    """What a store of shards was filled with, so that it serves nothing else."""
    return _hash([candidates.fingerprint, anchors.fingerprint, settings])


def pairs_key(origin: Origin, rows: Int[np.ndarray, " r"], columns: Int[np.ndarray, " c"]) -> str:
    """Which pairs a shard is of; who is scored in a later round follows from the shards of those before."""
    candidates = [origin.candidate_keys[i] for i in rows]
    anchors = [origin.anchor_keys[j] for j in columns]
    return _hash([origin.identity, candidates, anchors, rows.tolist(), columns.tolist()])


def pairs_to_score(candidates: Pool, anchors: Pool, origin: Origin) -> Bool[np.ndarray, "n m"]:
    """All but dropped rows, and candidates on anchors with their own problem."""
    code = {key: number for number, key in enumerate(candidates.problem_keys)}
    rows = np.array([code[key] for key in candidates.problem_keys])
    own = rows[:, None] == np.array([code.get(key, -1) for key in anchors.problem_keys])
    kept = (np.array([key != "" for key in keys]) for keys in (origin.candidate_keys, origin.anchor_keys))
    return np.logical_and.outer(*kept) & ~own


def is_of(shard: pa.Table, key: str) -> bool:
    """Whether a shard says that it is of these rows or pairs."""
    return (shard.schema.metadata or {}).get(b"of") == key.encode()


def score_shard(scores: Float[np.ndarray, "rows m"], cost: Cost, **notes: str) -> pa.Table:
    """The scores of some candidates, NaN where a pair was not scored, with what they cost and what else there is."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1), pa.float64()), scores.shape[1])
    return pa.table({"scores": column}).replace_schema_metadata({"cost": cost.to_json(), **notes})


def cost_of_shard(shard: pa.Table) -> Cost:
    """What its scores cost."""
    return Cost.from_json(shard.schema.metadata[b"cost"])


def scores_of_shard(shard: pa.Table) -> Float[np.ndarray, "rows m"]:
    """What `score_shard` was given."""
    return shard["scores"].combine_chunks().flatten().to_numpy().reshape(shard.num_rows, -1)


def _hash(made_of: list[Any]) -> str:
    return hashlib.sha256(to_json(made_of).encode()).hexdigest()

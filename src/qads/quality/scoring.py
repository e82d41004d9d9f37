"""Scores of candidates on anchors, shard by shard, wherever the model is.

Texts are tokenised by the driver, once. A worker has the anchors from the beginning and gets the examples of a shard at
a time, so what it holds does not grow with the pool.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from qads.cluster import Crew, Execution, Function, Grid, ShardStore, Tell, map_shards
from qads.errors import ModelError, QadsError
from qads.kernels.cost import Cost
from qads.kernels.memory import is_out_of_memory
from qads.kernels.target import TokenTarget
from qads.models import Dtype
from qads.pool import Pool, to_json
from qads.quality.engines import Engine, OpenEngine
from qads.quality.influence import Influence
from qads.quality.known import KnownScores
from qads.quality.origin import Origin
from qads.quality.rehearsal import Rehearsal
from qads.quality.shards import cost_of_shard, is_of, pairs_key, pairs_to_score, score_shard, scores_of_shard
from qads.quality.tokens import FittedTexts

__all__ = ["PreparedTexts", "Rehearsing", "Scoring", "ShardedScores"]

_ROWS_PER_SHARD = 8


@dataclass(frozen=True, eq=False)
class _Part:
    """Some prefixes before the anchors."""

    prefixes: Sequence[tuple[int, ...]]
    wanted: Bool[np.ndarray, "r m"]
    """The pairs to compute."""
    taken: Float[np.ndarray, "r m"]
    """What is known of others; NaN elsewhere."""
    columns: Int[np.ndarray, " c"]
    """The anchors of the table."""
    notes: Mapping[str, str]
    """What the table says of itself."""
    bare: tuple[int, ...]
    """A prefix without an example."""
    precisely: bool = False
    """In float32 arithmetic."""

    def without_examples(self) -> _Part:
        """The same anchors behind no example."""
        return dataclasses.replace(
            self, prefixes=[self.bare], wanted=self.wanted.any(axis=0, keepdims=True),
            taken=np.full((1, self.wanted.shape[1]), np.nan),
        )  # fmt: skip

    def only(self, place: int) -> _Part:
        """One prefix of them."""
        here = slice(place, place + 1)
        return dataclasses.replace(self, prefixes=self.prefixes[here], wanted=self.wanted[here], taken=self.taken[here])


@dataclass(frozen=True)
class Scoring:
    """A model that scores these targets, to be opened where that is done."""

    engine: Engine
    model: str
    revision: str | None
    dtype: Dtype
    targets: tuple[TokenTarget | None, ...]

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The engine, open: a part -> a table of scores."""
        with self.engine.open(self.model, revision=self.revision, dtype=self.dtype, execution=execution) as engine:
            yield partial(_score_apart, engine, self.targets)


@dataclass(frozen=True)
class Rehearsing:
    """The same calls without a model."""

    engine: Rehearsal
    targets: tuple[TokenTarget | None, ...]

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """A part -> a table of nothing, with its cost."""
        yield partial(_score, self.engine, self.targets)


def _score(engine: OpenEngine, targets: Sequence[TokenTarget | None], part: _Part) -> pa.Table:
    scores, cost = np.full(part.wanted.shape, np.nan), Cost()
    members = np.flatnonzero(part.wanted.any(axis=0))
    if len(members):
        chosen = [target for j in members.tolist() if (target := targets[j]) is not None]
        if part.precisely:
            with engine.precisely():  # Its rounding would be in the influence of every candidate.
                scores[:, members], cost = engine.score(part.prefixes, chosen, part.wanted[:, members])
        else:
            scores[:, members], cost = engine.score(part.prefixes, chosen, part.wanted[:, members])
    scores = np.where(part.wanted, scores, part.taken)
    return score_shard(scores[:, part.columns], cost, **part.notes)


def _score_apart(engine: OpenEngine, targets: Sequence[TokenTarget | None], part: _Part) -> pa.Table:
    """The scores of a part; where the model fails, candidate by candidate, without those that it fails at alone, too.

    Raises:
        Exception: the first failure, where it is about no candidate: the model fails at all of a full shard, or at the
            anchors without any.
    """
    try:
        return _score(engine, targets, part)
    except Exception as error:
        if part.precisely or not _may_be_of_a_row(error):
            raise
        scores, cost, failed = np.full((len(part.prefixes), len(part.columns)), np.nan), Cost(), dict[str, str]()
        for place in range(len(part.prefixes)):
            try:
                alone = _score(engine, targets, part.only(place))
            except Exception as failure:
                if not _may_be_of_a_row(failure):
                    raise
                failed[str(place)] = f"the model fails at it, so it has no score: {' '.join(str(failure).split())}"
                continue
            scores[place], cost = scores_of_shard(alone)[0], cost + cost_of_shard(alone)
        if len(failed) == len(part.prefixes):
            if len(failed) >= _ROWS_PER_SHARD:
                raise
            _score(engine, targets, part.without_examples())  # Of few candidates this says whose fault it is.
        return score_shard(scores, cost, **part.notes, failed=to_json(failed))


def _may_be_of_a_row(error: Exception) -> bool:
    """Whether a text may have made the model fail: not memory, which other machines have, and nothing of ours."""
    if is_out_of_memory(error) or (error.__cause__ is not None and is_out_of_memory(error.__cause__)):
        return False
    return isinstance(error, ModelError) or not isinstance(error, QadsError | OSError)


@dataclass(frozen=True, eq=False)
class PreparedTexts:
    """Everything but the model: tokenised texts, and what is known of their scores."""

    texts: FittedTexts
    origin: Origin
    may_score: Bool[np.ndarray, "n m"]
    known: KnownScores

    @classmethod
    def of(
        cls,
        texts: FittedTexts,
        identity: Mapping[str, Any],
        candidates: Pool,
        anchors: Pool,
        earlier: Sequence[Influence],
    ) -> PreparedTexts:
        """What is known of these texts, from scores that were checked."""
        origin = Origin.of_texts(identity, texts)
        ids = candidates.strings("id"), anchors.strings("id")
        known = KnownScores.look_up(earlier, origin, *ids, affected=texts.affected)
        return cls(texts, origin, pairs_to_score(candidates, anchors, origin), known)

    def zero_shot(self, of: str) -> _Part:
        """The anchors behind nothing but the header."""
        wanted = np.array([t is not None for t in self.texts.targets]) & np.isnan(self.known.zero_shot)
        notes = {
            "of": of, "affected": to_json(self.texts.affected), "origin": to_json(dataclasses.asdict(self.origin)),
        }  # fmt: skip
        everything = np.arange(len(wanted))
        header = self.texts.header
        return _Part([header], wanted[None], self.known.zero_shot[None], everything, notes, header, precisely=True)

    def one_shot(self, rows: Int[np.ndarray, " r"], columns: Int[np.ndarray, " c"]) -> _Part:
        """Some anchors behind some candidates."""
        prefixes = [(*self.texts.header, *(self.texts.examples[i] or ())) for i in rows]
        asked = np.zeros((len(rows), len(self.texts.targets)), bool)
        asked[:, columns] = self.may_score[np.ix_(rows, columns)]
        wanted = asked & np.isnan(self.known.one_shot[rows])
        taken = np.where(asked, self.known.one_shot[rows], np.nan)
        notes = {"n_reused": str((asked & ~wanted).sum()), "of": pairs_key(self.origin, rows, columns)}
        return _Part(prefixes, wanted, taken, columns, notes, self.texts.header)

    def n_tokens(self, rows: Int[np.ndarray, " r"]) -> int:
        """Tokens of the examples of some candidates; those of the anchors come behind each."""
        return sum(len(self.texts.examples[i] or ()) for i in rows)


@dataclass
class ShardedScores:
    """The scores, through the shards of a store, by whoever computes them."""

    crew: Crew
    store: ShardStore
    texts: Callable[[], PreparedTexts]
    """Prepared when the first shard is missing."""
    heard: Callable[[int], None]
    """Is told how many candidates of a round are left."""
    tables: list[pa.Table] = field(default_factory=list[pa.Table])
    """The shards so far, zero-shot first."""
    failed: dict[int, str] = field(default_factory=dict[int, str])
    """Candidates so far that the model failed at, and how."""

    def zero_shot(self, of: str) -> pa.Table:
        """The first shard; `of` says what the store was filled with."""
        grid = Grid(n_rows=1, rows_per_shard=1)
        map_shards(
            self.crew, lambda _: self.texts().zero_shot(of), grid,
            store=self.store, belongs=lambda kept, _: is_of(kept, of),
        )  # fmt: skip
        self.tables = list(grid.finished(self.store))
        return self.tables[0]

    def one_shot(
        self, rows: Int[np.ndarray, " r"], columns: Int[np.ndarray, " c"], origin: Origin
    ) -> Float[np.ndarray, "r c"]:
        """The scores of one round, in shards after those of the rounds before."""
        first = len(self.tables)
        grid = Grid(n_rows=len(rows), rows_per_shard=_ROWS_PER_SHARD, first_index=first)
        map_shards(
            self.crew, lambda part: self.texts().one_shot(rows[part], columns), grid,
            store=self.store, size=lambda part: self.texts().n_tokens(rows[part]),
            belongs=lambda kept, part: is_of(kept, pairs_key(origin, rows[part], columns)),
            progress=lambda done, total: self.heard(total - done),
        )  # fmt: skip
        self.tables += grid.finished(self.store)
        for number, shard in enumerate(self.tables[first:]):
            for place, reason in json.loads(shard.schema.metadata.get(b"failed", b"{}")).items():
                self.failed[int(rows[number * _ROWS_PER_SHARD + int(place)])] = reason
        return np.concatenate([scores_of_shard(shard) for shard in self.tables[first:]])

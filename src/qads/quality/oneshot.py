"""One-shot influence: how much a sample, shown as a worked example, helps a model with other samples.

Every anchor's solution is scored once without an example and once behind each candidate (`quality/influence.py` has
the formulas). A candidate is never scored on an anchor with its own problem, since copying the answer is no influence;
such pairs are NaN and count in no mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from pydantic import Field

from qads.cluster import Execution, MemoryShards, ShardStore, map_shards
from qads.errors import InputError
from qads.models import Dtype
from qads.pool import Pool, Progress, to_json
from qads.prompts import ExemplarTemplate, Template
from qads.quality.engines import Engine, LocalEngine, OpenEngine, check_engine_dtype
from qads.quality.influence import AGGREGATES, Aggregate, Influence
from qads.quality.tokens import FittedTexts, TooLong, fit_texts

__all__ = ["OneShotInfluence"]

_ROWS_PER_SHARD = 8


@dataclass(frozen=True, kw_only=True)
class OneShotInfluence:
    """Influence of candidates on anchors under a causal language model.

    Costs (tokens of the example + tokens of all anchors) through the model a candidate.
    """

    kind: Literal["influence"] = "influence"
    model: str = "smollm2-135m"
    """Alias, folder, GGUF file or hub id of a causal language model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model; sums over the vocabulary are float32 always. A served model has its own: ``auto``."""
    engine: Annotated[Engine, Field(discriminator="kind")] = field(default_factory=LocalEngine)
    """Where the model runs: in this process, or on a server."""
    template: Annotated[Template, Field(discriminator="kind")] = field(default_factory=ExemplarTemplate)
    """How candidate and anchor become text."""
    aggregate: Aggregate = "positive_gain"
    """Which aggregate the pipeline uses; `Influence.quality` gives any."""
    too_long: TooLong = "error"
    """When example and anchor exceed the context: stop, drop the row, or cut its problem on the left."""
    max_length: int | None = None
    """Context in tokens; None takes the model's."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 4:
            raise InputError(
                f"OneShotInfluence: max_length is {self.max_length}; example and anchor need 4 tokens at least."
            )
        if self.aggregate not in AGGREGATES:
            raise InputError(
                f"OneShotInfluence: aggregate is {self.aggregate!r}; it must be one of {', '.join(AGGREGATES)}."
            )
        check_engine_dtype(self.engine, self.dtype)

    def __call__(
        self,
        candidates: Pool,
        anchors: Pool,
        *,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Influence:
        """Score every candidate on every anchor.

        Args:
            candidates: the rows shown as examples.
            anchors: the rows whose solutions should become likelier.
            execution: device and batch size.
            shards: where finished shards are kept, so that a killed run goes on; memory by default.
            progress: called with (candidates done, candidates).

        Returns:
            The scores, candidates and anchors in the order given.

        Raises:
            TooLongError: texts exceed the context and `too_long` is ``"error"``; lists them.
            ModelError: the model cannot be opened or its chat template cannot be used.
            EngineError: a server that scores fails; finished shards are kept.
        """
        store = shards or MemoryShards()
        with ExitStack() as stack:

            @cache  # Opened at the first missing shard, if there is one.
            def scorer() -> _Scorer:
                engine = self.engine.open(
                    self.model, revision=self.revision, dtype=self.dtype, execution=execution or Execution()
                )
                return _Scorer.prepare(self, stack.enter_context(engine), candidates, anchors)

            if store.get(0) is None:
                store.put(0, scorer().zero_shot())
            map_shards(
                lambda rows: scorer().one_shot(rows), len(candidates),
                rows_per_shard=_ROWS_PER_SHARD, store=store, first_index=1, progress=progress,
            )  # fmt: skip
        return _join(store, candidates, anchors)


@dataclass(frozen=True)
class _Scorer:
    """Everything ready to score: tokenised texts and the model."""

    texts: FittedTexts
    may_score: Bool[np.ndarray, "n m"]
    engine: OpenEngine

    @classmethod
    def prepare(cls, method: OneShotInfluence, engine: OpenEngine, candidates: Pool, anchors: Pool) -> _Scorer:
        renderer = method.template.renderer(engine.render_chat)
        length = method.max_length or engine.max_length
        if length > engine.max_length:
            raise InputError(
                f"OneShotInfluence: max_length is {length}, but {method.model} sees {engine.max_length} tokens at most."
            )
        texts = fit_texts(engine.tokenizer, renderer, candidates, anchors, length, method.too_long)
        code = {key: number for number, key in enumerate(candidates.problem_keys)}
        rows = np.array([code[key] for key in candidates.problem_keys])
        own = rows[:, None] == np.array([code.get(key, -1) for key in anchors.problem_keys])
        fits = np.array([e is not None for e in texts.examples])[:, None] & np.array(
            [t is not None for t in texts.targets]
        )
        return cls(texts, fits & ~own, engine)

    def zero_shot(self) -> pa.Table:
        everywhere = np.array([[t is not None for t in self.texts.targets]])
        scores, n_tokens = self._score([self.texts.header], everywhere)
        return _shard(scores, n_tokens, dict(self.texts.affected))

    def one_shot(self, rows: range) -> pa.Table:
        prefixes = [(*self.texts.header, *(self.texts.examples[i] or ())) for i in rows]
        scores, n_tokens = self._score(prefixes, self.may_score[rows.start : rows.stop])
        return _shard(scores, n_tokens, {})

    def _score(
        self, prefixes: list[tuple[int, ...]], wanted: Bool[np.ndarray, "rows m"]
    ) -> tuple[Float[np.ndarray, "rows m"], int]:
        """The scores, and the tokens that a prefix run once for all its targets takes."""
        members = np.flatnonzero(wanted.any(axis=0))
        targets = [t for j in members if (t := self.texts.targets[j]) is not None]
        scores = np.full(wanted.shape, np.nan)
        scores[:, members] = self.engine.score(prefixes, targets, wanted[:, members])
        lengths = np.array([0 if t is None else len(t.ids) for t in self.texts.targets])
        shown = np.array([len(prefix) for prefix in prefixes])[wanted.any(axis=1)]
        return scores, int(shown.sum() + (wanted * lengths).sum())


def _shard(scores: Float[np.ndarray, "rows m"], n_tokens: int, affected: dict[str, str]) -> pa.Table:
    column = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1), pa.float64()), scores.shape[1])
    notes = {"n_tokens": str(n_tokens), "affected": to_json(affected)}
    return pa.table({"scores": column}).replace_schema_metadata(notes)


def _join(store: ShardStore, candidates: Pool, anchors: Pool) -> Influence:
    n_shards = 1 + -(-len(candidates) // _ROWS_PER_SHARD)
    tables = [cast(pa.Table, store.get(index)) for index in range(n_shards)]
    scores = [t["scores"].combine_chunks().flatten().to_numpy().reshape(-1, len(anchors)) for t in tables]
    return Influence(
        one_shot=np.concatenate(scores[1:]),
        zero_shot=scores[0][0],
        candidate_ids=tuple(candidates.strings("id")),
        anchor_ids=tuple(anchors.strings("id")),
        anchor_groups=tuple(anchors.strings("source")),
        n_tokens=sum(int(t.schema.metadata[b"n_tokens"]) for t in tables),
        affected=json.loads(tables[0].schema.metadata[b"affected"]),
    )

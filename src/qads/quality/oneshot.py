"""One-shot influence: how much a sample, shown as a worked example, helps a model with other samples.

Every anchor's solution is scored once without an example and once behind each candidate (`quality/influence.py` has
the formulas). A candidate is never scored on an anchor with its own problem, since copying the answer is no influence;
such pairs are NaN and count in no mean.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from qads.choices import check_choices
from qads.cluster import Execution, MemoryShards, ShardStore, workers
from qads.errors import InputError, ModelError
from qads.kernels.cost import Cost
from qads.models import Dtype, Tokenizer, open_tokenizer
from qads.pool import Pool, Progress, to_json
from qads.prompts import ExemplarTemplate, Template
from qads.quality.engines import Engine, LocalEngine, check_engine_dtype
from qads.quality.influence import Aggregate, Influence
from qads.quality.known import check_known
from qads.quality.origin import Origin
from qads.quality.rehearsal import NobodyStops, Rehearsal
from qads.quality.rounds import play_rounds
from qads.quality.scoring import PreparedTexts, Rehearsing, Scoring, ShardedScores
from qads.quality.shards import cost_of_shard, pairs_to_score, rows_key, scores_of_shard
from qads.quality.stopping import EveryAnchor, Stopping
from qads.quality.tokens import TooLong, fit_texts

__all__ = ["OneShotInfluence"]

logger = logging.getLogger(__name__)


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
    """What the quality is; `Influence.quality` gives any other too."""
    too_long: TooLong = "error"
    """When example and anchor exceed the context: stop, drop the row, or cut its problem on the left."""
    max_length: int | None = None
    """Context in tokens; None takes the model's."""
    stopping: Annotated[Stopping, Field(discriminator="kind")] = field(default_factory=EveryAnchor)
    """When a candidate has been scored on enough anchors; judged by `aggregate`."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_length is not None and self.max_length < 4:
            raise InputError(
                f"OneShotInfluence: max_length is {self.max_length}; example and anchor need 4 tokens at least."
            )
        check_engine_dtype(self.engine, self.dtype)

    def identity(self, execution: Execution | None = None) -> dict[str, Any]:
        """What makes its scores, beside the texts: weights, precision, engine and template."""
        how = execution or Execution()
        found = self.engine.identity(self.model, revision=self.revision, dtype=self.dtype, execution=how)
        more: dict[str, Any] = {"trust_remote_code": True} if how.trust_remote_code else {}
        if isinstance(self.engine, LocalEngine):
            more["zero_shot"] = "float32"
        return json.loads(to_json(found | {"template": dataclasses.asdict(self.template)} | more))

    def text_settings(self) -> list[Any]:
        """What of the method makes the texts of given rows; whose model reads them, the owner of a store knows."""
        return [dataclasses.asdict(self.template), self.too_long, self.max_length]

    def __call__(
        self,
        candidates: Pool,
        anchors: Pool,
        *,
        known: Influence | Sequence[Influence] = (),
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Influence:
        """Score candidates on anchors: every one on every one, or as many as `stopping` asks for.

        Args:
            candidates: the rows shown as examples.
            anchors: the rows whose solutions should become likelier.
            known: earlier scores; pairs of the same texts are taken over and not computed again.
            execution: device, batch size, and who computes.
            shards: where finished shards are kept, so that a killed run goes on; memory by default.
            progress: called with (candidates done, candidates), from the start again for those of another round.

        Returns:
            The scores, candidates and anchors in the order given.

        Raises:
            TooLongError: texts exceed the context and `too_long` is ``"error"``; lists them.
            ModelError: the model cannot be opened, its chat template cannot be used, or it fails at every candidate.
            InputError: there is nothing to score, `known` was made by another model or has other texts under the same
                ids.
            EngineError: a server that scores fails; finished shards are kept.
        """
        execution = execution or Execution()
        _check_rows(candidates, anchors)

        @cache  # At the first missing shard, if there is one.
        def texts() -> PreparedTexts:
            code = execution.trust_remote_code
            tokenizer = open_tokenizer(self.model, revision=self.revision, trust_remote_code=code)
            return self._prepared(tokenizer, candidates, anchors, *self._checked(known, execution))

        def work() -> Scoring:
            return Scoring(self.engine, self.model, self.revision, self.dtype, texts().texts.targets)

        with workers(work, self.engine.spread(execution)) as crew:
            through = ShardedScores(crew, shards or MemoryShards(), texts, _told_as_done(progress, len(candidates)))
            return _score_in_rounds(self, candidates, anchors, through)

    def expected_cost(
        self,
        candidates: Pool,
        anchors: Pool,
        *,
        known: Influence | Sequence[Influence] = (),
        execution: Execution | None = None,
    ) -> Cost:
        """What a call with the same arguments costs, without the model: exact, or the most if a rule stops early.

        Args:
            candidates: the rows shown as examples.
            anchors: the rows whose solutions should become likelier.
            known: earlier scores.
            execution: device, on which the meaning of `dtype` depends.

        Returns:
            Tokens and operations; neither seconds nor padding.

        Raises:
            TooLongError, ModelError, InputError: as the call itself would.
        """
        execution = execution or Execution()
        _check_rows(candidates, anchors)
        code = execution.trust_remote_code
        tokenizer = open_tokenizer(self.model, revision=self.revision, trust_remote_code=code)
        prepared = self._prepared(tokenizer, candidates, anchors, *self._checked(known, execution))
        rehearsal = Rehearsing(Rehearsal(tokenizer, self.engine.cost_rule), prepared.texts.targets)
        longest = dataclasses.replace(self, stopping=NobodyStops(rule=self.stopping))
        with workers(lambda: rehearsal, execution.here()) as crew:
            through = ShardedScores(crew, MemoryShards(), lambda: prepared, lambda _: None)
            return _score_in_rounds(longest, candidates, anchors, through).cost

    def _checked(
        self, known: Influence | Sequence[Influence], execution: Execution
    ) -> tuple[dict[str, Any], tuple[Influence, ...]]:
        """What makes the scores, and earlier ones that were made in the same way."""
        identity, earlier = self.identity(execution), (known,) if isinstance(known, Influence) else tuple(known)
        check_known(earlier, identity)
        return identity, earlier

    def _prepared(
        self,
        tokenizer: Tokenizer,
        candidates: Pool,
        anchors: Pool,
        identity: Mapping[str, Any],
        earlier: Sequence[Influence],
    ) -> PreparedTexts:
        """Everything tokenised and cut to length."""
        length = self.max_length or tokenizer.max_length
        if length > tokenizer.max_length:
            raise InputError(
                f"OneShotInfluence: max_length is {length}, but {self.model} sees {tokenizer.max_length} tokens at "
                "most."
            )
        renderer = self.template.renderer(tokenizer.render_chat)
        texts = fit_texts(tokenizer.tokenizer, renderer, candidates, anchors, length, self.too_long)
        return PreparedTexts.of(texts, identity, candidates, anchors, earlier)


def _check_rows(candidates: Pool, anchors: Pool) -> None:
    if not len(candidates) or not len(anchors):
        raise InputError(
            f"OneShotInfluence: {len(candidates)} candidates and {len(anchors)} anchors; give 1 of each at least."
        )


def _told_as_done(progress: Progress | None, n: int) -> Callable[[int], None]:
    """Tells how many are done where it is told how many are left."""
    return (lambda n_left: progress(n - n_left, n)) if progress else lambda _: None


def _failed(through: ShardedScores, ids: Sequence[str]) -> dict[str, str]:
    """The candidates that the model failed at, told."""
    found = {f"candidate {ids[row]}": reason for row, reason in sorted(through.failed.items())}
    for name, reason in found.items():
        logger.warning("%s: %s", name, reason)
    return found


def _score_in_rounds(method: OneShotInfluence, candidates: Pool, anchors: Pool, through: ShardedScores) -> Influence:
    """Every round through the store, one after the other; what the store has already is not computed."""
    notes = through.zero_shot(rows_key(candidates, anchors, method.text_settings())).schema.metadata
    zero_shot, origin = scores_of_shard(through.tables[0])[0], Origin.from_json(json.loads(notes[b"origin"]))
    groups, ids = tuple(anchors.strings("source")), tuple(candidates.strings("id"))
    found = play_rounds(
        method.stopping, method.aggregate, zero_shot=zero_shot, anchor_groups=groups,
        may_score=pairs_to_score(candidates, anchors, origin),
        score=lambda rows, columns: through.one_shot(rows, columns, origin),
    )  # fmt: skip
    if len(through.failed) == len(candidates):
        raise ModelError(f"{method.model}: no candidate has a score; of the first, {ids[0]}: {through.failed[0]}")
    return Influence(
        one_shot=found.one_shot,
        zero_shot=zero_shot,
        candidate_ids=ids,
        anchor_ids=tuple(anchors.strings("id")),
        anchor_groups=groups,
        cost=sum((cost_of_shard(shard) for shard in through.tables), Cost()),
        affected=json.loads(notes[b"affected"]) | _failed(through, ids),
        left_out=found.pending if found.pending.any() else None,
        origin=origin,
        n_reused=sum(int(shard.schema.metadata[b"n_reused"]) for shard in through.tables[1:]),
        rounds=found.rounds,
        aggregate=method.aggregate,
    )

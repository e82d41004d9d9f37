"""A model on a server, open for scoring: which texts go into which request, and what the server can do.

A text ends where its answer ends, since what comes after a token changes nothing about it. At opening two short texts
are scored, which shows what the server lets one ask and whether it reads tokens as our tokenizer does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from qads.errors import ModelError
from qads.kernels.cost import Cost, CostRule
from qads.kernels.likelihood import TokenTarget
from qads.models import Tokenizer
from qads.quality.dialects import Dialect, Form, Misfit, ScoredText, Scores
from qads.quality.opened import OpenEngine
from qads.quality.transport import Connection, Refusal

__all__ = ["ServedModel"]

logger = logging.getLogger(__name__)

_PROMPTS, _TOKENS = 8, 16384
"""Texts in one request at most, and their tokens unless one text has more: an answer is many times its request."""
_FORMS = (Form(_PROMPTS, 0), Form(_PROMPTS, 1), Form(1, 0), Form(1, 1))
_PROBES = ("The sky is blue and the grass is green.", "One two three four five six.")
_FINAL = (401, 403, 404)
"""Refusals that have nothing to do with the form of a request."""


class ServedModel(OpenEngine):
    """A connection to a server that scores, with the tokenizer of its model; close it after use.

    Args:
        connection: to the server; closed with this.
        dialect: how it is spoken to.
        tokenizer: of the model that it serves.
        served_model: a name that the server must list; None takes what it has.
        concurrency: requests at once, as the connection has it.
        cost_rule: how the server goes about a prefix and its targets.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        tokenizer: Tokenizer,
        served_model: str | None,
        concurrency: int,
        cost_rule: CostRule,
    ) -> None:
        super().__init__(tokenizer, cost_rule)
        self._connection, self._dialect, self._concurrency = connection, dialect, concurrency
        self._model = tokenizer.source.name
        self._form = connection.run(self._probe(served_model))

    def close(self) -> None:
        """End what is under way and let go of the server."""
        self._connection.close()

    def _scores(
        self, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], wanted: Bool[np.ndarray, "n m"]
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        started = time.perf_counter()
        scores = self._connection.run(self._score(prefixes, targets, wanted))
        return scores, Cost(
            extra_tokens=self._form.n_generated * int(wanted.sum()),
            seconds=time.perf_counter() - started,
            capacity=None,
        )

    async def _score(
        self, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], wanted: Bool[np.ndarray, "n m"]
    ) -> Float[np.ndarray, "n m"]:
        scores = np.full(wanted.shape, np.nan)
        # Few prefixes at a time, so that a server that keeps them need keep few.
        n_requests = -(-len(targets) // self._form.n_prompts)
        begun = asyncio.Semaphore(1 + self._concurrency // max(1, n_requests))

        async def score_prefix(i: int) -> None:
            async with begun:
                members = np.flatnonzero(wanted[i]).tolist()
                texts = {j: _scored_text(prefixes[i], targets[j]) for j in members}
                if self._dialect.shares_prefix and len(prefixes[i]) > 0 and len(members) > 1:
                    await score_batch(i, [members.pop(0)], texts)  # It leaves the prefix in the server's cache.
                async with asyncio.TaskGroup() as group:
                    for batch in self._batches(members, texts):
                        group.create_task(score_batch(i, batch, texts))

        async def score_batch(i: int, batch: list[int], texts: dict[int, ScoredText]) -> None:
            found = await self._ask([texts[j] for j in batch], self._form)
            scores[i, batch] = [np.mean(each.log_probs) for each in found]

        try:
            async with asyncio.TaskGroup() as group:
                for i in range(len(prefixes)):
                    group.create_task(score_prefix(i))
        except BaseExceptionGroup as failures:
            failure = _first(failures)
            raise self._explained(failure) from failure.__cause__
        return scores

    def _batches(self, members: list[int], texts: dict[int, ScoredText]) -> Iterator[list[int]]:
        batch: list[int] = []
        for j in members:
            n_tokens = sum(len(texts[k].ids) for k in [*batch, j])
            if batch and (len(batch) == self._form.n_prompts or n_tokens > _TOKENS):
                yield batch
                batch = []
            batch.append(j)
        if batch:
            yield batch

    async def _ask(self, texts: list[ScoredText], form: Form, *, words: bool = False) -> list[Scores]:
        dialect = self._dialect
        answer = await self._connection.ask("POST", dialect.path, dialect.request(texts, form, words=words))
        return dialect.read(answer, texts, form)

    async def _probe(self, served_model: str | None) -> Form:
        """The best form that the server understands.

        Raises:
            EngineError: it understands none, or its tokens are not ours.
        """
        await self._look_up(served_model)
        texts = [self._probe_text(text) for text in _PROBES]
        failure: BaseException = AssertionError()
        for form in _FORMS:
            together = [texts] if form.n_prompts > 1 else [[text] for text in texts]
            try:
                found = [scores for some in together for scores in await self._ask(some, form, words=True)]
            except (Refusal, Misfit) as error:
                if isinstance(error, Refusal) and error.status in _FINAL:
                    raise
                failure = error
                continue
            for text, scores in zip(texts, found, strict=True):
                self._compare(text, scores)
            return form
        raise self._explained(failure) from failure.__cause__

    async def _look_up(self, served_model: str | None) -> None:
        """Read the server's list of models, if it has one: names, and the context it was started with."""
        try:
            listed = await self._connection.ask("GET", self._dialect.models_path)
        except Refusal:
            return
        cards = listed.get("data") if isinstance(listed, dict) else None
        known = {
            str(c["id"]): c for c in (cards if isinstance(cards, list) else []) if isinstance(c, dict) and "id" in c
        }
        if known and served_model is not None and served_model not in known:
            raise self._connection.error(
                f"serves {', '.join(list(known)[:5])}, but engine.served_model is {served_model!r}; "
                "name one that it serves."
            )
        card = known.get(served_model or self._model) or (next(iter(known.values())) if len(known) == 1 else {})
        context = card.get("max_model_len")
        if not isinstance(context, int) or context < 2:
            return
        if context < self.max_length:
            logger.warning(
                "%s: sees %d tokens where %s sees %d; texts must fit the smaller (quality.influence.max_length).",
                self._connection.url, context, self._model, self.max_length,
            )  # fmt: skip
        self.max_length = min(self.max_length, context - 1)  # One token may have to be generated.

    def _probe_text(self, text: str) -> ScoredText:
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if len(ids) < 2:
            raise ModelError(f"{self._model}: its tokenizer makes {len(ids)} tokens of {text!r}; it cannot be used.")
        return ScoredText(ids, 1)

    def _compare(self, text: ScoredText, scores: Scores) -> None:
        """Refuse a server to which these ids are other words: its log-probabilities would mean nothing."""
        if scores.words is None:
            return
        ours = text.ids[text.start :]
        read, meant = _bare("".join(scores.words)), _bare(self.tokenizer.decode(list(ours)))
        if read != meant and list(scores.words) != [f"token_id:{token}" for token in ours]:
            raise self._connection.error(
                f"reads the tokens of {meant!r} as {read[:80]!r}: it serves another model than {self._model}. "
                "Set quality.influence.model to the model that it serves, or engine.url to another server."
            )

    def _explained(self, failure: BaseException) -> BaseException:
        """A misfit as an error that names the server and what to do; anything else as it is."""
        if not isinstance(failure, Misfit):
            return failure
        found = f", found {self._connection.quote(failure.found)!r}." if failure.found else ""
        return self._connection.error(
            f"{self._dialect.path} {failure}{found} docs/engines.md says which servers can score and how to start them."
        )


def _scored_text(prefix: Sequence[int], target: TokenTarget) -> ScoredText:
    return ScoredText((*prefix, *target.ids[: target.answer_end]), len(prefix) + target.answer_start)


def _bare(text: str) -> str:
    """A text without what tokenizers write for a space."""
    return "".join(text.replace("Ġ", " ").replace("▁", " ").split())


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure itself, out of the groups that it came in."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first

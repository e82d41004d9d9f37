r"""Measures by likelihood: of the reference solution, and of the options of a multiple choice.

    answer_log_likelihood = mean_t log p(solution_t | header, problem, solution_<t)        nats a token
    choice_likelihood     = 1[argmax_o Σ_t log p(statement_o,t | header, problem, …) is the right option]

where ``statement_o`` is "The answer is (B)." with the letter of option o, the words in which training data states
answers; the letters alone make the difference. Both are computed in float32 arithmetic by the kernels that scoring
uses: prefixes once, the head on answer positions only. The first is the zero-shot score that the item would have as an
anchor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from qads.answers import LETTERS
from qads.evaluate.items import Item
from qads.kernels.arithmetic import float32_arithmetic
from qads.kernels.likelihood import AnswerLikelihood
from qads.kernels.target import TokenTarget, common_start
from qads.models import header_ids, token_target
from qads.prompts import Renderer

__all__ = ["LikelihoodScorer", "choice_statement"]

_TOO_LONG = "longer than the context of {} tokens"


def choice_statement(place: int) -> str:
    """How an option is stated.

    >>> choice_statement(1)
    'The answer is (B).'
    """
    return f"The answer is ({LETTERS[place]})."


@dataclass(frozen=True)
class _Texts:
    """Texts that go on from one prefix, and how many tokens of each are scored."""

    prefix: tuple[int, ...]
    targets: tuple[TokenTarget, ...]


class LikelihoodScorer:
    """Measures items with one model.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        tokenizer: its fast tokenizer.
        renderer: of the template.
        max_length: tokens the model can see at once.
        max_tokens_per_batch: tokens in one forward pass.
    """

    def __init__(
        self, model: Any, tokenizer: Any, renderer: Renderer, *, max_length: int, max_tokens_per_batch: int
    ) -> None:
        self._model, self._tokenizer, self._renderer, self._max_length = model, tokenizer, renderer, max_length
        self._kernel = AnswerLikelihood(model, max_tokens_per_batch=max_tokens_per_batch)

    def solutions(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Rows of the measure `answer_log_likelihood`, one for each item that has a solution."""
        header = header_ids(self._tokenizer, self._renderer)
        rows = [self._row(item, "answer_log_likelihood") for item in items]
        wholes = [token_target(self._tokenizer, self._renderer.target(item.row)) for item in items]
        scored: dict[int, _Texts] = {}
        for i, whole in enumerate(wholes):
            texts = _behind(header, [whole])
            rows[i]["n_tokens"] = texts.targets[0].n_answer if texts else 0
            if texts is None:
                rows[i]["reason"] = "the solution has no token that can be predicted"
            elif len(header) + len(whole.ids) > self._max_length:
                rows[i]["reason"] = _TOO_LONG.format(self._max_length)
            else:
                scored[i] = texts
        for i, found in zip(scored, self._score(list(scored.values())), strict=True):
            rows[i]["value"] = float(found[0])
        return rows

    def choices(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Rows of the measure `choice_likelihood`, one for each multiple choice."""
        rows = [self._row(item, "choice_likelihood") for item in items]
        scored = {i: texts for i, item in enumerate(items) if (texts := self._options(item, rows[i])) is not None}
        for i, found in zip(scored, self._score(list(scored.values())), strict=True):
            counts = [target.n_answer for target in scored[i].targets]
            sums, right = found * counts, items[i].right_option
            best = int(np.argmax(sums))
            rows[i] |= {
                "value": float(best == right),
                "extracted": LETTERS[best],
                "verdict": "right" if best == right else "wrong",
                "n_tokens": sum(counts),
                "details": json.dumps({LETTERS[o]: round(float(each), 4) for o, each in enumerate(sums)}),
            }
        return rows

    def _options(self, item: Item, row: dict[str, Any]) -> _Texts | None:
        header = header_ids(self._tokenizer, self._renderer)
        rendered = [
            self._renderer.target(replace(item.row, solution=choice_statement(place)))
            for place in range(len(item.options))
        ]
        texts = _behind(header, [token_target(self._tokenizer, each) for each in rendered])
        if texts is None:
            row["reason"] = "the options have no token of their own that can be predicted"
        elif len(texts.prefix) + max(len(each.ids) for each in texts.targets) > self._max_length:
            row["reason"] = _TOO_LONG.format(self._max_length)
        else:
            return texts
        return None

    def _row(self, item: Item, measure: str) -> dict[str, Any]:
        return {"set": item.set, "id": item.row.id, "measure": measure, "reference": item.row.answer}

    def _score(self, texts: Sequence[_Texts]) -> list[Float[np.ndarray, " o"]]:
        """Mean log-probability of every target after its own prefix.

        A prefix that more texts share than fill a pass stands once for every pass: passes run side by side on the
        cores of a CPU only where they have nothing in common.
        """
        if not texts:
            return []
        prefixes, prefix_of = self._cut(texts)
        ends = np.cumsum([len(each.targets) for each in texts])
        wanted = np.zeros((len(prefixes), int(ends[-1])), np.bool_)
        for prefix, end, each in zip(prefix_of, ends, texts, strict=True):
            wanted[prefix, end - len(each.targets) : end] = True
        with float32_arithmetic(self._model):
            scores = self._kernel(prefixes, [target for each in texts for target in each.targets], wanted)
        return np.split(np.nansum(scores, axis=0), ends[:-1])

    def _cut(self, texts: Sequence[_Texts]) -> tuple[list[tuple[int, ...]], list[int]]:
        """Prefixes, and which of them each of the texts follows."""
        prefixes: list[tuple[int, ...]] = []
        prefix_of: list[int] = []
        last: dict[tuple[int, ...], int] = {}
        room: dict[tuple[int, ...], int] = {}
        for each in texts:
            n_tokens = sum(len(target.ids) for target in each.targets)
            if each.prefix not in last or room[each.prefix] < n_tokens:
                last[each.prefix], room[each.prefix] = len(prefixes), self._kernel.max_tokens_per_batch
                prefixes.append(each.prefix)
            room[each.prefix] -= n_tokens
            prefix_of.append(last[each.prefix])
        return prefixes, prefix_of


def _behind(header: tuple[int, ...], wholes: Sequence[TokenTarget]) -> _Texts | None:
    """Texts behind what they share, all but one token of it: something must stand before what is scored.

    None where nothing is left to score.
    """
    if len(wholes) == 1:
        (whole,) = wholes
        ids, start = (*header[-1:], *whole.ids), len(header[-1:]) + whole.answer_start
        start = max(start, 1)
        end = len(header[-1:]) + whole.answer_end
        return _Texts(header[:-1], (TokenTarget(ids, start, end),)) if start < end else None
    shared = (*header, *common_start([whole.ids[: whole.answer_end] for whole in wholes]))
    if not shared:
        return None
    at = len(shared) - 1 - len(header)
    targets = tuple(
        TokenTarget((*shared[-1:], *whole.ids[at + 1 : whole.answer_end]), 1, whole.answer_end - at) for whole in wholes
    )
    return _Texts(shared[:-1], targets) if all(each.n_answer for each in targets) else None

"""Rows as texts that end in a question for their quality, and what a model says to it in one forward pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from qads.errors import InputError
from qads.kernels.cost import Cost, CostRule, ModelShape, call_cost
from qads.kernels.next_token import NextToken
from qads.kernels.target import TokenTarget
from qads.models import CausalLM, header_ids, token_ids
from qads.pool import Pool
from qads.prompts import Renderer, Template
from qads.quality.scorers.levels import LevelTokens
from qads.quality.scorers.reading import NO_NUMBER

__all__ = ["Ratings", "RowRater", "RowTexts", "text_cost"]

logger = logging.getLogger(__name__)

_ONE_TOKEN = CostRule(shares_prefix=True)


@dataclass(frozen=True, eq=False)
class Ratings:
    """What a model says of rows; NaN for a row that it could not read."""

    probabilities: Float[np.ndarray, "n l"]
    """Of each level."""
    reasons: Mapping[int, str] = field(default_factory=dict[int, str])
    """Position of every row that could not be read, and why."""
    cost: Cost = field(default_factory=Cost)
    """What it took."""


class RowTexts:
    """Makes texts of rows for one model: header · row as its template writes it · question.

    Args:
        lm: the model.
        template: how a row becomes text.
        n_levels: levels that answer the question.
        max_length: tokens that fit; None takes the model's.

    Raises:
        ModelError: the template cannot be used with this model, or a level is not one token.
        InputError: the model sees fewer tokens than `max_length`.
    """

    def __init__(self, lm: CausalLM, template: Template, *, n_levels: int, max_length: int | None) -> None:
        self.max_length = max_length or lm.max_length
        if self.max_length > lm.max_length:
            raise InputError(
                f"LMScorer: max_length is {max_length}, but {lm.source.name} sees {lm.max_length} tokens at most."
            )
        self.tokens = LevelTokens.of(lm.tokenizer, n_levels)
        self._tokenizer = lm.tokenizer
        self._renderer: Renderer = template.renderer(lm.render_chat)
        self._header = header_ids(lm.tokenizer, self._renderer)

    def __call__(self, pool: Pool) -> tuple[dict[int, tuple[int, ...]], dict[int, str]]:
        """The text of every row that fits with its level; and why the others do not, by position."""
        texts: dict[int, tuple[int, ...]] = {}
        reasons: dict[int, str] = {}
        for i, row in enumerate(pool):
            text = (*self._header, *token_ids(self._tokenizer, self._renderer.target(row).text), *self.tokens.question)
            if len(text) < self.max_length:
                texts[i] = text
            else:
                reasons[i] = (
                    f"{len(text) + 1} tokens with the question and a level, where the context of the model holds "
                    f"{self.max_length}"
                )
        return texts, reasons


class RowRater:
    """Asks one model for the quality of rows.

    Args:
        lm: the model, fine-tuned.
        texts: makes its texts.
        n_levels: how many of the levels it was trained on, from the lowest on.
        max_tokens_per_batch: padded tokens in one forward pass.
    """

    def __init__(self, lm: CausalLM, texts: RowTexts, *, n_levels: int, max_tokens_per_batch: int) -> None:
        self._texts, self._shape, self._n_levels = texts, lm.shape, n_levels
        tokens = texts.tokens.levels[:n_levels]
        self._ask = NextToken(lm.model, tokens=tokens, max_tokens_per_batch=max_tokens_per_batch, notify=logger.warning)

    def __call__(self, pool: Pool) -> Ratings:
        """What the model says of every row."""
        started = time.perf_counter()
        texts, reasons = self._texts(pool)
        found = np.full((len(pool), self._n_levels), np.nan)
        found[list(texts)] = self._ask(list(texts.values()))
        for i in texts:
            if not np.isfinite(found[i]).all():
                found[i], reasons[i] = np.nan, NO_NUMBER
        spent = text_cost(self._shape, list(texts.values()))
        return Ratings(found, reasons, replace(spent, seconds=time.perf_counter() - started))


def text_cost(shape: ModelShape | None, texts: Sequence[Sequence[int]]) -> Cost:
    """Tokens and operations of one pass over texts, a token asked for behind each."""
    targets = [TokenTarget(tuple(text), len(text) - 1, len(text)) for text in texts]
    return call_cost(shape, _ONE_TOKEN, [0], targets, np.ones((1, len(targets)), np.bool_))

"""What the scoring model makes of rows, one forward pass a row: states of layers and likelihoods, as plain arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qads.cluster import Execution
from qads.errors import InputError
from qads.kernels.cost import Cost, CostRule, call_cost
from qads.kernels.row_states import RowReading, RowStates, layers_at
from qads.kernels.target import TokenTarget
from qads.models import CausalLM, Dtype, header_ids, open_causal_lm, token_target
from qads.pool import Pool, Row
from qads.prompts import Renderer, Template

__all__ = ["LIKELIHOODS", "Readings", "RowReader"]

logger = logging.getLogger(__name__)

LIKELIHOODS = (
    "solution given the problem",
    "first half of the solution",
    "second half given the first",
    "problem",
    "least likely token",
    "spread over tokens",
    "log tokens of the solution",
    "log tokens",
)
"""Of every row, in nats a token; the last two are logarithms of counts."""
_ON_CUDA = 16_384
"""Padded tokens in a forward pass on CUDA unless said otherwise."""
_EVERY_TOKEN = CostRule(shares_prefix=True, head_everywhere=True)


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read of rows; NaN for a row that could not be."""

    states: Float[np.ndarray, "n l h"]
    """Mean over the solution's tokens at every layer, then the last token at every layer."""
    likelihoods: Float[np.ndarray, "n s"]
    """The numbers of `LIKELIHOODS`."""
    reasons: tuple[str | None, ...]
    """Why a row could not be read."""
    cost: Cost = field(default_factory=Cost)
    """What reading took."""

    def take(self, rows: Int[np.ndarray, " r"]) -> Readings:
        """Those of some rows; what reading took is that of all."""
        reasons = tuple(self.reasons[i] for i in rows.tolist())
        return Readings(self.states[rows], self.likelihoods[rows], reasons, self.cost)

    @classmethod
    def joined(cls, parts: Sequence[Readings]) -> Readings:
        """The readings of neighbouring parts of a pool, one after the other; one part at least."""
        return cls(
            np.concatenate([part.states for part in parts]),
            np.concatenate([part.likelihoods for part in parts]),
            tuple(reason for part in parts for reason in part.reasons),
            sum((part.cost for part in parts), Cost()),
        )


class RowReader:
    """Reads rows with one open model.

    Args:
        lm: the model.
        template: how a row becomes text.
        depths: shares of the model's depth at which states are taken.
        max_length: tokens that fit; None takes the model's.
        max_tokens_per_batch: padded tokens in one forward pass.

    Raises:
        ModelError: the template cannot be used with this model.
        InputError: the model sees fewer tokens than `max_length`.
    """

    def __init__(
        self, lm: CausalLM, template: Template, *, depths: Sequence[float], max_length: int | None,
        max_tokens_per_batch: int,
    ) -> None:  # fmt: skip
        config = lm.model.config.get_text_config()
        self._layers = layers_at(depths, config.num_hidden_layers)
        self._size = int(config.hidden_size)
        self._tokenizer, self._shape = lm.tokenizer, lm.shape
        self._renderer: Renderer = template.renderer(lm.render_chat)
        self._header = header_ids(lm.tokenizer, self._renderer)
        self._max_length = max_length or lm.max_length
        if self._max_length > lm.max_length:
            raise InputError(
                f"scorer: max_length is {max_length}, but {lm.source.name} sees {lm.max_length} tokens at most."
            )
        self._read = RowStates(
            lm.model, layers=self._layers, max_tokens_per_batch=max_tokens_per_batch, notify=logger.warning
        )

    @classmethod
    def open(
        cls, model: str, template: Template, *, revision: str | None, dtype: Dtype, depths: Sequence[float],
        max_length: int | None, execution: Execution,
    ) -> RowReader:  # fmt: skip
        """Open the model, and read with it."""
        lm = open_causal_lm(
            model, device=execution.device, dtype=dtype, revision=revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        size = execution.pass_size(lm.device.type) or _ON_CUDA
        return cls(lm, template, depths=depths, max_length=max_length, max_tokens_per_batch=size)

    def __call__(self, pool: Pool) -> Readings:
        """Read every row."""
        started = time.perf_counter()
        texts = [self._text(row) for row in pool]
        fitting = [i for i, text in enumerate(texts) if isinstance(text, TokenTarget)]
        states = np.full((len(texts), 2 * len(self._layers), self._size), np.nan, np.float32)
        likelihoods = np.full((len(texts), len(LIKELIHOODS)), np.nan)
        targets: list[Any] = [texts[i] for i in fitting]
        for i, text, reading in zip(fitting, targets, self._read(targets), strict=True):
            states[i] = np.concatenate([reading.mean, reading.last])
            likelihoods[i] = _summary(text, reading, len(self._header))
        reasons = tuple(text if isinstance(text, str) else None for text in texts)
        spent = call_cost(self._shape, _EVERY_TOKEN, [0], targets, np.ones((1, len(targets)), np.bool_))
        return Readings(states, likelihoods, reasons, replace(spent, seconds=time.perf_counter() - started))

    def _text(self, row: Row) -> TokenTarget | str:
        """Header, problem and solution; or why they cannot be read."""
        target = token_target(self._tokenizer, self._renderer.target(row))
        before = len(self._header)
        if (n_tokens := before + len(target.ids)) > self._max_length:
            return f"{n_tokens} tokens where the context of the model holds {self._max_length}"
        start, end = before + target.answer_start, before + target.answer_end
        if not 1 <= start < end:
            return "the solution has no token of its own, or no token before it"
        return TokenTarget((*self._header, *target.ids), start, end)


def _summary(text: TokenTarget, reading: RowReading, n_header: int) -> list[float]:
    """The numbers of `LIKELIHOODS`; token t is predicted at place t − 1."""
    log_probs = reading.log_probs.astype(np.float64)
    solution = log_probs[text.answer_start - 1 : text.answer_end - 1]
    problem = log_probs[max(0, n_header - 1) : text.answer_start - 1]
    half = max(1, len(solution) // 2)
    second = solution[half:] if len(solution) > half else solution
    return [
        float(solution.mean()),
        float(solution[:half].mean()),
        float(second.mean()),
        float(problem.mean()) if len(problem) else 0.0,
        float(solution.min()),
        float(solution.std()),
        float(np.log(len(solution))),
        float(np.log(len(text.ids))),
    ]

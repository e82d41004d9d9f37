"""Log-likelihood of answers after a shared prefix.

The prefix (header, or header and example) runs once; its keys and values are then shared by all targets, which run
in padded batches sorted by length. The vocabulary head and the log-softmax run on answer positions only, in
float32, a bounded number of positions at a time. Inputs are checked by the caller.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from qads.errors import ModelError

__all__ = ["AnswerLikelihood", "TokenTarget"]

_HEAD_ELEMENTS = 2**25
"""Logits alive at once: positions × vocabulary ≤ this, 128 MB in float32."""


@dataclass(frozen=True)
class TokenTarget:
    """A tokenised target; the tokens [answer_start, answer_end) are scored. `answer_start` is ≥ 1."""

    ids: tuple[int, ...]
    answer_start: int
    answer_end: int


class AnswerLikelihood:
    """Scores targets after a prefix with one causal language model.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        max_tokens_per_batch: padded tokens (prefix included) in one forward pass.
    """

    def __init__(self, model: Any, *, max_tokens_per_batch: int) -> None:
        self._model = model
        self._max_tokens = max_tokens_per_batch
        self._head = _Head(model)
        self._check()

    @torch.inference_mode()
    def __call__(self, prefix: Sequence[int], targets: Sequence[TokenTarget]) -> Float[np.ndarray, " m"]:
        """Mean log-probability, in nats a token, of every target's answer after `prefix`."""
        scores = np.empty(len(targets))
        cache = self._prefix_cache(prefix) if prefix else None
        for members in self._batches(len(prefix), targets):
            scores[members] = self._score_batch(cache, len(prefix), [targets[i] for i in members])
        return scores

    def _check(self) -> None:
        """Score a few tokens both ways: what we know of an architecture is measured, not assumed.

        Raises:
            ModelError: the model keeps no cache that can be shared, or its head does more than we know of.
        """
        kind = self._model.config.model_type
        vocabulary = self._head.n_tokens
        ids = [(17 * i + 3) % vocabulary for i in range(12)]
        target = TokenTarget(tuple(ids[4:]), 2, 8)
        try:
            ours = float(self(ids[:4], [target, target])[1])
        except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"{kind}: this architecture shares no prefix between texts ({error}); it cannot score."
            ) from error
        with torch.inference_mode():
            logits = self._model(torch.tensor([ids], device=self._model.device)).logits[0].float()
        plain = torch.log_softmax(logits, -1)[range(5, 11), ids[6:12]].mean().item()
        tolerance = 1e-3 if self._model.dtype == torch.float32 else 0.2
        if not abs(ours - plain) <= tolerance * max(1.0, abs(plain) / 10):
            raise ModelError(
                f"{kind}: scoring after a shared prefix gives {ours:.4f} nats a token where a plain forward pass gives "
                f"{plain:.4f}; this architecture is not supported."
            )

    def _prefix_cache(self, prefix: Sequence[int]) -> Any:
        ids = torch.tensor([list(prefix)], device=self._model.device)
        return self._model.base_model(input_ids=ids, use_cache=True).past_key_values

    def _batches(self, n_prefix: int, targets: Sequence[TokenTarget]) -> Iterator[list[int]]:
        """Targets of near lengths together, in an order of their own, so that the caller's order changes nothing."""
        order = sorted(range(len(targets)), key=lambda i: (len(targets[i].ids), targets[i].ids), reverse=True)
        batch: list[int] = []
        for i in order:
            longest = len(targets[batch[0]].ids) if batch else 0
            if batch and (len(batch) + 1) * (n_prefix + longest) > self._max_tokens:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _score_batch(self, cache: Any, n_prefix: int, batch: list[TokenTarget]) -> Float[np.ndarray, " b"]:
        device = self._model.device
        length = max(len(t.ids) for t in batch)
        ids = torch.zeros((len(batch), length), dtype=torch.long)
        mask = torch.zeros((len(batch), n_prefix + length), dtype=torch.long)
        for row, target in enumerate(batch):
            ids[row, : len(target.ids)] = torch.tensor(target.ids)
            mask[row, : n_prefix + len(target.ids)] = 1
        shared = None
        if cache is not None:
            shared = copy.deepcopy(cache)  # A forward pass appends to the cache it is given.
            shared.batch_repeat_interleave(len(batch))
        hidden = self._model.base_model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            past_key_values=shared,
            use_cache=shared is not None,
        ).last_hidden_state
        counts = [t.answer_end - t.answer_start for t in batch]
        # The state at p − 1 predicts token p.
        states = torch.cat([hidden[r, t.answer_start - 1 : t.answer_end - 1] for r, t in enumerate(batch)])
        tokens = torch.cat([ids[r, t.answer_start : t.answer_end] for r, t in enumerate(batch)]).to(device)
        log_probs = self._head.log_probs(states, tokens).cpu()
        return np.array([part.mean().item() for part in log_probs.double().split(counts)])


class _Head:
    """The vocabulary head in float32: bfloat16 logits of size 20 are off by up to 0.06 nats each."""

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self._weight = head.weight.float()
        self._bias = None if getattr(head, "bias", None) is None else head.bias.float()
        config = model.config.get_text_config()
        self._soft_cap = getattr(config, "final_logit_softcapping", None)  # Gemma
        self._scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return int(self._weight.shape[0])

    def log_probs(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probability [p] of each token [p] under the state [p, h] before it."""
        step = max(1, _HEAD_ELEMENTS // self._weight.shape[0])
        parts = [
            -torch.nn.functional.cross_entropy(
                self._logits(states[i : i + step]), tokens[i : i + step], reduction="none"
            )
            for i in range(0, len(tokens), step)
        ]
        return torch.cat(parts)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.linear(states.float(), self._weight, self._bias) * self._scale
        return logits if self._soft_cap is None else torch.tanh(logits / self._soft_cap) * self._soft_cap

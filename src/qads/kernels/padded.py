"""The way for models whose attention cannot be exchanged: one prefix at a time, its cache shared by padded batches.

The prefix runs once; its cache is copied for every batch of targets of near lengths. Inputs are checked by the caller.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from qads.kernels.target import AnswerStates, TokenTarget

__all__ = ["PaddedBody"]


class PaddedBody:
    """The body of a model that keeps a cache."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.n_padding = 0
        """Padding that has gone through the model so far."""

    def installed(self) -> AbstractContextManager[None]:
        """Nothing has to be exchanged."""
        return nullcontext()

    def states(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"],
        max_tokens: int,
    ) -> Iterator[AnswerStates]:
        """The states before the answer tokens of all wanted pairs, batch by batch."""
        for i in np.flatnonzero(wanted.any(axis=1)).tolist():
            prefix = prefixes[i]
            cache = self._prefix_cache(prefix) if prefix else None
            for members in _batches(len(prefix), targets, np.flatnonzero(wanted[i]).tolist(), max_tokens):
                batch = [targets[j] for j in members]
                states, tokens = self._answers(cache, len(prefix), batch)
                yield AnswerStates([(i, j) for j in members], [t.n_answer for t in batch], states, tokens)

    @torch.inference_mode()
    def _prefix_cache(self, prefix: Sequence[int]) -> Any:
        ids = torch.tensor([list(prefix)], device=self._model.device)
        return self._model.base_model(input_ids=ids, use_cache=True).past_key_values

    @torch.inference_mode()
    def _answers(self, cache: Any, n_prefix: int, batch: list[TokenTarget]) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._model.device
        length = max(len(t.ids) for t in batch)
        self.n_padding += sum(length - len(t.ids) for t in batch)
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
        # The state at p − 1 predicts token p.
        states = torch.cat([hidden[r, t.answer_start - 1 : t.answer_end - 1] for r, t in enumerate(batch)])
        return states, torch.cat([ids[r, t.answer_start : t.answer_end] for r, t in enumerate(batch)]).to(device)


def _batches(
    n_prefix: int, targets: Sequence[TokenTarget], members: Sequence[int], max_tokens: int
) -> Iterator[list[int]]:
    """Targets of near lengths together, the longest first; `max_tokens` counts padding and copies of the prefix."""
    batch: list[int] = []
    for j in sorted(members, key=lambda j: (len(targets[j].ids), targets[j].ids), reverse=True):
        longest = len(targets[batch[0]].ids) if batch else 0
        if batch and (len(batch) + 1) * (n_prefix + longest) > max_tokens:
            yield batch
            batch = []
        batch.append(j)
    if batch:
        yield batch

"""What a causal language model makes of a row in one forward pass: states of chosen layers, and its likelihoods.

Of every layer the mean state over the answer's tokens and the state of its last token, [h] each; of every token of the
text its log-probability given those before it. Rows run in padded batches of near lengths. Inputs are checked by the
caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from qads.kernels.head import AnswerHead
from qads.kernels.padded_batches import PaddedBatches, padded
from qads.kernels.target import TokenTarget

__all__ = ["RowReading", "RowStates", "layers_at"]


@dataclass(frozen=True, eq=False)
class RowReading:
    """What was read of one row."""

    mean: Float[np.ndarray, "l h"]
    """Mean state over the answer's tokens, a row for each layer."""
    last: Float[np.ndarray, "l h"]
    """State of the answer's last token."""
    log_probs: Float[np.ndarray, " t"]
    """Of every token but the first, nats."""


class RowStates:
    """Reads rows with one model.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        layers: which hidden states: 0 is the embedding, the last what the head reads.
        max_tokens_per_batch: padded tokens in one forward pass; a longer row goes alone.
        notify: is told when memory ran out.
    """

    def __init__(
        self,
        model: Any,
        *,
        layers: Sequence[int],
        max_tokens_per_batch: int,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._model, self._layers = model, tuple(layers)
        self._batches = PaddedBatches(model, max_tokens=max_tokens_per_batch, notify=notify)
        self._head = AnswerHead(model)

    def __call__(self, texts: Sequence[TokenTarget]) -> list[RowReading]:
        """Read every text, of two tokens at least.

        Raises:
            ModelError: memory does not suffice for a text alone.
        """
        found: list[Any] = [None] * len(texts)

        def read(batch: list[int]) -> None:
            ids, mask = padded([texts[i].ids for i in batch])
            states = self._model.base_model(
                input_ids=ids.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                use_cache=False,
                output_hidden_states=True,
            ).hidden_states
            log_probs = self._log_probs(states[-1], [texts[i] for i in batch])
            for place, i in enumerate(batch):
                found[i] = self._reading([states[layer][place] for layer in self._layers], log_probs[place], texts[i])

        self._batches([len(text.ids) for text in texts], read)
        return found

    def _log_probs(self, final: torch.Tensor, texts: Sequence[TokenTarget]) -> list[torch.Tensor]:
        """Log-probability of every token but the first of each text; the head sees all of a batch at once."""
        lengths = [len(text.ids) - 1 for text in texts]
        following = torch.tensor([token for text in texts for token in text.ids[1:]], device=final.device)
        before = torch.cat([final[place, :length] for place, length in enumerate(lengths)])
        return list(self._head.log_probs(before, following).cpu().split(lengths))

    def _reading(self, layers: Sequence[torch.Tensor], log_probs: torch.Tensor, text: TokenTarget) -> RowReading:
        answers = torch.stack([layer[text.answer_start : text.answer_end].float() for layer in layers])
        last = answers[:, -1].clone()  # A view would keep the states of all the answer's tokens as long as it lives.
        return RowReading(answers.mean(1).cpu().numpy(), last.cpu().numpy(), log_probs.numpy())


def layers_at(depths: Sequence[float], n_layers: int) -> tuple[int, ...]:
    """The hidden states at shares of a model's depth, 0 the embedding and 1 the last layer; each once, in order."""
    return tuple(sorted({round(depth * n_layers) for depth in depths}))

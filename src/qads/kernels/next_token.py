"""Which of a few tokens comes next, one forward pass a text: probabilities among them alone.

Texts run in padded batches of near lengths; logits are computed for the last state of a text and the tokens that are
asked for, never for a vocabulary. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from qads.kernels.head import AnswerHead
from qads.kernels.padded_batches import PaddedBatches, padded

__all__ = ["NextToken"]


class NextToken:
    """Asks one model for the token that follows.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        tokens: those to choose from.
        max_tokens_per_batch: padded tokens in one forward pass; a longer text goes alone.
        notify: is told when memory ran out.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokens: Sequence[int],
        max_tokens_per_batch: int,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._model = model
        self._batches = PaddedBatches(model, max_tokens=max_tokens_per_batch, notify=notify)
        self._head, self._tokens = AnswerHead(model), torch.tensor(tokens, device=model.device)

    def __call__(self, texts: Sequence[Sequence[int]]) -> Float[np.ndarray, "n l"]:
        """Probability of each token after every text, given that it is one of them; float64, rows sum to 1.

        Raises:
            ModelError: memory does not suffice for a text alone.
        """
        found = np.empty((len(texts), len(self._tokens)))

        def ask(batch: list[int]) -> None:
            ids, mask = (part.to(self._model.device) for part in padded([texts[i] for i in batch]))
            states = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = states[torch.arange(len(batch)), mask.sum(1) - 1]
            found[batch] = self._head.logits(last, self._tokens).double().softmax(-1).cpu().numpy()

        self._batches([len(text) for text in texts], ask)
        return found

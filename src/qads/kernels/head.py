"""Log-probabilities of given tokens from the states before them, never holding the logits of all positions.

The head runs on blocks of positions and vocabulary; each block leaves its log-sum-exp only. bfloat16 logits of size
20 are off by up to 0.06 nats each, so with half-precision weights a block is computed relative to the logit of the
token that is asked for, which is subtracted before the block is rounded:

    log p(t | x) = (c − c̃) − log Σ_v exp(x·w_v − c̃)        c = x·w_t in float32, c̃ = c rounded

What matters in the sum, the logits near the token's own or above it by little, is then small and loses little. The
float32 weights of a half-precision head never exist at once.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["AnswerHead"]

_BLOCK = {"cpu": (512, 1024)}
"""Positions × vocabulary of a block: on a CPU it stays in the cache of a core."""
_BLOCK_ELSEWHERE = (4096, 8192)


class AnswerHead:
    """The output embeddings of a causal language model, with what its family does to logits.

    Knows Gemma's soft cap, Cohere's and Granite's scale and biased heads; what else a family may do shows when the
    caller compares with a plain forward pass.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self._weight: torch.Tensor = head.weight
        self._bias: torch.Tensor | None = getattr(head, "bias", None)
        config = model.config.get_text_config()
        self._soft_cap: float | None = getattr(config, "final_logit_softcapping", None)  # Gemma
        self._scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return int(self._weight.shape[0])

    def log_probs(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probability [p], float32, of each token [p] under the state [p, h] before it."""
        step, _ = _BLOCK.get(states.device.type, _BLOCK_ELSEWHERE)
        parts = [self._log_probs(states[i : i + step], tokens[i : i + step]) for i in range(0, len(tokens), step)]
        return torch.cat(parts)

    def logits(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [p, l], float32, of all tokens [l] under every state [p, h]."""
        bias = None if self._bias is None else self._bias[tokens].float()
        return self._finished(torch.nn.functional.linear(states.float(), self._weight[tokens].float(), bias))

    def _log_probs(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        _, step = _BLOCK.get(states.device.type, _BLOCK_ELSEWHERE)
        asked = (states.float() * self._weight[tokens].float()).sum(-1)
        if self._bias is not None:
            asked = asked + self._bias[tokens].float()
        sums = [
            torch.logsumexp(self._logits(states, asked, slice(i, i + step)), -1) for i in range(0, self.n_tokens, step)
        ]
        total = torch.logsumexp(torch.stack(sums, -1), -1)
        if self._fuses(states):
            return self._scale * (asked - asked.to(states.dtype).float()) - total
        return self._finished(asked) - total

    def _fuses(self, states: torch.Tensor) -> bool:
        """Whether the token's logit is taken off inside the product, before it is rounded: where it is rounded."""
        return states.dtype != torch.float32 and self._bias is None and self._soft_cap is None

    def _logits(self, states: torch.Tensor, asked: torch.Tensor, words: slice) -> torch.Tensor:
        """Logits [p, words] in float32; where fused, less the rounded one of the token that is asked for."""
        weight = self._weight[words]
        if self._fuses(states):
            rounded = asked.to(states.dtype)[:, None].expand(-1, len(weight))
            return torch.addmm(rounded, states, weight.T, beta=-1).float() * self._scale
        bias = None if self._bias is None else self._bias[words].float()
        return self._finished(torch.nn.functional.linear(states.float(), weight.float(), bias))

    def _finished(self, logits: torch.Tensor) -> torch.Tensor:
        logits = logits * self._scale if self._scale != 1.0 else logits
        return logits if self._soft_cap is None else torch.tanh(logits / self._soft_cap) * self._soft_cap

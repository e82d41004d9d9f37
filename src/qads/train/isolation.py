"""Whether a model keeps rows that share a pass apart: it is tried, not believed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from qads.errors import ModelError
from qads.models import CausalLM, TrainingText

__all__ = ["check_packing"]

_LENGTH = 24
"""Tokens of the two texts that are tried."""
_ROUNDING = 1e-3
"""Nats that a log-probability may move in float32 by rounding alone."""
_COARSE = 0.1
"""The same in 16 bits, or a quarter of what it moves where rows do see each other, if that is more."""


def check_packing(lm: CausalLM, texts: Sequence[TrainingText]) -> None:
    """Refuse a model to which a text means something else behind another one than alone.

    Attention is told by the positions where a row begins (transformers makes the mask of them, flash attention its
    sequence lengths); layers that carry a state along, or a model with positions of its own, may not heed them.

    Raises:
        ModelError: the model lets rows see each other.
    """
    first, second = (list(texts[i].ids[:_LENGTH]) for i in (0, min(1, len(texts) - 1)))
    alone = _log_probs(lm, second, 0)
    packed = _log_probs(lm, first + second, len(first), restart=True)
    together = _log_probs(lm, first + second, len(first))
    moved, leak = float((packed - alone).abs().max()), float((together - alone).abs().max())
    if moved > (_ROUNDING if lm.model.dtype == torch.float32 else max(_COARSE, leak / 4)):
        raise ModelError(
            f"train: {lm.source.name} lets rows that share a pass see each other (a token's log-probability moves by "
            f"{moved:.3g} nats behind another row). Set packing: false."
        )


@torch.inference_mode()
def _log_probs(lm: CausalLM, ids: list[int], start: int, *, restart: bool = False) -> torch.Tensor:
    """Log-probabilities of the tokens behind `start`, the first excepted; positions may begin anew there."""
    positions = [*range(start), *range(len(ids) - start)] if restart else [*range(len(ids))]
    logits = lm.model(
        input_ids=torch.tensor([ids], device=lm.device),
        position_ids=torch.tensor([positions], device=lm.device),
        use_cache=False,
    ).logits[0, start:-1]
    following = torch.tensor(ids[start + 1 :], device=lm.device)
    return logits.float().log_softmax(-1).gather(1, following[:, None])[:, 0]

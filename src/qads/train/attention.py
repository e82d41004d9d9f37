"""Attention of rows that share a pass, row by row.

On a CPU torch's kernel computes the scores of every token of a pass with every other, and a mask throws away those
between rows: of eight rows seven eighths of the work. Here each row goes through the same kernel by itself, causal and
without a mask. On a GPU nothing of this is used.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from qads.errors import ModelError
from qads.models import CausalLM, TrainingText
from qads.train.isolation import check_packing

if TYPE_CHECKING:

    def sdpa_attention_forward(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]: ...
else:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

__all__ = ["rows_apart"]

_NAME = "qads_rows"


@contextmanager
def rows_apart(lm: CausalLM, texts: Sequence[TrainingText], *, on_cpu: bool) -> Generator[None]:
    """Let a model attend row by row inside this block, if it can; it is tried, not believed.

    Args:
        lm: the model.
        texts: some of them are packed for the trial.
        on_cpu: whether it trains on a CPU, wherever its weights are now; elsewhere its own attention stays.

    Raises:
        ModelError: the model lets rows that share a pass see each other, whatever its attention.
    """
    before = lm.model.config._attn_implementation
    if not (on_cpu and _may_be_exchanged(lm)):
        check_packing(lm, texts)
        yield
        return
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend_rows)  # A name without a mask function of its own: none is made.
    lm.model.set_attn_implementation(_NAME)
    try:
        try:
            check_packing(lm, texts)
        except (NotImplementedError, ModelError):
            lm.model.set_attn_implementation(before)
            check_packing(lm, texts)
        yield
    finally:
        lm.model.set_attn_implementation(before)


def _may_be_exchanged(lm: CausalLM) -> bool:
    """Whether the model goes through torch's kernel, and hides nothing but what comes later."""
    config = lm.model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]
    return (
        lm.model.config._attn_implementation == "sdpa"
        and bool(lm.model._can_set_attn_implementation())
        and set(kinds) == {"full_attention"}
    )


def _attend_rows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    position_ids: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of a layer: query [1, heads, n, d], key and value [1, kv, n, d] -> [1, n, heads, d]."""
    if attention_mask is not None or position_ids is None or position_ids.shape != (1, query.shape[2]):
        raise NotImplementedError("it has a mask of its own, or does not tell its layers where rows begin")
    starts = [*torch.nonzero(position_ids[0] == 0)[:, 0].tolist(), query.shape[2]]
    found = [
        sdpa_attention_forward(module, query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], None, **options)[0]
        for a, b in pairwise(starts)
    ]
    return torch.cat(found, dim=1), None

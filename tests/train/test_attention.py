"""Attention row by row is the attention of each row alone, and where a model cannot have it nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

import qads
from kernels.architectures import model_of
from qads.errors import ModelError
from qads.models import CausalLM, TrainingText, open_causal_lm
from qads.train import attention
from qads.train.attention import rows_apart
from train.conftest import CPU

LENGTHS = (7, 12, 5)
APART = (
    "llama", "qwen2", "qwen3", "qwen3_moe", "phi, head with bias", "gpt_neox", "granite, scaled logits",
    "cohere, scaled logits", "smollm3, layers without positions",
)  # fmt: skip
"""Every layer sees all of a row, and is told where rows begin."""
AS_BEFORE = ("mistral, window of 8", "gemma3, window of 8", "phi3, window of 8")
"""A layer sees a window."""


def texts() -> list[TrainingText]:
    rng = np.random.default_rng(0)
    return [TrainingText(tuple(rng.integers(1, 97, n).tolist()), 2) for n in LENGTHS]


def opened(of: Any, model: str) -> CausalLM:
    whole = open_causal_lm(model, device="cpu", dtype="float32")
    return CausalLM(of, whole.tokenizer, whole.source)


def packed_logits(model: Any, rows: list[TrainingText]) -> torch.Tensor:
    ids = torch.tensor([[token for row in rows for token in row.ids]])
    positions = torch.tensor([[place for row in rows for place in range(len(row.ids))]])
    return model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]


def gradients(model: Any, rows: list[TrainingText]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    packed_logits(model, rows).float().log_softmax(-1)[:, 3].sum().backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("name", APART)
def test_rows_and_their_gradients_are_those_of_rows_alone(name: str, model: str) -> None:
    lm, rows = opened(model_of(name), model), texts()
    lm.model.requires_grad_(True)
    plain = gradients(lm.model, rows)
    with torch.no_grad():
        alone = torch.cat([lm.model(input_ids=torch.tensor([row.ids])).logits[0] for row in rows])
    with rows_apart(lm, rows, on_cpu=True):
        assert lm.model.config._attn_implementation == "qads_rows"
        with torch.no_grad():
            torch.testing.assert_close(packed_logits(lm.model, rows), alone, atol=2e-4, rtol=1e-4)
        found = gradients(lm.model, rows)
    assert found.keys() == plain.keys()
    for key, each in found.items():
        torch.testing.assert_close(each, plain[key], atol=1e-3, rtol=1e-3)
    assert lm.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", AS_BEFORE)
def test_a_model_with_windows_keeps_its_own(name: str, model: str) -> None:
    lm = opened(model_of(name), model)
    before = lm.model.config._attn_implementation
    with rows_apart(lm, texts(), on_cpu=True):
        assert lm.model.config._attn_implementation == before


def test_weights_that_lie_on_a_cpu_and_train_elsewhere_keep_the_attention_of_there(model: str) -> None:
    lm = opened(model_of(APART[0]), model)
    with rows_apart(lm, texts(), on_cpu=False):
        assert lm.model.config._attn_implementation == "sdpa"


class Silent(LlamaForCausalLM):
    """Its layers are not told the positions."""

    def forward(self, *args: Any, position_ids: Any = None, **more: Any) -> Any:
        hooks = [
            layer.self_attn.register_forward_pre_hook(
                lambda _, given, options: (given, options | {"position_ids": None}), with_kwargs=True
            )
            for layer in self.model.layers
        ]
        try:
            return super().forward(*args, position_ids=position_ids, **more)
        finally:
            for hook in hooks:
                hook.remove()


def test_where_layers_are_not_told_positions_the_model_keeps_its_own(model: str) -> None:
    lm = opened(Silent.from_pretrained(model).eval(), model)
    with rows_apart(lm, texts(), on_cpu=True):
        assert lm.model.config._attn_implementation == "sdpa"


def test_what_a_model_had_comes_back_whatever_happens(model: str) -> None:
    lm = open_causal_lm(model, device="cpu", dtype="float32")
    with pytest.raises(ModelError, match="in the middle"), rows_apart(lm, texts(), on_cpu=True):
        assert lm.model.config._attn_implementation == "qads_rows"
        raise ModelError("in the middle")
    assert lm.model.config._attn_implementation == "sdpa"


def test_a_training_uses_it_and_says_nothing_of_it_in_the_model(
    brief: dict[str, Any], pool: qads.Pool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows: list[int] = []
    kernel = attention.sdpa_attention_forward

    def counting(module: Any, query: Any, *more: Any, **options: Any) -> Any:
        n_rows.append(query.shape[2])
        return kernel(module, query, *more, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", counting)
    trained = qads.FineTuning(**brief)(pool, tmp_path, execution=CPU)
    assert len(n_rows) > 2 * 2 * len(pool)
    assert "qads" not in (trained.folder / "config.json").read_text()

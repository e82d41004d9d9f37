"""The shared prefix changes nothing: any architecture, any batch, against a plain forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from qads.errors import ModelError
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
ARCHITECTURES: dict[str, Any] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=8),
    "mistral, window of 8": lambda: transformers.MistralConfig(**SIZES, sliding_window=8),
    "gemma2, soft-capped": lambda: transformers.Gemma2Config(
        **SIZES, head_dim=8, query_pre_attn_scalar=8, sliding_window=8, final_logit_softcapping=2.0
    ),
    "phi, head with bias": lambda: transformers.PhiConfig(**SIZES),
    "gpt-neox": lambda: transformers.GPTNeoXConfig(**{k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
    "cohere, scaled logits": lambda: transformers.CohereConfig(**SIZES, logit_scale=0.3),
    "granite, scaled logits": lambda: transformers.GraniteConfig(**SIZES, logits_scaling=3.0),
}


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    config = ARCHITECTURES[name]()
    config.pad_token_id = 0
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():  # Fresh weights are near zero; here attention and head must matter.
        if parameter.dim() > 1:
            parameter.data *= 8
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        model.get_output_embeddings().bias.data.normal_()
    return model


def some_targets(rng: np.random.Generator, lengths: list[int]) -> list[TokenTarget]:
    return [TokenTarget(tuple(rng.integers(1, 97, n).tolist()), max(1, n // 2), n - n % 2) for n in lengths]


def plain(model: Any, prefix: tuple[int, ...], target: TokenTarget) -> float:
    ids = torch.tensor([[*prefix, *target.ids]])
    with torch.no_grad():
        log_probs = torch.log_softmax(model(ids).logits[0].double(), -1)
    at = range(len(prefix) + target.answer_start, len(prefix) + target.answer_end)
    return float(np.mean([log_probs[p - 1, ids[0, p]].item() for p in at]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_after_a_shared_prefix_are_those_of_the_whole_text(name: str):
    model, rng = model_of(name), np.random.default_rng(0)
    targets = some_targets(rng, [12, 3, 30, 12, 7])
    for prefix in ((), (5,), tuple(rng.integers(1, 97, 21).tolist())):
        found = AnswerLikelihood(model, max_tokens_per_batch=4096)(prefix, targets)
        np.testing.assert_allclose(found, [plain(model, prefix, t) for t in targets], atol=1e-4)


@pytest.mark.parametrize("budget", [1, 40, 90])
def test_batches_and_order_change_nothing(budget: int):
    model, rng = model_of("llama"), np.random.default_rng(1)
    targets = some_targets(rng, [12, 3, 30, 12, 7, 9, 28])
    prefix = tuple(rng.integers(1, 97, 17).tolist())
    whole = AnswerLikelihood(model, max_tokens_per_batch=10_000)(prefix, targets)
    np.testing.assert_allclose(AnswerLikelihood(model, max_tokens_per_batch=budget)(prefix, targets), whole, atol=1e-5)
    order = rng.permutation(len(targets))
    again = AnswerLikelihood(model, max_tokens_per_batch=10_000)(prefix, [targets[i] for i in order])
    np.testing.assert_array_equal(again, whole[order])


def test_the_head_in_parts_is_the_head(monkeypatch):
    model, rng = model_of("llama"), np.random.default_rng(2)
    targets = some_targets(rng, [30, 28])
    whole = AnswerLikelihood(model, max_tokens_per_batch=10_000)((1, 2), targets)
    monkeypatch.setattr("qads.kernels.likelihood._HEAD_ELEMENTS", 97 * 5)
    np.testing.assert_allclose(AnswerLikelihood(model, max_tokens_per_batch=10_000)((1, 2), targets), whole, atol=1e-6)


def test_a_call_leaves_nothing_behind_for_the_next():
    model, rng = model_of("llama"), np.random.default_rng(3)
    targets, likelihood = some_targets(rng, [9, 14]), AnswerLikelihood(model, max_tokens_per_batch=40)
    first = likelihood((1, 2, 3), targets)
    likelihood((9, 9, 9, 9), targets)
    np.testing.assert_array_equal(likelihood((1, 2, 3), targets), first)


@pytest.mark.parametrize("name", ["mamba", "falcon_h1"])
def test_an_architecture_that_cannot_be_scored_this_way_is_refused_by_name(name: str):
    sizes = SIZES | {"vocab_size": 97}
    configs: dict[str, Any] = {
        "mamba": lambda: transformers.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4),
        "falcon_h1": lambda: transformers.FalconH1Config(
            **sizes,
            head_dim=8,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
            lm_head_multiplier=0.3,
        ),
    }
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(configs[name](), dtype=torch.float32).eval()
    with pytest.raises(ModelError, match=name):
        AnswerLikelihood(model, max_tokens_per_batch=1000)

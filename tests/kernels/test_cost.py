"""What scoring costs is what torch counts, and what really goes through the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from kernels.architectures import PACKED, PADDED, model_of, some_prefixes, some_targets
from qads.kernels.cost import Cost, CostRule, ModelShape, attended_pairs, call_cost, model_shape
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget

LOCAL = CostRule(shares_prefix=True)
SERVED = CostRule(shares_prefix=False, ends_with_answer=True, head_everywhere=True)
N = 13


def counted(model: Any) -> tuple[int, int]:
    """FLOPs that torch counts in a plain forward pass over N tokens with the head on all: of weights, of attention."""
    model.set_attn_implementation("eager")  # The fused kernels have formulas of their own.
    model.config._experts_implementation = "eager"  # torch has no formula for grouped products.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.arange(1, N + 1)[None])
    counts = counter.get_flop_counts()
    # Rotary positions are written as a product of a column and a row; no weight or state takes part.
    rotary = sum(sum(ops.values()) for name, ops in counts.items() if name.endswith("rotary_emb"))
    batched = sum(n for op, n in counts["Global"].items() if "bmm" in str(op))
    return sum(counts["Global"].values()) - batched, batched - rotary


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_weights_and_head_cost_what_torch_counts(name: str):
    model = model_of(name)
    shape = model_shape(model)
    assert shape is not None
    assert 2 * (shape.body + shape.head) * N == counted(model)[0]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_attention_costs_what_torch_counts_for_all_pairs(name: str):
    model = model_of(name)
    shape = model_shape(model)
    assert shape is not None
    assert sum(2 * layers.n_layers * layers.width * N * N for layers in shape.attention) == counted(model)[1]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_the_shape_is_known_before_the_weights_are_there(name: str):
    model = model_of(name)
    with torch.device("meta"):
        empty = hf.AutoModelForCausalLM.from_config(model.config)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert model_shape(empty) == model_shape(model)


def test_the_shape_is_that_of_the_architecture():
    llama, windows = model_shape(model_of("llama")), model_shape(model_of("gemma3, window of 8"))
    assert llama is not None and windows is not None
    # Two layers: queries and output 32×32, keys and values 32×16, three matrices 32×48; the head 97×32.
    assert llama.body == 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48) and llama.head == 97 * 32
    assert [(a.n_layers, a.width, a.window) for a in llama.attention] == [(2, 4 * 16, None)]
    assert [(a.n_layers, a.window) for a in windows.attention] == [(1, None), (1, 8)]


def test_a_number_of_experts_that_nobody_states_leaves_the_operations_open(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qads.kernels.cost._EXPERTS_PER_TOKEN", ("another_name",))
    assert model_shape(model_of("qwen3_moe")) is None
    targets = some_targets(np.random.default_rng(0), [6])
    cost = call_cost(None, LOCAL, [4], targets, np.ones((1, 1), bool))
    assert (cost.tokens, cost.flops) == (10, None)


@given(n=st.integers(0, 60), window=st.one_of(st.none(), st.integers(1, 70)))
def test_pairs_are_those_that_a_causal_window_leaves(n: int, window: int | None):
    seen = [(i, j) for i in range(n) for j in range(i + 1) if window is None or i - j < window]
    assert attended_pairs(np.array([n]), window) == [len(seen)]


@pytest.mark.parametrize("name", ["llama", "mistral, window of 8", "bloom, ALiBi"])
@pytest.mark.parametrize("budget", [1, 64, 10_000])
def test_the_tokens_are_those_that_go_through_the_model(name: str, budget: int):
    model, rng = model_of(name), np.random.default_rng(1)
    prefixes, targets = some_prefixes(rng, [0, 21, 5, 40]), some_targets(rng, [12, 3, 30, 7])
    wanted = rng.random((4, 4)) < 0.6
    wanted[2] = False
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=budget)
    through: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, given, __: through.append(given[0].numel()))
    likelihood(prefixes, targets, wanted)
    hook.remove()
    cost = call_cost(model_shape(model), LOCAL, [len(p) for p in prefixes], targets, wanted)
    assert sum(through) == cost.tokens + likelihood.n_padding
    assert (likelihood.n_padding > 0) == (name == "bloom, ALiBi" and budget > 1)  # With 1 every text goes alone.
    assert cost.answer_tokens == sum(targets[j].n_answer for i, j in zip(*np.nonzero(wanted), strict=True))


def naive(shape: ModelShape, rule: CostRule, prefixes: list[int], targets: list[TokenTarget], wanted: Any) -> Cost:
    """Token by token: which of them run, what each of them sees, and whether the head runs on it."""
    tokens = answers = flops = 0
    for i, row in enumerate(wanted):
        texts = [(targets[j], range(prefixes[i], prefixes[i] + ends(rule, targets[j]))) for j in np.flatnonzero(row)]
        if texts:
            times = 1 if rule.shares_prefix else len(texts)
            for positions in [range(prefixes[i])] * times + [span for _, span in texts]:
                tokens += len(positions)
                flops += sum(2 * shape.body + seen(shape, position) for position in positions)
                flops += 2 * shape.head * len(positions) * rule.head_everywhere
            answers += sum(target.n_answer for target, _ in texts)
    return Cost(tokens, answers, flops + 2 * shape.head * answers * (not rule.head_everywhere))


def ends(rule: CostRule, target: TokenTarget) -> int:
    return target.answer_end if rule.ends_with_answer else len(target.ids)


def seen(shape: ModelShape, position: int) -> int:
    return sum(2 * a.n_layers * a.width * min(position + 1, a.window or position + 1) for a in shape.attention)


@pytest.mark.parametrize("rule", [LOCAL, SERVED, CostRule(shares_prefix=True, ends_with_answer=True)])
@pytest.mark.parametrize("name", ["qwen3_moe", "gemma3, window of 8", "deepseek_v3, values of another size"])
def test_a_call_costs_what_its_tokens_cost_one_by_one(name: str, rule: CostRule):
    shape, rng = model_shape(model_of(name)), np.random.default_rng(2)
    assert shape is not None
    prefixes, targets, wanted = [0, 3, 30, 9], some_targets(rng, [4, 21, 6]), rng.random((4, 3)) < 0.6
    assert call_cost(shape, rule, prefixes, targets, wanted) == naive(shape, rule, prefixes, targets, wanted)


def test_the_cost_of_calls_is_the_sum_over_them_however_they_are_cut():
    shape, rng = model_shape(model_of("mistral, window of 8")), np.random.default_rng(3)
    prefixes, targets, wanted = [0, 3, 30, 9], some_targets(rng, [4, 21, 6]), rng.random((4, 3)) < 0.6
    whole = call_cost(shape, LOCAL, prefixes, targets, wanted)
    rows = [call_cost(shape, LOCAL, [p], targets, wanted[i : i + 1]) for i, p in enumerate(prefixes)]
    assert sum(rows, Cost()) == whole
    assert call_cost(shape, LOCAL, [], targets, wanted[:0]) == Cost()


def test_costs_add_up_and_what_is_unknown_stays_so():
    one = Cost(10, 4, 100, 1, 2.0, 400.0, (64,))
    other = Cost(5, 2, 50, 0, 1.0, 500.0, (64, 32))
    assert one + other == Cost(15, 6, 150, 1, 3.0, 900.0, (64, 32))
    assert (one + other).matmul_peak == 300 and (one + other).utilisation == 150 / 900
    assert Cost.from_json((one + other).to_json()) == one + other
    served = one + Cost(5, 2, None, 0, 1.0, None)
    assert Cost.from_json(served.to_json()) == served
    assert (served.flops, served.matmul_peak, served.utilisation) == (None, None, None)
    assert (Cost().matmul_peak, Cost().utilisation) == (None, None)

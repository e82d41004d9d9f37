"""A shared prefix changes nothing: any architecture, any pass, against a plain forward pass over each text."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.architectures import PACKED, PADDED, REFUSED, model_of, plain_scores, some_prefixes, some_targets
from kernels.scarcity import run_short_of_memory
from qads.errors import ModelError
from qads.kernels.head import AnswerHead
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.kernels.packed import plan_passes

PREFIXES = [0, 1, 21, 80]
TARGETS = [12, 3, 30, 12, 7]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_scores_after_a_shared_prefix_are_those_of_the_whole_text(name: str):
    model, rng = model_of(name), np.random.default_rng(0)
    prefixes, targets = some_prefixes(rng, PREFIXES), some_targets(rng, TARGETS)
    told: list[str] = []
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=64, notify=told.append)
    np.testing.assert_allclose(likelihood(prefixes, targets), plain_scores(model, prefixes, targets), atol=2e-6)
    assert likelihood.is_packed == (name in PACKED)
    assert ["padded batches" in line for line in told] == ([] if name in PACKED else [True])


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_cannot_be_scored_this_way_is_refused_by_name(name: str):
    with pytest.raises(ModelError, match=f"{name}: this architecture cannot score answers after a shared prefix"):
        AnswerLikelihood(model_of(name), max_tokens_per_batch=1000)


@pytest.mark.parametrize("name", ["llama", "gemma2, soft-capped", "gpt_oss, sinks", "bloom, ALiBi"])
@pytest.mark.parametrize("budget", [1, 40, 90])
def test_passes_and_order_change_nothing(name: str, budget: int):
    model, rng = model_of(name), np.random.default_rng(1)
    prefixes, targets = some_prefixes(rng, [17, 60, 3]), some_targets(rng, [12, 3, 30, 12, 7, 9, 28])
    whole = AnswerLikelihood(model, max_tokens_per_batch=10_000)(prefixes, targets)
    np.testing.assert_allclose(
        AnswerLikelihood(model, max_tokens_per_batch=budget)(prefixes, targets), whole, atol=1e-5
    )
    order, turned = rng.permutation(len(targets)), [2, 0, 1]
    again = AnswerLikelihood(model, max_tokens_per_batch=budget)(
        [prefixes[i] for i in turned], [targets[j] for j in order]
    )
    np.testing.assert_allclose(again, whole[np.ix_(turned, order)], atol=1e-5)


def test_only_the_pairs_that_are_wanted_are_scored():
    model, rng = model_of("llama"), np.random.default_rng(2)
    prefixes, targets = some_prefixes(rng, PREFIXES), some_targets(rng, TARGETS)
    wanted = rng.random((len(prefixes), len(targets))) < 0.4
    wanted[1], before = False, wanted.copy()
    before[1] = False
    found = AnswerLikelihood(model, max_tokens_per_batch=64)(prefixes, targets, wanted)
    np.testing.assert_array_equal(np.isfinite(found), before)
    np.testing.assert_array_equal(wanted, before)
    np.testing.assert_allclose(found[wanted], plain_scores(model, prefixes, targets)[wanted], atol=2e-6)
    assert AnswerLikelihood(model, max_tokens_per_batch=64)([], targets).shape == (0, len(targets))


def test_scores_go_with_gradients_switched_on_and_the_model_comes_back_as_it_was():
    model, rng = model_of("llama"), np.random.default_rng(3)
    prefixes, targets = some_prefixes(rng, [5, 30]), some_targets(rng, [9, 14])
    before = model.config._attn_implementation, plain_scores(model, prefixes, targets)
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=40)
    first = likelihood(prefixes, targets)
    np.testing.assert_array_equal(likelihood(prefixes, targets), first)
    assert model.config._attn_implementation == before[0]
    np.testing.assert_array_equal(plain_scores(model, prefixes, targets), before[1])


@pytest.mark.parametrize("name", ["llama", "gemma2, soft-capped", "phi, head with bias", "cohere, scaled logits"])
def test_the_head_in_blocks_is_the_head(name: str, monkeypatch: pytest.MonkeyPatch):
    model, rng = model_of(name), np.random.default_rng(4)
    prefixes, targets = some_prefixes(rng, [2]), some_targets(rng, [30, 28])
    monkeypatch.setattr("qads.kernels.head._BLOCK", {"cpu": (5, 13)})
    found = AnswerLikelihood(model, max_tokens_per_batch=10_000)(prefixes, targets)
    np.testing.assert_allclose(found, plain_scores(model, prefixes, targets), atol=2e-6)


@pytest.mark.parametrize("name", ["llama", "phi, head with bias", "cohere, scaled logits"])
def test_a_half_precision_head_loses_far_less_than_rounded_logits_do(name: str):
    torch.manual_seed(0)
    model, rng = model_of(name).to(torch.bfloat16), np.random.default_rng(5)
    states = torch.tensor(rng.normal(0, 1, (300, 32)), dtype=torch.bfloat16)
    states[:, 0] = 1.0
    head = model.get_output_embeddings()
    head.weight.data[:, 0] = 20.0  # Real logits lie far from zero.
    bias = None if getattr(head, "bias", None) is None else head.bias.double()
    logits = torch.nn.functional.linear(states.double(), head.weight.double(), bias)
    logits *= getattr(model.config, "logit_scale", 1.0)
    tokens = torch.distributions.Categorical(logits=logits).sample()  # Real tokens are likely ones.
    truth = torch.log_softmax(logits, -1)[range(300), tokens]
    rounded = torch.log_softmax(logits.bfloat16().double(), -1)[range(300), tokens]
    with torch.no_grad():
        ours = AnswerHead(model).log_probs(states, tokens)
    assert (ours - truth).square().mean().sqrt() < 0.3 * (rounded - truth).square().mean().sqrt()


@given(
    prefixes=st.lists(st.integers(0, 30), max_size=6),
    targets=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    budget=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_passes_hold_every_pair_once_and_no_more_tokens_than_allowed(
    prefixes: list[int], targets: list[int], budget: int, seed: int
):
    wanted = np.random.default_rng(seed).random((len(prefixes), len(targets))) < 0.6
    seen: list[tuple[int, int]] = []
    going_on = None
    for shares in plan_passes(prefixes, targets, wanted, budget):
        texts = [prefixes[s.prefix] for s in shares if s.opens] + [targets[j] for s in shares for j in s.targets]
        assert sum(texts) <= budget or len([n for n in texts if n]) == 1
        assert [s.prefix for s in shares if not s.opens] == ([] if going_on is None else [going_on])
        assert shares[0].opens == (going_on is None)
        assert not any(s.goes_on for s in shares[:-1])
        going_on = shares[-1].prefix if shares[-1].goes_on else None
        seen += [(s.prefix, j) for s in shares for j in s.targets]
    assert going_on is None
    assert seen == [tuple(pair) for pair in np.argwhere(wanted).tolist()]


def test_what_is_no_number_is_an_error_and_no_pair_left_out():
    model, prefixes = model_of("llama"), [(1, 2, 3)]
    targets = [TokenTarget((7, 8, 9), 1, 3), TokenTarget((7, 50, 9), 1, 3)]
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=64)
    model.get_input_embeddings().weight.data[50] = float("nan")
    with pytest.raises(ModelError, match=r"llama: gives nan where .* for 1 of 2 texts.* overflow in float32"):
        likelihood(prefixes, targets)
    assert np.isfinite(likelihood(prefixes, targets[:1])).all()
    model.get_input_embeddings().weight.data[:] = float("nan")
    with pytest.raises(ModelError, match="llama: gives nan where a log-probability should be"):
        AnswerLikelihood(model, max_tokens_per_batch=64)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_where_memory_runs_out_half_the_tokens_give_the_same_scores():
    run_short_of_memory("""
        import numpy as np
        from kernels.architectures import model_of, some_prefixes, some_targets
        from qads.kernels.likelihood import AnswerLikelihood

        rng = np.random.default_rng(0)
        model = model_of("gptj")  # Its scores [texts, heads, n, n] are the first to grow.
        prefixes, targets = some_prefixes(rng, [60, 40]), some_targets(rng, [60] * 400)
        expected = AnswerLikelihood(model, max_tokens_per_batch=512)(prefixes, targets)
        only(30)
        told = []
        likelihood = AnswerLikelihood(model, max_tokens_per_batch=2**16, notify=told.append)
        found = likelihood(prefixes, targets)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert any("going on with max_tokens_per_batch = 32768" in line for line in told), told
        assert likelihood.max_tokens_per_batch <= 2**15
    """)

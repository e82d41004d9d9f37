"""Laws of float32 arithmetic with half-precision weights: a copy of the model in float32, without the copy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from kernels.architectures import PACKED, PADDED, model_of, plain_scores, some_prefixes, some_targets
from qads.kernels.arithmetic import float32_arithmetic
from qads.kernels.likelihood import AnswerLikelihood


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_scores_are_those_of_a_copy_in_float32(name: str):
    model, rng = model_of(name).to(torch.bfloat16), np.random.default_rng(0)
    prefixes, targets = some_prefixes(rng, [21]), some_targets(rng, [12, 3, 30])
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=40)
    before = likelihood(prefixes, targets)
    with float32_arithmetic(model):
        found = likelihood(prefixes, targets)
    np.testing.assert_allclose(found, plain_scores(copy.deepcopy(model).float(), prefixes, targets), atol=3e-6)
    assert np.abs(before - found).max() > 1e-4
    np.testing.assert_array_equal(likelihood(prefixes, targets), before)


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_the_model_is_what_it_was_even_if_a_pass_fails(name: str):
    model = model_of(name).to(torch.bfloat16)
    before = dict(model.named_parameters())

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    last = list(model.modules())[-1]
    hook = last.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"), float32_arithmetic(model):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    hook.remove()
    after = dict(model.named_parameters())
    assert after.keys() == before.keys() and all(after[key] is before[key] for key in before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_passes_side_by_side_are_those_one_after_the_other(name: str):
    model, rng = model_of(name).to(torch.bfloat16), np.random.default_rng(1)
    before = dict(model.named_parameters())
    prefixes, targets = some_prefixes(rng, [9, 21, 4, 17, 12, 8, 19, 6]), some_targets(rng, [12, 3, 30])
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=60)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 4):
            torch.set_num_threads(n)
            with float32_arithmetic(model):
                found.append(likelihood(prefixes, targets))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[1], plain_scores(copy.deepcopy(model).float(), prefixes, targets), atol=3e-6)
    after = dict(model.named_parameters())
    assert all(after[key] is before[key] for key in before)

"""A row read in a padded batch is the row read alone, in any architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.architectures import PACKED, PADDED, model_of, some_targets
from qads.kernels.row_states import RowStates, layers_at

LENGTHS = [12, 3, 30, 12, 7, 2]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_states_and_likelihoods_are_those_of_the_row_alone(name: str):
    model, texts = model_of(name), some_targets(np.random.default_rng(0), LENGTHS)
    found = RowStates(model, layers=(0, 1, 2), max_tokens_per_batch=64)(texts)
    for text, reading in zip(texts, found, strict=True):
        ids = torch.tensor([text.ids])
        with torch.no_grad():
            plain = model(ids, output_hidden_states=True)
        log_probs = torch.log_softmax(plain.logits[0].double(), -1)
        expected = [log_probs[at, token].item() for at, token in enumerate(text.ids[1:])]
        np.testing.assert_allclose(reading.log_probs, expected, atol=1e-4, rtol=1e-5)
        answers = torch.stack([state[0, text.answer_start : text.answer_end] for state in plain.hidden_states]).numpy()
        np.testing.assert_allclose(reading.mean, answers.mean(1), atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(reading.last, answers[:, -1], atol=1e-4, rtol=1e-4)


def test_layers_are_shares_of_the_depth():
    assert layers_at((0.5, 0, 1, 0.51), 30) == (0, 15, 30)
    assert layers_at((0.25, 0.3), 2) == (0, 1)


def test_what_is_kept_of_a_row_holds_no_memory_but_its_own():
    model, texts = model_of("llama"), some_targets(np.random.default_rng(0), LENGTHS)
    for reading in RowStates(model, layers=(0, 1, 2), max_tokens_per_batch=64)(texts):
        for states in (reading.mean, reading.last):
            kept = states.base.untyped_storage().nbytes()
            assert kept == states.nbytes

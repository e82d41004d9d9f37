"""The token that follows is asked for as a plain forward pass would, in any architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.architectures import PACKED, PADDED, model_of
from qads.kernels.next_token import NextToken

LENGTHS = [12, 3, 30, 12, 7, 1]
TOKENS = [5, 90, 2]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_probabilities_are_those_of_the_text_alone_among_the_tokens(name: str):
    model, rng = model_of(name), np.random.default_rng(0)
    texts = [rng.integers(1, 97, n).tolist() for n in LENGTHS]
    found = NextToken(model, tokens=TOKENS, max_tokens_per_batch=64)(texts)
    for text, probabilities in zip(texts, found, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0, -1, TOKENS].double()
        np.testing.assert_allclose(probabilities, logits.softmax(-1), atol=1e-5)
    assert NextToken(model, tokens=TOKENS, max_tokens_per_batch=64)([]).shape == (0, 3)

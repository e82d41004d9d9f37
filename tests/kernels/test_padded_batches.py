"""Every text runs once, whatever fits."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from kernels.architectures import model_of
from kernels.scarcity import run_short_of_memory
from qads.errors import ModelError
from qads.kernels.padded_batches import PaddedBatches, batches_by_length, padded


def test_batches_hold_every_row_once_and_keep_to_the_budget():
    lengths = np.random.default_rng(1).integers(1, 50, 200).tolist()
    batches = batches_by_length(lengths, 120)
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 120 for batch in batches)
    assert batches_by_length([500, 1], 120) == [[0], [1]]


def test_padding_is_on_the_right_and_masked():
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def run_with(room: int, lengths: list[int]) -> tuple[list[int], list[str]]:
    """Texts that ran, and what was told, where a pass of more than `room` padded tokens finds no memory."""
    done: list[int] = []
    told: list[str] = []

    def run(batch: list[int]) -> None:
        if len(batch) * max(lengths[i] for i in batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done.extend(batch)

    PaddedBatches(model_of("llama"), max_tokens=256, notify=told.append)(lengths, run)
    return sorted(done), told


def test_where_memory_runs_out_smaller_batches_run_every_text_once():
    lengths = np.random.default_rng(2).integers(1, 50, 40).tolist()
    assert run_with(10_000, lengths) == (list(range(40)), [])
    done, told = run_with(60, lengths)
    assert done == list(range(40))
    assert told[:2] == [f"out of memory: going on with max_tokens_per_batch = {n}" for n in (128, 64)]


def test_a_text_that_finds_no_memory_alone_is_named_as_such():
    with pytest.raises(ModelError, match="llama: memory does not suffice for one text alone"):
        run_with(20, [10, 30])


def test_other_errors_come_as_they_are():
    def run(_: list[int]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        PaddedBatches(model_of("llama"), max_tokens=64)([3, 4], run)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_states_are_the_same_where_memory_runs_out():
    run_short_of_memory("""
        import numpy as np
        from kernels.architectures import model_of, some_targets
        from qads.kernels.row_states import RowStates

        texts = some_targets(np.random.default_rng(0), [60] * 400)
        model = model_of("gptj")  # Its scores [texts, heads, n, n] are the first to grow.
        expected = RowStates(model, layers=(0, 2), max_tokens_per_batch=512)(texts)
        only(30)
        told = []
        found = RowStates(model, layers=(0, 2), max_tokens_per_batch=2**16, notify=told.append)(texts)
        for before, now in zip(expected, found, strict=True):
            np.testing.assert_allclose(now.mean, before.mean, atol=1e-5)
            np.testing.assert_allclose(now.log_probs, before.log_probs, atol=1e-5)
        assert any("going on with max_tokens_per_batch = 32768" in line for line in told), told
    """)

"""Lanes are a matter of speed: what runs on them does not know of them, and nothing of theirs stays behind."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.architectures import model_of, some_prefixes, some_targets
from qads.kernels.lanes import cut_streams, run_lanes
from qads.kernels.likelihood import AnswerLikelihood


@pytest.fixture(params=[1, 2, 3, 8])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 100))
def test_streams_hold_every_prefix_that_is_asked_for_once_and_fill_a_pass_all_but_one(lengths: list[int], size: int):
    streams = cut_streams(np.array(lengths, np.int64), size)
    assert sorted(i for rows in streams for i in rows) == [i for i, n in enumerate(lengths) if n]
    sums = [sum(lengths[i] for i in rows) for rows in streams]
    assert sums == sorted(sums, reverse=True)
    assert sum(n < size for n in sums) <= 1
    assert all(sum(lengths[i] for i in rows[:-1]) < size for rows in streams)


def test_the_number_of_lanes_changes_no_bit_of_a_score(n_threads: int):
    model, rng = model_of("llama"), np.random.default_rng(0)
    prefixes, targets = some_prefixes(rng, [30, 5, 80, 0, 17, 41]), some_targets(rng, [12, 3, 30, 7])
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=64)
    found = likelihood(prefixes, targets)
    torch.set_num_threads(1)
    alone = likelihood(prefixes, targets)
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_pass_has_the_same_threads_however_few_there_are(n_threads: int, n_jobs: int):
    seen: list[int] = []

    def job() -> Iterator[None]:
        seen.append(torch.get_num_threads())
        yield

    run_lanes([job] * n_jobs)
    assert seen == [1] * n_jobs
    assert torch.get_num_threads() == n_threads


def test_lanes_leave_torch_with_the_threads_it_had(n_threads: int):
    seen: list[int] = []

    def job() -> Iterator[None]:
        seen.append(torch.get_num_threads())
        yield

    run_lanes([job] * 5)
    assert seen == [1] * 5
    assert torch.get_num_threads() == n_threads
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [n_threads]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_reaches_the_caller_and_stops_the_other_lanes(n_threads: int, error: type[BaseException]):
    steps: list[int] = []
    failed = threading.Event()

    def endless(number: int) -> Iterator[None]:
        while True:
            if n_threads > 1:
                failed.wait(10)
            steps.append(number)
            yield

    def failing() -> Iterator[None]:
        failed.set()
        raise error("enough")
        yield

    jobs = [failing, *(partial(endless, i) for i in range(3))]
    with pytest.raises(error, match="enough"):
        run_lanes(jobs)
    assert torch.get_num_threads() == n_threads
    left = len(steps)
    threading.Event().wait(0.05)
    assert len(steps) == left


def test_an_error_is_gone_once_it_is_handled_and_so_is_what_its_pass_held(n_threads: int):
    class Pass:
        """Stands for the tensors of a pass."""

    held: list[weakref.ref[Pass]] = []

    def failing() -> Iterator[None]:
        own = Pass()
        held.append(weakref.ref(own))
        raise MemoryError
        yield

    gc.disable()
    try:
        with contextlib.suppress(MemoryError):
            run_lanes([failing] * 3)
        assert [each() for each in held] == [None] * len(held) != []
    finally:
        gc.enable()


def test_where_memory_is_enough_for_one_pass_only_passes_go_one_at_a_time():
    model, rng = model_of("llama"), np.random.default_rng(1)
    prefixes, targets = some_prefixes(rng, [30, 40, 50]), some_targets(rng, [12, 3])
    expected = AnswerLikelihood(model, max_tokens_per_batch=64)(prefixes, targets)
    told: list[str] = []
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=64, notify=told.append)

    def begins(*_: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise torch.OutOfMemoryError("out of memory")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with model.model.register_forward_pre_hook(begins):
            np.testing.assert_allclose(likelihood(prefixes, targets), expected, atol=1e-6)
    finally:
        torch.set_num_threads(before)
    assert told[-1] == "out of memory: going on with one pass at a time, of 32 tokens"

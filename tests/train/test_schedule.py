"""Which rows a training sees: every row as often as the budget says, in an order that depends on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.errors import InputError
from qads.train.schedule import make_schedule, share_out

lengths = st.lists(st.integers(2, 60), min_size=1, max_size=40)


def order(schedule):
    return [row for step in schedule.steps for row in step]


@given(lengths, st.integers(1, 9), st.integers(1, 4))
def test_whole_epochs_see_every_row_as_often(lengths: list[int], batch_size: int, epochs: int):
    schedule = make_schedule(lengths, batch_size=batch_size, seed=3, epochs=epochs)
    assert schedule.times == dict.fromkeys(range(len(lengths)), epochs)
    for epoch in range(epochs):
        part = order(schedule)[epoch * len(lengths) : (epoch + 1) * len(lengths)]
        assert sorted(part) == list(range(len(lengths)))


@given(lengths, st.integers(1, 9), st.integers(1, 30))
def test_steps_are_as_many_as_asked_and_all_full(lengths: list[int], batch_size: int, steps: int):
    schedule = make_schedule(lengths, batch_size=batch_size, seed=0, steps=steps)
    assert [len(step) for step in schedule.steps] == [batch_size] * steps


@given(lengths, st.integers(1, 9), st.integers(60, 2000))
def test_a_token_budget_is_never_exceeded_and_the_next_row_would_have(lengths: list[int], batch_size: int, tokens: int):
    schedule = make_schedule(lengths, batch_size=batch_size, seed=1, tokens=tokens)
    spent = sum(schedule.totals(lengths))
    n_rows = len(order(schedule))
    following = order(make_schedule(lengths, batch_size=1, seed=1, steps=n_rows + 1))[-1]
    assert spent <= tokens < spent + lengths[following]


@given(lengths, st.integers(1, 9))
def test_a_longer_training_begins_as_a_shorter_one(lengths: list[int], batch_size: int):
    short = order(make_schedule(lengths, batch_size=batch_size, seed=5, epochs=1.5))
    long = order(make_schedule(lengths, batch_size=batch_size + 1, seed=5, epochs=4))
    assert long[: len(short)] == short


@given(lengths, st.integers(1, 90), st.integers(1, 3))
def test_steps_of_so_many_tokens_have_them_as_near_as_whole_rows_come(lengths: list[int], size: int, epochs: int):
    schedule = make_schedule(lengths, batch_size=7, batch_tokens=size, seed=2, epochs=epochs)
    assert schedule.times == dict.fromkeys(range(len(lengths)), epochs)
    ends = np.cumsum(schedule.totals(lengths))
    assert all(min(end % size, -end % size) <= max(lengths) / 2 for end in ends[:-1])
    assert abs(len(schedule.steps) - ends[-1] / size) <= 1 or max(lengths) > size


def test_equal_tokens_are_equal_steps_whatever_the_lengths():
    long, short = [90] * 20, [30] * 60
    steps = [make_schedule(each, batch_size=4, batch_tokens=180, seed=0, epochs=2).steps for each in (long, short)]
    assert [len(each) for each in steps] == [20, 20]
    assert [{len(step) for step in each} for each in steps] == [{2}, {6}]


@given(lengths, st.integers(1, 200), st.integers(1, 30))
def test_steps_of_tokens_are_as_many_as_asked(lengths: list[int], size: int, steps: int):
    schedule = make_schedule(lengths, batch_size=7, batch_tokens=size, seed=0, steps=steps)
    longer = make_schedule(lengths, batch_size=7, batch_tokens=size, seed=0, steps=steps + 3)
    assert len(schedule.steps) == steps and all(schedule.steps) and longer.steps[:steps] == schedule.steps


def test_another_seed_is_another_order():
    one, other = (order(make_schedule([5] * 50, batch_size=4, seed=seed, epochs=1)) for seed in (0, 1))
    assert one != other


def test_a_budget_below_the_first_row_is_refused():
    with pytest.raises(InputError, match=r"4 tokens does not reach for the first row, which has 9"):
        make_schedule([9, 9], batch_size=2, seed=0, tokens=4)


@given(lengths, st.integers(1, 4), st.integers(10, 200), st.booleans())
def test_every_row_of_a_step_runs_once_and_no_pass_is_larger_than_it_must_be(
    lengths: list[int], n_processes: int, pass_size: int, packed: bool
):
    shares = share_out(
        range(len(lengths)), lengths, n_processes=n_processes, pass_size=pass_size, packed=packed
    )  # fmt: skip
    passes = [rows for share in shares for rows in share]
    assert sorted(row for rows in passes for row in rows) == list(range(len(lengths)))
    assert len({len(share) for share in shares}) == 1, "processes that share weights run together"
    for rows in passes:
        sizes = [lengths[row] for row in rows]
        size = sum(sizes) if packed else max(sizes, default=0) * len(sizes)
        assert size <= pass_size or len(rows) == 1


@pytest.mark.parametrize("budget", [{"epochs": 1e300}, {"steps": 10**12}, {"tokens": 10**14}])
def test_a_budget_that_must_be_a_slip_is_refused_at_once(budget):
    with pytest.raises(InputError, match="is a slip"):
        make_schedule([5, 5, 5], batch_size=2, seed=0, **budget)

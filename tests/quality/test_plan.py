"""Which rows are scored, and against which anchors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qads
from qads.errors import AlignmentError, InputError


def pool_of(sizes: dict[str, int], kind: str = "cot") -> qads.Pool:
    return qads.Pool.from_rows(
        qads.Row(id=f"{name}-{i}", source=name, problem=f"{name} problem {i}", solution="s", kind=kind)  # type: ignore[arg-type]
        for name, size in sizes.items()
        for i in range(size)
    )


SIZES = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 30), min_size=1)


@given(sizes=SIZES, n=st.integers(1, 120), seed=st.integers(0, 5))
def test_a_sample_is_even_over_the_sources_and_exact(sizes: dict[str, int], n: int, seed: int):
    pool = pool_of(sizes)
    rows = qads.stratified_sample(pool, n, seed=seed)
    assert len(rows) == min(n, len(pool)) == len(set(rows.tolist()))
    counts = Counter(pool.strings("source")[i] for i in rows)
    smallest = min((counts[s] for s in sizes if counts[s] < sizes[s]), default=None)
    if smallest is not None:
        assert max(counts.values()) <= smallest + 1, "no source gives more than one row beyond one that has rows left"


def test_a_sample_depends_on_its_seed_and_leaves_out_what_it_must():
    pool = pool_of({"a": 40, "b": 40})
    first, other = qads.stratified_sample(pool, 20, seed=0), qads.stratified_sample(pool, 20, seed=1)
    np.testing.assert_array_equal(first, qads.stratified_sample(pool, 20, seed=0))
    assert first.tolist() != other.tolist()
    assert not set(qads.stratified_sample(pool, 60, exclude=range(20)).tolist()) & set(range(20))


@given(sizes=SIZES, n=st.integers(1, 120), more=st.integers(1, 60), seed=st.integers(0, 5))
def test_a_larger_sample_holds_the_smaller_one(sizes: dict[str, int], n: int, more: int, seed: int):
    pool = pool_of(sizes)
    small, large = (qads.stratified_sample(pool, k, exclude=range(3), seed=seed) for k in (n, n + more))
    assert set(small.tolist()) <= set(large.tolist())


@given(sizes=SIZES, n=st.integers(1, 40))
def test_anchors_are_balanced_over_the_sources_and_distinct(sizes: dict[str, int], n: int):
    pool = pool_of(sizes)
    x = np.random.default_rng(0).standard_normal((len(pool), 4)).astype(np.float32)
    if n > len(pool):
        with pytest.raises(InputError, match="--anchors FILE"):
            qads.choose_anchors(pool, x, n)
        return
    rows = qads.choose_anchors(pool, x, n)
    assert len(set(rows.tolist())) == n and rows.tolist() == sorted(rows.tolist())
    counts = Counter(pool.strings("source")[i] for i in rows)
    left = [counts[s] for s in sizes if counts[s] < sizes[s]]
    assert max(counts.values()) <= min(left, default=n) + 1


def test_only_worked_solutions_become_anchors():
    table = [*pool_of({"a": 5}, "general"), *pool_of({"b": 3}, "cot"), *pool_of({"c": 5}, "answer-only")]
    pool = qads.Pool.from_rows(table)
    x = np.eye(len(pool), dtype=np.float32)
    assert [pool[int(i)].source for i in qads.choose_anchors(pool, x, 3)] == ["b"] * 3
    with pytest.raises(InputError, match="has 3 distinct worked solutions"):
        qads.choose_anchors(pool, x, 4)


def test_two_anchors_never_share_a_problem():
    rows = [qads.Row(id=str(i), source="a", problem="What is 2 + 2?", solution=str(i), kind="cot") for i in range(4)]
    other = qads.Row(id="x", source="a", problem="What is 3 + 3?", solution="6", kind="cot")
    pool = qads.Pool.from_rows([*rows, other])
    found = qads.choose_anchors(pool, np.zeros((5, 2), np.float32), 2)
    assert [pool[int(i)].problem for i in found] == ["What is 2 + 2?", "What is 3 + 3?"]


def test_an_anchor_is_the_middle_of_its_cell_and_no_outlier():
    # Two clouds and one row far out: K-center alone would take the far row.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.1, (20, 2)), rng.normal(9, 0.1, (20, 2)), [[9.0, 12.0]]]).astype(np.float32)
    found = qads.choose_anchors(pool_of({"a": 41}), x, 2)
    assert 40 not in found


def test_the_longest_rows_of_a_source_are_no_anchors():
    rows = [*pool_of({"a": 9}), qads.Row(id="long", source="a", problem="far", solution="word " * 500, kind="cot")]
    x = np.eye(10, dtype=np.float32)
    assert 9 not in qads.choose_anchors(qads.Pool.from_rows(rows), x, 9)


def test_two_sources_with_the_same_problems_give_each_of_them_once():
    rows = [
        qads.Row(id=f"{name}{i}", source=name, problem=f"What is {i} + 1?", solution="s", kind="cot")
        for name in "ab"
        for i in range(4)
    ]
    pool = qads.Pool.from_rows(rows)
    found = qads.choose_anchors(pool, np.eye(8, dtype=np.float32), 4)
    assert len({pool[int(i)].problem for i in found}) == 4
    with pytest.raises(InputError, match="4 distinct worked solutions"):
        qads.choose_anchors(pool, np.eye(8, dtype=np.float32), 5)


def test_of_a_large_source_rows_at_even_steps_stand_for_it(monkeypatch):
    rows = [qads.Row(id=f"r{i}", source="s", problem=f"{i}?", solution="so", kind="cot") for i in range(100)]
    monkeypatch.setattr("qads.quality.plan._STAND_FOR_SOURCE", 10)
    x = np.arange(100, dtype=np.float32)[:, None]
    assert set(qads.choose_anchors(qads.Pool.from_rows(rows), x, 3).tolist()) <= set(range(0, 100, 11))


@pytest.mark.usefixtures("no_shape_checks")
def test_what_cannot_be_chosen_from_is_refused():
    pool, x = pool_of({"a": 20, "b": 20}), np.eye(40, dtype=np.float32)
    for n_rows in (10, 80):
        with pytest.raises(AlignmentError, match=f"{n_rows} embeddings for a pool of 40 rows"):
            qads.choose_anchors(pool, np.resize(x, (n_rows, 40)), 4)
    for n in (0, -1):
        with pytest.raises(InputError, match=f"n_anchors is {n}; there must be one"):
            qads.choose_anchors(pool, x, n)
    x[33, 1] = np.nan
    with pytest.raises(InputError, match="row 33 of the embeddings is not finite"):
        qads.choose_anchors(pool, x, 4)


@pytest.mark.parametrize("n", [-1, -3])
def test_a_sample_of_fewer_than_no_rows_is_refused(n: int):
    with pytest.raises(InputError, match=f"n_rows is {n}; it must be"):
        qads.stratified_sample(pool_of({"a": 20, "b": 20}), n)
    assert len(qads.stratified_sample(pool_of({"a": 2}), 0)) == 0

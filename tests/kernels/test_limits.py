"""Laws of selection under limits: the scan follows the definition, and the lazy search is the scan, to the bit."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from kernels.rows import DIMS, SHARES, WEIGHTS, pools, weights
from kernels.test_lazy import BLOCKS, PRODUCTS, assert_same, usable
from qads.kernels.bounds import BoundProduct
from qads.kernels.distance import GreedyPicks, greedy_scan
from qads.kernels.lazy import greedy_lazy
from qads.kernels.limits import GroupLimits, Limits


class Case:
    """Limits as drawn, for the oracle and for the kernel, and a start that keeps to them."""

    def __init__(self, draw: st.DrawFn, n: int) -> None:
        rng = np.random.default_rng(draw(st.integers(0, 100_000)))
        self.k = draw(st.integers(1, n))
        self.out = rng.choice(n, draw(st.integers(0, n // 4)), replace=False)
        self.rules = [self._rule(rng, n, owing=number == 0) for number in range(draw(st.integers(0, 2)))]
        self.tokens = rng.integers(0, 9, n) if draw(st.booleans()) else None
        self.max_tokens = draw(st.integers(0, 5 * n))
        self.least = float(draw(st.sampled_from((0.0, 0.0, 0.5, 1.0, 2.0)))) * 2.0 ** draw(st.integers(-2, 2))
        self.start = self._start(draw(st.integers(0, 3)), rng.permutation(n).tolist())

    def _rule(self, rng: np.random.Generator, n: int, *, owing: bool) -> reference.GroupRule:
        n_groups = int(rng.integers(1, 4))
        codes = rng.integers(-1, n_groups, n)
        codes[self.out] = -1
        sizes = np.bincount(codes[codes >= 0], minlength=n_groups)
        maximum = np.minimum(rng.integers(0, n + 1, n_groups), sizes)
        minimum = np.zeros(n_groups, np.int64)
        if owing:
            for group in range(n_groups):
                left = self.k - int(minimum.sum())
                minimum[group] = rng.integers(0, min(maximum[group], left) + 1)
        return reference.GroupRule(codes, minimum.tolist(), maximum.tolist())

    def _start(self, n_start: int, rows: list[int]) -> list[int]:
        start: list[int] = []
        for row in rows:
            fits = self.tokens is None or self.tokens[[*start, row]].sum() <= self.max_tokens
            if len(start) < min(max(1, n_start), self.k) and row not in self.out and fits:
                if reference.may_follow(start, row, self.k, self.rules):
                    start.append(row)
        return start

    def limits(self, n: int) -> Limits:
        groups = [GroupLimits(r.codes, np.array(r.minimum), np.array(r.maximum)) for r in self.rules]
        return Limits(
            n, self.k, out=self.out, groups=groups, tokens=self.tokens, max_tokens=self.max_tokens,
            least_distance=self.least,
        )  # fmt: skip

    @property
    def asked(self) -> dict[str, Any]:
        return {"out": self.out, "groups": self.rules, "tokens": self.tokens, "max_tokens": self.max_tokens,
                "least_distance": self.least}  # fmt: skip


@st.composite
def cases(draw: st.DrawFn, n: int) -> Case:
    return Case(draw, n)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 24),
    d=st.sampled_from(DIMS),
    kind=WEIGHTS,
    share=SHARES,
    data=st.data(),
)
def test_the_scan_follows_the_definition(
    seed: int, n: int, d: int, kind: str, share: float | None, data: st.DataObject
) -> None:
    x = np.random.default_rng(seed).integers(-2, 3, size=(n, d)).astype(np.float64)  # Every squared distance is exact.
    case = data.draw(cases(n))
    if not case.start:
        return
    rule: dict[str, Any] = {"start": case.start, "k": case.k, "distance_share": share}
    picks = greedy_scan(x, weights(n, kind), **rule, cosine=False, limits=case.limits(n))
    assert picks.indices.tolist() == reference.limited_greedy(x, weights(n, kind), **rule, **case.asked)


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, cosine=st.booleans(), product=PRODUCTS, sizes=BLOCKS,
    centres=st.sampled_from((None, "rows", "vectors")), data=st.data(),
)  # fmt: skip
def test_the_lazy_search_is_the_scan(
    x: np.ndarray, kind: str, share: float | None, cosine: bool, product: BoundProduct,
    sizes: contextlib.AbstractContextManager[None], centres: str | None, data: st.DataObject,
) -> None:  # fmt: skip
    n, case = len(x), data.draw(cases(len(x)))
    there = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6, unique=True)) if centres else []
    free = [row for row in case.start if centres != "rows" or row not in there]
    if not (free or there):
        return
    rule: dict[str, Any] = {"start": free, "k": case.k, "cosine": usable(x, cosine), "distance_share": share}
    if there:
        rule["given"] = np.array(there) if centres == "rows" else x[there]
    expected_limits, limits = case.limits(n), case.limits(n)
    expected = greedy_scan(x, weights(n, kind), **rule, limits=expected_limits)
    with sizes:
        picks = greedy_lazy(x, weights(n, kind), **rule, limits=limits, product=product, n_threads=2)
    assert_same(picks, expected)
    assert limits.n_tokens == expected_limits.n_tokens
    assert limits.is_out_of_tokens == expected_limits.is_out_of_tokens


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, sizes=BLOCKS, centres=st.sampled_from((None, "rows", "vectors")),
    data=st.data(),
)  # fmt: skip
def test_a_lazy_search_that_was_broken_off_goes_on_from_any_burst(
    x: np.ndarray, kind: str, share: float | None, sizes: contextlib.AbstractContextManager[None], centres: str | None,
    data: st.DataObject,
) -> None:  # fmt: skip
    n, case = len(x), data.draw(cases(len(x)))
    there = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6, unique=True)) if centres else []
    free = [row for row in case.start if centres != "rows" or row not in there]
    if not (free or there):
        return
    rule: dict[str, Any] = {"start": free, "k": case.k, "cosine": False, "distance_share": share}
    if there:
        rule["given"] = np.array(there) if centres == "rows" else x[there]
    bursts: list[GreedyPicks] = []

    def keep(picks: GreedyPicks, n_picked: int) -> None:
        bursts.append(GreedyPicks(*(column[:n_picked].copy() for column in picks)))

    whole, rest = case.limits(n), case.limits(n)
    with sizes:
        expected = greedy_lazy(x, weights(n, kind), **rule, limits=whole, on_burst=keep)
        done = data.draw(st.sampled_from(bursts)) if bursts else GreedyPicks.empty(0)
        seen: list[int] = []
        picks = greedy_lazy(x, weights(n, kind), **rule, limits=rest, done=done, on_pick=seen.append)
    assert_same(picks, expected)
    assert seen == list(range(1, len(picks.indices) + 1))
    assert (rest.n_tokens, rest.is_out_of_tokens) == (whole.n_tokens, whole.is_out_of_tokens)


@given(n=st.integers(1, 40), data=st.data())
def test_a_walk_takes_the_first_rows_that_may_follow(n: int, data: st.DataObject) -> None:
    case, order = data.draw(cases(n)), np.random.default_rng(n).permutation(n)
    picks: list[int] = []
    for row in order.tolist():
        if len(picks) == case.k:
            break
        if row in case.out or (case.tokens is not None and case.tokens[row] > case.max_tokens):
            continue
        if not reference.may_follow(picks, row, case.k, case.rules):
            continue
        if case.tokens is not None and case.tokens[[*picks, row]].sum() > case.max_tokens:
            break
        picks.append(row)
    assert case.limits(n).walk(order, case.k).tolist() == picks


@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("kind", ["one of each group", "two columns", "minima of many groups", "all at once"])
def test_blocks_of_their_real_size_give_the_scan_under_limits_too(kind: str, share: float | None) -> None:
    n, k = 3000, 400
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 24))[rng.integers(0, 40, n)] + 0.5 * rng.normal(size=(n, 24))).astype(np.float32)
    weight, few, many = rng.integers(0, 50, n) / 50, rng.integers(-1, 20, n), rng.integers(0, 450, n)
    several = np.where(np.arange(200) % 3 == 0, 3, 0)
    asked: dict[str, Any] = {
        "one of each group": {"groups": [GroupLimits(many, np.zeros(450, np.int64), np.ones(450, np.int64))]},
        "two columns": {
            "groups": [
                GroupLimits(many % 50, np.full(50, 7), np.full(50, 9)),
                GroupLimits(few, np.zeros(20, np.int64), np.full(20, 25)),
            ]
        },
        "minima of many groups": {"groups": [GroupLimits(many % 200, 2 * several, np.full(200, 7))]},
        "all at once": {
            "groups": [GroupLimits(many % 200, several, np.full(200, 4))],
            "out": np.arange(0, n, 9),
            "tokens": rng.integers(50, 900, n),
            "max_tokens": 150_000,
            "least_distance": 2.0,
        },
    }[kind]
    rule: dict[str, Any] = {"start": [1], "k": k, "cosine": False, "distance_share": share}
    expected = greedy_scan(x, weight, **rule, limits=Limits(n, k, **asked))
    assert_same(greedy_lazy(x, weight, **rule, limits=Limits(n, k, **asked)), expected)
    assert len(expected.indices) > 250


def test_a_million_rows_are_walked() -> None:
    n = 1_000_000
    rng = np.random.default_rng(0)
    order, codes, maximum = rng.permutation(n), rng.integers(0, 20, n), rng.integers(0, 60_000, 20)
    out = rng.choice(n, 100_000, replace=False)
    limits = Limits(n, n, out=out, groups=[GroupLimits(codes, np.zeros(20, np.int64), maximum)])
    left = order[~np.isin(order, out)]
    first = [left[codes[left] == group][:most] for group, most in enumerate(maximum)]  # Of every group in the order.
    picks = limits.walk(order, n)
    np.testing.assert_array_equal(picks, left[np.isin(left, np.concatenate(first))])


def test_a_walk_goes_on_where_the_last_one_ended() -> None:
    limits = Limits(9, 6, out=np.array([4]))
    assert limits.walk(np.arange(9), 2).tolist() == [0, 1]
    assert limits.walk(np.arange(2, 9), 9).tolist() == [2, 3, 5, 6]  # As many as are left.


def test_limits_cost_nothing_where_there_are_none() -> None:
    limits = Limits(1000, 10)
    assert limits.admit(np.arange(10)) == 10
    assert not limits.closed.any() and limits.n_closings == 0


@pytest.mark.parametrize("k", [10, 300])
def test_minima_are_met_to_the_last_pick(k: int) -> None:
    x, codes = np.random.default_rng(0).normal(size=(2000, 8)), np.arange(2000) % 10
    minimum = np.full(10, k // 10)
    groups = [GroupLimits(codes, minimum, np.full(10, 2000))]
    weight = (codes == 3).astype(float) + 1e-9  # All would be of one group.
    picks = greedy_lazy(
        x, weight, start=[3], k=k, cosine=False, distance_share=None, limits=Limits(2000, k, groups=groups)
    )
    np.testing.assert_array_equal(np.bincount(codes[picks.indices], minlength=10), minimum)

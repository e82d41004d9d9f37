"""Laws of selection in one exchange."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from kernels.rows import SHARES, WEIGHTS, hard_rows, weights
from qads.kernels.coreset import greedy_coreset
from qads.kernels.distance import GreedyPicks, greedy_scan
from qads.kernels.sharded import borders

SEEDS = st.integers(0, 10_000)


@given(seed=SEEDS, n_shards=st.integers(1, 7), kind=WEIGHTS, share=SHARES, data=st.data())
def test_it_gives_the_budget_of_distinct_rows_with_true_distances(
    seed: int, n_shards: int, kind: str, share: float | None, data: st.DataObject
) -> None:
    x, weight = hard_rows("grid", 30, 3, np.random.default_rng(seed)), weights(30, kind)
    k = data.draw(st.integers(1, 30))
    start = data.draw(st.lists(st.integers(0, 29), min_size=1, max_size=min(k, 4), unique=True))
    picks = greedy_coreset(
        x, weight, borders(30, n_shards), start=start, k=k, cosine=False, distance_share=share
    )  # fmt: skip
    assert len(set(picks.indices.tolist())) == k
    assert picks.indices[: len(start)].tolist() == start
    for step, row in enumerate(picks.indices.tolist()):
        d, at = reference.nearest_pick(x, picks.indices[:step].tolist())
        assert (picks.distances[step], picks.nearest[step]) == (d[row], at[row])


@given(seed=SEEDS, kind=WEIGHTS, share=SHARES)
def test_with_one_shard_or_the_whole_pool_as_budget_it_is_exact(seed: int, kind: str, share: float | None) -> None:
    x, weight = np.random.default_rng(seed).normal(size=(30, 4)), weights(30, kind)
    first = int(np.argmax(weight))
    # Of one shard the budget's rows are left, among which a sum may find no row as far as the farthest of the pool.
    for n_shards, k in ((1, 12), (4, 30)) if share is None else ((1, 30), (4, 30)):
        rule: dict[str, Any] = {"start": [first], "k": k, "cosine": False, "distance_share": share}
        picks, exact = greedy_coreset(x, weight, borders(30, n_shards), **rule), greedy_scan(x, weight, **rule)
        for name in GreedyPicks._fields:
            np.testing.assert_array_equal(getattr(picks, name), getattr(exact, name))


@given(seed=SEEDS, n_shards=st.integers(2, 4), k=st.integers(1, 4))
def test_the_covering_radius_is_at_most_four_times_the_best(seed: int, n_shards: int, k: int) -> None:
    x = hard_rows("grid", 9, 2, np.random.default_rng(seed))
    picks = greedy_coreset(
        x, np.ones(9), borders(9, n_shards), start=[0], k=k, cosine=False, distance_share=None
    ).indices.tolist()  # fmt: skip
    assert reference.covering_radius(x, picks) <= 4 * reference.smallest_covering_radius(x, k) * (1 + 1e-12)


def test_it_may_miss_what_the_exact_selection_has() -> None:
    # A shard spends its whole budget on its own far rows; what the pool as a whole lacks is not among them.
    x = np.random.default_rng(0).normal(size=(200, 2))
    rule: dict[str, Any] = {"start": [0], "k": 20, "cosine": False, "distance_share": None}
    picks, exact = greedy_coreset(x, np.ones(200), borders(200, 4), **rule), greedy_scan(x, np.ones(200), **rule)
    assert set(picks.indices.tolist()) != set(exact.indices.tolist())
    assert picks.indices.dtype == exact.indices.dtype == np.int64


@pytest.mark.parametrize("n_shards", [1, 3])
def test_the_inputs_are_only_read(n_shards: int) -> None:
    x, weight = np.random.default_rng(0).normal(size=(50, 3)), np.ones(50)
    x.flags.writeable = weight.flags.writeable = False
    picks = greedy_coreset(x, weight, borders(50, n_shards), start=[1], k=9, cosine=False, distance_share=None)
    assert len(picks.indices) == 9

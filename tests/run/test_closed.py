"""Laws of the rows that could not be picked: each is listed once, with a reason that holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads import (
    Constraints,
    Grouping,
    KCenterGreedy,
    Pool,
    Quota,
    Row,
    Selection,
    TokenBudget,
    load_config,
    run_pipeline,
)
from qads.run.closed import closed_rows
from qads.run.limits import NamedFiles
from qads.run.named import NamedRows

NONE = np.empty(0, np.int64)


def named(*, exclude: list[int] | None = None, given: list[int] | None = None) -> NamedFiles:
    rows = [NamedRows(np.array(part or [], np.int64), None) for part in (exclude, [], given)]
    return NamedFiles(*rows)


def test_of_several_reasons_the_first_is_given_and_picks_have_none() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    limits = Constraints(exclude=[0, 1, 2])
    chosen = KCenterGreedy()(x, budget=5, constraints=limits)
    found = closed_rows(
        chosen,
        named(exclude=[0, 1], given=[1, 2]),
        limits,
        budget=5,
        unscored=np.array([2, 3, 4]),
        too_long=np.array([3, 4, 5]),
    )
    said = dict(zip(found["row"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert said[0] == "excluded by name" and said[1] == said[2] == "it is trained on already"
    assert said[4] == "it has no quality" and said[5] == "it has more tokens than the whole budget"
    assert 3 in chosen.indices and not set(said) & set(chosen.indices.tolist())


def test_a_quota_is_full_when_as_many_are_picked_as_may_be() -> None:
    x = np.arange(30.0)[:, None]
    values = ["a"] * 20 + ["b"] * 10
    for quota in (Quota(value="a", maximum=2), Quota(value="a", maximum=0.2), Quota(value="a", share=0.2)):
        limits = Constraints(groupings=(Grouping(name="source", values=values, quotas=(quota,)),))
        chosen = KCenterGreedy()(x, budget=10, constraints=limits)
        found = closed_rows(chosen, named(), limits, budget=10, unscored=NONE, too_long=NONE)
        assert found["row"].to_pylist() == [row for row in range(20) if row not in chosen.indices]
        assert set(found["reason"].to_pylist()) == {"the quota of source a is full (2 picks)"}


def test_a_quota_that_is_not_reached_closes_nothing() -> None:
    limits = Constraints(groupings=(Grouping(name="source", values=["a"] * 9, quotas=(Quota(value="a", maximum=8),)),))
    chosen = KCenterGreedy()(np.arange(9.0)[:, None], budget=3, constraints=limits)
    assert closed_rows(chosen, named(), limits, budget=3, unscored=NONE, too_long=NONE).num_rows == 0


@pytest.mark.parametrize("quota", [Quota(value="a", maximum=0.5), Quota(value="a", share=0.5)])
def test_a_share_is_one_of_the_budget_also_where_the_selection_ends_early(quota: Quota) -> None:
    x = np.array([0.0, 0.1, 10.0, 10.1, 20.0, 20.1, 30.0, 30.1, 40.0, 40.1])[:, None]
    limits = Constraints(
        groupings=(Grouping(name="source", values=["a"] * 6 + ["b"] * 4, quotas=(quota,)),), min_distance=5.0
    )
    chosen = KCenterGreedy()(x, budget=8, constraints=limits)
    assert len(chosen) == 5 and (chosen.indices < 6).sum() == 3  # One fewer than the four that half of the budget is.
    assert closed_rows(chosen, named(), limits, budget=8, unscored=NONE, too_long=NONE).num_rows == 0


def test_a_count_is_one_under_a_budget_in_tokens() -> None:
    quotas = (Quota(value="a", maximum=2), Quota(value="b", maximum=3))
    limits = Constraints(groupings=(Grouping(name="source", values=["b", "a"] * 6, quotas=quotas),))
    budget = TokenBudget(max_tokens=40, tokens=np.full(12, 10))
    chosen = KCenterGreedy()(np.arange(12.0)[:, None], budget=budget, constraints=limits)
    found = closed_rows(chosen, named(), limits, budget=budget, unscored=NONE, too_long=NONE)
    n_a = int((chosen.indices % 2 == 1).sum())
    full, n = ("a", 2) if n_a == 2 else ("b", 3)
    assert {*found["reason"].to_pylist()} == {f"the quota of source {full} is full ({n} picks)"}


def test_a_quota_for_each_of_many_values_closes_the_rows_of_its_own() -> None:
    n_values, n = 300, 15_000
    values = [str(number) for number in range(n_values)]
    grouping = Grouping(
        name="meta.author",
        values=np.resize(np.array(values, dtype=object), n),
        quotas=tuple(Quota(value=value, maximum=1) for value in values),
    )
    picks, ones = np.arange(n_values), np.ones(n_values)
    chosen = Selection(picks, ones, ones, picks, ones, n_rows=n, method="top-quality")
    found = closed_rows(
        chosen, named(), Constraints(groupings=(grouping,)), budget=n_values, unscored=NONE, too_long=NONE
    )
    assert found["row"][:50].to_pylist() == [*range(n_values, n, n_values), n_values + 1]
    assert found["reason"][49].as_py() == "the quota of meta.author 1 is full (1 picks)"


def test_a_run_writes_them(tmp_path: Path) -> None:
    rows = [
        Row(id=f"r{i}", source="ab"[i % 2], problem=f"What is {i} + {i * i}?", solution=f"{i + i * i}")
        for i in range(12)
    ]
    from qads.datasets import write_pool

    write_pool(Pool.from_rows(rows), tmp_path / "pool.jsonl")
    quotas = {"source": {"a": {"at_most": 1}}}
    config = load_config(
        {
            "pool": {"sources": str(tmp_path / "pool.jsonl")},
            "budget": 4,
            "quality": None,
            "constraints": {"quotas": quotas},
        }
    )
    run = run_pipeline(config, tmp_path / "run", until="select")
    closed = pq.read_table(tmp_path / "run" / "select" / "closed.parquet").to_pylist()
    assert len(closed) == run.manifests["select"]["closed"] == 5
    assert {row["reason"] for row in closed} == {"the quota of source a is full (1 picks)"}

"""Laws of budgets and constraints at the public face: what is met, what is refused, and what is said where neither is so.

The oracle asks every rule anew for every row at every step (`reference.limited_greedy`).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from qads.errors import InputError
from qads.pool import Selection
from qads.selection import Constraints, Grouping, KCenterGreedy, Quota, RandomSelection, TokenBudget, TopQuality
from qads.selection.constraints import encoded_groups

SEEDS = st.integers(0, 10_000)
METHODS = (KCenterGreedy(), RandomSelection(), TopQuality())
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
SOURCES = ("code", "gsm8k", "math", "open")


def rows(seed: int, n: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings on a grid with repeats, quality with ties, sources of uneven size."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, size=(n, 3)).astype(np.float64)
    return x, rng.integers(0, 5, size=n) / 4, rng.choice(SOURCES, n, p=(0.5, 0.25, 0.15, 0.1))


def quotas_that_can_be_met(draw: st.DrawFn, source: np.ndarray, k: int) -> tuple[Quota, ...]:
    sizes = {str(name): int((source == name).sum()) for name in np.unique(source)}
    found: list[Quota] = []
    left = k
    for name, size in sizes.items():
        low = draw(st.integers(0, min(size, left)))
        left -= low
        found.append(Quota(value=name, minimum=low, maximum=draw(st.integers(low, size))))
    return tuple(found)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """A pool and whatever it may be selected under, of which some is refused."""
    x, quality, source = rows(draw(SEEDS))
    rng = np.random.default_rng(draw(SEEDS))
    k = draw(st.integers(1, 24))
    spend = draw(st.booleans())
    tokens = rng.integers(1, 9, size=24)
    quotas = quotas_that_can_be_met(draw, source, k) if not spend and draw(st.booleans()) else ()
    there = rng.permutation(24)
    n_out, n_in = draw(st.integers(0, 8)), draw(st.integers(0, 3))
    return {
        "x": x, "quality": quality, "source": source, "tokens": tokens, "k": k, "quotas": quotas,
        "max_tokens": draw(st.integers(1, 120)) if spend else None,
        "exclude": there[:n_out], "include": there[n_out : n_out + n_in],
        "min_distance": draw(st.sampled_from((None, 1.0, 1.5, 2.0))),
    }  # fmt: skip


def asked(problem: dict[str, Any], *, distance: bool) -> dict[str, Any]:
    quotas = problem["quotas"]
    grouping = Grouping(name="source", values=problem["source"], quotas=quotas)
    return {
        "budget": problem["k"]
        if problem["max_tokens"] is None
        else TokenBudget(max_tokens=problem["max_tokens"], tokens=problem["tokens"]),
        "constraints": Constraints(
            groupings=(grouping,) if quotas else (),
            exclude=problem["exclude"],
            include=problem["include"],
            min_distance=problem["min_distance"] if distance else None,
        ),
    }


def rule_of(problem: dict[str, Any]) -> list[reference.GroupRule]:
    quotas: tuple[Quota, ...] = problem["quotas"]
    if not quotas:
        return []
    values = [quota.value for quota in quotas]
    codes = np.array([values.index(name) for name in problem["source"]])
    return [reference.GroupRule(codes, [int(q.minimum or 0) for q in quotas], [int(q.maximum or 0) for q in quotas])]


def check_promises(sel: Selection, problem: dict[str, Any]) -> None:
    """Whatever was asked for holds, or the selection says what does not."""
    picks = sel.indices.tolist()
    assert len(set(picks)) == len(picks) and not set(picks) & set(problem["exclude"].tolist())
    assert picks[: len(problem["include"])] == problem["include"].tolist()
    if problem["max_tokens"] is None:
        assert sel.n_tokens is None and len(picks) <= problem["k"]
        assert (sel.stopped is None) == (len(picks) == problem["k"])
    else:
        total = int(problem["tokens"][picks].sum())
        too_long = np.delete(problem["tokens"], problem["exclude"]) > problem["max_tokens"]
        assert sel.n_tokens == total <= problem["max_tokens"]
        assert (sel.stopped is None) == (total == problem["max_tokens"] and not too_long.any())
        assert ("rows that alone exceed" in (sel.stopped or "")) == bool(too_long.any())
    for quota in problem["quotas"]:
        n = int((problem["source"][picks] == quota.value).sum())
        assert n <= quota.maximum
        assert n >= quota.minimum or "still owed to minima" in (sel.stopped or "")


@given(problem=problems(), share=st.sampled_from((None, 0.5)), metric=st.sampled_from(("euclidean", "cosine")))
def test_k_center_follows_the_definition(problem: dict[str, Any], share: float | None, metric: str) -> None:
    # No row is zero, so that the cosine is defined; in one more dimension, where all rows are 1.
    x = np.hstack([problem["x"], np.ones((24, 1))]) if metric == "cosine" else problem["x"]
    rule: dict[str, Any] = {"combine": "product"} if share is None else {"combine": "sum", "w": 1 - share}
    method, q = KCenterGreedy(**rule, metric=metric, scale="none"), problem["quality"]
    distance = metric == "euclidean"  # 1 − cos is not exact, so a pick may be at min_distance by rounding.
    try:
        sel = method(x, q, **asked(problem, distance=distance))
    except InputError:
        return
    check_promises(sel, problem)
    closed = set(problem["exclude"].tolist())
    if problem["max_tokens"] is not None:
        closed |= set(np.flatnonzero(problem["tokens"] > problem["max_tokens"]).tolist())
    start = problem["include"].tolist()
    if not start:
        able = [i for i in range(24) if i not in closed and reference.may_follow([], i, problem["k"], rule_of(problem))]
        start = [max(able, key=lambda i: (q[i], -i))]
    if metric == "cosine":
        return
    expected = reference.limited_greedy(
        x, q if share is None else (1 - share) * q, start=start, metric=metric, distance_share=share,
        k=24 if problem["max_tokens"] else problem["k"], out=problem["exclude"], groups=rule_of(problem),
        tokens=problem["tokens"] if problem["max_tokens"] else None, max_tokens=problem["max_tokens"] or 0,
        least_distance=problem["min_distance"] or 0.0,
    )  # fmt: skip
    assert sel.indices.tolist() == expected


@given(problem=problems(), method=st.sampled_from(METHODS[1:]))
def test_rankings_keep_their_promises_and_their_order(problem: dict[str, Any], method: Any) -> None:
    x, quality = problem["x"], problem["quality"]
    try:
        sel = method(x, quality, **asked(problem, distance=False))
    except InputError:
        return
    check_promises(sel, problem)
    place = np.argsort(method(x, quality, budget=24).indices)
    after = place[sel.indices[len(problem["include"]) :]]
    assert (np.diff(after) > 0).all()


@every_method
@given(seed=SEEDS, max_tokens=st.integers(9, 120), least=st.integers(9, 120))
def test_a_selection_for_fewer_tokens_is_the_beginning(method: Any, seed: int, max_tokens: int, least: int) -> None:
    x, quality, _ = rows(seed)
    tokens = np.random.default_rng(seed).integers(0, 9, size=24)  # All of them fit the smallest budget.
    large, small = (
        method(x, quality, budget=TokenBudget(max_tokens=n, tokens=tokens))
        for n in (max(max_tokens, least), min(max_tokens, least))
    )
    assert large.prefix_closed and small.prefix_closed
    assert large.indices[: len(small)].tolist() == small.indices.tolist()
    assert large.head(len(small)).n_tokens == small.n_tokens


@pytest.mark.parametrize("method", [*METHODS, KCenterGreedy(start="random", n_start=4)])
@pytest.mark.parametrize("k", [5, 24])
def test_constraints_that_do_not_bind_change_nothing(method: Any, k: int) -> None:
    x, quality, source = rows(3)
    free = tuple(Quota(value=name, maximum=24) for name in np.unique(source))
    plain = method(x, quality, budget=k)
    for constraints in (Constraints(), Constraints(groupings=(Grouping(name="s", values=source, quotas=free),))):
        bound = method(x, quality, budget=k, constraints=constraints)
        assert bound.indices.tolist() == plain.indices.tolist()
        np.testing.assert_array_equal(bound.gains, plain.gains)
        assert (bound.stopped, bound.prefix_closed) == (None, True)
    spent = method(x, quality, budget=TokenBudget(max_tokens=k, tokens=np.ones(24, np.int64)))
    assert (spent.indices.tolist(), spent.stopped, spent.n_tokens) == (plain.indices.tolist(), None, k)


# What is said.


@every_method
@pytest.mark.parametrize(
    ("tokens", "max_tokens", "said"),
    [
        ([3, 3, 3], 9, None),
        ([3, 3, 3], 7, "6 of 7 tokens: the next pick would exceed them"),
        ([3, 3, 3], 10, "9 of 10 tokens: no row is open any more"),
        ([3, 3, 20], 6, "rows that alone exceed 6 tokens: 1"),
        ([3, 20, 20], 6, "3 of 6 tokens: no row is open any more; rows that alone exceed 6 tokens: 2"),
        ([0, 0, 1], 1, None),
    ],
)  # fmt: skip
def test_a_token_budget_says_what_ended_it(method: Any, tokens: list[int], max_tokens: int, said: str | None) -> None:
    budget = TokenBudget(max_tokens=max_tokens, tokens=tokens)
    assert method([[0.0], [2.0], [3.0]], [1.0, 1.0, 1.0], budget=budget).stopped == said


def test_minima_that_a_radius_leaves_unmet_are_told() -> None:
    quota = Quota(value="b", minimum=2)
    sel = KCenterGreedy()(
        [[0.0], [5.0], [9.0], [9.1]], budget=3,
        constraints=Constraints(
            groupings=(Grouping(name="source", values=["a", "a", "b", "b"], quotas=(quota,)),), min_distance=1.0
        ),
    )  # fmt: skip
    assert sel.indices.tolist() == [0, 3]
    assert sel.stopped == (
        "2 of 3 picks: no row is open any more that is 1 or more away from all picks and given rows; picks still owed to "
        "minima: 1"
    )


# What is refused, with the arithmetic.


def grouping(*quotas: Quota) -> Constraints:
    return Constraints(groupings=(Grouping(name="source", values=["code"] * 6 + ["math"] * 4, quotas=quotas),))


REFUSED: list[tuple[Any, Constraints, str]] = [
    (5, grouping(Quota(value="code", minimum=4), Quota(value="math", minimum=3)),
     "budget 5 but the minima of source add up to 7: code 4 + math 3"),
    (8, grouping(Quota(value="code", maximum=2)),
     "only 6 rows can be selected: 10 in the pool − 4 beyond the maximum of source=code (2 of 6); the budget is 8"),
    (9, Constraints(exclude=[0, 1]), "only 8 rows can be selected: 10 in the pool − 2 excluded; the budget is 9"),
    (5, grouping(Quota(value="math", minimum=5)), "5 rows of source=math are asked for, but only 4 are open"),
    (5, Constraints(exclude=[3], include=[2, 3]), "row 3 must be included, but it is out"),
    (1, Constraints(include=[2, 3]), "2 rows must be included but the budget comes to 1 picks"),
    (5, Constraints(groupings=grouping(Quota(value="code", maximum=1)).groupings, include=[0, 1]),
     "2 rows of source=code must be included, but its maximum is 1"),
    (4, Constraints(groupings=grouping(Quota(value="math", minimum=3)).groupings, include=[0, 1]),
     "after 2 included rows 2 picks are left, but 3 are still owed to the minima of source"),
    (5, grouping(Quota(value="maths", maximum=1)), "no row has source 'maths'; did you mean 'math'?"),
    (TokenBudget(max_tokens=2, tokens=[3] * 10), Constraints(), "not one row fits"),
    (TokenBudget(max_tokens=4, tokens=[3] * 10), Constraints(include=[0, 1]),
     "2 rows must be included but the budget comes to 1 picks"),
    (TokenBudget(max_tokens=9, tokens=[3] * 10), grouping(Quota(value="math", maximum=0.5)), "must be a maximum as a count"),
    (TokenBudget(max_tokens=9, tokens=[3] * 9), Constraints(), "there are tokens for 9 rows but embeddings for 10"),
    (TokenBudget(max_tokens=9, tokens=[3] * 9 + [-1]), Constraints(), "row 9 has -1 tokens"),
    (5, Constraints(groupings=(
        Grouping(name="a", values=["x"] * 5 + ["y"] * 5, quotas=(Quota(value="x", maximum=0),)),
        Grouping(name="b", values=["x"] * 5 + ["y"] * 5, quotas=(Quota(value="y", maximum=0),)))),
     "no row can be selected: 10 in the pool, and the maxima of a and b leave none"),
]  # fmt: skip


@every_method
@pytest.mark.parametrize(("budget", "constraints", "message"), REFUSED)
def test_what_cannot_be_met_is_refused_with_the_arithmetic(
    method: Any, budget: Any, constraints: Constraints, message: str
) -> None:
    with pytest.raises(InputError, match=rf"^{type(method).__name__}: .*{re.escape(message)}"):
        method(np.arange(10.0)[:, None], np.ones(10), budget=budget, constraints=constraints)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a"] * 3, "the column s has 3 rows but embeddings have 4"),
        (np.array([["a"]] * 4), "the column s is no list of texts, one a row"),
        (np.array([1, "b", 3, "a"], object), "the column s is no list of texts, one a row"),
        ([1, 2, 1, 2], "no row has s 'a'; its values are '1', '2'"),
    ],
)
def test_what_is_no_column_is_refused(values: Any, message: str) -> None:
    column = Grouping(name="s", values=values, quotas=(Quota(value="a", maximum=1),))
    with pytest.raises(InputError, match=f"^RandomSelection: .*{message}"):
        RandomSelection()(np.ones((4, 1)), budget=2, constraints=Constraints(groupings=(column,)))


def test_a_column_may_be_of_arrow_and_have_no_value() -> None:
    for values in (pa.chunked_array([["a", None], ["a", "b"]]), np.array(["a", None, "a", "b"], object)):
        column = Grouping(name="s", values=values, quotas=(Quota(value="a", maximum=1),))
        sel = TopQuality()(np.ones((4, 1)), [4, 3, 2, 1], budget=3, constraints=Constraints(groupings=(column,)))
        assert sel.indices.tolist() == [0, 1, 3]


@pytest.mark.parametrize("max_tokens", [0, -5, True])
def test_a_token_budget_is_a_whole_number(max_tokens: Any) -> None:
    with pytest.raises(InputError, match=rf"TokenBudget: max_tokens is {max_tokens}; it must be a whole number ≥ 1"):
        TokenBudget(max_tokens=max_tokens, tokens=[1])


def test_selectors_that_know_no_distances_refuse_a_radius() -> None:
    for method in METHODS[1:]:
        with pytest.raises(InputError, match="it knows no distances"):
            method([[0.0], [1.0]], [1.0, 1.0], budget=1, constraints=Constraints(min_distance=0.5))


def test_gain_per_token_wants_tokens_of_the_rows_it_may_pick() -> None:
    method, x = KCenterGreedy(per_token=True), [[0.0], [1.0], [2.0]]
    with pytest.raises(InputError, match="row 1 has 0 tokens"):
        method(x, budget=TokenBudget(max_tokens=9, tokens=[1, 0, 2]))
    sel = method(x, budget=TokenBudget(max_tokens=9, tokens=[1, 0, 2]), constraints=Constraints(exclude=[1]))
    assert sel.indices.tolist() == [0, 2] and sel.gains[1] == 1.0  # A distance of 2 over 2 tokens.
    with pytest.raises(InputError, match="per_token needs the rows' tokens"):
        method(x, budget=2)


def test_random_first_rows_keep_to_quotas_too() -> None:
    x, source = np.arange(20.0)[:, None], ["a"] * 18 + ["b"] * 2
    quota = Constraints(groupings=(Grouping(name="source", values=source, quotas=(Quota(value="a", maximum=2),)),))
    for seed in range(9):
        sel = KCenterGreedy(start="random", n_start=4, seed=seed)(x, budget=4, constraints=quota)
        assert sorted(np.sort(sel.indices)[2:].tolist()) == [18, 19]
    tokens = TokenBudget(max_tokens=9, tokens=[1] * 5 + [8] * 15)
    with pytest.raises(InputError, match=r"n_start is 3, but after \d drawn rows more do not fit the token budget"):
        KCenterGreedy(start="random", n_start=3)(x, budget=tokens)


def test_a_token_budget_may_be_of_any_whole_type_and_a_quota_is_of_a_text() -> None:
    budget = TokenBudget(max_tokens=np.int64(2), tokens=[1, 1, 1])
    assert len(TopQuality()([[0.0], [1.0], [2.0]], [1, 2, 3], budget=budget)) == 2
    with pytest.raises(InputError, match=r"must be a whole number ≥ 1 and below 2⁶³"):
        TokenBudget(max_tokens=2**70, tokens=[1])
    quota = Quota(value="1", maximum=3)
    object.__setattr__(quota, "value", 1)  # A run-time checker of types, where one is installed, objects before.
    with pytest.raises(InputError, match=r"Quota: value is 1; it must be a string"):
        quota.__post_init__()


@pytest.mark.parametrize(("given", "kept"), [(np.int64(3), 3), (np.float32(0.5), 0.5)])
def test_a_quota_takes_the_numbers_of_numpy(no_shape_checks: None, given: Any, kept: float) -> None:
    quota = Quota(value="a", maximum=given)
    assert (quota.maximum, type(quota.maximum)) == (kept, type(kept))


def test_a_limit_for_each_of_many_values_is_read() -> None:
    values = np.arange(20_000).astype(str)
    quotas = tuple(Quota(value=value, maximum=1) for value in values.tolist())
    codes = encoded_groups(Grouping(name="meta.author", values=values, quotas=quotas), len(values), method="m")
    assert codes.tolist() == list(range(len(values)))

"""What every selector promises; a class that joins the `Selector` union is tested here with no more ado."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from qads.errors import AlignmentError, InputError
from qads.pool import Selection
from qads.selection import (
    D4,
    Constraints,
    Deita,
    FacilityLocation,
    Gist,
    Grouping,
    KCenterGreedy,
    KMeansPrototypes,
    NearestToAnchors,
    PerplexityRanking,
    Quota,
    RandomSelection,
    Selector,
    StratifiedRandom,
    TokenBudget,
    TopQuality,
)

SELECTORS: tuple[type[Any], ...] = get_args(Selector)
COLUMNS = ("indices", "gains", "distances", "nearest", "quality")
READER = TypeAdapter[Any](Annotated[Selector, Field(discriminator="kind")])

NO_DIVSEL = pytest.mark.skipif(find_spec("divsel") is None, reason="the extra gist is not installed")


def each(selectors: Sequence[type[Any]]) -> Any:
    marked = [pytest.param(c, marks=NO_DIVSEL) if c is Gist else c for c in selectors]
    return pytest.mark.parametrize("selector", marked, ids=lambda c: c.__name__)


every_selector = each(SELECTORS)
laws = settings(deadline=None, max_examples=25)
SEEDS = st.integers(0, 10_000)


MOST_SHARE = {D4: 0.75}
"""Selectors that cannot give every row of a pool, and the share that they can."""
MAY_STOP = {Deita, Gist}
"""Selectors that may find fewer rows than asked for on any pool, and then say so."""
UNLIMITED = {FacilityLocation, Gist, KMeansPrototypes, NearestToAnchors, StratifiedRandom}
"""Selectors that refuse constraints and budgets in tokens."""
SEEDED = [c for c in SELECTORS if "seed" in {field.name for field in dataclasses.fields(c)}]
FOLLOWS_ROWS = [c for c in SELECTORS if "seed" not in {field.name for field in dataclasses.fields(c)}]
"""Selectors that pick the same rows however a pool without ties is ordered."""


def rows(seed: int, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Rows with duplicates and ties, none of them zero."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, size=(n, 3)).astype(np.float32)
    x[~x.any(axis=1)] = 1
    return x, rng.integers(0, 5, size=n) / 4


def supplied(selector: type[Any], n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What the selector needs beside embeddings and quality."""
    rng = np.random.default_rng(seed + 1)
    every = {
        "groups": rng.choice(["algebra", "code", "chat"], n),
        "lengths": rng.integers(0, 9, n),
        "targets": rng.integers(1, 4, (2, 3)).astype(np.float32),
        "likelihoods": -rng.integers(1, 9, (n, 2)) / 4 - [1, 9],  # The problem always helps.
    }
    return {name: every[name] for name in getattr(selector, "needs", ())}


def select(selector: type[Any], x: Any, quality: Any, *, seed: int = 0, **call: Any) -> Selection:
    return selector()(x, quality, **supplied(selector, len(x), seed), **call)


def most(selector: type[Any], n: int = 20) -> int:
    return int(n * MOST_SHARE.get(selector, 1))


def kinds() -> list[str]:
    return [c().kind for c in SELECTORS]


# As a result.


@every_selector
@laws
@given(seed=SEEDS, budget=st.integers(1, 20) | st.sampled_from((0.05, 0.29, 0.5, 1.0)))
def test_it_gives_exactly_the_budget_of_distinct_rows_or_says_why_not(
    selector: type[Any], seed: int, budget: int | float
) -> None:
    x, quality = rows(seed)
    k = budget if isinstance(budget, int) else {0.05: 1, 0.29: 6, 0.5: 10, 1.0: 20}[budget]
    if k > most(selector):
        with pytest.raises(InputError, match=rf"{selector.__name__}: the budget is {k} rows but"):
            select(selector, x, quality, seed=seed, budget=budget)
        return
    sel = select(selector, x, quality, seed=seed, budget=budget)
    assert (len(sel) == k) == (sel.stopped is None)
    if len(sel) < k:
        assert selector in MAY_STOP
        assert sel.stopped is not None and sel.stopped.startswith(f"{len(sel)} of {k} picks: ")
    assert len(set(sel.indices.tolist())) == len(sel) > 0
    assert sel.indices.min() >= 0 and sel.indices.max() < 20


@every_selector
@laws
@given(seed=SEEDS, k=st.integers(1, 20))
def test_its_columns_are_aligned_and_typed(selector: type[Any], seed: int, k: int) -> None:
    x, quality = rows(seed)
    sel = select(selector, x, quality, seed=seed, budget=min(k, most(selector)))
    for name in COLUMNS:
        column = getattr(sel, name)
        assert column.shape == (len(sel),)
        assert column.dtype == (np.int64 if name in ("indices", "nearest") else np.float64)
    assert (sel.n_rows, sel.method) == (20, selector().kind)
    np.testing.assert_array_equal(sel.quality, quality[sel.indices])
    assert (sel.nearest < np.arange(len(sel))).all() and (sel.nearest >= -1).all()


@every_selector
@laws
@given(seed=SEEDS, k=st.integers(1, 20))
def test_a_smaller_budget_is_a_prefix_where_it_says_so(selector: type[Any], seed: int, k: int) -> None:
    x, quality = rows(seed)
    k = min(k, most(selector))
    whole, part = (select(selector, x, quality, seed=seed, budget=budget) for budget in (most(selector), k))
    assert whole.prefix_closed == part.prefix_closed
    if whole.prefix_closed:
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(whole.head(len(part)), name), getattr(part, name))
        assert len(part) == min(k, len(whole))


@every_selector
def test_it_is_deterministic_and_needs_no_global_state(selector: type[Any]) -> None:
    x, quality = rows(0)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (select(selector, x, quality, budget=11) for _ in range(2))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@every_selector
def test_it_leaves_its_inputs_as_they_were(selector: type[Any]) -> None:
    x, quality = rows(0)
    needed = supplied(selector, len(x))
    inputs = [x, quality, *needed.values()]
    before = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False
    sel = selector()(x, quality, budget=most(selector), **needed)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not any(np.shares_memory(getattr(sel, name), array) for name in COLUMNS for array in inputs)


@every_selector
@pytest.mark.parametrize("budget", [1, 7, 15])
def test_progress_rises_and_reaches_the_budget(selector: type[Any], budget: int) -> None:
    seen: list[tuple[int, int]] = []
    x, quality = np.random.default_rng(1).normal(size=(20, 3)), np.arange(20) / 20
    sel = select(selector, x, quality, budget=budget, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == len(sel)
    assert {total for _, total in seen} <= {budget, len(sel)}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@every_selector
def test_one_row_is_a_pool_too(selector: type[Any]) -> None:
    assert select(selector, [[1.0, 2.0, 3.0]], [0.5], budget=1).indices.tolist() == [0]


def limits(n: int) -> dict[str, Constraints]:
    names = ["a"] * (n // 2) + ["b"] * (n - n // 2)
    quotas = (Quota(value="a", maximum=2),)
    return {
        "exclude": Constraints(exclude=[1, 4]),
        "include": Constraints(include=[7, 3]),
        "quota": Constraints(groupings=(Grouping(name="half", values=names, quotas=quotas),)),
    }


@every_selector
@laws
@given(seed=SEEDS, k=st.integers(2, 8), which=st.sampled_from(["exclude", "include", "quota"]))
def test_it_keeps_to_constraints_or_refuses_them(selector: type[Any], seed: int, k: int, which: str) -> None:
    x, quality = rows(seed)
    if selector in UNLIMITED:
        with pytest.raises(InputError, match=rf"{selector.__name__}: constraints are given, but.*KCenterGreedy, "):
            select(selector, x, quality, seed=seed, budget=k, constraints=limits(20)[which])
        return
    sel = select(selector, x, quality, seed=seed, budget=k, constraints=limits(20)[which])
    assert len(set(sel.indices.tolist())) == len(sel) <= k
    assert (len(sel) == k) == (sel.stopped is None)
    assert which != "exclude" or not {1, 4} & {*sel.indices.tolist()}
    assert which != "include" or sel.indices[:2].tolist() == [7, 3]
    assert which != "quota" or (sel.indices < 10).sum() <= 2


@every_selector
@laws
@given(seed=SEEDS, max_tokens=st.integers(5, 40))
def test_it_spends_no_more_tokens_than_there_are_or_refuses_them(
    selector: type[Any], seed: int, max_tokens: int
) -> None:
    x, quality = rows(seed)
    tokens = np.random.default_rng(seed).integers(1, 6, 20)
    budget = TokenBudget(max_tokens=max_tokens, tokens=tokens)
    if selector in UNLIMITED:
        with pytest.raises(InputError, match=rf"{selector.__name__}: the budget is in tokens, but"):
            select(selector, x, quality, seed=seed, budget=budget)
        return
    sel = select(selector, x, quality, seed=seed, budget=budget)
    assert sel.n_tokens == tokens[sel.indices].sum() <= max_tokens
    assert len(set(sel.indices.tolist())) == len(sel) > 0


def test_the_message_of_a_refusal_names_the_selectors_that_take_limits() -> None:
    x, quality = rows(0)
    with pytest.raises(InputError) as caught:
        select(FacilityLocation, x, quality, budget=2, constraints=Constraints())
    named = set(re.findall(r"\b[A-Z][A-Za-z]*[A-Z0-9]\w*\b", str(caught.value).split("itself. ")[1])) | {"Deita"}
    assert named == {c.__name__ for c in SELECTORS if c not in UNLIMITED}


@every_selector
def test_what_it_needs_is_asked_for_by_name(selector: type[Any]) -> None:
    x, quality = rows(0)
    for name in supplied(selector, 20):
        others = {other: value for other, value in supplied(selector, 20).items() if other != name}
        with pytest.raises(InputError, match=rf"{selector.__name__}: {name} is None; give "):
            selector()(x, quality, budget=3, **others)


@every_selector
def test_what_it_needs_must_be_of_as_many_rows_as_the_embeddings(selector: type[Any]) -> None:
    x, quality = rows(0)
    for name, value in supplied(selector, 20).items():
        if name != "targets":
            with pytest.raises(
                AlignmentError, match=rf"{selector.__name__}: {name} have 19 rows but embeddings have 20"
            ):
                selector()(x, quality, budget=3, **supplied(selector, 20) | {name: value[:19]})


@each(SEEDED)
def test_its_seed_is_a_number_that_decides(selector: type[Any]) -> None:
    with pytest.raises(InputError, match=rf"{selector.__name__}: seed is -1; it must be a whole number ≥ 0"):
        selector(seed=-1)
    x = np.random.default_rng(5).normal(size=(60, 3))
    free = {"kcenter": {"start": "random"}, "facility-location": {"n_witnesses": 3}}.get(selector().kind, {})
    found = {
        tuple(sorted(selector(seed=seed, **free)(x, budget=6, **supplied(selector, 60)).indices.tolist()))
        for seed in range(8)
    }
    assert len(found) > 1


@each([*FOLLOWS_ROWS, KCenterGreedy])
@laws
@given(seed=SEEDS, k=st.integers(1, 12))
def test_another_order_of_the_pool_picks_the_same_rows(selector: type[Any], seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    x, quality = rng.normal(size=(20, 3)), rng.permutation(20) / 20  # No ties.
    needed = supplied(selector, 20) | (
        {
            "lengths": rng.permutation(20),
            "likelihoods": -rng.random((20, 2)) - [0, 1],
            "targets": rng.normal(size=(3, 3)),
        }
    )
    needed = {name: needed[name] for name in supplied(selector, 20)}
    order = rng.permutation(20)
    moved = {name: value if name == "targets" else value[order] for name, value in needed.items()}
    sel = selector()(x, quality, budget=k, **needed)
    again = selector()(x[order], quality[order], budget=k, **moved)
    if selector is PerplexityRanking:  # Rows at one distance from the median rank tie.
        assert len({*sel.indices} - {*order[again.indices]}) <= 1
    elif selector is Gist:  # Of the two rows that are furthest apart either may come first.
        assert {*order[again.indices]} == {*sel.indices}
    else:
        assert order[again.indices].tolist() == sel.indices.tolist()


@every_selector
@laws
@given(seed=SEEDS, k=st.integers(1, 10))
def test_it_looks_at_nothing_that_it_does_not_say_it_reads(selector: type[Any], seed: int, k: int) -> None:
    x, quality = rows(seed)
    sel = select(selector, x, quality, seed=seed, budget=k)
    if not getattr(selector, "reads_quality", False):
        assert select(selector, x, quality[::-1], seed=seed, budget=k).indices.tolist() == sel.indices.tolist()
    if not getattr(selector, "reads_embeddings", True):
        for other in (x * 0 + 1, x * np.nan):
            assert select(selector, other, quality, seed=seed, budget=k).indices.tolist() == sel.indices.tolist()


@pytest.mark.parametrize("selector", [c for c in SELECTORS if not getattr(c, "reads_embeddings", True)])
def test_embeddings_that_are_not_read_still_have_to_be_rows(selector: type[Any]) -> None:
    for x, message in ((np.array(1.0), "type ndarray have no rows"), (np.ones((0, 3)), "no rows; there must be one")):
        with pytest.raises(InputError, match=rf"^{selector.__name__}: embeddings .*{message}"):
            selector()(x, [1.0], budget=1)


def test_a_refusal_of_limits_names_every_selector_that_takes_them() -> None:
    with pytest.raises(InputError, match="take constraints and tokens") as caught:
        StratifiedRandom()(np.ones((2, 1)), budget=1, constraints=Constraints(exclude=[0]), groups=["a", "b"])
    told = str(caught.value)
    assert [c for c in SELECTORS if c.__name__ in told.partition("; ")[2]] == [
        c for c in SELECTORS if c not in UNLIMITED
    ]


@every_selector
def test_what_it_says_it_reads_decides(selector: type[Any]) -> None:
    rng = np.random.default_rng(3)
    x, quality = rng.normal(size=(30, 3)), rng.permutation(30) / 30
    sel = {*select(selector, x, quality, budget=6).indices.tolist()}
    if getattr(selector, "reads_quality", False):
        assert {*select(selector, x, 1 - quality, budget=6).indices.tolist()} != sel
    if getattr(selector, "reads_embeddings", True):
        others = [{*select(selector, rng.normal(size=(30, 3)), quality, budget=6).indices.tolist()} for _ in range(4)]
        assert any(other != sel for other in others)


# As a class.


@every_selector
def test_it_is_a_frozen_dataclass_of_keyword_only_fields(selector: type[Any]) -> None:
    assert dataclasses.is_dataclass(selector)
    assert all(field.kw_only for field in dataclasses.fields(selector))
    assert all(
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        for field in dataclasses.fields(selector)
    )
    method = selector()
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.kind = "other"
    assert selector() == method and hash(selector()) == hash(method)


@every_selector
def test_its_kind_is_a_literal_of_its_own(selector: type[Any]) -> None:
    kind = get_type_hints(selector)["kind"]
    assert get_origin(kind) is Literal
    assert get_args(kind) == (selector().kind,)
    assert kinds().count(selector().kind) == 1


@every_selector
def test_every_field_has_a_docstring_under_it(selector: type[Any]) -> None:
    tree = ast.parse(inspect.getsource(inspect.getmodule(selector)))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == selector.__name__)
    documented = {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    assert {field.name for field in dataclasses.fields(selector)} <= documented


@every_selector
def test_it_is_called_like_all_others(selector: type[Any]) -> None:
    parameters = inspect.signature(selector.__call__).parameters
    assert list(parameters)[:6] == ["self", "embeddings", "quality", "budget", "progress", "constraints"]
    assert {*supplied(selector, 1)} == {*list(parameters)[6:]} - {"given", "cluster", "checkpoint"}
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in list(parameters.values())[3:])
    assert all(parameter.default is None for parameter in list(parameters.values())[4:])
    assert parameters["budget"].default is inspect.Parameter.empty
    assert inspect.getdoc(selector) and inspect.getdoc(selector.__call__)


# As a setting.


@every_selector
def test_a_configuration_builds_it(selector: type[Any]) -> None:
    assert READER.validate_python({"kind": selector().kind}) == selector()
    assert READER.validate_json(READER.dump_json(selector())) == selector()


@every_selector
def test_a_configuration_with_an_unknown_key_is_refused(selector: type[Any]) -> None:
    with pytest.raises(ValidationError, match=r"no_such_key\s+(Unexpected keyword|Extra inputs)"):
        READER.validate_python({"kind": selector().kind, "no_such_key": 1})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="no-such-kind"):
        READER.validate_python({"kind": "no-such-kind"})


# Of the baselines.


@laws
@given(seed=SEEDS, k=st.integers(1, 20))
def test_random_selection_looks_at_neither_rows_nor_quality(seed: int, k: int) -> None:
    x, quality = rows(seed)
    order = np.random.default_rng(seed).permutation(20)
    method = RandomSelection(seed=seed)
    sel, moved, bare = (
        method(x, quality, budget=k),
        method(x[order], quality[order], budget=k),
        method(np.zeros((20, 1)), budget=k),
    )
    np.testing.assert_array_equal(moved.indices, sel.indices)
    np.testing.assert_array_equal(bare.indices, sel.indices)


def test_every_row_is_as_likely_in_a_random_selection() -> None:
    x = np.zeros((10, 1))
    picked = np.concatenate([RandomSelection(seed=seed)(x, budget=3).indices for seed in range(2000)])
    # 600 expected of each row; the seeds are fixed, so this either holds always or never.
    assert np.abs(np.bincount(picked, minlength=10) - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


def test_another_seed_is_another_random_selection() -> None:
    x, _ = rows(0)
    orders = {tuple(RandomSelection(seed=seed)(x, budget=10).indices.tolist()) for seed in range(20)}
    assert len(orders) == 20


@laws
@given(seed=SEEDS, k=st.integers(1, 20))
def test_top_quality_is_sorted_with_ties_to_the_lowest_row(seed: int, k: int) -> None:
    x, quality = rows(seed)
    sel = TopQuality()(x, quality, budget=k)
    assert sel.indices.tolist() == sorted(range(20), key=lambda row: (-quality[row], row))[:k]
    np.testing.assert_array_equal(sel.gains, quality[sel.indices])


def test_top_quality_without_quality_is_refused() -> None:
    with pytest.raises(ValueError, match=r"TopQuality: quality is None; .*Give one number a row"):
        TopQuality()(rows(0)[0], budget=3)


def test_baselines_claim_no_distance() -> None:
    x, quality = rows(0)
    for method in (RandomSelection(), TopQuality()):
        sel = method(x, quality, budget=5)
        assert np.isnan(sel.distances).all() and (sel.nearest == -1).all()
    assert np.isnan(RandomSelection()(x, quality, budget=5).gains).all()

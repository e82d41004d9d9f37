"""Laws of what arms choose: matched in rows or in tokens, with the shares of another, or from the best sources."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qads.compare import Arm, Experiment, Results
from qads.compare.cells import GridContext
from qads.compare.choosing import choose, rank_within_source, sources_by_quality
from qads.compare.grid import Setting, Size
from qads.compare.shared import SharedRun, open_shared
from qads.config import ConstraintsConfig, QuotaConfig
from qads.errors import InputError
from qads.run import SilentObserver
from qads.selection import FacilityLocation, KCenterGreedy, RandomSelection, TokenBudget, TopQuality
from qads.selection.terms import is_short

Finished = tuple[Experiment, Path, Results]


@pytest.fixture(scope="module")
def shared(finished: Finished) -> SharedRun:
    return next(iter(open_shared(finished[0], finished[1]).values()))


@pytest.fixture(scope="module")
def tokens(shared: SharedRun) -> np.ndarray:
    return np.array([len(row.problem) + len(row.solution) for row in shared.pool])


def counts(shared: SharedRun, rows: np.ndarray) -> Counter[str]:
    return Counter(shared.pool.take(rows).strings("source"))


@pytest.mark.parametrize("selection", [RandomSelection(), TopQuality(), KCenterGreedy()])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_shares_of_other_rows_are_kept_to_exactly(shared: SharedRun, selection: Any, seed: int) -> None:
    like = np.array([0, 1, 2, 3, 25, 26, 39])
    found = choose(Arm(selection=selection, source_shares_of="x"), shared, 7, seed=seed, like=like)
    assert counts(shared, found.selection.indices) == counts(shared, like)
    assert len(set(found.selection.indices.tolist())) == 7


def test_within_shares_the_best_rows_of_a_source_are_taken(shared: SharedRun) -> None:
    like = np.array([0, 1, 30, 39])
    found = choose(Arm(selection=TopQuality(), source_shares_of="x"), shared, 4, seed=0, like=like)
    for source, n in counts(shared, like).items():
        rows = shared.pool.rows_by_source()[source]
        best = rows[np.argsort(-shared.quality[rows], kind="stable")][:n]
        assert set(best.tolist()) <= set(found.selection.indices.tolist())


@pytest.mark.parametrize("selection", [RandomSelection(), FacilityLocation(), KCenterGreedy(), TopQuality()])
def test_tokens_are_the_most_rows_that_fit(shared: SharedRun, tokens: np.ndarray, selection: Any) -> None:
    for max_tokens in (400, 900, 2000):
        budget = TokenBudget(max_tokens=max_tokens, tokens=tokens)
        found = choose(Arm(selection=selection), shared, budget, seed=0).selection
        assert found.n_tokens == tokens[found.indices].sum() <= max_tokens
        one_more = choose(Arm(selection=selection), shared, len(found) + 1, seed=0).selection
        assert tokens[one_more.indices].sum() > max_tokens


def test_shares_are_kept_under_a_token_budget_too(shared: SharedRun, tokens: np.ndarray) -> None:
    like = np.array([0, 1, 2, 3, 4, 5, 25, 26, 27, 39])
    budget = TokenBudget(max_tokens=int(tokens[like].sum()) // 2, tokens=tokens)
    found = choose(Arm(selection=RandomSelection(), source_shares_of="x"), shared, budget, seed=1, like=like)
    n = len(found.selection)
    for source, of_like in counts(shared, like).items():
        assert abs(counts(shared, found.selection.indices)[source] - n * of_like / len(like)) < 1


def test_a_budget_that_holds_no_row_is_refused(shared: SharedRun, tokens: np.ndarray) -> None:
    budget = TokenBudget(max_tokens=int(tokens.min()), tokens=tokens)
    with pytest.raises(InputError, match="not one row of this arm fits"):
        choose(Arm(selection=FacilityLocation()), shared, budget, seed=0)


def test_the_best_sources_give_all_rows_and_more_sources_come_in_where_they_are_short(shared: SharedRun) -> None:
    order, sizes = sources_by_quality(shared.pool, shared.quality), Counter(shared.pool.strings("source"))
    one = choose(Arm(selection=RandomSelection(), best_sources=1), shared, sizes[order[0]], seed=0)
    assert one.sources == (order[0],) and set(counts(shared, one.selection.indices)) == {order[0]}
    two = choose(Arm(selection=RandomSelection(), best_sources=1), shared, sizes[order[0]] + 1, seed=0)
    assert two.sources == tuple(order[:2])
    with pytest.raises(InputError, match="best_sources is 9, but only 3 sources"):
        choose(Arm(selection=RandomSelection(), best_sources=9), shared, 3, seed=0)


def test_rows_without_quality_do_not_fill_the_budget_of_the_best_sources(shared: SharedRun, tokens: np.ndarray) -> None:
    best, second, *_ = sources_by_quality(shared.pool, shared.quality)
    rows = shared.pool.rows_by_source()[best]
    some, keep = SharedRun(shared.root, shared.config), len(rows) - 4
    some.__dict__["quality"] = np.where(np.isin(np.arange(40), rows[:4]), np.nan, shared.quality)
    arm = Arm(selection=TopQuality(), best_sources=1)
    assert choose(arm, some, keep, seed=0).sources == (best,)
    assert choose(arm, some, keep + 1, seed=0).sources == (best, second)
    budget = TokenBudget(max_tokens=int(tokens[rows[4:]].sum()) + 1, tokens=tokens)
    assert choose(arm, some, budget, seed=0).sources == (best, second)


def test_that_rows_ran_out_under_a_token_budget_is_told_from_its_end_within_a_row(
    shared: SharedRun, tokens: np.ndarray
) -> None:
    arm = Arm(selection=RandomSelection())
    full = choose(arm, shared, TokenBudget(max_tokens=900, tokens=tokens), seed=0).selection
    assert full.stopped is not None and not is_short(full.stopped)
    one = {"source": {"*": QuotaConfig(at_most=1)}}
    few = dataclasses.replace(arm, constraints=ConstraintsConfig(quotas=one))
    short = choose(few, shared, TokenBudget(max_tokens=9000, tokens=tokens), seed=0).selection
    assert len(short) == 3 and is_short(short.stopped)
    assert not is_short(None)


def test_ranks_within_a_source_forget_the_source(shared: SharedRun) -> None:
    quality = np.random.default_rng(0).random(len(shared.pool))
    shifted = quality + 10.0 * shared.pool.source_codes
    ranks = rank_within_source(shared.pool, quality)
    np.testing.assert_array_equal(ranks, rank_within_source(shared.pool, shifted))
    for rows in shared.pool.rows_by_source().values():
        np.testing.assert_allclose(np.sort(ranks[rows]), np.arange(1, len(rows) + 1) / len(rows))
    unknown = quality.copy()
    unknown[[0, 5]] = np.nan
    assert np.isnan(rank_within_source(shared.pool, unknown)[[0, 5]]).all()


def test_another_seed_draws_other_rows_only_where_the_arm_draws(finished: Finished) -> None:
    experiment, out, _ = finished
    context = GridContext(experiment, out, open_shared(experiment, out), SilentObserver())
    for match in ("rows", "tokens"):
        setting = Setting(Size(9, match), experiment.models[0])
        for arm, draws in (("random", True), ("qads", False), ("like-qads", True)):
            first, second = (setting.cell(experiment, arm, seed) for seed in (0, 1))
            assert context.draws(first) == draws
            assert (context.rows(first).tolist() != context.rows(second).tolist()) == draws


def test_every_arm_has_the_tokens_of_the_arm_that_is_matched_to_but_for_a_row(finished: Finished) -> None:
    experiment, out, _ = finished
    context = GridContext(experiment, out, open_shared(experiment, out), SilentObserver())
    tokens = context.tokens(experiment.models[0])
    setting = Setting(Size(9, "tokens"), experiment.models[0])
    asked = tokens[context.rows(setting.cell(experiment, "qads", 0))].sum()
    for arm in ("random", "like-qads"):
        for seed in experiment.seeds:
            found = context.select(setting.cell(experiment, arm, seed))
            assert asked - tokens.max() < found["training_tokens"] <= asked


def test_shuffled_quality_is_the_same_values_on_other_rows_by_the_seed(shared: SharedRun) -> None:
    arm = Arm(selection=TopQuality(), quality="shuffled")
    first, again, other = (choose(arm, shared, 8, seed=seed).selection for seed in (0, 0, 1))
    best = np.sort(shared.quality)[::-1][:8]
    for found in (first, other):
        np.testing.assert_allclose(found.quality, best, rtol=1e-6)
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()


def test_an_arm_keeps_to_shares_of_a_column_in_rows_and_in_tokens(shared: SharedRun, tokens: np.ndarray) -> None:
    quotas = {"source": {"small": QuotaConfig(share=0.25)}}
    arm = Arm(selection=KCenterGreedy(), constraints=ConstraintsConfig(quotas=quotas))
    assert counts(shared, choose(arm, shared, 12, seed=0).selection.indices)["small"] == 3
    found = choose(arm, shared, TokenBudget(max_tokens=1500, tokens=tokens), seed=0).selection
    assert found.n_tokens is not None and found.n_tokens <= 1500
    assert abs(counts(shared, found.indices)["small"] - len(found) / 4) < 1


def test_rows_without_quality_are_left_out_or_the_arm_is_refused(shared: SharedRun) -> None:
    some = SharedRun(shared.root, shared.config)
    some.__dict__["quality"] = np.where(np.arange(40) < 10, np.nan, shared.quality)  # As the cached property keeps it.
    found = choose(Arm(selection=TopQuality()), some, 30, seed=0)
    assert found.without_quality == 10 and found.selection.indices.min() >= 10
    assert choose(Arm(selection=RandomSelection()), some, 40, seed=0).without_quality == 0
    with pytest.raises(InputError, match="cannot leave any out, but 10 have no quality"):
        choose(Arm(selection=FacilityLocation(), quality="measured"), some, 5, seed=0)

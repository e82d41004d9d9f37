"""The rules that stop scoring: deterministic, exact in counts, right where there is no noise, honest where there is."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from qads.errors import InputError
from qads.quality import EveryAnchor, Influence, Stopping, UntilRankStable, UntilStandardError, stopping_outcomes
from qads.quality.rounds import Rounds, play_rounds

SE = UntilStandardError(se=0.02)
RANK = UntilRankStable()
RULES: list[Stopping] = [SE, RANK, UntilRankStable(tolerance=0.0, levels=3)]


def matrix(n: int = 120, m: int = 64, *, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Gains with anchors that differ much, in proportion to what a candidate is worth."""
    rng = np.random.default_rng(seed)
    quality, anchor = rng.gamma(2, 0.05, n), rng.gamma(4, 0.25, m)
    return quality[:, None] * anchor + noise * quality.mean() * rng.normal(size=(n, m))


def play(rule: Stopping, gains: np.ndarray, groups: int = 2, aggregate: str = "mean_gain") -> tuple[Influence, Rounds]:
    """The rule on a matrix that is there already; NaN is what cannot be scored."""
    n, m = gains.shape
    names = tuple(f"g{j % groups}" for j in range(m))
    asked = np.zeros((n, m), int)

    def score(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        asked[np.ix_(rows, columns)] += 1
        return gains[np.ix_(rows, columns)]

    rounds = play_rounds(
        rule, aggregate, zero_shot=np.zeros(m), anchor_groups=names, may_score=~np.isnan(gains), score=score
    )  # type: ignore[arg-type]
    assert asked.max() <= 1, "no pair is asked for twice"
    assert asked.sum() == sum(part.n_candidates * part.n_anchors for part in rounds.rounds)
    ids = tuple(map(str, range(n))), tuple(map(str, range(m)))
    return Influence(rounds.one_shot, np.zeros(m), *ids, names, left_out=rounds.pending, rounds=rounds.rounds), rounds


def level(quality: np.ndarray, levels: int) -> np.ndarray:
    return np.searchsorted(np.quantile(quality, np.arange(1, levels) / levels), quality, "right")


@given(st.integers(1, 90), st.integers(1, 6), st.integers(0, 5))
def test_every_beginning_of_the_order_has_its_groups_in_proportion(m: int, n_groups: int, seed: int):
    groups = [f"g{(j * j + j // 3) % n_groups}" for j in range(m)]
    order = dataclasses.replace(SE, seed=seed).order(groups)
    assert sorted(order.tolist()) == list(range(m))
    for k in range(1, m + 1):
        for name in set(groups):
            there = sum(groups[j] == name for j in order[:k])
            assert abs(there - k * groups.count(name) / m) <= 2


@given(st.integers(1, 500), st.integers(3, 40))
def test_rounds_double_and_end_with_the_last_anchor(m: int, start: int):
    looks = UntilStandardError(se=1, start=start).looks(m)
    assert looks[-1] == m and (looks[0] == start or looks == [m])
    assert all(2 * a == b for a, b in itertools.pairwise(looks[:-1]))
    assert all(b - a >= start for a, b in itertools.pairwise(looks))


def test_without_a_rule_everybody_is_scored_on_everything_in_the_order_given():
    gains = matrix(20, 10)
    found, rounds = play(EveryAnchor(), gains)
    np.testing.assert_array_equal(found.one_shot, gains)
    assert len(rounds.rounds) == 1 and not found.pending.any()
    assert set(stopping_outcomes(EveryAnchor(), found, "mean_gain")) == {"every anchor"}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_who_none_of_the_first_anchors_could_score_goes_on(rule: Stopping):
    gains = matrix(n=30)
    first = rule.order([f"g{j % 2}" for j in range(64)])[:8]
    gains[3, first] = np.nan
    found, _ = play(rule, gains)
    assert found.n_scored[3] > 0 and np.isfinite(found.quality("mean_gain")).all()
    gains[:, first] = np.nan
    assert (play(rule, gains)[0].n_scored > 0).all(), "nor do all stop where the first anchors were left out"


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_where_nobody_can_be_scored_nobody_goes_on(rule: Stopping):
    found, rounds = play(rule, np.full((5, 20), np.nan))
    assert len(rounds.rounds) == 1 and np.isnan(found.quality()).all()
    assert stopping_outcomes(rule, found, "mean_gain") == [None] * 5


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_same_scores_give_the_same_rounds_and_another_seed_gives_others(rule: Stopping):
    gains = matrix()
    (first, _), (again, _) = play(rule, gains), play(rule, gains)
    np.testing.assert_array_equal(first.one_shot, again.one_shot)
    other, _ = play(dataclasses.replace(rule, seed=7), gains)  # type: ignore[arg-type]
    assert not np.array_equal(first.pending, other.pending)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_was_scored_is_what_the_whole_matrix_says(rule: Stopping):
    gains = matrix()
    found, _ = play(rule, gains)
    there = ~np.isnan(found.one_shot)
    np.testing.assert_array_equal(found.one_shot[there], gains[there])
    np.testing.assert_array_equal(found.pending, ~there)
    np.testing.assert_array_equal(found.n_scored, there.sum(axis=1))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_candidates_of_one_round_share_their_anchors(rule: Stopping):
    found, rounds = play(rule, matrix())
    ends = np.cumsum([part.n_anchors for part in rounds.rounds])
    assert set(found.n_scored.tolist()) <= set(ends.tolist())
    for count in set(found.n_scored.tolist()):
        assert len({tuple(row) for row in found.pending[found.n_scored == count].tolist()}) == 1


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_pairs_that_cannot_be_scored_are_neither_asked_for_again_nor_pending(rule: Stopping):
    gains = matrix()
    gains[3] = np.nan
    gains[:, 5] = np.nan
    gains[np.arange(60), np.arange(60)] = np.nan
    found, _ = play(rule, gains)
    assert not found.pending[np.isnan(gains)].any()
    assert np.isnan(found.quality("mean_gain")[3]) and found.n_scored[3] == 0
    ends = stopping_outcomes(rule, found, "mean_gain")
    assert ends[3] is None and None not in ends[:3] + ends[4:]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_panel_goes_on_as_long_as_anyone_does(rule: Stopping):
    found, _ = play(rule, matrix())
    panel = rule.drawn(120)  # type: ignore[union-attr]
    assert panel.sum() == 8
    assert (found.n_scored[panel] == found.n_scored.max()).all()


def test_candidates_stop_when_their_standard_error_is_small_enough_and_not_before():
    gains = matrix()
    found, rounds = play(SE, gains)
    ends = np.cumsum([part.n_anchors for part in rounds.rounds])
    panel, early = SE.drawn(120), found.pending.any(axis=1)
    errors = found.standard_error("mean_gain")
    assert 0.1 < early.mean() < 1 and len(ends) > 2
    assert (errors[early] <= SE.se).all()
    order = SE.order(found.anchor_groups)
    for end in ends[:-1]:
        went_on = (found.n_scored > end) & ~panel
        before = gains[went_on][:, order[:end]]
        assert (before.std(axis=1, ddof=1) / np.sqrt(end) > SE.se).all()
    said = stopping_outcomes(SE, found, "mean_gain")
    assert [end == "ran out" for end in said] == (~early & (errors > SE.se)).tolist()


def test_a_large_bound_stops_all_after_the_first_round_and_a_tiny_one_nobody():
    gains = matrix()
    quick, _ = play(UntilStandardError(se=1e3), gains)
    assert (quick.n_scored == 8).all()
    slow, _ = play(UntilStandardError(se=1e-9), gains)
    assert not slow.pending.any()
    np.testing.assert_allclose(slow.quality("mean_gain"), gains.mean(axis=1))
    assert set(stopping_outcomes(UntilStandardError(se=1e-9), slow, "mean_gain")) == {"ran out"}


@pytest.mark.parametrize("seed", range(3))
def test_without_noise_levels_are_right_after_few_anchors(seed: int):
    gains = matrix(noise=0.0, seed=seed)
    for aggregate in ("positive_gain", "mean_gain"):
        rule = UntilRankStable(tolerance=0.0, seed=seed)
        additive = np.log(np.maximum(gains, 1e-12)) if aggregate == "mean_gain" else gains  # anchor effects add up
        found, _ = play(rule, additive, aggregate=aggregate)
        whole = additive.mean(axis=1)
        assert spearmanr(found.quality(aggregate), whole)[0] == pytest.approx(1)
        assert (level(found.quality(aggregate), 5) == level(whole, 5)).all()
        assert found.n_scored.mean() < 32


@pytest.mark.parametrize("aggregate", ["positive_gain", "mean_gain"])
def test_stopped_candidates_are_in_their_level_at_the_stated_confidence(aggregate: str):
    right: list[bool] = []
    for seed in range(12):
        gains = matrix(noise=1.0, seed=seed)
        rule = UntilRankStable(tolerance=0.0, confidence=0.9, levels=3, seed=seed)
        found, _ = play(rule, gains, aggregate=aggregate)
        whole = Influence(gains, np.zeros(64), found.candidate_ids, found.anchor_ids, found.anchor_groups)
        stopped = found.pending.any(axis=1)
        same = level(found.quality(aggregate), 3) == level(whole.quality(aggregate), 3)
        right += same[stopped].tolist()
    assert len(right) > 300
    assert np.mean(right) >= 0.9


def test_tolerance_saves_pairs_and_costs_little_of_the_order():
    gains = matrix(noise=1.0)
    spent = []
    for tolerance in (0.0, 0.2, 0.4):
        found, _ = play(UntilRankStable(tolerance=tolerance), gains)
        spent.append(int(found.n_scored.sum()))
        assert spearmanr(found.quality("mean_gain"), gains.mean(axis=1))[0] > 0.9
    assert spent == sorted(spent, reverse=True) and spent[0] > 1.2 * spent[2]


def test_quality_is_comparable_where_plain_means_are_not():
    # Half of the anchors are ten times as easy to help with; who stops before them is worth no less.
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.5, 1.5, 40)
    gains = quality[:, None] * np.where(np.arange(20) < 10, 1.0, 10.0)
    pending = np.zeros((40, 20), bool)
    pending[:30, 10:] = True
    found = Influence(
        np.where(pending, np.nan, gains), np.zeros(20), tuple(map(str, range(40))), tuple(map(str, range(20))), ("g",) * 20,
        left_out=pending,
    )  # fmt: skip
    np.testing.assert_allclose(found.quality("positive_gain"), gains.mean(axis=1))
    plain = dataclasses.replace(found, left_out=None).quality("positive_gain")
    assert spearmanr(plain, quality)[0] < 0.8


def test_anchors_of_a_group_count_by_its_share_and_not_by_how_many_were_scored():
    scores = np.array([[0.0, np.nan, np.nan, 4.0], [1.0, 1.0, 1.0, 1.0]])
    groups = ("three", "three", "three", "one")
    found = Influence(scores, np.zeros(4), ("a", "b"), tuple("wxyz"), groups, left_out=np.isnan(scores))
    np.testing.assert_allclose(found.quality("mean_gain"), [0.75 * 0.0 + 0.25 * 4.0, 1.0])
    np.testing.assert_allclose(found.by_group("mean_gain")["one"], [4.0, 1.0])


def test_a_candidate_with_nothing_pending_has_the_plain_mean():
    gains = matrix(noise=1.0)
    found, _ = play(RANK, gains, aggregate="positive_gain")
    done = ~found.pending.any(axis=1)
    assert 0 < done.sum() < 120
    np.testing.assert_allclose(
        found.quality("positive_gain")[done], np.maximum(gains[done], 0).mean(axis=1), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (UntilStandardError, {"se": 0.0}, "se is 0; it must be a number above 0"),
        (UntilStandardError, {"se": float("nan")}, "se is nan"),
        (UntilStandardError, {"se": 0.1, "start": 2}, "start is 2; a spread needs 3"),
        (UntilStandardError, {"se": 0.1, "panel": 0}, "panel is 0"),
        (UntilRankStable, {"seed": -1}, "seed is -1"),
        (UntilRankStable, {"levels": 1}, "levels is 1; there must be 2"),
        (UntilRankStable, {"confidence": 1.0}, r"confidence is 1; it must lie in \[0.5, 1\)"),
        (UntilRankStable, {"tolerance": 1.0}, r"tolerance is 1; it must be a share in \[0, 1\)"),
    ],
)
def test_impossible_settings_are_refused(rule: type, settings: dict[str, float], message: str):
    with pytest.raises(InputError, match=f"{rule.__name__}: {message}"):
        rule(**settings)

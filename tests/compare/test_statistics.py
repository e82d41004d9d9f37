"""Laws of comparisons: what is claimed, and how often wrongly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qads.compare import ALL_SETS, PairedItems, compare_arms, estimate_arm
from qads.errors import InputError
from qads.evaluate.results import mean_interval
from qads.kernels.shares import wilson_interval


def alike(
    rng: np.random.Generator, n_seeds: int, *, of_seeds: float = 0.3, first: tuple[float, int] | None = None
) -> PairedItems:
    """Five arms that differ by chance alone, on two sets; the first may move further and have more seeds."""
    moves = [first or (of_seeds, n_seeds), *[(of_seeds, n_seeds)] * 4]
    values = tuple(
        far * rng.standard_normal((n, 1)) + rng.standard_normal((1, 50)) + 0.3 * rng.standard_normal((n, 50))
        for far, n in moves
    )
    return PairedItems(tuple("abcde"), values, ("x", "y"), np.repeat([0, 1], [20, 30]))


def moved(items: PairedItems, by: tuple[float, ...]) -> PairedItems:
    """The same with every arm moved."""
    return replace(items, values=tuple(each + far for each, far in zip(items.values, by, strict=True)))


PAIRS = [("b", "a"), ("c", "a"), ("d", "a"), ("e", "a")]


def test_every_pair_is_compared_on_every_set_and_on_their_mean_and_all_are_one_family() -> None:
    found = compare_arms(alike(np.random.default_rng(0), 3), PAIRS)
    assert [(o.arm, o.other, o.scope) for o in found[:4]] == [("b", "a", "x"), ("b", "a", "y"), ("b", "a", ALL_SETS),
                                                              ("c", "a", "x")]  # fmt: skip
    assert {o.family for o in found} == {12} and len(found) == 12
    for x, y, both in zip(found[::3], found[1::3], found[2::3], strict=True):
        assert both.difference.value == pytest.approx((x.difference.value + y.difference.value) / 2)


def test_the_interval_that_holds_together_is_the_wider_one_and_the_verdict_is_from_it() -> None:
    items = alike(np.random.default_rng(0), 3)
    better = moved(items, (0, 5, -5, 0, 0))
    found = {(o.arm, o.scope): o for o in compare_arms(better, PAIRS)}
    for outcome in found.values():
        assert outcome.low < outcome.difference.low < outcome.difference.value < outcome.difference.high < outcome.high
    assert [found[arm, "x"].verdict for arm in "bcd"] == ["better", "worse", "no difference shown"]


def test_the_other_way_round_is_the_same_with_the_sign_turned() -> None:
    items = alike(np.random.default_rng(2), 3)
    there, back = compare_arms(items, [("b", "a")]), compare_arms(items, [("a", "b")])
    for one, other in zip(there, back, strict=True):
        assert one.difference.value == pytest.approx(-other.difference.value)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)


def test_one_seed_makes_no_claim() -> None:
    for items in (alike(np.random.default_rng(0), 1), alike(np.random.default_rng(0), 3, first=(0.3, 1))):
        assert {o.verdict for o in compare_arms(moved(items, (0, 9, 0, 0, 0)), PAIRS)} == {"one seed: no claim"}


def test_where_nothing_differs_there_is_no_interval_and_no_difference_is_shown() -> None:
    values = np.zeros((2, 3, 8))
    found = compare_arms(PairedItems(("a", "b"), tuple(values), ("x",), np.zeros(8, np.int64)), [("b", "a")])
    assert len(found) == 1 and found[0].verdict == "no difference shown" and math.isnan(found[0].low)
    assert (found[0].wins, found[0].ties, found[0].losses) == (0, 8, 0)


def test_wins_ties_and_losses_are_of_items_on_the_mean_of_their_seeds() -> None:
    of_items = np.array([[1.0, -1.0, 0.1, 0.0], [3.0, 0.5, -0.3, 0.0]])
    values = np.stack([np.zeros((2, 4)), of_items])
    items = PairedItems(("a", "b"), tuple(values), ("x",), np.zeros(4, np.int64))
    (found,) = compare_arms(items, [("b", "a")], tie=0.2)
    assert (found.wins, found.ties, found.losses, found.seeds_ahead, found.n_seeds) == (1, 2, 1, 2, 2)


def test_what_differs_by_rounding_alone_is_a_tie() -> None:
    values = (np.full((3, 20), 0.7), np.full((5, 20), 0.7) * np.linspace(1, 1, 5)[:, None])
    (found,) = compare_arms(PairedItems(("a", "b"), values, ("x",), np.zeros(20, np.int64)), [("b", "a")])
    assert (found.wins, found.ties, found.losses, found.seeds_ahead) == (0, 20, 0, 0)


def test_an_arm_alone_has_the_mean_of_all_its_values_and_of_a_seed() -> None:
    items = alike(np.random.default_rng(3), 4)
    assert estimate_arm(items, "b")["y"].value == pytest.approx(items.values[1][:, 20:].mean())
    assert estimate_arm(items, "b", seed=2)["x"].value == pytest.approx(items.values[1][2, :20].mean())


def right_or_wrong(n_right: int, n_seeds: int = 1) -> PairedItems:
    """One arm on one set of 40 items."""
    values = np.zeros((n_seeds, 40))
    values[:, :n_right] = 1
    return PairedItems(("a",), (values,), ("x",), np.zeros(40, np.int64))


@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize("n_right", [0, 1, 20, 39, 40])
def test_a_share_of_items_has_the_interval_of_an_evaluation(n_right: int, n_seeds: int) -> None:
    found = estimate_arm(right_or_wrong(n_right, n_seeds), "a")["x"]
    assert 0 <= found.low <= found.value <= found.high <= 1
    if n_seeds == 1:
        assert (found.low, found.high) == pytest.approx(wilson_interval(n_right, 40), abs=1e-12)


def test_seeds_that_move_a_share_widen_its_interval_and_none_makes_it_narrower_than_its_items_do() -> None:
    calm = right_or_wrong(20, 3)
    moved_far = replace(calm, values=(np.stack([np.arange(40) < n for n in (4, 20, 36)]).astype(float),))
    widths = [found.high - found.low for found in (estimate_arm(each, "a")["x"] for each in (calm, moved_far))]
    assert widths[1] > 1.5 * widths[0]
    by_chance = (np.random.default_rng(0).random((9, 40)) < 0.5).astype(float)
    found = estimate_arm(replace(calm, values=(by_chance,)), "a")["x"]
    assert found.high - found.low > 0.99 * widths[0]


def test_a_share_that_is_the_mean_of_sets_has_an_interval_where_nothing_varies_and_of_sets_of_one_item() -> None:
    for codes in ([0] * 20 + [1] * 4, [0] * 23 + [1]):
        for values in (np.zeros((2, 24)), np.ones((1, 24)), np.array([codes, codes], float)):
            items = PairedItems(("a",), (values,), ("x", "y"), np.array(codes))
            for found in estimate_arm(items, "a").values():
                assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_mean_that_is_no_share_has_student_s_interval() -> None:
    values = right_or_wrong(1).values[0] - 1.5
    found = estimate_arm(replace(right_or_wrong(1), values=(values,)), "a")["x"]
    assert (found.low, found.high) == pytest.approx(mean_interval(values[0]))


def test_an_arm_that_moves_far_widens_its_own_comparisons_alone() -> None:
    calm = alike(np.random.default_rng(1), 4, of_seeds=0.01, first=(0.01, 4))
    wild = replace(calm, values=(calm.values[0] + np.array([[-2.0], [2.0], [-2.0], [2.0]]), *calm.values[1:]))
    pairs = [("b", "a"), ("c", "b")]
    before, after = ({(o.arm, o.scope): o.high - o.low for o in compare_arms(each, pairs)} for each in (calm, wild))
    assert after["c", "x"] == before["c", "x"] and after["b", "x"] > 3 * before["b", "x"]


@pytest.mark.parametrize(
    ("n_seeds", "of_seeds", "first"),
    [
        (3, 0.1, None),
        (3, 0.3, None),
        (5, 0.1, None),
        (5, 0.3, None),
        (5, 1.0, None),
        (3, 0.1, (1.0, 12)),
        (5, 0.1, (1.0, 5)),
    ],
)
def test_arms_that_are_alike_are_rarely_told_apart(
    n_seeds: int, of_seeds: float, first: tuple[float, int] | None
) -> None:
    rng = np.random.default_rng(5)
    found = [compare_arms(alike(rng, n_seeds, of_seeds=of_seeds, first=first), PAIRS) for _ in range(300)]
    wrong_alone = np.mean([not o.difference.low <= 0 <= o.difference.high for each in found for o in each])
    wrong_at_all = np.mean([any(o.verdict != "no difference shown" for o in each) for each in found])
    # 5% are allowed; 300 repeats tell that to about 2.5 points, the seed is fixed.
    assert wrong_alone < 0.065
    assert wrong_at_all < 0.075


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("a",)}, "of 1 arms"),
        ({"values": (np.full((1, 50), np.nan),) * 5}, "finite value in every seed"),
        ({"values": (np.zeros((0, 50)),) * 5}, "finite value in every seed"),
    ],
)
def test_values_that_are_not_aligned_or_not_there_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(alike(np.random.default_rng(0), 1), **change)

"""How much of each part: exact counts, and refusals that say the arithmetic."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixture.files import make_run, write_sums
from qads import compose
from qads.errors import ConfigError, InputError
from qads.mixture.drawing import cycled, share_out, temperature_weights
from qads.mixture.recipe import Share, load_recipe
from qads.mixture.shares import share_amounts


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, n in {"a": 100, "b": 40, "c": 10}.items():
        write_sums(tmp_path / f"{name}.jsonl", n)
    return tmp_path


def counts(files: Path, parts: dict[str, dict[str, Any]], **settings: Any) -> dict[str, int]:
    named = {name: {"pool": str(files / f"{name}.jsonl")} | part for name, part in parts.items()}
    return {name: part.rows for name, part in compose({"parts": named} | settings).largest.parts.items()}


def refusal(files: Path, parts: dict[str, dict[str, Any]], **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        counts(files, parts, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("part", "n"),
    [
        ({}, 100),
        ({"take": "all"}, 100),
        ({"take": 30}, 30),
        ({"take": "30%"}, 30),
        ({"take": 0.295}, 30),  # Half up, as budgets are.
        ({"take": 10, "repeat": 3}, 30),
        ({"take": 10, "repeat": 2.55}, 25),
        ({"repeat": 0.5}, 50),
        ({"repeat": 3, "cap": 250}, 250),
        ({"take": 50, "temperature": 2}, 50),
    ],
)
def test_a_take_comes_to_exactly_its_rows(files: Path, part: dict[str, Any], n: int):
    assert counts(files, {"a": part}) == {"a": n}


def test_repetition_is_whole_epochs_and_then_the_first_rows_again(files: Path):
    mixture = compose({"parts": {"c": {"pool": str(files / "c.jsonl"), "repeat": 2.5}}, "shuffle": False})
    ids = [row.id for row in mixture.pool()]
    assert ids[:20] == [f"c-{i}" for i in range(10)] + [f"c-{i}#2" for i in range(10)]
    assert len(ids) == 25 and all(name.endswith("#3") for name in ids[20:])


def test_shares_follow_from_the_fixed_parts_and_the_whole_is_exact(files: Path):
    assert counts(files, {"a": {}, "b": {"take": {"share": 0.2}}}) == {"a": 100, "b": 25}
    assert counts(files, {"b": {"take": {"share": "30%"}}, "a": {"take": 70}}) == {"b": 30, "a": 70}
    thirds = {name: {"take": {"share": 1 / 3}} for name in "ab"}
    assert sum(counts(files, thirds | {"c": {}}).values()) == 30


def test_shares_of_a_size_come_to_the_size(files: Path):
    parts = {"a": {"take": {"share": 0.5}}, "b": {"take": {"share": 0.3}}, "c": {"take": {"share": 0.2}}}
    assert counts(files, parts, size=41) == {"a": 21, "b": 12, "c": 8}  # 20.5, 12.3 and 8.2


@given(
    shares=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    fixed=st.integers(1, 10_000),
    size=st.none() | st.integers(1, 10_000),
)
def test_shares_add_up_and_none_is_off_by_a_row(shares: list[int], fixed: int, size: int | None):
    named = {f"p{i}": Share(n / 100) for i, n in enumerate(shares)}
    whole = sum(Fraction(n, 100) for n in shares)
    if (size is None and whole >= 1) or (size is not None and abs(size - fixed - whole * size) >= 1):
        with pytest.raises(InputError):
            share_amounts(named, {"f": fixed}, size, unit="rows")
        return
    found = share_amounts(named, {"f": fixed}, size, unit="rows")
    total = fixed + sum(found.values())
    assert total == size or (size is None and abs(total - fixed / (1 - whole)) <= Fraction(1, 2))
    rest = total - fixed
    assert all(abs(found[f"p{i}"] - rest * Fraction(n, 100) / whole) < 1 for i, n in enumerate(shares))


@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=6),
    temperature=st.sampled_from([1.0, 1.5, 3.0, 100.0, float("inf")]),
    repeat=st.sampled_from([1.0, 1.5, 4.0]),
    data=st.data(),
)
def test_temperature_shares_out_exactly_and_never_beyond_the_epochs(
    sizes: list[int], temperature: float, repeat: float, data: st.DataObject
):
    most = [int(Fraction(str(repeat)) * n) for n in sizes]
    total = data.draw(st.integers(1, sum(most)))
    found = share_out(total, sizes, temperature=temperature, max_repeats=[repeat] * len(sizes))
    assert found is not None and sum(found) == total
    assert all(n <= limit for n, limit in zip(found, most, strict=True))
    # As water in vessels: who has room left has his share, none has more than one in proportion to the largest such.
    weights = temperature_weights(sizes, temperature)
    level = max(
        (Fraction(n - 1) / w for n, w, m in zip(found, weights, most, strict=True) if n > 0), default=Fraction(0)
    )
    assert all(Fraction(n + 1) / w >= level or n == m for n, w, m in zip(found, weights, most, strict=True))


def test_more_than_all_epochs_cannot_be_shared_out():
    assert share_out(21, [10], temperature=1, max_repeats=[2]) is None


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=5), st.floats(1, 50))
def test_weights_of_a_temperature_are_roots(sizes: list[int], temperature: float):
    found = [float(w) for w in temperature_weights(sizes, temperature)]
    assert found == pytest.approx([n ** (1 / temperature) for n in sizes], rel=1e-9)


def test_temperature_one_is_in_proportion_and_infinity_evenly():
    assert temperature_weights([3, 70], 1) == [3, 70]
    assert temperature_weights([3, 70], float("inf")) == [1, 1]
    # mT5's and XLM-R's exponent 0.3 over two languages, by hand.
    assert [float(w) for w in temperature_weights([1000, 8], 1 / 0.3)] == pytest.approx(
        [float(Decimal(1000) ** Decimal("0.3")), float(Decimal(8) ** Decimal("0.3"))], rel=1e-6
    )


def test_temperature_over_parts_and_over_sources(files: Path):
    parts = {name: {} for name in "abc"}
    assert counts(files, parts, size=75, temperature=1) == {"a": 50, "b": 20, "c": 5}
    # Evenly would be 25 each, of which c has 10; the others share what it cannot give.
    assert counts(files, parts, size=75, temperature=float("inf")) == {"a": 33, "b": 32, "c": 10}
    again = {name: {"max_repeat": 3} for name in "abc"}
    assert counts(files, again, size=75, temperature=float("inf")) == {"a": 25, "b": 25, "c": 25}
    joint = {"pool": [str(files / f"{name}.jsonl") for name in "abc"], "take": 30, "temperature": float("inf")}
    mixture = compose({"parts": {"all": joint}})
    assert Counter(row.source for row in mixture.pool()) == {"a": 10, "b": 10, "c": 10}


@pytest.mark.parametrize("cap", [150, "1k tokens"])
@pytest.mark.parametrize(("temperature", "shares"), [(1, (0.5, 0.3, 0.2)), (float("inf"), (1 / 3, 1 / 3, 1 / 3))])
def test_a_cap_leaves_the_sources_in_the_shares_of_the_temperature(
    tmp_path: Path, cap: int | str, temperature: float, shares: tuple[float, ...]
):
    paths = [write_sums(tmp_path / f"{name}.jsonl", n) for name, n in (("a", 200), ("b", 120), ("c", 80))]
    part = {"pool": [str(path) for path in paths], "take": 240, "temperature": temperature, "cap": cap}
    (made,) = compose({"parts": {"all": part}, "tokenizer": "smollm2-135m"}).largest.parts.values()
    assert made.rows == 150 if cap == 150 else (made.rows < 150 and 980 < (made.tokens or 0) <= 1000)
    for name, share in zip("abc", shares, strict=True):
        assert abs(made.sources[name].rows - share * made.rows) < 1


@given(st.integers(1, 20), st.integers(0, 100))
def test_cycled_rows_are_used_evenly(n: int, count: int):
    rows, copies = cycled(np.arange(n), count)
    assert len(rows) == len(set(zip(rows.tolist(), copies.tolist(), strict=True))) == count
    used = np.bincount(rows, minlength=n)
    assert used.max() - used.min() <= 1


def test_a_fraction_of_a_run_is_one_of_the_pool_that_it_selected_from(tmp_path: Path):
    run = make_run(tmp_path / "run", 100, [7, 3, 50, 90, 2, 11, 12, 13, 14, 15])
    for take, n in (("1%", 1), ("5%", 5), ("10%", 10), (3, 3), ("all", 10)):
        mixture = compose({"parts": {"r": {"selection": str(run), "take": take}}, "shuffle": False})
        assert [row.id for row in mixture.pool()] == [
            "p7",
            "p3",
            "p50",
            "p90",
            "p2",
            "p11",
            "p12",
            "p13",
            "p14",
            "p15",
        ][:n]
    with pytest.raises(
        InputError, match=r"take 0\.2 of the 100 rows that were selected from is 20 rows, and there are 10"
    ):
        compose({"parts": {"r": {"selection": str(run), "take": "20%"}}})


@pytest.mark.parametrize(
    ("parts", "settings", "message"),
    [
        ({"a": {"take": 101}}, {}, r"parts.a: take 101 is 101 rows, and there are 100 rows"),
        ({"c": {"take": "1%"}}, {}, r"parts.c: take 0.01 is 0 rows, and there are 10 rows"),
        ({"a": {"take": {"share": 0.6}}, "b": {"take": {"share": 0.5}}, "c": {}}, {}, r"a 0.6 \+ b 0.5\) come to 1.1 of"),
        ({"a": {"take": {"share": 0.6}}}, {}, r"no other part from which a size would follow. Give size"),
        ({"a": {"take": {"share": 0.5}}, "b": {}}, {"size": 50}, r"size is 50 rows; the parts .* come to 40 \(b 40\) and"),
        ({"a": {}, "b": {}}, {"size": 10}, r"size is 10 rows, but the parts come to 140 \(a 100 \+ b 40\)"),
        ({"a": {}, "c": {"take": {"share": 0.5}}}, {}, r"its share 0.5 of the mixture is 100 rows; it has 10 rows, with max"),
        ({"a": {}, "b": {"take": {"share": 0.2}, "cap": 5}}, {}, r"is 25 rows, more than its cap, 5"),
        ({"a": {}, "b": {}}, {"size": 141, "temperature": 2}, r"at most a 100 \(max_repeat 1\) \+ b 40 \(max_repeat 1\)"),
        ({"a": {"take": {"share": 0.001}}, "c": {}}, {}, r"is 0 rows; it has 100 rows"),
        ({"a": {}}, {"temperature": 2}, "give it as size: 10000"),
        ({"a": {"take": "2k tokens"}}, {}, "name a model under tokenizer"),
    ],
)  # fmt: skip
def test_arithmetic_that_cannot_hold_is_refused_with_the_numbers(
    files: Path, parts: dict[str, dict[str, Any]], settings: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        counts(files, parts, **settings)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"take": "some"}, r"parts.a.take: 'some' is neither a count .* Besides: all, or \{share: 30%\} of the mixture"),
        ({"take": {"share": 30}}, "parts.a.take: share: 30 is no share of a mixture"),
        ({"take": 0}, "parts.a.take: 0 is no number of rows"),
        ({"repeat": True}, "parts.a.repeat: true is not a value for it"),
        ({"repeat": 0}, r"parts.a: repeat is 0; epochs must be a number above 0"),
        ({"take": {"share": 0.3}, "repeat": 2}, r"parts.a: repeat is 2, but the take is a share 0.3"),
        ({"temperature": 2}, r"parts.a: temperature shares rows out to the sources, but take is all"),
        ({"temperature": 0.5, "take": 3}, r"parts.a: temperature is 0.5; it must be 1"),
        ({"selection": "run"}, r"parts.a: a part is made either of a pool"),
        ({"cap": "10%"}, r"parts.a.cap: '10%' is a fraction"),
        ({"reapeat": 2}, r"parts.a.reapeat: unknown key; did you mean 'repeat'\?"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_by_their_path(files: Path, part: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        counts(files, {"a": part})


@pytest.mark.parametrize(
    ("part", "take", "message"),
    [
        ({"repeat": 2}, "{share: 25%}", r"variants\.v\.a: repeat is 2, but the take is a share"),
        ({"temperature": 2, "take": 10}, "2000 tokens", r"variants\.v\.a: temperature shares rows out"),
    ],
)
def test_a_variant_is_held_to_what_its_part_is(files: Path, part: dict[str, Any], take: str, message: str):
    recipe = {
        "parts": {"a": {"pool": "a.jsonl", **part}, "b": {"pool": "b.jsonl"}}, "tokenizer": "smollm2-135m",
        "variants": {"v": {"a": yaml.safe_load(take)}},
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        load_recipe(recipe)


def test_as_many_sources_as_rows_add_up(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    rows = ({"id": f"{i}", "source": f"s{i}", "problem": f"{i}?", "solution": "x" * (i % 7 + 1)} for i in range(2000))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (part,) = compose({"parts": {"a": {"pool": str(path), "take": "50%"}}}).largest.parts.values()
    assert len(part.sources) == part.rows == 1000
    assert sum(source.characters for source in part.sources.values()) == part.characters

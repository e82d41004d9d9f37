"""A pool is one table with a fingerprint; a selection is rows of it in the order chosen."""

from __future__ import annotations

import itertools
import json
import math
import time

import jaxtyping
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.errors import AlignmentError, InputError, PoolError
from qads.pool import COLUMNS, Pool, Row, Selection, Turn, take_rows, to_json
from qads.problems import problem_key


def row(name: str, **fields: object) -> Row:
    return Row(**({"id": name, "source": "made", "problem": f"What is {name}?", "solution": "It is 3."} | fields))  # type: ignore[arg-type]


def selection(n: int, **fields: object) -> Selection:
    columns = dict(
        indices=np.arange(n),
        gains=np.linspace(1, 0, n),
        distances=np.ones(n),
        nearest=np.arange(n) - 1,
        quality=np.ones(n),
        n_rows=10,
        method="test",
    )
    return Selection(**(columns | fields))  # type: ignore[arg-type]


def test_annotations_are_checked_under_tests() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        for _ in range(50):  # The first calls of a function are checked, and then one in fifty.
            selection(3, gains=np.ones(3, dtype=np.int64))


def test_a_row_comes_out_as_it_went_in() -> None:
    rows = [
        row("a"),
        row("b", answer="3", kind="cot", meta={"level": 2, "nested": {"x": [None, 1.5]}}),
        row("c", context=({"role": "system", "content": "Be brief."},), kind="answer-only"),
    ]
    pool = Pool.from_rows(rows)
    assert list(pool) == rows
    assert pool[-1] == rows[-1]
    assert len(pool) == 3


@pytest.mark.parametrize("index", [3, -4])
def test_a_row_outside_the_pool_is_an_index_error(index: int) -> None:
    pool = Pool.from_rows([row("a"), row("b"), row("c")])
    with pytest.raises(IndexError, match=f"row {index} of a pool of 3"):
        pool[index]


def test_take_keeps_the_order_that_was_asked_for() -> None:
    pool = Pool.from_rows([row("a"), row("b"), row("c")])
    assert pool.take([2, 0]).strings("id") == ["c", "a"]
    assert pool.take(np.array([1])).strings("id") == ["b"]
    assert len(pool.take([])) == 0


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    "indices", [np.array([False, True, False]), [False, True], np.array([0.9, 1.9]), np.array([[0], [1]]), np.array(1)]
)
def test_what_is_no_row_number_is_refused_and_not_taken_for_one(indices: object) -> None:
    pool = Pool.from_rows([row("a"), row("b"), row("c")])
    with pytest.raises(InputError, match=r"they must be row numbers \[k\] \(of a mask: np.flatnonzero"):
        pool.take(indices)  # type: ignore[arg-type]


@pytest.mark.parametrize("outside", [3, -1])
def test_a_row_that_is_not_in_the_pool_cannot_be_taken(outside: int) -> None:
    pool = Pool.from_rows([row("a"), row("b"), row("c")])
    with pytest.raises(InputError, match=f"Pool.take: row {outside} is not in the pool, whose rows are 0..2"):
        pool.take([0, outside])


@pytest.mark.parametrize("part", [slice(2), slice(1, None), slice(-1, None), slice(None, None, -2), slice(5, 9)])
def test_a_slice_of_a_pool_is_a_pool_of_the_rows_a_list_would_give(part: slice) -> None:
    pool = Pool.from_rows([row(name) for name in "abcde"])
    assert list(pool[part]) == list(pool)[part]


def test_equal_rows_have_equal_fingerprints_however_the_table_is_cut() -> None:
    rows = [row(str(number), answer=None if number % 3 else "3") for number in range(10)]
    whole = Pool.from_rows(rows)
    pieces = Pool(pa.concat_tables([whole.table.slice(0, 3), whole.table.slice(3, 1), whole.table.slice(4)]))
    assert pieces.fingerprint == whole.fingerprint
    assert whole.take(list(range(10))).fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"problem": "What is b?"},
        {"answer": ""},
        {"answer": "3"},
        {"kind": "cot"},
        {"meta": {"x": None}},
        {"context": ({"role": "user", "content": ""},)},
        {"problem": "What is a?It is 3.", "solution": ""},
    ],
)
def test_any_difference_changes_the_fingerprint(other: dict[str, object]) -> None:
    assert Pool.from_rows([row("a")]).fingerprint != Pool.from_rows([row("a", **other)]).fingerprint


def test_the_order_of_rows_changes_the_fingerprint() -> None:
    pool = Pool.from_rows([row("a"), row("b")])
    assert pool.fingerprint != pool.take([1, 0]).fingerprint


def test_the_order_of_meta_keys_does_not_change_the_fingerprint() -> None:
    one = Pool.from_rows([row("a", meta={"x": 1, "y": {"p": 1, "q": 2}})])
    other = Pool.from_rows([row("a", meta={"y": {"q": 2, "p": 1}, "x": 1})])
    assert one.fingerprint == other.fingerprint


def test_sources_come_in_order_of_first_appearance_with_their_rows() -> None:
    names = ["b", "a", "b", "c", "a"]
    pool = Pool.from_rows(row(str(number), source=name) for number, name in enumerate(names))
    pool = Pool(pa.concat_tables([pool.table.slice(0, 2), pool.table.slice(2)]))
    assert pool.sources == ["b", "a", "c"]
    assert pool.source_codes.tolist() == [0, 1, 0, 2, 1]
    assert {name: rows.tolist() for name, rows in pool.rows_by_source().items()} == {
        "b": [0, 2],
        "a": [1, 4],
        "c": [3],
    }


def test_rows_of_very_many_sources_are_found() -> None:
    names = [f"s{number}" for number in range(20_000)]
    order = np.random.default_rng(0).permutation(40_000) % 20_000
    pool = Pool.from_rows(row(str(position), source=names[code]) for position, code in enumerate(order))
    found = pool.rows_by_source()
    assert list(found) == pool.sources and len(found) == 20_000
    assert all(len(rows) == 2 and rows[0] < rows[1] for rows in found.values())
    assert all((order[rows] == int(name[1:])).all() for name, rows in found.items())
    assert Pool.from_rows([]).rows_by_source() == {}


def test_an_empty_pool_is_a_pool() -> None:
    pool = Pool.from_rows([])
    assert (len(pool), pool.sources, list(pool), pool.source_codes.tolist()) == (0, [], [], [])
    assert len(pool.fingerprint) == 64


def test_a_repeated_id_is_an_error_that_names_it() -> None:
    with pytest.raises(PoolError, match="the id 'b' occurs more than once"):
        Pool.from_rows([row("a"), row("b"), row("b")])


def test_an_empty_id_that_repeats_is_an_error_too() -> None:
    with pytest.raises(PoolError, match="the id '' occurs more than once"):
        Pool.from_rows([row(""), row("")])


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones() -> None:
    table = Pool.from_rows([row("a")]).table
    table = table.set_column(COLUMNS.index("kind"), "kind", pa.array(["proof"], pa.large_string()))
    with pytest.raises(PoolError, match="unknown kind 'proof'; a kind is one of cot, pot, general, answer-only"):
        Pool(table)


def test_a_null_where_none_may_be_is_an_error_that_names_the_column() -> None:
    table = Pool.from_rows([row("a")]).table
    table = table.set_column(COLUMNS.index("problem"), "problem", pa.array([None], pa.large_string()))
    with pytest.raises(PoolError, match="column 'problem' holds 1 nulls"):
        Pool(table)


def test_a_table_of_another_schema_is_an_error_that_shows_both() -> None:
    with pytest.raises(PoolError, match=r"\['q'\].*'string'.*must have.*'solution'"):
        Pool(pa.table({"q": ["1+1?"]}))


def test_a_lone_surrogate_is_an_error_of_ours() -> None:
    with pytest.raises(PoolError, match="lone surrogate"):
        Pool.from_rows([row("a", solution="half a pair: \ud83d")])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.array([1.0, np.inf])])
def test_meta_never_becomes_invalid_json(value: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = to_json({"deep": [{"value": value}], "beside": 1.5})
    assert json.loads(text, parse_constant=refuse)["beside"] == 1.5
    assert Pool.from_rows([row("a", meta={"value": math.nan})])[0].meta == {"value": None}


def test_numbers_of_numpy_stay_numbers_in_json() -> None:
    assert to_json({"a": np.float32(0.5), "b": np.int64(7), "c": np.arange(2)}) == '{"a":0.5,"b":7,"c":[0,1]}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  2 + 2 ?", "what is 2+2?"),
        ("A 3-page letter", "a 3 page letter"),
        ("½ of x", "1⁄2 of x"),
        ("Solve: x − 1 = 0", "solve x - 1 = 0"),
        ("snake_case", "snakecase"),
        ("12 × 4", "12 * 4"),
        ("6 ÷ 3", "6/3"),
        ("x² + 1", "x^2+1"),
        ("Wow, 5 apples!", "wow 5 apples"),
        ("1,000,000 seeds", "1000000 seeds"),
        ("The average of 1, 23", "the average of 1 ,  23"),
        ("A 3page letter", "a 3 - page letter"),
        ("3 − x", "3-x"),
        ("(2+3)*4", "( 2 + 3 ) * 4"),
        ("Tom has (red) apples", "Tom has red apples"),
        ("½", "1/2"),
    ],
)
def test_problems_that_differ_in_layout_have_one_key(one: str, other: str) -> None:
    assert problem_key(one) == problem_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 + 2", "2 * 2"),
        ("1.5 apples", "15 apples"),
        ("3 - 4", "3 4"),
        ("x < y", "x > y"),
        ("2^3", "23"),
        ("-5", "5"),
        ("12 × 4", "12 ÷ 4"),
        ("2·3", "23"),
        ("x ≥ 2", "x ≤ 2"),
        ("√4", "4"),
        ("5!", "5"),
        ("x²", "x2"),
        ("(2+3)*4", "2+3*4"),
        ("(x + y)z", "x + yz"),
        ("average of 1, 23", "average of 12, 3"),
        ("5 3/4", "53/4"),
        ("5½", "51/2"),
        ("3 - x = 2", "3x = 2"),
        ("x - y", "xy"),
        ("2:3", "23"),
        ("(1,2)", "12"),
        ("|x|", "x"),
    ],
)
def test_problems_that_differ_in_meaning_have_two_keys(one: str, other: str) -> None:
    assert problem_key(one) != problem_key(other)


def asked(name: str, *contents: str, system: str = "") -> Row:
    said = [Turn(role=role, content=text) for role, text in zip(itertools.cycle(("user", "assistant")), contents)]
    head = [Turn(role="system", content=system)] if system else []
    return row(name, problem="Continue.", context=(*head, *said))


def test_one_last_question_is_another_problem_after_other_turns() -> None:
    said = [
        asked("a", "Count to 3.", "1"),
        asked("b", "Spell cat.", "c"),
        asked("c", "Count to 3.", "1", system="Be brief."),
    ]
    keys = Pool.from_rows(said).problem_keys
    assert keys[0] == keys[2] != keys[1]


def test_a_row_without_earlier_turns_has_the_key_of_its_problem() -> None:
    keys = Pool.from_rows([asked("a"), asked("b", system="Be brief."), asked("c", "Go.", "1")]).problem_keys
    assert keys[:2] == [problem_key("Continue.")] * 2 and keys[2].endswith(f"\0{keys[0]}")


def test_the_length_of_rows_counts_their_earlier_turns() -> None:
    short, long = Pool.from_rows([asked("a")]), Pool.from_rows([asked("a", "many words " * 100, "1")])
    assert long.n_bytes(range(1)) > short.n_bytes(range(1)) + 1000


@given(st.text(alphabet="a1.-_ \n+é²", max_size=30))
def test_wider_spaces_do_not_change_the_key(text: str) -> None:
    assert problem_key(text.replace(" ", " \n ")) == problem_key(text)


def test_a_key_takes_linear_time() -> None:
    started = time.perf_counter()
    for filler in (" ", "-", "\n-", "1.", "1,", "1,000", "- ", "(", "a"):
        problem_key("x" + filler * 200_000 + "!")
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("k", [0, 1, 5])
def test_the_head_of_a_selection_is_its_first_picks(k: int) -> None:
    head = selection(5).head(k)
    assert len(head) == k
    assert head.indices.tolist() == list(range(k))
    assert (head.n_rows, head.method) == (10, "test")


@pytest.mark.parametrize("k", [-1, 6])
def test_a_head_longer_than_the_selection_is_an_error(k: int) -> None:
    with pytest.raises(InputError, match=f"asked for {k} picks of a selection of 5"):
        selection(5).head(k)


def test_a_selection_that_is_not_prefix_closed_has_no_head() -> None:
    with pytest.raises(InputError, match="run it again with k=2"):
        selection(5, prefix_closed=False).head(2)


@pytest.mark.usefixtures("no_shape_checks")
def test_columns_of_different_lengths_are_no_selection() -> None:
    with pytest.raises(AlignmentError, match=r"different lengths \[4, 5\]"):
        selection(5, gains=np.ones(4))


@given(st.lists(st.integers(0, 19), max_size=40), st.lists(st.integers(1, 19), max_size=4, unique=True))
def test_rows_are_taken_as_arrow_takes_them_however_the_table_is_chunked(rows, cuts):
    whole = Pool.from_rows([Row(id=f"r{i}", source="s", problem=f"{i}?", solution="x" * i) for i in range(20)])
    edges = [0, *sorted(cuts), 20]
    chunked = pa.concat_tables([whole.table.slice(a, b - a) for a, b in itertools.pairwise(edges)])
    taken = take_rows(chunked, np.array(rows, np.int64))
    assert taken.equals(whole.table.take(pa.array(rows, pa.int64())))


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_not_taken_of_a_table(row):
    pool = Pool.from_rows([Row(id=f"r{i}", source="s", problem="?", solution="x") for i in range(3)])
    with pytest.raises(IndexError, match="of a table of 3"):
        take_rows(pool.table, np.array([0, row]))

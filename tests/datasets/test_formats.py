"""What a record means: every shape that is recognised, and what comes of its columns."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qads.datasets import load_pool
from qads.datasets.shapes import FORMATS
from qads.errors import PoolError
from qads.pool import Pool, Row

PROGRAM = "def solution():\n    apples = 3\n    return apples * 4\n"
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2+2?"},
    {"role": "assistant", "content": "It is 4, since 2 + 2 = 4."},
]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt"}.get(t["role"], t["role"]), "value": t["content"]} for t in TURNS
]
LAST = {
    "problem": "And 2+2?",
    "solution": "It is 4, since 2 + 2 = 4.",
    "context": tuple(TURNS[:3]),
    "kind": "cot",
}


def read(tmp_path: Path, *records: dict[str, Any], **options: Any) -> Pool:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return load_pool(path, **options)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"instruction": "Add.", "input": "1 and 2", "output": "1 + 2 = 3"},
            {"problem": "Add.\n\n1 and 2", "solution": "1 + 2 = 3", "kind": "cot", "meta": {"input": "1 and 2"}},
        ),
        (
            {"instruction": "Say hi.", "input": "", "output": "Hi there, how are you doing today?"},
            {"problem": "Say hi.", "solution": "Hi there, how are you doing today?", "kind": "general", "meta": {}},
        ),
        (
            {"instruction": "2*3?", "output": "2*3 = 6. The answer is 6.", "source": "data/CoT/made.json"},
            {"problem": "2*3?", "answer": "6", "source": "data/CoT/made.json", "kind": "cot", "meta": {}},
        ),
        (
            {"instruction": "Name it.", "context": "A cat sat.", "response": "The animal in it is a cat.", "category": "qa"},
            {"problem": "Name it.\n\nA cat sat.", "meta": {"input": "A cat sat.", "category": "qa"}, "context": ()},
        ),
        (
            {"prompt": "Once upon", "completion": " a time, in a far away land."},
            {"problem": "Once upon", "solution": " a time, in a far away land.", "kind": "general"},
        ),
        ({"prompt": TURNS[:-1], "completion": TURNS[-1:]}, LAST),
        ({"messages": TURNS, "level": 3}, LAST | {"meta": {"level": 3}}),
        ({"messages": json.dumps(TURNS)}, LAST),
        ({"conversations": SHAREGPT}, LAST | {"meta": {}}),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a?"}]}, {"role": "assistant", "content": "b"}]},
            {"problem": "a?", "solution": "b"},
        ),
        (
            {"question": "6 / 2?", "answer": "It is 6/2=<<6/2=3>>3 .\n#### 3"},
            {
                "problem": "6 / 2?",
                "solution": "It is 6/2=3 .\n#### 3",
                "answer": "3",
                "kind": "cot",
                "meta": {"solution_with_calculator": "It is 6/2=<<6/2=3>>3 .\n#### 3"},
            },
        ),
        (
            {"problem": "Find $x$.", "solution": r"So $x=\boxed{\frac{1}{2}}$.", "level": "Level 1", "type": "Algebra"},
            {"answer": r"\frac{1}{2}", "kind": "cot", "meta": {"level": "Level 1", "type": "Algebra"}},
        ),
        (
            {"question": "Pick.", "options": ["A)1", "B)2"], "rationale": "1 + 1 = 2, so it is B", "correct": "B"},
            {
                "problem": "Pick.\nAnswer Choices:\n(A) 1\n(B) 2",
                "solution": "1 + 1 = 2, so it is B",
                "answer": "B",
                "meta": {"question": "Pick.", "options": ["A)1", "B)2"]},
            },
        ),
        (
            {"item_id": "p_1", "question": "3 boxes of 4?", "answer_cot": PROGRAM, "answer_value": 12.0},
            {"solution": PROGRAM, "answer": "12.0", "kind": "pot", "meta": {"item_id": "p_1"}, "id": "x-0"},
        ),
        ({"question": "3 boxes of 4?", "program": PROGRAM, "answer": 12}, {"answer": "12", "kind": "pot"}),
        ({"question": "3 boxes of 4?", "code": PROGRAM, "answer": "12"}, {"solution": PROGRAM, "kind": "pot"}),
        (
            {"ID": "c-1", "Body": "Ann has 3 pens", "Question": "How many?", "Equation": "( 3.0 - 0.0 )", "Answer": 3.0},
            {
                "problem": "Ann has 3 pens. How many?",
                "solution": "( 3.0 - 0.0 )",
                "answer": "3.0",
                "meta": {"ID": "c-1", "Body": "Ann has 3 pens", "Question": "How many?"},
            },
        ),
        ({"query": "1+1?", "response": "1 + 1 = 2\n#### 2\nThe answer is: 2"}, {"answer": "2", "kind": "cot"}),
        ({"instruction": "Which?", "response": "the correct answer is answer2", "answer": "answer2"}, {"kind": "answer-only"}),
        ({"question": "Is it?", "solution": "42"}, {"kind": "answer-only"}),
        ({"question": "Which?", "response": "(B)"}, {"kind": "answer-only"}),
        ({"prompt": "Print 1", "response": "```python\nx = 1\nprint(x)\n```"}, {"kind": "pot"}),
        ({"prompt": "Print it", "response": "x = some\nprint(x)"}, {"kind": "general"}),
    ],
)  # fmt: skip
def test_a_shape_is_recognised_and_nothing_of_it_is_lost(
    record: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    (row,) = read(tmp_path, record)
    assert {name: getattr(row, name) for name in expected} == expected


@pytest.mark.parametrize("shape", FORMATS, ids=lambda shape: "+".join(shape.needs))
def test_no_format_hides_behind_an_earlier_one(shape: Any) -> None:
    columns = dict.fromkeys(shape.needs)
    assert next(other for other in FORMATS if all(name in columns for name in other.needs)) is shape


def test_self_instruct_gives_one_row_for_every_instance(tmp_path: Path) -> None:
    instances = [
        {"input": "hot", "output": "The opposite is cold."},
        {"input": "", "output": "Nothing to say."},
    ]
    pool = read(tmp_path, {"id": "s", "instruction": "Opposite?", "instances": instances, "name": "n"})
    assert [(r.id, r.problem, r.meta) for r in pool] == [
        ("s#0", "Opposite?\n\nhot", {"input": "hot", "name": "n"}),
        ("s#1", "Opposite?", {"name": "n"}),
    ]


def test_a_turn_with_more_than_text_keeps_the_original(tmp_path: Path) -> None:
    turns = [*TURNS[:-1], TURNS[-1] | {"weight": 1}]
    (row,) = read(tmp_path, {"messages": turns})
    assert row.meta == {"original_messages": turns}


def test_columns_are_mapped_over_what_would_be_recognised(tmp_path: Path) -> None:
    record = {
        "question": "q",
        "answer": "a",
        "gold": 7,
        "uuid": "u",
        "text": "The text.",
        "type": "pot",
        "set": "mine",
    }
    columns = {
        "problem": "text",
        "solution": "answer",
        "answer": "gold",
        "id": "uuid",
        "kind": "type",
        "source": "set",
    }
    (row,) = read(tmp_path, record, columns=columns)
    expected = Row(
        id="u",
        source="mine",
        problem="The text.",
        solution="a",
        answer="7",
        kind="pot",
        meta={"question": "q"},
    )
    assert row == expected


def test_a_field_that_is_mapped_away_is_made_anew_and_its_column_kept(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"id": "twice", "question": "q", "solution": "s", "answer": "s"}, columns={"id": ""})
    assert (row.id, row.meta) == ("x-0", {"id": "twice"})


@pytest.mark.parametrize("name", ["ID", "item_id", "uuid", "_id"])
def test_only_id_is_taken_for_an_id_and_its_relatives_survive(name: str, tmp_path: Path) -> None:
    record = {name: "shared", "question": "q", "solution": "s"}
    pool = read(tmp_path, record, record)
    assert pool.strings("id") == ["x-0", "x-1"]
    assert [row.meta for row in pool] == [{name: "shared"}] * 2
    assert read(tmp_path, record, columns={"id": name}).strings("id") == ["shared"]


def test_the_kind_can_be_set_for_all_rows(tmp_path: Path) -> None:
    pool = read(
        tmp_path,
        {"question": "q", "solution": "s"},
        {"question": "q", "solution": "s", "kind": "cot"},
        kind="pot",
    )
    assert pool.strings("kind") == ["pot", "pot"]


def test_a_kind_that_is_not_ours_is_kept_beside_the_detected_one(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"question": "1+1?", "solution": "It is 1 + 1 = 2", "kind": "eval"})
    assert (row.kind, row.meta) == ("cot", {"kind": "eval"})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (51.0, "51.0"),
        (0.1, "0.1"),
        (-3, "-3"),
        (2**70, str(2**70)),
        (True, "True"),
        (["a", 1], '["a",1]'),
        ("", ""),
        (None, None),
        (float("nan"), None),
    ],
)
def test_an_answer_of_any_type_becomes_text(answer: object, expected: str | None, tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"problem": "q", "solution": "s\n#### 5", "answer": answer})
    assert row.answer == expected


def test_a_stated_answer_is_not_looked_for_where_the_file_says_there_is_none(tmp_path: Path) -> None:
    stated, silent = read(
        tmp_path,
        {"problem": "q", "solution": "#### 5", "answer": None},
        {"problem": "q", "solution": "#### 5"},
    )
    assert (stated.answer, silent.answer) == (None, "5")


def test_numbers_are_texts_where_a_text_is_needed(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"id": 7, "question": 1.5, "answer": 18})
    assert (row.id, row.problem, row.solution) == ("7", "1.5", "18")


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_an_id_or_source_that_is_not_there_is_that_of_the_file(missing: float | None, tmp_path: Path) -> None:
    rows = [{"problem": f"{n}?", "solution": "s", "id": missing, "source": missing} for n in range(2)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(row.id, row.source) for row in load_pool(tmp_path / "x.jsonl")] == [("x-0", "x"), ("x-1", "x")]


def test_big_integers_and_odd_numbers_survive_in_meta(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    numbers = f'"big": {2**100}, "nan": NaN, "inf": [-Infinity, 1e999, 1e-7]'
    path.write_text(f'{{"problem": "q", "solution": "s", {numbers}}}')
    pool = load_pool(path)
    assert pool[0].meta == {"big": 2**100, "nan": None, "inf": [None, None, 1e-7]}
    text = pool.table["meta"][0].as_py()
    assert "NaN" not in text and "Infinity" not in text


def test_deep_nesting_within_reason_survives(tmp_path: Path) -> None:
    deep: Any = 0
    for _ in range(200):
        deep = [deep]
    assert read(tmp_path, {"problem": "q", "solution": "s", "deep": deep})[0].meta == {"deep": deep}


def test_a_meta_column_of_the_source_is_opened_unless_names_clash(tmp_path: Path) -> None:
    base = {"problem": "q", "solution": "s", "level": 1}
    pool = read(tmp_path, base | {"meta": {"topic": "t"}}, base | {"meta": {"level": 2}}, base | {"meta": "text"})
    assert [row.meta for row in pool] == [
        {"level": 1, "topic": "t"},
        {"level": 1, "meta": {"level": 2}},
        {"level": 1, "meta": "text"},
    ]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_row(name: str, tmp_path: Path) -> None:
    content = "question,solution\r\nq,s\r\n" if name.endswith("csv") else '{"question": "q", "solution": "s"}'
    (tmp_path / name).write_text(f"[{content}]" if name == "x.json" else content, encoding="utf-8-sig")
    assert load_pool(tmp_path / name)[0].problem == "q"


@pytest.mark.parametrize("ending", ["\r\n", "\r\r\n"])
def test_line_ends_of_windows_become_plain(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(json.dumps({"problem": f"a{ending}b\rc", "solution": f"d{ending}"}).encode() + b"\r\n")
    assert (load_pool(path)[0].problem, load_pool(path)[0].solution) == ("a\nb\rc", "d\n")
    (tmp_path / "y.csv").write_bytes(f'question,solution\r\n"a{ending}b",s\r\n'.encode())
    assert load_pool(tmp_path / "y.csv")[0].problem == "a\nb"


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('\n\n{"problem": "q", "solution": ""}\n  \n{"problem": "q", "solution": "s"}\n\n')
    pool = load_pool(path)
    assert (len(pool), pool.rejected[0].where) == (1, f"{path}:3")


def test_one_row_is_a_pool(tmp_path: Path) -> None:
    assert len(read(tmp_path, {"question": "q", "solution": "s"})) == 1
    (tmp_path / "one.json").write_text(json.dumps({"question": "q", "solution": "s"}, indent=2))
    assert len(load_pool(tmp_path / "one.json")) == 1


@pytest.mark.parametrize("shape", ["jsonl", "csv", "messages", "parquet"])
def test_a_row_of_a_megabyte_is_a_row(shape: str, tmp_path: Path) -> None:
    long = "abc, 1 + 2 = 3 \U0001f642\n" * 60_000 + "#### 3"
    path = tmp_path / f"x.{shape if shape in ('csv', 'parquet') else 'jsonl'}"
    if shape == "csv":
        path.write_text(f'question,solution\nq,"{long}"\n', encoding="utf-8")
    elif shape == "parquet":
        pq.write_table(pa.table({"question": ["q"], "solution": [long]}), path)
    elif shape == "messages":
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": long}]
        path.write_text(json.dumps({"messages": turns}))
    else:
        path.write_text(json.dumps({"question": "q", "solution": long}))
    (row,) = load_pool(path)
    assert (row.solution, row.answer, row.kind) == (long, "3", "cot")


def test_arrow_types_without_a_json_form_survive_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    day = dt.date(2024, 2, 29)
    pq.write_table(pa.table({"problem": ["q"], "solution": ["s"], "day": [day], "score": [float("nan")]}), path)
    assert load_pool(path)[0].meta == {"day": "2024-02-29", "score": None}


def test_an_evaluation_set_needs_no_solutions(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    path.write_text('{"instruction": "1 + 1?", "response": "", "answer": "2"}\n{"instruction": "", "response": "x"}\n')
    pool = load_pool(path, require_solution=False)
    assert [(row.problem, row.answer) for row in pool] == [("1 + 1?", "2")]
    assert [row.reason for row in pool.rejected] == ["empty problem"]


@pytest.mark.parametrize(
    ("record", "problem", "answer"),
    [
        ({"problem": "1 + 1?", "answer": "2"}, "1 + 1?", "2"),
        ({"problem": "1 + 1?"}, "1 + 1?", None),
        ({"question": "1 + 1?", "target": 2}, "1 + 1?", "2"),
        ({"instruction": "Add.", "input": "1, 1", "target": "2"}, "Add.\n\n1, 1", "2"),
        ({"prompt": "1 + 1?", "correct": "B"}, "1 + 1?", "B"),
        ({"query": "1 + 1?"}, "1 + 1?", None),
        ({"Body": "One and one", "Question": "How many?", "Answer": 2.0}, "One and one. How many?", "2.0"),
        ({"question": "1+1?", "options": ["A)2", "B)3"], "correct": "A"}, "1+1?\nAnswer Choices:\n(A) 2\n(B) 3", "A"),
    ],
)
def test_a_question_alone_is_a_row_of_an_evaluation_set(
    record: dict[str, object], problem: str, answer: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "eval.jsonl"
    path.write_text(json.dumps(record | {"level": "1"}))
    (row,) = load_pool(path, require_solution=False)
    assert (row.problem, row.solution, row.answer) == (problem, "", answer)
    assert not {"answer", "target", "correct"} & row.meta.keys() and row.meta["level"] == "1"
    with pytest.raises(PoolError, match="no recognised columns"):
        load_pool(path)


def test_a_mapped_question_needs_no_solution_either(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    path.write_text('{"task": "1 + 1?", "answer": "2"}')
    (row,) = load_pool(path, columns={"problem": "task"}, require_solution=False)
    assert (row.problem, row.answer) == ("1 + 1?", "2")
    with pytest.raises(PoolError, match="'solution' is not among"):
        load_pool(path, columns={"problem": "task"})


def test_a_map_is_for_the_files_that_have_its_columns(tmp_path: Path) -> None:
    (tmp_path / "known.jsonl").write_text('{"instruction": "Add 1 and 2.", "output": "3"}')
    (tmp_path / "odd.csv").write_text("Aufgabe,Lösungsweg\nWas ist 1 + 1?,Zwei.\n", encoding="utf-8")
    both, columns = [tmp_path / "known.jsonl", tmp_path / "odd.csv"], {"problem": "Aufgabe", "solution": "Lösungsweg"}
    assert load_pool(both, columns=columns).strings("problem") == ["Add 1 and 2.", "Was ist 1 + 1?"]
    (tmp_path / "half.jsonl").write_text('{"Aufgabe": "1 + 1?", "instruction": "Add 1 and 2.", "output": "3"}')
    with pytest.raises(PoolError, match=r"half\.jsonl:1: the column 'Lösungsweg' mapped to 'solution' is not among"):
        load_pool([*both, tmp_path / "half.jsonl"], columns=columns)
    with pytest.raises(PoolError, match="no row has a column 'Aufgabe'"):
        load_pool(both[0], columns=columns)

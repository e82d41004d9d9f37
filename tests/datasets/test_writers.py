"""What is written is what is read: every format keeps every field."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qads.datasets import load_pool, write_pool
from qads.datasets.shapes import FORMATS
from qads.datasets.solutions import strip_calculator
from qads.datasets.writers import atomic_path
from qads.errors import InputError
from qads.pool import KINDS, Pool, Row

TARGETS = [
    ("parquet", "x.parquet"),
    *((name, f"x.{ending}") for name in ("jsonl", "alpaca", "messages", "sharegpt") for ending in ("jsonl", "json")),
]
OURS = [
    "id",
    "source",
    "answer",
    "kind",
    "context",
    "meta",
    "qads",
    "output",
    "",
    "{",
    "solution_with_calculator",
]
NASTY_KEYS = [*sorted({need for shape in FORMATS for need in shape.needs}), *OURS]

characters = st.characters(blacklist_categories=["Cs"])
texts = st.text(characters, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NASTY_KEYS) | texts, inner, max_size=3),
    max_leaves=6,
)
turns = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": texts})


def serves(text: str) -> bool:
    """Whether a text is one that reading leaves as it is."""
    return bool(text.strip()) and "\0" not in text and "\r\n" not in text and strip_calculator(text) == text


usable = st.one_of(
    texts,
    st.sampled_from(["#### 5", "x\n#### 5", r"\boxed{2}", "<<1+1=2>>2", "[{", "{}", "\ufeffq", "a\u2028b\x85c"]),
).filter(serves)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    problem, meta = (
        draw(usable),
        draw(st.dictionaries(st.sampled_from(NASTY_KEYS) | texts, values, max_size=4)),
    )
    if draw(st.booleans()):
        added = draw(texts.filter(lambda text: "\0" not in text and "\r" not in text))
        problem, meta = f"{problem}\n\n{added}", meta | {"input": added}
        assume(serves(problem))
    return dict(
        source=draw(texts),
        problem=problem,
        solution=draw(usable),
        answer=draw(st.none() | texts),
        kind=draw(st.sampled_from(KINDS)),
        context=tuple(draw(st.lists(turns.filter(lambda turn: "\r\n" not in turn["content"]), max_size=3))),
        meta=meta,
    )


@pytest.mark.parametrize(("name", "file"), TARGETS)
@given(drawn=st.lists(rows(), min_size=1, max_size=4))
def test_reading_what_was_written_gives_the_pool_back(name: str, file: str, drawn: list[dict[str, Any]]) -> None:
    pool = Pool.from_rows(Row(id=f"é {number}", **fields) for number, fields in enumerate(drawn))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, file)
        write_pool(pool, path, format=name)
        back = load_pool(path)
    assert list(back) == list(pool)
    assert back.fingerprint == pool.fingerprint
    assert back.rejected == ()


def pool_of(*rows: Row) -> Pool:
    return Pool.from_rows(rows)


PLAIN = Row(id="a", source="s", problem="1+1?", solution="2", answer="2", kind="cot", meta={"level": 3, "answer": "2"})


@pytest.mark.parametrize(("name", "file"), TARGETS)
def test_a_meta_value_equal_to_a_field_is_not_taken_for_it(name: str, file: str, tmp_path: Path) -> None:
    same = {"answer": None, "id": "a", "kind": "general", "source": "s", "input": "", "output": "2"}
    pool = pool_of(Row(id="a", source="s", problem="1+1?", solution="2", meta=same))
    write_pool(pool, tmp_path / file, format=name)
    assert load_pool(tmp_path / file)[0].meta == same


def test_what_trainers_read_is_what_they_expect(tmp_path: Path) -> None:
    context = ({"role": "system", "content": "Be brief."},)
    row = Row(
        id="a",
        source="s",
        problem="Add.\n\n1 and 1",
        solution="2",
        context=context,
        meta={"input": "1 and 1", "n": 1},
    )
    rest = {"answer": None, "kind": "general", "id": "a", "source": "s", "n": 1}
    expected = {
        "alpaca": {"instruction": "Add.", "input": "1 and 1", "output": "2", "context": list(context)} | rest,
        "messages": {
            "messages": [
                *context,
                {"role": "user", "content": row.problem},
                {"role": "assistant", "content": "2"},
            ],
            "meta": {"input": "1 and 1"},
        }
        | rest,
        "sharegpt": {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": row.problem},
                {"from": "gpt", "value": "2"},
            ],
            "meta": {"input": "1 and 1"},
        }
        | rest,
    }  # fmt: skip
    for name, record in expected.items():
        write_pool(pool_of(row), tmp_path / "x.jsonl", format=name)
        assert json.loads((tmp_path / "x.jsonl").read_text()) == record
        write_pool(pool_of(row), tmp_path / "x.json", format=name)
        assert json.loads((tmp_path / "x.json").read_text()) == [record]


def test_the_table_is_written_as_it_is(tmp_path: Path) -> None:
    pool = pool_of(PLAIN)
    write_pool(pool, tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").equals(pool.table)


@pytest.mark.parametrize(("name", "file"), TARGETS)
def test_reasons_are_written_beside_the_rows(name: str, file: str, tmp_path: Path) -> None:
    pool = pool_of(PLAIN, Row(id="b", source="s", problem="q", solution="s", meta={"qads": "older", "level": 1}))
    reasons: list[dict[str, Any]] = [{"step": 0, "gain": 0.5}, {"step": 1, "gain": 0.25}]
    write_pool(pool, tmp_path / file, format=name, extra=reasons)
    back = load_pool(tmp_path / file)
    assert [row.meta for row in back] == [
        {"level": 3, "answer": "2", "qads": reasons[0]},
        {"level": 1, "qads": reasons[1], "meta": {"qads": "older"}},
    ]


def test_infinite_distances_of_a_selection_are_valid_json(tmp_path: Path) -> None:
    reasons = [{"distance": math.inf, "gain": np.float32("nan"), "step": np.int64(3)}]
    write_pool(pool_of(PLAIN), tmp_path / "x.jsonl", extra=reasons)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((tmp_path / "x.jsonl").read_text(), parse_constant=refuse)
    assert record["qads"] == {"distance": None, "gain": None, "step": 3}


def test_as_many_reasons_as_rows_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 reasons for 1 rows"):
        write_pool(pool_of(PLAIN), tmp_path / "x.jsonl", extra=[{}, {}])


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("csv", "x.csv", "unknown format 'csv'; one of jsonl, alpaca, messages, sharegpt, parquet"),
        (None, "x.csv", r"x\.csv: a jsonl file must end in \.jsonl or \.ndjson or \.json"),
        (None, "x.jsonl.gz", r"x\.jsonl\.gz: a jsonl file must end in"),
        ("parquet", "x.jsonl", r"x\.jsonl: a parquet file must end in \.parquet"),
        ("alpaca", "x.parquet", r"x\.parquet: a alpaca file must end in \.jsonl"),
    ],
)
def test_a_name_that_would_not_read_back_is_refused(name: str | None, file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_pool(pool_of(PLAIN), tmp_path / file, format=name)
    assert list(tmp_path.iterdir()) == []


def test_equal_pools_are_equal_files(tmp_path: Path) -> None:
    for name, file in TARGETS:
        for folder in ("one", "other"):
            write_pool(pool_of(PLAIN), tmp_path / folder / file, format=name)
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_pool(pool_of(PLAIN), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power cut"), atomic_path(path) as temporary:
        temporary.write_text("half a")
        raise RuntimeError("power cut")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    write_pool(pool_of(PLAIN), tmp_path / "x.jsonl")
    (tmp_path / "other").touch()
    assert os.stat(tmp_path / "x.jsonl").st_mode == os.stat(tmp_path / "other").st_mode

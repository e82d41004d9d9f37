"""Laws of files that name rows: by id, or by being the same sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qads import load_pool
from qads.config import PoolConfig
from qads.errors import InputError, PoolError
from qads.pool import Pool
from qads.run.named import NamedRows, read_named
from run.tiny import rows, write_rows


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return load_pool(write_rows(tmp_path / "pool.jsonl", rows(12)))


def named(pool: Pool, *files: Path) -> NamedRows:
    return read_named(pool, [str(file) for file in files], setting="constraints.exclude")


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_a_list_of_ids_names_rows_in_its_order_each_once(pool: Pool, tmp_path: Path):
    for name, text in (("a.txt", "r7\n\n  r2 \nr7\n"), ("b.ids", "r7\r\nr2\r\n"), ("c", "\ufeffr7\nr2")):
        (tmp_path / name).write_text(text, newline="")
        found = named(pool, tmp_path / name)
        assert (found.rows.tolist(), found.others) == ([7, 2], None)


def test_a_table_of_ids_names_rows_whatever_else_it_holds(pool: Pool, tmp_path: Path):
    (tmp_path / "ids.jsonl").write_text('{"id": "r7", "why": "bad"}\n{"id": "r2"}\n')
    (tmp_path / "ids.csv").write_text("id,step\nr7,0\nr2,1\n")
    pq.write_table(pa.table({"step": [0, 1], "id": ["r7", "r2"]}), tmp_path / "ids.parquet")
    for name in ("ids.jsonl", "ids.csv", "ids.parquet"):
        assert named(pool, tmp_path / name).rows.tolist() == [7, 2]


def test_a_sample_of_a_rows_id_and_problem_is_that_row(pool: Pool, tmp_path: Path):
    twin = rows(12)[3] | {"id": "twin"}
    both = load_pool(write_rows(tmp_path / "both.jsonl", [*rows(12), twin]))
    same = write_rows(tmp_path / "same.jsonl", [rows(12)[3] | {"solution": "Another way."}])
    assert named(both, same).rows.tolist() == [3]


def test_a_sample_without_its_id_is_every_row_with_its_problem(pool: Pool, tmp_path: Path):
    twin = rows(12)[3] | {"id": "twin"}
    both = load_pool(write_rows(tmp_path / "both.jsonl", [*rows(12), twin]))
    # r5 is an id of the pool too, but of another problem: ids are unique within one pool only.
    for changed in (without(rows(12)[3], "id"), rows(12)[3] | {"id": "r5"}):
        changed["problem"] = changed["problem"].upper()
        assert named(both, write_rows(tmp_path / "trained.jsonl", [changed])).rows.tolist() == [3, 12]


def test_samples_that_are_not_in_the_pool_are_kept_under_ids_of_their_own(pool: Pool, tmp_path: Path):
    strangers = [row | {"problem": f"Something else, {n}?"} for n, row in enumerate(rows(2))]
    first = write_rows(tmp_path / "first.jsonl", [rows(12)[4], *strangers])
    second = write_rows(tmp_path / "second.jsonl", [strangers[0] | {"problem": "And yet another?"}])
    found = named(pool, first, second)
    assert found.rows.tolist() == [4]
    assert found.others is not None
    assert found.n_others == len(found.others) == 3
    assert [row.problem for row in found.others] == ["Something else, 0?", "Something else, 1?", "And yet another?"]


def test_samples_may_be_evaluation_sets_without_solutions(pool: Pool, tmp_path: Path):
    file = write_rows(tmp_path / "eval.jsonl", [{"question": rows(12)[6]["problem"], "answer": "3"}])
    assert named(pool, file).rows.tolist() == [6]


def test_an_unknown_id_is_refused_with_its_file_and_near_ones(pool: Pool, tmp_path: Path):
    (tmp_path / "ids.txt").write_text("r1\nr111\n")
    with pytest.raises(
        InputError, match=r"constraints\.exclude: .*ids\.txt: no row of the pool has the id 'r111'; did"
    ):
        named(pool, tmp_path / "ids.txt")
    with pytest.raises(PoolError, match=r"none\.txt: no such file"):
        named(pool, tmp_path / "none.txt")


def test_no_file_names_no_row(pool: Pool):
    assert named(pool).rows.tolist() == []


def test_ids_that_are_json_are_text(pool: Pool, tmp_path: Path):
    numbered = load_pool(write_rows(tmp_path / "n.jsonl", [row | {"id": str(n)} for n, row in enumerate(rows(3))]))
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps({"id": n}) + "\n" for n in (2, 0)))
    assert named(numbered, tmp_path / "ids.jsonl").rows.tolist() == [2, 0]


def mapped(folder: Path, **changes: Any) -> PoolConfig:
    """A pool of columns that no format knows, and how it is read."""
    shown = [{"uid": row["id"], "q": row["problem"], "a": row["solution"]} for row in rows(12)]
    columns = {"id": "uid", "problem": "q", "solution": "a"}
    return PoolConfig(sources=(str(write_rows(folder / "mapped.jsonl", shown)),), columns=columns, **changes)


def test_columns_of_the_pool_mean_the_same_in_files_that_name_rows(tmp_path: Path):
    reading = mapped(tmp_path)
    pool = load_pool(reading.sources, columns=reading.columns)
    stranger = {"uid": "r1", "q": "Quite another problem?", "a": "x"}
    files = {
        "same": [{"uid": "r3", "q": rows(12)[3]["problem"], "a": "Another way."}, stranger],
        "without solutions": [{"uid": "r3", "q": rows(12)[3]["problem"]}, stranger],
        "of a known shape": [rows(12)[3], rows(12)[1] | {"problem": "Quite another problem?"}],
    }
    for name, made in files.items():
        file = str(write_rows(tmp_path / f"{name}.jsonl", made))
        found = read_named(pool, [file], setting="given", reading=reading)
        assert (found.rows.tolist(), found.n_others) == ([3], 1), name
    for column in ("uid", "id"):  # The latter in what a selection has written.
        ids = str(write_rows(tmp_path / "ids.jsonl", [{column: "r7"}, {column: "r2"}]))
        assert read_named(pool, [ids], setting="given", reading=reading).rows.tolist() == [7, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "ids.jsonl",
            b'{"id": "r0"}\n{"id": "r1"\n{"id": "r2"}\n',
            r"ids\.jsonl:2: not valid JSON.* must be whole; mend",
        ),
        ("ids.jsonl", b'{"id": "r1"\n{"id": "r0"}\n', r"ids\.jsonl:1: not valid JSON.* must be whole; mend"),
        ("ids.jsonl", b'{"id": "r0"}\n{"name": "r1"}\n', r"ids\.jsonl:2: has no 'id'"),
        ("ids.jsonl", b'{"id": "r0"}\n{"id": null}\n', r"ids\.jsonl:2: has no 'id'"),
        ("ids.jsonl", b'{"id": "r0"}\n{"id": NaN}\n', r"ids\.jsonl:2: has no 'id'"),
        ("ids.csv", b"id,why\nr0,a\nr1\nr2,b\n", r"ids\.csv:3: 1 cells where the header names 2"),
        ("ids.txt", b"r0\n\xff\xfe\n", r"ids\.txt:2: invalid UTF-8 at byte 0 of the line"),
        ("ids.txt.gz", b"r0\n", r"ids\.txt\.gz: the compressed file is damaged or cut short"),
    ],
)
def test_a_list_of_ids_is_read_whole_or_refused_by_its_line(
    pool: Pool, tmp_path: Path, name: str, content: bytes, message: str
):
    (tmp_path / name).write_bytes(content)
    for on_bad_row in ("error", "skip"):
        reading = PoolConfig(sources=("any.jsonl",), on_bad_row=on_bad_row)
        with pytest.raises(PoolError, match=message):
            read_named(pool, [str(tmp_path / name)], setting="constraints.exclude", reading=reading)


def test_samples_that_cannot_serve_stop_it_or_are_told_as_the_pool_has_it(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = write_rows(tmp_path / "trained.jsonl", [rows(12)[3]])
    file.write_text(file.read_text() + "{broken\n")
    with pytest.raises(PoolError, match=r"trained\.jsonl:2: not valid JSON"):
        named(pool, file)
    reading = PoolConfig(sources=("any.jsonl",), on_bad_row="skip")
    assert read_named(pool, [str(file)], setting="given", reading=reading).rows.tolist() == [3]
    assert "1 of its rows cannot serve, so that they name no row of the pool; the first: " in caplog.text

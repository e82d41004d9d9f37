"""Bad input is an error that says where, what was wrong and what was expected; or it is set aside and listed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from qads.datasets import load_pool
from qads.errors import PoolError

GOOD = b'{"question": "1+1?", "solution": "1+1 = 2"}\n'
TRUNCATED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def parquet(path: Path, columns: dict[str, list[Any]]) -> bytes:
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", GOOD + b'{"question": "1+1?", \n', r"x\.jsonl:2: not valid JSON: .* at column \d+"),
        ("x.jsonl", GOOD + b"\n" + GOOD[:-5], r"x\.jsonl:3: not valid JSON"),
        ("x.jsonl", GOOD + GOOD.replace(b"1+1?", b"\xff1+1?"), r"x\.jsonl:2: invalid UTF-8 at byte 14 of the line"),
        ("x.jsonl", GOOD + GOOD.replace(b"1+1?", b"\x001"), r"x\.jsonl:2: not valid JSON: Invalid control character"),
        ("x.jsonl", GOOD + b"17\n", r"x\.jsonl:2: a JSON object was expected, found int"),
        ("x.jsonl", GOOD + b"[17]\n", r"x\.jsonl:2: a JSON object was expected, found list"),
        ("x.jsonl", b"[" + GOOD + b"]", r"x\.jsonl:1: JSON Lines was expected, but the file starts a JSON array"),
        ("x.jsonl", GOOD[:-2] + b', "x": 1, "x": 2}\n', r"x\.jsonl:1: not valid JSON: the key 'x' occurs twice"),
        ("x.jsonl", GOOD + b'{"a":' * 100_000 + b"\n", r"x\.jsonl:2: not valid JSON: nested too deep"),
        ("x.jsonl", b'{"x": ' + b"9" * 5000 + b"}\n", r"x\.jsonl:1: not valid JSON: .*4300 digits"),
        ("x.jsonl", b'{"question": "\\ud83d", "solution": "s"}\n', r"x\.jsonl:1: holds a lone surrogate"),
        ("x.jsonl", GOOD.decode().encode("utf-16"), r"x\.jsonl:1: invalid UTF-8 at byte 0"),
        ("x.json", b"[" + GOOD, r"x\.json:2 \(element 1\): the JSON array is not closed; the file is cut short"),
        ("x.json", b"[" + GOOD + b",\n", r"x\.json:3 \(element 1\): the JSON array is not closed"),
        ("x.json", b"[\n" + GOOD + b"," + GOOD[:20], r"x\.json:3 \(element 1\): not valid JSON"),
        ("x.json", b"[" + GOOD + GOOD + b"]", r"x\.json:1 \(element 0\): after it a comma or the end"),
        ("x.json", b"[" + GOOD + b"] and more", r"x\.json: text follows the end of the JSON array"),
        ("x.json", b"[" + GOOD + b", 5]", r"x\.json:2 \(element 1\): a JSON object was expected, found int"),
        ("x.json", b"[" + GOOD + b", " + b"[" * 100_000, r"x\.json:2 \(element 1\): not valid JSON: nested too deep"),
        ("x.json", b"[]", r"x\.json: holds no rows"),
        ("x.json", b"5", r"x\.json:1: a JSON object was expected, found int"),
        ("x.json", b'"text"', r"x\.json:1: a JSON object was expected, found str"),
        ("x.json", b"not json", r"x\.json:1: not valid JSON: Expecting value at column 1"),
        ("x.json", b"\n" + GOOD[:30], r"x\.json:2: not valid JSON"),
        ("x.json", b'["\xff"]', r"x\.json: invalid UTF-8 at byte 2"),
        ("x.json", b" \n", r"x\.json: the file is empty"),
        ("x.csv", b"question,solution\na,b\nc\n", r"x\.csv:3: 1 cells where the header names 2 columns"),
        ("x.csv", b"question,solution\na,b,c\n", r"x\.csv:2: 3 cells where the header names 2 columns"),
        ("x.csv", b'question,solution\na,"b\nc"\nd,"e\nf,g\n', r"x\.csv:4: the row that begins here is not valid CSV"),
        ("x.csv", b'question,solution\na,"b"c\n', r"x\.csv:2: the row that begins here is not valid CSV"),
        ("x.tsv", b'question\tsolution\na\t"b', r"x\.tsv:2: the row that begins here is not valid TSV"),
        ("x.csv", b"question,solution\na,b\nc,caf\xe9\n", r"x\.csv:3: invalid UTF-8 at byte 5 of the line"),
        ("x.csv", b"ques\rtion,solution\na,b\n", r"x\.csv:1: the row that begins here is not valid CSV"),
        ("x.csv", b"question,question\na,b\n", r"x\.csv:1: the header names a column twice: question, question"),
        ("x.csv", b"question,solution\n", r"x\.csv: holds no rows"),
        ("x.parquet", GOOD, r"x\.parquet: cannot be read as Parquet: "),
        ("x.parquet.gz", GOOD, r"x\.parquet\.gz: cannot be read as Parquet: Not a gzipped file"),
        ("x.arrow", GOOD, r"x\.arrow: cannot be read as Arrow: "),
        ("x.arrow", b"ARROW1\x00\x00" + bytes(range(100)), r"x\.arrow: cannot be read as Arrow: "),
        ("x.jsonl.gz", GOOD, r"x\.jsonl\.gz: the compressed file is damaged .*Not a gzipped file"),
        ("x.jsonl.zst", GOOD, r"x\.jsonl\.zst: the compressed file is damaged"),
        ("x.jsonl.bz2", GOOD, r"x\.jsonl\.bz2: the compressed file is damaged"),
        ("x.jsonl.xz", GOOD, r"x\.jsonl\.xz: the compressed file is damaged"),
        ("x.txt", GOOD, r"x\.txt: the ending \.txt is not one of a known format\. Known: \.jsonl, .*\.gz"),
        ("x", GOOD, r"x: the ending \(none\) is not one"),
        ("x.gz", GOOD, r"x\.gz: the ending \.gz is not one"),
        *((f"empty.{ending}", b"", rf"empty\.{ending}: ") for ending in ("jsonl", "json", "csv", "parquet", "arrow")),
        *((f"empty.jsonl.{ending}", b"", rf"empty\.jsonl\.{ending}: ") for ending in TRUNCATED),
        ("blank.jsonl", b"\n \n\r\n", r"blank\.jsonl: holds no rows"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error_that_says_where_and_what(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PoolError, match=message):
        load_pool(tmp_path / name)


@pytest.mark.parametrize("share", [0.5, 0.999])
@pytest.mark.parametrize("ending", TRUNCATED)
def test_a_truncated_compressed_file_is_an_error_that_names_the_file(ending: str, share: float, tmp_path: Path) -> None:
    lines = b"".join(b'{"question": "%d?", "solution": "%d"}\n' % (n, n * n) for n in range(5_000))
    whole = TRUNCATED[ending](lines)
    path = tmp_path / f"rows.jsonl.{ending}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(PoolError, match=rf"rows\.jsonl\.{ending}: the compressed file is damaged or cut short"):
        load_pool(path, on_bad_row="skip")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_truncated_table_is_an_error_that_names_the_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    table = pa.table({"question": [str(n) for n in range(1000)], "solution": ["2"] * 1000})
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as file:
            file.write_table(table)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(PoolError, match=rf"x\.{ending}: cannot be read as {ending.capitalize()}"):
        load_pool(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"instructoin": "a", "input": "", "output": "b"}, "nearest format is Alpaca .* lacks instruction"),
        ({"problems": "a", "solution": "b"}, r"nearest format is problem/solution .* lacks problem\."),
        ({"text": "a"}, r"no recognised columns among \['text'\].*--column problem=NAME --column solution=NAME"),
        ({"message": []}, "nearest format is messages"),
        ({}, r"no recognised columns among \[\]"),
        ({"problem": ["a"], "solution": "b"}, "the problem must be text, found list"),
        ({"problem": "a", "solution": {"b": 1}}, "the solution must be text, found dict"),
        ({"problem": "a", "solution": True}, "the solution must be text, found bool"),
        ({"messages": "hello"}, "'messages' must be a list of objects with 'role' and 'content'"),
        ({"messages": [{"from": "human", "value": "a"}]}, "'messages' must be a list of objects"),
        ({"conversations": [{"role": "user", "content": "a"}]}, "'conversations' must be .*'from' and 'value'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "parts that are not text"),
        ({"instruction": "a", "instances": "none"}, "'instances' must be a list of objects"),
    ],
)  # fmt: skip
def test_a_row_of_no_known_shape_is_an_error_with_the_nearest_one(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + json.dumps(fields).encode())
    with pytest.raises(PoolError, match=rf"x\.jsonl:2: .*{message}"):
        load_pool(path)


@pytest.mark.parametrize(
    "fields", [{"Antwort": "7", "Frage": "3 + 4?"}, {"text": "a"}, {"chosen": "a", "rejected": "b"}]
)
def test_a_format_that_the_columns_are_not_like_is_not_named(fields: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(fields))
    with pytest.raises(PoolError, match="no recognised columns among") as raised:
        load_pool(path)
    assert "nearest" not in str(raised.value) and "--column problem=NAME" in str(raised.value)
    path.write_text(json.dumps({"problems": "3 + 4?", "solution": "7"}))
    with pytest.raises(PoolError, match="the nearest format is problem/solution"):
        load_pool(path)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_utf_16_is_called_by_its_name(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_text('{"problem": "1?", "solution": "1"}\n', encoding="utf-16")
    with pytest.raises(PoolError, match="it begins as UTF-16 does; save the file as UTF-8"):
        load_pool(path)


@pytest.mark.parametrize(
    "fields",
    [{"x" * 100_000: "a"}, {f"column {n}": "a" for n in range(5_000)}, {f"{'[' * 9_000}{n}": 1 for n in range(99)}],
)
def test_long_and_many_names_do_not_make_a_long_message(fields: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(fields) + "\n")
    with pytest.raises(PoolError, match="no recognised columns among") as caught:
        load_pool(tmp_path / "x.jsonl")
    assert len(str(caught.value)) < 3000 and "nearest" not in str(caught.value)


def test_bad_rows_can_be_set_aside_and_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    broken = [
        b'{"question": ',
        b'{"q": "no shape"}',
        b"\xff",
        b"7",
        b'{"question": "\\ud800", "solution": "s"}',
    ]
    path.write_bytes(GOOD + b"\n".join(broken) + b"\n" + GOOD)
    pool = load_pool(path, on_bad_row="skip")
    assert pool.strings("id") == ["x-0", "x-6"]
    assert [row.where for row in pool.rejected] == [f"{path}:{line}" for line in range(2, 7)]
    reasons = [
        "not valid JSON",
        "no recognised columns",
        "invalid UTF-8",
        "a JSON object",
        "holds a lone surrogate",
    ]
    assert [row.reason.startswith(reason) for row, reason in zip(pool.rejected, reasons, strict=True)] == [True] * 5
    assert [row.content for row in pool.rejected][:4] == ['{"question": ', '{"q":"no shape"}', "\ufffd", "7"]
    assert r"\ud800" in pool.rejected[4].content


def test_of_a_long_row_that_is_set_aside_the_beginning_is_kept_and_its_length(tmp_path: Path) -> None:
    path, long = tmp_path / "x.jsonl", "x" * 10**6
    path.write_bytes(GOOD + b'{"problem": "", "solution": "%s"}\n{"broken": "%s\n' % (long.encode(), long.encode()))
    for row in load_pool(path, on_bad_row="skip").rejected:
        assert len(row.content) == 1000 and row.content.endswith("xx")
        assert row.length is not None and 10**6 < row.length < 10**6 + 50


def test_a_csv_row_with_wrong_cells_can_be_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("question,solution\na,b\nc\nd,e\n")
    pool = load_pool(path, on_bad_row="skip")
    assert pool.strings("problem") == ["a", "d"]
    assert [(row.where, row.content) for row in pool.rejected] == [(f"{path}:3", "c")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"problem": "", "solution": "b"}, "empty problem"),
        ({"problem": " \n\t", "solution": "b"}, "empty problem"),
        ({"problem": "a", "solution": ""}, "empty solution"),
        ({"problem": "a", "solution": None}, "empty solution"),
        ({"problem": "a", "solution": float("nan")}, "empty solution"),
        ({"problem": "a\0", "solution": "b"}, "NUL character in the problem"),
        ({"problem": "a", "solution": "\0"}, "NUL character in the solution"),
        ({"messages": [{"role": "user", "content": "a"}]}, "does not end with an answer of the assistant"),
        ({"messages": []}, "does not end with an answer of the assistant"),
        ({"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}]}, "is the tool's"),
        ({"instruction": "a", "instances": []}, "no instances"),
    ],
)  # fmt: skip
def test_a_well_formed_row_that_cannot_serve_is_set_aside_and_listed(
    fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + json.dumps(fields).encode())
    pool = load_pool(path)
    assert len(pool) == 1
    (rejected,) = pool.rejected
    assert (rejected.where, reason in rejected.reason) == (f"{path}:2", True)
    with pytest.raises(PoolError, match=r"none of the 1 rows can serve; the first: .*:1: "):
        path.write_text(json.dumps(fields))
        load_pool(path)


def test_an_id_that_repeats_in_a_file_is_an_error_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(f'{{"id": {n}, "question": "q", "solution": "s"}}' for n in (1, 2, 3, 2)))
    with pytest.raises(PoolError, match=rf"{path}:2 and {path}:4: the id '2' occurs more than once.*--column id="):
        load_pool(path)
    assert load_pool(path, columns={"id": ""}).strings("id") == ["x-0", "x-1", "x-2", "x-3"]


def test_an_id_that_repeats_across_files_is_an_error_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "r", "question": "q", "solution": "s"}')
    parquet(tmp_path / "b.parquet", {"id": ["s", "r"], "question": ["q", "q"], "solution": ["s", "s"]})
    with pytest.raises(PoolError, match=r"a\.jsonl:1 and .*b\.parquet \(row 1\): the id 'r' occurs more than once"):
        load_pool(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jsonl", r"nowhere\.jsonl: no such file or folder"),
        ("nowhere/", r"nowhere/: no such file or folder"),
        ("*.jsonl", r"\*\.jsonl: the pattern matches no file"),
        ("empty", r"empty: the folder holds no file of a known format \(\.jsonl, "),
    ],
)
def test_a_source_that_is_not_there_is_an_error(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("empty/notes.txt").touch()
    with pytest.raises(PoolError, match=message):
        load_pool(source)


def test_a_link_to_nothing_in_a_folder_is_an_error_not_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(PoolError, match=r"b\.jsonl: cannot be read: No such file"):
        load_pool(tmp_path)


@contextlib.contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder of our own, and no right to read what its owner forbids (the superuser may read everything)."""
    folder = Path(tempfile.mkdtemp(prefix="qads-"))
    folder.chmod(0o755)
    superuser = os.geteuid() == 0
    try:
        yield folder
    finally:
        if superuser:
            os.seteuid(0)
        for path in folder.rglob("*"):
            path.chmod(0o700)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet", "sub/x.jsonl"])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_what_may_not_be_read_is_an_error_that_names_it(name: str, whole_folder: bool) -> None:
    with without_privileges() as folder:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(GOOD)
        forbidden = path.parent if "/" in name else path
        forbidden.chmod(0)
        if os.geteuid() == 0:
            os.seteuid(65534)
        with pytest.raises(PoolError, match=rf"{forbidden}.*Permission denied"):
            load_pool(folder if whole_folder else path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"columns": {"question": "q"}},
            "unknown field 'question'; a column map may name id, source, problem",
        ),
        ({"kind": "proof"}, "kind: 'proof' is not one of cot, pot, general, answer-only"),
        ({"columns": {"answer": "gold"}}, "no row has a column 'gold'"),
        (
            {"columns": {"problem": "q"}},
            r"no row has a column 'q'; the first row has \['question', 'solution'\]",
        ),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_a_wrong_option_is_an_error_that_says_what_it_may_be(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_bytes(GOOD)
    with pytest.raises(PoolError, match=message):
        load_pool(tmp_path / "x.jsonl", **options)


BROKEN = {
    17: b'{"id": "cut", "problem": "1 + 1?", "solut',
    2_503: b"no JSON at all",
    2_504: b'{"id": "bytes", "problem": "\xff\xfe", "solution": "x"}',
    5_000: b'{"id": "empty", "problem": "", "solution": "x"}',
    7_777: b'{"id": "null", "problem": "x", "solution": null}',
    9_999: b"[1, 2, 3]",
}


def test_a_few_broken_rows_among_ten_thousand_are_counted_to_the_row_and_change_no_other(tmp_path: Path):
    good = [
        json.dumps({"id": str(n), "problem": f"{n} + 1?", "solution": f"It is {n + 1}."}).encode()
        for n in range(10_000)
    ]
    lines = [BROKEN.get(number, line) for number, line in enumerate(good, 1)]
    path, whole = tmp_path / "rows.jsonl", tmp_path / "good.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    whole.write_bytes(b"\n".join(line for number, line in enumerate(good, 1) if number not in BROKEN) + b"\n")
    found = load_pool(path, on_bad_row="skip")
    assert [row.where for row in found.rejected] == [f"{path}:{number}" for number in BROKEN]
    assert found.strings("id") == load_pool(whole).strings("id")
    assert found.strings("problem") == load_pool(whole).strings("problem")
    with pytest.raises(PoolError, match=f"{path}:17"):
        load_pool(path)

"""Where rows come from: endings, compressions, folders, patterns, standard input, names."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import datasets
from qads.datasets import expand_sources, load_pool, source_identity
from qads.errors import PoolError

ROWS = [
    {"question": "Was ist 2·3?", "solution": "2·3 = 6", "answer": "6", "level": "1"},
    {"question": 'A "quoted", comma', "solution": "two\nlines\tand a tab", "answer": "7", "level": "2"},
    {"question": "数は？ 🙂", "solution": "五 = 5", "answer": "5", "level": "3"},
]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def delimited(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    def cell(value: object) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    lines = [list(rows[0]), *(row.values() for row in rows)]
    return "".join(delimiter.join(map(cell, line)) + "\n" for line in lines).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def arrow(rows: list[dict[str, Any]], writer: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows)
    with writer(sink, table.schema) as file:
        file.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


ENCODERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "rows.jsonl": jsonl,
    "rows.ndjson": jsonl,
    "rows.json": lambda rows: json.dumps(rows, indent=2).encode(),
    "one.key.json": lambda rows: json.dumps({"data": rows}).encode(),
    "lines-under-the-wrong-name.json": jsonl,
    "rows.csv": lambda rows: delimited(rows, ","),
    "rows.tsv": lambda rows: delimited(rows, "\t"),
    "rows.parquet": parquet,
    "file.arrow": lambda rows: arrow(rows, pa.ipc.new_file),
    "stream.arrow": lambda rows: arrow(rows, pa.ipc.new_stream),
    "file.feather": lambda rows: arrow(rows, pa.ipc.new_file),
    "LOUD.JSONL": jsonl,
}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_format_reads_the_same_plain_and_compressed(name: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}{compression}"
    path.write_bytes(COMPRESSORS[compression](ENCODERS[name](ROWS)))
    pool = load_pool(path)
    assert [
        {"question": row.problem, "solution": row.solution, "answer": row.answer} | row.meta for row in pool
    ] == ROWS
    assert pool.rejected == ()


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_of_a_spreadsheet_that_separates_otherwise_is_read(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'\ufeffquestion{mark}solution\n"Round 1,5; then add, please"{mark}3\n', encoding="utf-8")
    (row,) = load_pool(path)
    assert (row.problem, row.solution) == ("Round 1,5; then add, please", "3")


@pytest.mark.parametrize("compression", [".gz", ".zst", ".bz2", ".xz"])
def test_a_file_compressed_in_pieces_is_read_to_its_end(compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.jsonl{compression}"
    path.write_bytes(COMPRESSORS[compression](jsonl(ROWS[:1])) + COMPRESSORS[compression](jsonl(ROWS[1:])))
    assert len(load_pool(path)) == 3


def test_a_folder_is_read_recursively_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "z" / "deep").mkdir(parents=True)
    (tmp_path / "z" / "deep" / "b.jsonl").write_bytes(jsonl(ROWS[:1]))
    (tmp_path / "a.csv").write_bytes(delimited(ROWS[1:2], ","))
    (tmp_path / "c.parquet").write_bytes(parquet(ROWS[2:]))
    (tmp_path / "README.md").write_text("no rows here")
    pool = load_pool(tmp_path)
    assert pool.sources == ["a", "c", "b"]
    assert pool.strings("id") == ["a-0", "c-0", "b-0"]


def test_hidden_files_of_a_folder_are_left_out_and_read_where_they_are_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", ".a.jsonl", ".ipynb_checkpoints/b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jsonl(ROWS))
    assert load_pool(tmp_path).strings("id") == ["a-0", "a-1", "a-2"]
    assert len(load_pool(tmp_path / ".a.jsonl")) == 3


def test_shards_of_one_table_are_one_source(tmp_path: Path) -> None:
    for number, row in enumerate(ROWS):
        (tmp_path / f"train-0000{number}-of-00003.parquet").write_bytes(parquet([row]))
    (tmp_path / "other.jsonl").write_bytes(jsonl(ROWS))
    pool = load_pool(tmp_path)
    assert pool.sources == ["other", "train"] and len(set(pool.strings("id"))) == 6
    assert Counter(pool.strings("source")) == {"other": 3, "train": 3}
    assert load_pool(tmp_path / "train-00001-of-00003.parquet").sources == ["train"]


def test_what_datasets_has_saved_is_one_source_of_the_folders_name(tmp_path: Path) -> None:
    rows = [{"question": f"{i}+1?", "answer": f"It is {i + 1}.\n#### {i + 1}"} for i in range(6)]
    saved = datasets.Dataset.from_list(rows)
    saved.save_to_disk(str(tmp_path / "sums"), num_shards=3)
    pool = load_pool(tmp_path / "sums")
    assert (pool.sources, len(pool), pool.rejected) == (["sums"], 6, ())
    assert pool.strings("answer") == [str(i + 1) for i in range(6)]
    splits = datasets.DatasetDict(train=saved, test=saved.select([0]))
    splits.save_to_disk(str(tmp_path / "both"))
    with pytest.raises(PoolError, match=r"with the splits test, train; name the one that is meant: .*both/train"):
        load_pool(tmp_path / "both")
    assert load_pool(tmp_path / "both" / "train").sources == ["train"]
    datasets.DatasetDict(train=saved).save_to_disk(str(tmp_path / "alone"))
    assert len(load_pool(tmp_path / "alone")) == 6


def test_a_pattern_is_expanded_here_where_the_shell_did_not(tmp_path: Path) -> None:
    for name in ("x1.jsonl", "x2.jsonl", "y.jsonl"):
        (tmp_path / name).write_bytes(jsonl(ROWS))
    assert load_pool(str(tmp_path / "x*.jsonl")).sources == ["x1", "x2"]
    assert load_pool(str(tmp_path / "**" / "*.jsonl")).sources == ["x1", "x2", "y"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "rows[1].jsonl").write_bytes(jsonl(ROWS))
    assert load_pool(tmp_path / "rows[1].jsonl").sources == ["rows[1]"]


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load_pool("~/rows.jsonl")) == 3


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(ROWS))
    assert len(load_pool([path, str(path), tmp_path, str(tmp_path / "*.jsonl")])) == 3


def test_sources_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(ROWS))
    assert load_pool([tmp_path / "b.jsonl", tmp_path / "a.jsonl"]).sources == ["b", "a"]


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (["data/gsm8k.jsonl.gz"], ["gsm8k"]),
        (["a/train.jsonl", "b/train.jsonl"], ["a/train", "b/train"]),
        (["x/a/train.jsonl", "y/a/train.jsonl", "z/a/train.csv"], ["x/a/train", "y/a/train", "z/a/train"]),
        (["a/train.jsonl", "a/train.csv"], ["train.jsonl", "train.csv"]),
        (["train.jsonl", "train.jsonl.gz"], ["train.jsonl", "train.jsonl.gz"]),
        (["v1.5.jsonl"], ["v1.5"]),
        (["-", "a.jsonl"], ["stdin", "a"]),
    ],
)
def test_a_source_is_named_as_short_as_tells_it_from_the_others(
    locations: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for location in locations:
        if location != "-":
            Path(location).parent.mkdir(parents=True, exist_ok=True)
            Path(location).touch()
    assert [file.name for file in expand_sources(locations)] == names


def test_the_spelling_of_a_path_changes_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "d.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "link").symlink_to(tmp_path / "y")
    monkeypatch.chdir(tmp_path / "y")
    for spelling in (["../x/d.jsonl", "d.jsonl"], [str(tmp_path / "x/d.jsonl"), "../link/./d.jsonl"]):
        files = expand_sources(spelling)
        assert [file.name for file in files] == ["x/d", "y/d"]
        assert [file.location for file in files] == [str(Path(path)) for path in spelling]


def test_a_file_named_in_two_ways_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert load_pool(["a.jsonl", tmp_path / "a.jsonl", "./b.jsonl"]).sources == ["a"]
    assert load_pool("b.jsonl").sources == ["b"], "a link keeps its own name"


def test_the_identity_of_a_file_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    assert source_identity(str(tmp_path / "a.jsonl")) == hashlib.sha256(jsonl(ROWS)).hexdigest()
    assert source_identity("-") == "-"
    with pytest.raises(PoolError, match=r"b\.jsonl: cannot be read: No such file"):
        source_identity(str(tmp_path / "b.jsonl"))


def test_rows_of_two_files_of_one_stem_in_one_folder_have_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "train.csv").write_bytes(delimited(ROWS, ","))
    assert len(load_pool(tmp_path)) == 6


def test_names_of_many_files_are_found_in_reasonable_time(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number:05}.jsonl").touch()
    assert [file.name for file in expand_sources([str(folder)])][-1] == "02999"


def read_stdin(content: bytes) -> subprocess.CompletedProcess[bytes]:
    script = "from qads.datasets import load_pool; p = load_pool('-'); print(len(p), p.sources, p[0].id)"
    return subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, timeout=60, check=False)


def test_standard_input_is_json_lines() -> None:
    done = read_stdin(b"\xef\xbb\xbf" + jsonl(ROWS))
    assert done.stdout.strip() == b"3 ['stdin'] stdin-0"


def test_a_fault_in_standard_input_has_its_line() -> None:
    done = read_stdin(jsonl(ROWS) + b'{"question": \n')
    assert b"PoolError: -:4: not valid JSON" in done.stderr


def test_repeated_ids_in_standard_input_are_told_without_reading_it_twice() -> None:
    done = read_stdin(jsonl([ROWS[0] | {"id": "x"}] * 2))
    assert b"PoolError: standard input: the id 'x' occurs more than once" in done.stderr


def test_progress_tells_how_many_rows_were_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(ROWS[:1]) * 9000)
    calls: list[tuple[int, int]] = []
    load_pool(path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4096, -1), (8192, -1)]


def test_a_named_pipe_given_by_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    writer = subprocess.Popen(["/bin/sh", "-c", f'cat > "{path}"'], stdin=subprocess.PIPE)
    try:
        assert writer.stdin is not None
        writer.stdin.write(jsonl(ROWS))
        writer.stdin.close()
        assert len(load_pool(path)) == 3
    finally:
        writer.wait(10)


def test_no_source_is_an_error() -> None:
    with pytest.raises(PoolError, match="no source given"):
        load_pool([])

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import http.server
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest
import zstandard

import qads
from object_storage import SECRET
from qads.datasets import expand_sources, files, source_identity
from qads.datasets.publishing import publish, upload
from qads.datasets.storage import ObjectStore, is_object
from qads.errors import InputError, PoolError, RunError


def lines(n: int) -> bytes:
    return b"".join(
        json.dumps({"question": f"{i} and 1?", "answer": f"So.\n#### {i + 1}"}).encode() + b"\n" for i in range(n)
    )


def put(tmp_path: Path, location: str, content: bytes) -> str:
    file = tmp_path / "to-upload"
    file.write_bytes(content)
    upload(file, location)
    return location


def parquet(tmp_path: Path, n: int) -> bytes:
    (tmp_path / "rows.jsonl").write_bytes(lines(n))
    qads.write_pool(qads.load_pool(tmp_path / "rows.jsonl"), tmp_path / "rows.parquet")
    return (tmp_path / "rows.parquet").read_bytes()


def arrow(n: int) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"question": [f"{i}?" for i in range(n)], "answer": [str(i) for i in range(n)]})
    pyarrow.feather.write_feather(table, sink)
    return sink.getvalue().to_pybytes()


def test_an_object_reads_as_the_file_does_in_every_format_and_compression(storage, tmp_path):
    rows = lines(40)
    contents = {
        "a.jsonl": rows,
        "b.jsonl.gz": gzip.compress(rows),
        "c.jsonl.xz": lzma.compress(rows),
        "d.jsonl.zst": zstandard.compress(rows),
        "e.json": b"[" + rows.strip().replace(b"\n", b",") + b"]",
        "f.csv": b"question,answer\n" + b"".join(b"%d?,%d\n" % (i, i) for i in range(40)),
        "g.parquet": parquet(tmp_path, 40),
        "h.arrow": arrow(40),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found = qads.load_pool(put(tmp_path, f"s3://pool/{name}", content))
        assert found.table.equals(qads.load_pool(tmp_path / name).table), name


def test_folders_and_globs_expand_in_order_and_take_names_as_files_do(storage, tmp_path):
    for name in ("b/train.jsonl", "a/train.jsonl", "a/deep/more.csv", "a/notes.md"):
        put(tmp_path, f"s3://pool/{name}", lines(1))
    assert [(f.location, f.name) for f in expand_sources(["s3://pool/a/", "s3://pool/*/train.jsonl"])] == [
        ("s3://pool/a/deep/more.csv", "more"),
        ("s3://pool/a/train.jsonl", "a/train"),
        ("s3://pool/b/train.jsonl", "b/train"),
    ]
    assert [f.location for f in expand_sources(["s3://pool/**/*.csv"])] == ["s3://pool/a/deep/more.csv"]


_TREE = ("a.csv", "train.csv", "a/train.csv", "a/pretrain.csv", "a/b/train.csv", "train-1/a.csv", "c/d/e/train-2.csv")


@pytest.mark.parametrize(
    "pattern",
    ["*.csv", "**/train.csv", "**/train*.csv", "a/**/train.csv", "**/*.csv", "**.csv", "a/**.csv", "?/*", "**/[ab]/*"],
)
def test_a_pattern_names_in_storage_what_it_names_on_a_disk(storage, tmp_path, pattern):
    for name in _TREE:
        put(tmp_path, f"s3://pool/in/{name}", b"problem,solution\n")
        (tmp_path / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "disk" / name).touch()
    here = [file.location for file in expand_sources([f"{tmp_path}/disk/{pattern}"])]
    there = [file.location for file in expand_sources([f"s3://pool/in/{pattern}"])]
    assert there == [place.replace(f"{tmp_path}/disk", "s3://pool/in") for place in here]


def test_the_identity_of_an_object_changes_with_its_content_alone(storage, tmp_path):
    place = put(tmp_path, "s3://pool/a.jsonl", lines(3))
    before = source_identity(place)
    put(tmp_path, place, lines(3))
    assert source_identity(place) == before
    put(tmp_path, place, lines(3).replace(b"So", b"Si"))
    assert source_identity(place) != before


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://nowhere/a.jsonl", "no such object, folder or bucket"),
        ("s3://pool/missing.jsonl", "no such object, folder or bucket"),
        ("s3://pool/*.jsonl", "matches no object"),
        ("s3://pool", "names no object"),
        ("ftp://host/a.jsonl", "ftp:// is not known"),
        ("https://host/data/*.jsonl", "a web server lists no files"),
    ],
)
def test_what_is_not_there_is_said(storage, tmp_path, location, said):
    put(tmp_path, "s3://pool/other.txt", b"x")
    with pytest.raises(PoolError, match=said):
        qads.load_pool(location)


@pytest.mark.parametrize(
    "location", ["s3://someone:hush-hush@pool/a.jsonl", "https://h/a.jsonl?X-Amz-Signature=hush-hush"]
)
def test_a_location_with_a_secret_is_refused_and_the_secret_not_repeated(location):
    with pytest.raises(PoolError, match=r"run's files") as error:
        qads.load_pool(location)
    assert "hush" not in str(error.value)


def test_a_storage_that_forbids_says_so_and_no_secret(storage, tmp_path):
    place = put(tmp_path, "s3://pool/a.jsonl", lines(3))
    storage.allow(0)
    with pytest.raises(PoolError, match="access is denied") as error:
        qads.load_pool(place)
    assert SECRET not in str(error.value) and os.environ["AWS_ACCESS_KEY_ID"] not in str(error.value)


def test_a_storage_that_does_not_answer_is_an_error_soon(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PoolError, match="does not answer"):
        qads.load_pool("s3://pool/a.jsonl")


def test_an_object_cut_short_on_the_way_is_no_pool(storage, tmp_path):
    whole = gzip.compress(lines(2000))
    with pytest.raises(PoolError, match="damaged or cut short"):
        qads.load_pool(put(tmp_path, "s3://pool/a.jsonl.gz", whole[: len(whole) // 2]))


def described(files: dict[str, Path]) -> dict[str, object]:
    return {"what": "a test", "files": {name: {"bytes": path.stat().st_size} for name, path in files.items()}}


def listed() -> set[str]:
    from pyarrow.fs import FileSelector, FileType

    found = ObjectStore("s3://pool/out").files.get_file_info(FileSelector("pool/out", recursive=True))
    return {each.path.removeprefix("pool/out/") for each in found if each.type == FileType.File}


def test_a_published_folder_is_replaced_by_the_next_and_nothing_else_is(storage, tmp_path):
    files = {name: tmp_path / name for name in ("one", "two")}
    for name, path in files.items():
        path.write_text(name)
    first = {"one": files["one"], "deep/two": files["two"]}
    publish(first, "s3://pool/out", described(first))
    assert listed() == {"one", "deep/two", "manifest.json"}
    publish({"two": files["two"]}, "s3://pool/out/", manifest := described({"two": files["two"]}))
    assert listed() == {"two", "manifest.json"}
    before = source_identity("s3://pool/out/two")
    publish({"two": files["two"]}, "s3://pool/out", manifest)
    assert source_identity("s3://pool/out/two") == before
    put(tmp_path, "s3://pool/out/stranger", b"x")
    with pytest.raises(RunError, match="stranger"):
        publish({"one": files["one"]}, "s3://pool/out", described({"one": files["one"]}))
    assert listed() == {"two", "manifest.json", "stranger"}


def test_a_killed_publication_leaves_no_manifest_and_the_next_one_finishes(storage, tmp_path):
    files = {f"f{i}": tmp_path / f"f{i}" for i in range(4)}
    for name, path in files.items():
        path.write_text(name * 1000)
    publish({"old": files["f0"]}, "s3://pool/out", described({"old": files["f0"]}))
    program = f"""
import os, signal
from pathlib import Path
from qads.datasets.publishing import publish
files = {{f"f{{i}}": Path({str(tmp_path)!r}, f"f{{i}}") for i in range(4)}}
stop = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 2 else None
publish(files, "s3://pool/out", {{"what": "a test", "files": {{}}}}, progress=stop)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert listed() == {"f0", "f1", "old", "publishing.json"}
    publish(files, "s3://pool/out", described(files))
    assert listed() == {*files, "manifest.json"}


def test_only_object_storage_is_published_to(tmp_path):
    for location in ("https://host/folder", "hf://datasets/owner/name/a.jsonl", str(tmp_path)):
        with pytest.raises(InputError, match="s3:// or gs://"):
            publish({}, location, {"what": "a test", "files": {}})


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_a_server_that_does_not_say_how_long_a_compressed_file_is_may_send_a_large_one(
    ending: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "_LARGEST_SURELY", 1 << 14)
    rows = "".join(f'{{"question": "{n}+{n}? {n**9}", "solution": "{2 * n} {n**7}"}}\n' for n in range(2_000)).encode()
    bomb = b'{"question": "1+1?", "solution": "2"}\n' + b" " * (1 << 24)

    class Chunked(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("etag", '"a"')
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(OSError):  # Who reads may have had enough.
                    self.wfile.write(packed[self.path])

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    packs = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.ZstdCompressor().compress, "bz2": bz2.compress}
    packed = {f"/{name}.jsonl.{ending}": packs[ending](each) for name, each in (("rows", rows), ("bomb", bomb))}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunked) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}"
        assert len(qads.load_pool(f"{url}/rows.jsonl.{ending}")) == 2_000
        with pytest.raises(PoolError, match="over 200 times as many"):
            qads.load_pool(f"{url}/bomb.jsonl.{ending}")
        web.shutdown()


def test_a_web_server_serves_single_files_and_their_identity(tmp_path):
    (tmp_path / "big.jsonl").write_bytes(lines(300).replace(b"So.", b"So. " * 8000))  # More than is asked for at once.
    (tmp_path / "small.jsonl.gz").write_bytes(gzip.compress(lines(20)))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{web.server_address[1]}"
        assert len(qads.load_pool([f"{root}/big.jsonl", f"{root}/small.jsonl.gz"])) == 320
        assert "Last-Modified" in source_identity(f"{root}/big.jsonl")
        with pytest.raises(PoolError, match="no such object"):
            qads.load_pool(f"{root}/none.jsonl")
        web.shutdown()


def test_a_name_on_the_hub_is_a_dataset_and_a_path_an_object():
    assert not is_object("hf://owner/name") and not is_object("hf://datasets/owner/name@main:config/train[:10]")
    assert is_object("hf://datasets/owner/name@main/data/*.jsonl.gz")

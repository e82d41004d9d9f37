"""Datasets of the hub: how they are named, and that one is read, from a server on this machine."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qads.datasets import expand_sources, load_pool
from qads.datasets.files import HUB
from qads.errors import PoolError

ROWS = [{"question": f"{n}+1?", "answer": f"{n}+1 = {n + 1}\n#### {n + 1}"} for n in range(3)]
FILE = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("hf://owner/name", ("owner/name", None, None, None)),
        ("hf://owner/name/test", ("owner/name", None, None, "test")),
        ("hf://owner/name@v1.0", ("owner/name", "v1.0", None, None)),
        ("hf://owner/name:main/train", ("owner/name", None, "main", "train")),
        (
            "hf://open-web.math/a_b@0123abc:c d/train[:10%]",
            ("open-web.math/a_b", "0123abc", "c d", "train[:10%]"),
        ),
        ("hf://datasets/owner/name@v1:c/test", ("owner/name", "v1", "c", "test")),
    ],
)
def test_a_location_has_its_parts(location: str, parts: tuple[str | None, ...]) -> None:
    match = HUB.match(location)
    assert match is not None
    assert match.group("repo", "revision", "config", "split") == parts


@pytest.mark.parametrize("location", ["hf://", "hf://name", "hf://a/b/c/d", "hf://a b/c", "hf://a/b@", "hf://a/b:"])
def test_a_location_of_another_form_is_an_error_that_shows_the_form(location: str) -> None:
    with pytest.raises(PoolError, match=r"expected hf://owner/name\[@revision\]\[:config\]\[/split\]"):
        load_pool(location)


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (["hf://owner/tiny:main/train"], ["tiny"]),
        (["hf://one/tiny", "hf://two/tiny"], ["one/tiny", "two/tiny"]),
        (["hf://one/tiny/train", "hf://one/tiny/test"], ["tiny/train", "tiny/test"]),
    ],
)
def test_a_hub_source_is_named_after_its_repository(locations: list[str], names: list[str]) -> None:
    assert [file.name for file in expand_sources(locations)] == names


def test_a_folder_that_would_be_read_instead_of_the_hub_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "set").mkdir(parents=True)
    (tmp_path / "own" / "set" / "train.jsonl").write_bytes(FILE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoolError, match="hf://own/set: the folder own/set is here, and would be read instead"):
        load_pool("hf://own/set")


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as reading one file of one dataset takes."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        listing = [{"type": "file", "path": "train.jsonl", "size": len(FILE), "oid": "b" * 40}]
        if path == f"/datasets/owner/tiny/resolve/{COMMIT}/train.jsonl":
            self.answer(200, FILE)
        elif path == f"/api/datasets/owner/tiny/tree/{COMMIT}":
            self.answer(200, json.dumps(listing).encode())
        elif path in (f"/api/datasets/owner/tiny/revision/{name}" for name in ("v1", COMMIT)):
            self.answer(200, json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": []}).encode())
        else:
            self.answer(404, b"")

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{"b" * 40}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Error-Code" if status == 404 else "X-Served", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def read(location: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, since the hub's settings are read when its libraries are imported."""
    script = (
        "import json, sys\nfrom qads.datasets import load_pool\npool = load_pool(sys.argv[1])\n"
        "print(json.dumps([pool.sources, [[r.id, r.problem, r.answer] for r in pool]]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", script, location],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_dataset_of_the_hub_is_a_pool(hub: str, tmp_path: Path) -> None:
    done = read("hf://owner/tiny@v1/train", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["tiny"], [[f"tiny-{n}", f"{n}+1?", str(n + 1)] for n in range(3)]]


def test_a_split_that_is_not_there_is_an_error_that_lists_those_that_are(hub: str, tmp_path: Path) -> None:
    done = read("hf://owner/tiny@v1/test", hub, tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "PoolError: hf://owner/tiny@v1/test: the hub dataset cannot be loaded" in last
    assert "['train']" in last


def identity(location: str, environment: dict[str, str]) -> str:
    script = "import sys\nfrom qads.datasets import source_identity\nprint(source_identity(sys.argv[1]))"
    return subprocess.run(
        [sys.executable, "-c", script, location],
        env={name: value for name, value in os.environ.items() if not name.startswith("HF_")} | environment,
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout.strip()  # fmt: skip


def test_the_identity_of_a_hub_dataset_is_its_commit(hub: str, tmp_path: Path) -> None:
    online = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path)}
    assert identity("hf://owner/tiny@v1", online) == f"hf://owner/tiny@{COMMIT}/train"
    assert identity("hf://owner/tiny@v1:main/test", online) == f"hf://owner/tiny@{COMMIT}:main/test"


def test_without_a_network_the_identity_is_the_commit_in_the_cache_or_the_location(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "datasets--owner--tiny"
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    assert identity("hf://owner/tiny", offline) == f"hf://owner/tiny@{COMMIT}/train"
    assert identity("hf://owner/other", offline) == "hf://owner/other"


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from qads.datasets import load_pool\nload_pool('hf://owner/tiny')"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert "PoolError: hf://owner/tiny: the hub dataset cannot be loaded" in last
    assert "without a network, download the files" in last

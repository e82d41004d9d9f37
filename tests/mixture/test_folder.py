"""The folder of a mixture: whole or not at all, the same everywhere, nobody else's files touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from mixture.files import make_run, tree, write_sums
from qads import compose, write_mixture
from qads.errors import LockedError, RunError


def one_part(path: Path, **settings: Any) -> Any:
    return compose({"parts": {"x": {"pool": str(path)}}} | settings)


SCRIPT = """
import sys, yaml
from qads import compose, load_recipe, write_mixture
write_mixture(compose(load_recipe("recipe.yaml")), sys.argv[1])
"""


@pytest.mark.parametrize("file", ["jsonl", "parquet"])
def test_a_recipe_gives_the_same_bytes_wherever_and_however_it_runs(tmp_path: Path, file: str):
    made: list[dict[str, str]] = []
    for number, environment in enumerate(
        (
            {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
            {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "0"},
        )
    ):
        place = tmp_path / f"place {number}" / ("deep/er" if number else "")
        for name in ("b", "a"):
            write_sums(place / "data" / f"{name}.jsonl", 200, note="ü")
        with (place / "data" / "a.jsonl").open("a") as text:
            text.write("no JSON\n")
        make_run(place / "run", 30, [5, 3, 1])
        (place / "recipe.yaml").write_text(
            "parts:\n"
            "  drawn: {pool: data/*.jsonl, take: 20%, repeat: 1.5, on_bad_row: skip, temperature: null}\n"
            "  picked: {selection: run, take: {share: 2%}}\n"
            f"file: {file}\nkeep_meta: true\n"
        )
        if number:
            os.utime(place / "data" / "a.jsonl", (0, 0))
        out = place / "out" / "mixture"
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(out)], check=True, cwd=place, env={**os.environ, **environment}
        )
        made.append(tree(out))
    assert made[0] == made[1]
    assert set(made[0]) >= {"README.md", "manifest.json", f"data/train.{file}", "dataset_info.json", "axolotl.yaml"}


def test_the_manifest_has_the_hash_of_everything_read_and_written(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 10)
    out = write_mixture(one_part(path), tmp_path / "out")
    manifest, files = json.loads((out / "manifest.json").read_text()), tree(out)
    del files["manifest.json"]
    assert {name: facts["sha256"] for name, facts in manifest["files"].items()} == files
    assert manifest["inputs"] == {"x": [{"name": "a", "sha256": tree(tmp_path)["a.jsonl"]}]}
    assert str(tmp_path) not in (out / "manifest.json").read_text() + (out / "README.md").read_text()


def test_a_mixture_is_replaced_and_files_of_others_are_not(tmp_path: Path):
    small, large = write_sums(tmp_path / "a.jsonl", 10), write_sums(tmp_path / "b.jsonl", 20)
    out = write_mixture(one_part(small), tmp_path / "out")
    before = tree(out)
    write_mixture(one_part(large), out)
    after = tree(out)
    assert after != before
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"files that are no part of its mixture \(notes.txt\), so it is not replaced"):
        write_mixture(one_part(small), out)
    assert tree(out) == after | {"notes.txt": tree(out)["notes.txt"]}
    other = tmp_path / "other"
    other.mkdir()
    write_mixture(one_part(small), other)  # An empty folder is nobody's.
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match=r"holds files, but no mixture \(manifest.json\)"):
        write_mixture(one_part(small), tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is no folder"):
        write_mixture(one_part(small), tmp_path / "file")


def test_a_write_that_fails_leaves_the_old_mixture_and_nothing_else(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 10)
    out = write_mixture(one_part(path), tmp_path / "out")
    before = tree(tmp_path)

    def stop(done: int, total: int) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_mixture(one_part(write_sums(tmp_path / "a.jsonl", 10)), out, progress=stop)
    assert tree(tmp_path) == before


def test_what_a_killed_process_left_is_cleared(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 10)
    left = tmp_path / ".out.partial" / "data"
    left.mkdir(parents=True)
    (left / "train.jsonl.old").write_text("half a")
    shutil.copytree(left, tmp_path / ".out.old")
    out = write_mixture(one_part(path), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "out"]
    assert not (out / "data" / "train.jsonl.old").exists()


def test_two_processes_do_not_write_one_mixture(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 10)
    (tmp_path / ".out.partial").mkdir()
    with filelock.FileLock(tmp_path / ".out.partial" / ".lock"), pytest.raises(LockedError, match="another process"):
        write_mixture(one_part(path), tmp_path / "out")


def test_a_link_in_the_place_of_the_partial_folder_is_not_followed(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 10)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious").write_text("mine")
    (tmp_path / ".out.partial").symlink_to(tmp_path / "theirs")
    with pytest.raises(RunError, match=r"\.out\.partial: is a link"):
        write_mixture(one_part(path), tmp_path / "out")
    assert (tmp_path / "theirs" / "precious").read_text() == "mine"
    assert sorted(p.name for p in (tmp_path / "theirs").iterdir()) == ["precious"]


@pytest.mark.parametrize("out", [".", "..", "../here", "/"])
def test_the_folder_that_one_stands_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str):
    path = write_sums(tmp_path / "a.jsonl", 10)
    (tmp_path / "around" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "around" / "here")
    with pytest.raises(RunError, match="is, or holds, the folder that you are in"):
        write_mixture(one_part(path), out)
    assert (tmp_path / "around" / "here").is_dir()

"""Names and links that others have made lead nowhere else."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from fuzzing.attempts import call
from qads.cluster.checkpoint import Checkpoint
from qads.datasets import atomic_path, load_pool
from qads.errors import ConfigError, PoolError, RunError
from qads.kernels.distance import GreedyPicks
from qads.mixture import load_recipe
from qads.run.directory import RunDirectory, StageDirectory, StagePlan
from qads.run.shards import DiskShards
from qads.run.telling import Told

NAMES = [
    "../../escaped",
    "/etc/escaped",
    "a/../../escaped",
    "..",
    "-rf",
    "~/escaped",
    "a\\..\\b",
    "con\x00",
    "\u202egpj.exe",
]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_text("not ours")
    return path


def test_ids_and_sources_of_rows_are_never_names_of_files(tmp_path: Path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    rows = [{"question": f"{n}+1?", "solution": f"{n + 1}", "id": name, "source": name} for n, name in enumerate(NAMES)]
    (inner / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (inner / "recipe.yaml").write_text(json.dumps({"parts": {"one": {"pool": str(inner / "pool.jsonl")}}}))
    code, _, err = call("mix", inner / "recipe.yaml", "-o", inner / "out")
    assert code == 0, err
    made = {path.relative_to(tmp_path).parts[:3] for path in tmp_path.rglob("*") if path.is_file()}
    assert made <= {("a", "b", name) for name in ("pool.jsonl", "recipe.yaml", "out")}


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_called_nothing_that_leads_away(name: str):
    with pytest.raises(ConfigError):
        load_recipe({"parts": {"one": {"pool": "x.jsonl"}}, "name": name})


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path, victim: Path):
    (tmp_path / "out.json").symlink_to(victim)
    with atomic_path(tmp_path / "out.json") as temporary:
        temporary.write_text("ours")
    assert victim.read_text() == "not ours" and (tmp_path / "out.json").read_text() == "ours"


def test_a_link_that_was_put_into_a_run_directory_is_not_written_through(tmp_path: Path, victim: Path):
    root = tmp_path / "run"
    root.mkdir()
    (root / ".owner").symlink_to(victim)
    with RunDirectory(root).lock():
        assert (root / ".owner").read_text().startswith(f"{os.getpid()} ")
    (root / "joined.npy.partial").symlink_to(victim)
    DiskShards(root).array((2, 2))[:] = 0
    (root / ".progress.new").symlink_to(victim)
    Told(root)(1, 2)
    assert json.loads((root / ".progress").read_text()) == {"done": 1, "of": 2}
    (root / f".picks.npz.{os.getpid()}.partial").symlink_to(victim)
    Checkpoint(root / "picks.npz", {"embeddings": "1"}, every=1).keep(GreedyPicks.empty(3), 3, now=True)
    stage = StageDirectory(root, StagePlan("embed", {}))
    (root / "plan.json").write_text(json.dumps(stage.plan.as_json()))
    for name, place in ((".file.partial", victim), (".folder.partial", tmp_path)):
        (root / name).symlink_to(place)
    stage.begin()
    assert victim.read_text() == "not ours"
    assert not any(path.is_symlink() for path in root.iterdir())


@pytest.mark.parametrize(
    "place",
    ["embed", "embed/shards", "embed/shards/contamination", "embed/checkpoints", "report", "input", "validation"],
)
def test_a_link_in_the_place_of_a_folder_of_a_run_is_refused(place: str, tmp_path: Path):
    stage = RunDirectory(tmp_path / "run").stage(StagePlan("embed", {}))
    if "/" in place:
        stage.begin()
    (tmp_path / "run" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").write_text("not ours")
    (tmp_path / "run" / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link"), RunDirectory(tmp_path / "run").lock():
        stage.begin()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["theirs"]


def test_a_name_that_is_no_text_is_refused_before_it_is_read(tmp_path: Path):
    path = os.fsencode(tmp_path) + b"/\xff.jsonl"
    Path(os.fsdecode(path)).write_text('{"question": "1+1?", "solution": "2"}\n')
    for source in (os.fsdecode(path), tmp_path):
        with pytest.raises(PoolError, match="not UTF-8 text"):
            load_pool(source)


def test_the_empty_name_is_not_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x.jsonl").write_text('{"question": "1+1?", "solution": "2"}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoolError, match="empty text"):
        load_pool("")


@pytest.mark.parametrize("name", ["\x1b]0;title\x07.jsonl", "a\nerror: b.jsonl", "\u202e.jsonl", "\x9b31m.jsonl"])
def test_the_name_of_a_file_does_not_steer_the_terminal(name: str, tmp_path: Path):
    for content, codes in (('{"question": "1+1?", "solution": "2"}\n', {0}), ("{", {2})):
        (tmp_path / name).write_text(content)
        code, out, err = call("check", tmp_path / name)
        assert code in codes | {1}
        assert all(c.isprintable() or c == "\n" for c in (out + err).replace("\u2500", ""))


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_archives_are_refused_and_nothing_of_them_lands_anywhere(ending: str, tmp_path: Path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    content, path = b'{"question": "1+1?", "solution": "2"}\n', inner / f"pool{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../../escaped.jsonl", content)
    else:
        with tarfile.open(path, "w:gz" if "gz" in ending else "w") as archive:
            member = tarfile.TarInfo("../../escaped.jsonl")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(PoolError, match=r"ending .* is not one of a known format"):
        load_pool(path)
    code, _, err = call("check", inner)
    assert code == 2 and "Traceback" not in err
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


@pytest.mark.parametrize("ending", ["bin", "pt", "pkl"])
def test_weights_that_are_pickled_are_refused_with_a_way_out(ending: str, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / f"pytorch_model.{ending}").write_bytes(b"\x80\x04.")
    (tmp_path / "pool.jsonl").write_text('{"question": "1+1?", "solution": "2"}\n' * 1)
    code, _, err = call(
        "select", tmp_path / "pool.jsonl", "--budget", 1, "--no-quality", "-o", tmp_path / "out.jsonl",
        "--set", f"embedding={{kind: lm, model: {tmp_path}}}",
    )  # fmt: skip
    assert code == 2 and "safetensors" in err and "Traceback" not in err

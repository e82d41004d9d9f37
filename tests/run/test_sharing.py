"""Two runs share what they have in common, and neither can change what the other has."""

from __future__ import annotations

from pathlib import Path

import pytest

from qads.config import load_config
from qads.errors import DriftError
from qads.run import share_stages
from qads.run.directory import BEGUN
from run.tiny import make_model, rows, run, settings, write_rows

SHARED = ("pool", "embed", "anchors")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def config(model: Path, tmp_path: Path):
    return load_config(settings(model, write_rows(tmp_path / "pool.jsonl", rows(30))))


def test_shared_stages_are_used_as_they_are(config, tmp_path: Path):
    run(config, tmp_path / "a", until="quality")
    assert share_stages(tmp_path / "a", tmp_path / "b", SHARED) == list(SHARED)
    heard = run(config, tmp_path / "b", until="quality")
    assert (heard.reused, heard.computed) == (list(SHARED), ["influence", "scorer", "quality"])
    for name in ("embed/embeddings.npy", "quality/quality.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_one_computes_again_the_other_keeps(config, tmp_path: Path):
    run(config, tmp_path / "a", until="embed")
    share_stages(tmp_path / "a", tmp_path / "b", SHARED)
    before = (tmp_path / "b" / "embed" / "embeddings.npy").read_bytes()
    run(config, tmp_path / "a", until="embed", redo=["pool"])
    assert (tmp_path / "b" / "embed" / "embeddings.npy").read_bytes() == before
    assert run(config, tmp_path / "b", until="embed").reused == ["pool", "embed"]


def test_only_finished_stages_are_shared_and_none_is_replaced(config, tmp_path: Path):
    run(config, tmp_path / "a", until="embed")
    (tmp_path / "a" / "embed" / "manifest.json").unlink()
    assert share_stages(tmp_path / "a", tmp_path / "b", SHARED) == ["pool"]
    assert share_stages(tmp_path / "a", tmp_path / "b", SHARED) == []
    assert not [path for path in (tmp_path / "b").iterdir() if path.name.endswith(".partial")]


def test_what_a_killed_sharing_has_begun_goes_with_the_next_start(config, tmp_path: Path):
    (tmp_path / "b" / f".pool{BEGUN}").mkdir(parents=True)
    (tmp_path / "b" / f".pool{BEGUN}" / "pool.parquet").write_bytes(b"half")
    (tmp_path / "b" / f".embed{BEGUN}").symlink_to(tmp_path)
    assert run(config, tmp_path / "b", until="pool").computed == ["pool"]
    assert not list((tmp_path / "b").glob(".*.partial")) and (tmp_path / "pool.jsonl").exists()


def test_stages_of_another_pool_are_found_out(config, model: Path, tmp_path: Path):
    run(config, tmp_path / "a", until="embed")
    share_stages(tmp_path / "a", tmp_path / "b", SHARED)
    other = load_config(settings(model, write_rows(tmp_path / "other.jsonl", rows(30, seed=1))))
    with pytest.raises(DriftError):
        run(other, tmp_path / "b", until="embed")

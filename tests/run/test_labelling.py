"""A run that labels in rounds: what it leaves, and that it goes on where it was killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads.config import RunConfig, load_config
from qads.run import run_pipeline
from run.tiny import run, settings

PLAN: dict[str, Any] = {"first": 0.5, "step": 4, "watched": 2, "tolerance": 0.0, "patience": 9}


@pytest.fixture
def config(model: Path, pool_file: Path) -> RunConfig:
    raw = settings(model, pool_file)
    quality = raw["quality"] | {"sample": 14, "labelling": PLAN, "scorer": {"kind": "probe", "families": ["ridge"]}}
    return load_config(raw | {"quality": quality})


def content(root: Path) -> dict[str, bytes]:
    names = (
        "influence/influence.parquet",
        "influence/labelled.npy",
        "scorer/scorer.safetensors",
        "quality/quality.npy",
    )
    return {name: (root / name).read_bytes() for name in names}


def test_labels_are_those_of_the_rounds_and_the_first_alone_judge(config: RunConfig, tmp_path: Path):
    run(config, tmp_path / "run", until="quality")
    root = tmp_path / "run"
    labelled = np.load(root / "influence" / "labelled.npy")
    manifest = json.loads((root / "influence" / "manifest.json").read_text())
    assert len(labelled) == len(set(labelled.tolist())) == manifest["rows"] == 14
    assert manifest["evenly_drawn"] == 10 and manifest["labelling"]["ended"] == "budget"
    assert [each["n_labels"] for each in manifest["labelling"]["rounds"]] == [10, 14]
    assert set(labelled.tolist()) <= set(np.load(root / "anchors" / "candidates.npy").tolist())
    pool = pq.read_table(root / "pool" / "pool.parquet")["id"].to_pylist()
    scored = pq.read_table(root / "quality" / "quality_real.parquet")
    assert scored["candidate"].to_pylist() == [pool[row] for row in labelled]
    held_out = pq.read_table(root / "scorer" / "held_out.parquet")["predicted"].to_numpy(zero_copy_only=False)
    assert np.isfinite(held_out[:10]).all() and np.isnan(held_out[10:]).all()
    assert not (root / "influence" / "shards").exists()


def test_a_run_that_stops_between_rounds_goes_on_with_the_scores_it_has(config: RunConfig, tmp_path: Path):
    run(config, tmp_path / "whole", until="quality")

    class Stop(Exception):
        pass

    class Stopper:
        """Stops when the second round begins."""

        def stage_started(self, name: str, number: int, n_stages: int) -> None:
            self.stage = name

        def progress(self, done: int, total: int) -> None:
            if self.stage == "influence" and (tmp_path / "part" / "influence" / "shards" / "round-001").exists():
                raise Stop

        def stage_finished(self, name: str, manifest: Any, *, reused: bool) -> None:
            pass

    with pytest.raises(Stop):
        run_pipeline(config, tmp_path / "part", until="quality", observer=Stopper())
    first = tmp_path / "part" / "influence" / "shards" / "round-000" / "shards"
    times = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    with pytest.raises(Stop):
        run_pipeline(config, tmp_path / "part", until="quality", observer=Stopper())
    assert times and times == {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    run(config, tmp_path / "part", until="influence")
    assert not first.exists()
    run(config, tmp_path / "part", until="quality")
    assert content(tmp_path / "part") == content(tmp_path / "whole")

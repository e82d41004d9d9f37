"""What changes under a run: models, files, settings, folders and clocks. Nothing is made of two states of one thing."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import qads
from qads.config import RunConfig, load_config
from qads.errors import DriftError, PoolError, RunError
from qads.run import StagePlan, pipeline
from qads.run.plan import check_unmoved
from qads.run.shards import DiskShards
from run.tiny import Heard, run, settings, write_rows, written
from run.tiny import rows as made_rows


@pytest.fixture
def own_model(model: Path, tmp_path: Path) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(model, tmp_path / "own model"))


@pytest.fixture
def config(own_model: Path, model: Path, pool_file: Path) -> RunConfig:
    """Influence by the model that may be spoiled, embeddings by another."""
    whole = settings(own_model, pool_file)
    whole["embedding"]["model"] = str(model)
    return load_config(whole)


def spoil(model: Path) -> Callable[[], None]:
    """Other weights in the place of a model's, of the same size; gives how to put the first back."""
    file = model / "model.safetensors"
    before = file.read_bytes()
    weights = load_file(file)
    save_file({name: array + np.float32(0.01) for name, array in weights.items()}, file, metadata={"format": "pt"})
    return lambda: file.write_bytes(before) and None


class At(Heard):
    """Does something once, when a stage has come so far."""

    def __init__(self, stage: str, at: int | str, act: Callable[[], object]) -> None:
        super().__init__()
        self.stage, self.at, self.act = stage, at, act
        self.now = ""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        self.now = name
        self._act_if("started")

    def progress(self, done: int, total: int) -> None:
        self._act_if(done)

    def _act_if(self, at: int | str) -> None:
        if (self.now, at) == (self.stage, self.at):
            self.at = "done"
            self.act()


@pytest.mark.parametrize("at", ["started", 8, 16])
def test_a_model_that_is_replaced_while_the_run_is_on_makes_nothing(
    config: RunConfig, own_model: Path, tmp_path: Path, at: int | str
):
    back: list[Callable[[], None]] = []
    directory = tmp_path / "run"
    with pytest.raises(
        DriftError, match=r"stage 'influence': what it reads was changed .*\n  quality\.influence\.model"
    ):
        qads.run_pipeline(config, directory, observer=At("influence", at, lambda: back.append(spoil(own_model))))
    assert not (directory / "influence").exists(), "which of its shards were of which model, nobody knows"
    back[0]()
    assert run(config, directory).reused == ["pool", "embed", "anchors"]
    run(config, tmp_path / "undisturbed")
    assert written(directory) == written(tmp_path / "undisturbed")


def test_a_place_that_does_not_answer_when_a_stage_has_ended_costs_no_shard(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def once(config: RunConfig, plan: StagePlan, sources: tuple[str, ...]) -> None:
        asked.append(plan.name)
        if asked[-2:] == ["influence", "influence"]:
            raise PoolError("s3://bucket/anchors.jsonl does not answer")
        check_unmoved(config, plan, sources)

    monkeypatch.setattr(pipeline, "check_unmoved", once)
    with pytest.raises(PoolError, match="does not answer"):
        run(config, tmp_path / "run")
    assert DiskShards(tmp_path / "run" / "influence").count() > 1
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(DiskShards, "put", lambda shards, *_: asked.append(f"again: {shards.path.name}"))
        run(config, tmp_path / "run", until="influence")
    assert "again: influence" not in asked
    run(config, tmp_path / "run")
    run(config, tmp_path / "undisturbed")
    assert written(tmp_path / "run") == written(tmp_path / "undisturbed")


def test_a_model_that_is_replaced_between_two_starts_is_refused_and_what_it_made_is_kept(
    config: RunConfig, own_model: Path, tmp_path: Path
):
    directory = tmp_path / "run"
    run(config, directory)
    before = written(directory)
    back = spoil(own_model)
    with pytest.raises(
        DriftError, match=r"stage 'influence' .*\n  quality\.influence\.model: was .*\n.*--redo influence"
    ):
        run(config, directory)
    assert written(directory) == before
    back()
    assert run(config, directory).computed == []


def test_a_pool_that_is_edited_is_refused_by_its_name_and_all_of_it_is_computed_again_when_asked(
    config: RunConfig, pool_file: Path, tmp_path: Path
):
    directory = tmp_path / "run"
    run(config, directory, until="quality")
    write_rows(pool_file, made_rows(29))
    with pytest.raises(DriftError, match=r"stage 'pool' .*\n  inputs\.file pool: was .*\n.*--redo pool"):
        run(config, directory)
    heard = run(config, directory, redo=["pool"])
    assert heard.reused == [] and heard.computed[0] == "pool" and heard.computed[-1] == "mixture"


def test_a_setting_edited_in_the_middle_computes_only_what_depends_on_it(config: RunConfig, tmp_path: Path):
    directory = tmp_path / "run"
    run(config, directory, until="select")
    edited = load_config(dataclasses.asdict(config), ["selection.alpha=0.25"])
    with pytest.raises(
        DriftError, match=r"stage 'select' .*\n  selection\.alpha: was 1\.0, now 0\.25\n.*--redo select"
    ):
        run(edited, directory)
    heard = run(edited, directory, redo=["select"])
    assert heard.computed == ["select", "mixture"]
    assert heard.reused == ["pool", "embed", "anchors", "influence", "scorer", "quality"]


def test_a_directory_that_vanishes_stops_the_run_and_nothing_passes_for_finished(config: RunConfig, tmp_path: Path):
    directory = tmp_path / "run"
    with pytest.raises(RunError, match=r"was moved, removed or begun anew|was moved or removed while it was in use"):
        qads.run_pipeline(config, directory, observer=At("anchors", "started", lambda: shutil.rmtree(directory)))
    assert not list(directory.glob("*/manifest.json"))


@pytest.mark.parametrize("seconds", [-2_000_000_000, 2_000_000_000])
def test_the_times_of_files_decide_nothing(config: RunConfig, tmp_path: Path, seconds: int):
    directory = tmp_path / "run"
    run(config, directory, until="quality")
    for path in tmp_path.rglob("*"):
        os.utime(path, (path.stat().st_mtime + seconds,) * 2)
    assert run(config, directory).reused == ["pool", "embed", "anchors", "influence", "scorer", "quality"]


def test_no_clock_that_can_go_backwards_is_asked_but_for_dates_that_servers_give():
    source = Path(qads.__file__).parent
    asked = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
    }
    assert asked <= {"quality/transport.py"}

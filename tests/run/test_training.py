"""Training as a stage of a run and by itself: the rows are those selected, and a second start goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import qads
from qads.config import TrainConfig, load_config
from qads.datasets import source_identity
from qads.errors import ConfigError, CorruptError, DriftError, InputError, RunError, StorageError
from qads.models import open_causal_lm
from qads.run import estimate_run, estimate_training, read_status, run_pipeline, train_files
from qads.run.directory import StageDirectory
from qads.run.sealed import read_json
from qads.run.training_rows import find_training_files
from qads.settings import read_settings
from qads.train import Checkpointing, FineTuning
from run.tiny import Heard, rows, settings, write_rows

pytest.importorskip("peft", reason="the extra 'train' is not installed")
pytest.importorskip("trl", reason="the extra 'train' is not installed")


def brief(model: Path, **changes: Any) -> dict[str, Any]:
    return {"model": str(model), "dtype": "float32", "epochs": 1, "batch_size": 3, "learning_rate": 1e-3} | changes


def whole(model: Path, pool: Path, **changes: Any) -> qads.RunConfig:
    return load_config(settings(model, pool, train=brief(model), quality=None, **changes))


@pytest.mark.parametrize("shape", ["jsonl", "parquet", "alpaca", "messages", "sharegpt"])
def test_a_run_trains_on_the_rows_that_it_selected(model: Path, pool_file: Path, tmp_path: Path, shape: str):
    config = whole(model, pool_file, output={"format": shape})
    result = run_pipeline(config, tmp_path / "run")
    manifest = result.manifests["train"]
    assert manifest["rows"] == 6
    assert list(manifest["train_files"].values()) == [source_identity(str(result.train_file))]
    assert {"trl", "peft", "accelerate"} <= set(manifest["packages"])
    own = qads.load_pool(pool_file)
    taken = {row.id for row in qads.load_pool(result.train_file)}
    of_pool = FineTuning(**brief(model)).plan(
        qads.Pool.from_rows(row for row in qads.load_pool(result.train_file)), execution=config.execution
    )
    same = FineTuning(**brief(model)).plan(
        own.take([own.strings("id").index(row.id) for row in qads.load_pool(result.train_file)])
    )
    assert len(taken) == 6
    assert of_pool.texts.sha256 == same.texts.sha256 == manifest["texts_sha256"]
    assert open_causal_lm(str(tmp_path / "run" / "train" / "model"), device="cpu").n_parameters == 41_120


def test_a_run_is_reused_drifts_and_shows_its_training(model: Path, pool_file: Path, tmp_path: Path):
    config = whole(model, pool_file)
    before = {stage.name: stage for stage in estimate_run(config, tmp_path / "run")}
    assert before["train"].rows == 6
    assert before["train"].flops == 6 * 41_120 * (before["train"].tokens or 0)
    run_pipeline(config, tmp_path / "run")
    heard = Heard()
    run_pipeline(config, tmp_path / "run", observer=heard)
    assert heard.computed == []
    assert {stage.name: stage.state for stage in read_status(tmp_path / "run").stages}["train"] == "done"
    with pytest.raises(DriftError, match=r"train.seed: was 0, now 1"):
        run_pipeline(
            load_config(settings(model, pool_file, train=brief(model, seed=1), quality=None)), tmp_path / "run"
        )
    other = load_config(
        settings(model, pool_file, train=brief(model, checkpoints={"steps": 1}), quality=None)
    )  # fmt: skip
    run_pipeline(other, tmp_path / "run", observer=heard)
    assert heard.computed == [], "how often checkpoints are kept changes nothing"


def test_a_mistake_in_the_section_is_named_by_its_path(model: Path, pool_file: Path):
    with pytest.raises(ConfigError, match=r"train.learnig_rate: unknown key; did you mean 'learning_rate'"):
        load_config(settings(model, pool_file, train={"learnig_rate": 1e-4}))


def configured(model: Path, *sources: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        sources=tuple(map(str, sources)), train=FineTuning(**brief(model) | changes),
        execution=qads.Execution(device="cpu"),
    )  # fmt: skip


def test_a_training_by_itself_is_complete_once(model: Path, pool_file: Path, tmp_path: Path):
    config = configured(model, pool_file)
    expected = estimate_training(config)
    manifest, reused = train_files(config, tmp_path / "out")
    assert not reused
    assert (manifest["tokens"], manifest["steps"], manifest["flops"]) == (
        expected["tokens"], expected["steps"], expected["flops"],
    )  # fmt: skip
    again, reused = train_files(config, tmp_path / "out")
    assert reused
    assert again == manifest
    with pytest.raises(DriftError, match=r"train.batch_size: was 3, now 5"):
        train_files(configured(model, pool_file, batch_size=5), tmp_path / "out")
    assert not train_files(configured(model, pool_file, batch_size=5), tmp_path / "out", redo=True)[1]


def test_changed_rows_are_another_training(model: Path, pool_file: Path, tmp_path: Path):
    train_files(configured(model, pool_file), tmp_path / "out")
    write_rows(pool_file, rows(29))
    with pytest.raises(DriftError, match="file pool"):
        train_files(configured(model, pool_file), tmp_path / "out")


def test_nothing_is_written_over_what_is_not_ours(model: Path, pool_file: Path, tmp_path: Path):
    (tmp_path / "out" / "train").mkdir(parents=True)
    (tmp_path / "out" / "train" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="it is not touched"):
        train_files(configured(model, pool_file), tmp_path / "out")
    run_pipeline(whole(model, pool_file), tmp_path / "run", until="pool")
    with pytest.raises(RunError, match="is the directory of a run"):
        train_files(configured(model, pool_file), tmp_path / "run")


class Steps(Heard):
    """Remembers the steps of the training, and fails at one of them."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.stage, self.fails_at = "", fails_at

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        self.stage = name

    def progress(self, done: int, total: int) -> None:
        if self.stage != "train":
            return
        self.steps.append(done)
        if done == self.fails_at:
            raise RuntimeError("the machine has no memory left")


def test_a_stage_that_fails_keeps_its_checkpoints(model: Path, pool_file: Path, tmp_path: Path):
    config = load_config(
        settings(model, pool_file, train=brief(model, epochs=3, checkpoints={"steps": 1}), quality=None)
    )
    with pytest.raises(RuntimeError, match="no memory left"):
        run_pipeline(config, tmp_path / "run", observer=Steps(fails_at=4))
    assert {s.name: (s.state, s.shards) for s in read_status(tmp_path / "run").stages}["train"] == ("partial", 2)
    heard = Steps()
    run_pipeline(config, tmp_path / "run", observer=heard)
    assert heard.steps == [4, 5, 6], "the steps before the last checkpoint are not done again"


@pytest.mark.parametrize("keep", [False, True])
def test_a_training_that_has_ended_is_not_lost_while_its_files_are_hashed(
    model: Path, pool_file: Path, tmp_path: Path, keep: bool, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise StorageError(28, "No space left on device")

    checkpoints = {"steps": 2, "minutes": None, "keep": keep}
    config = read_settings(TrainConfig, {"sources": str(pool_file), "train": brief(model, checkpoints=checkpoints)})
    steps: list[int] = []
    with monkeypatch.context() as patched, pytest.raises(StorageError):
        patched.setattr(StageDirectory, "finish", full)
        train_files(config, tmp_path / "out", on_step=lambda step, plan: steps.append(step.step))
    again: list[int] = []
    train_files(config, tmp_path / "out", on_step=lambda step, plan: again.append(step.step))
    n_steps = len(steps)
    assert n_steps > 4
    assert again == steps[len(steps) - len(again) :] and len(again) <= 2
    left = sorted(path.name for path in (tmp_path / "out" / "train").iterdir())
    assert ("checkpoints" in left) == keep
    assert not [
        name
        for name in (read_json(tmp_path / "out" / "train" / "manifest.json") or {})["files"]
        if name.startswith("checkpoints")
    ]


@pytest.mark.long
@pytest.mark.slow
def test_the_command_killed_at_any_moment_ends_as_undisturbed(model: Path, pool_file: Path, tmp_path: Path):
    command = [
        sys.executable, "-m", "qads", "train", str(pool_file), "--model", str(model), "--epochs", "8", "--device", "cpu",
        "--set", "train.dtype=float32", "--set", "train.batch_size=2", "--set", "train.checkpoints={steps: 5}",
    ]  # fmt: skip
    undisturbed = subprocess.run([*command, "-o", tmp_path / "a", "--json"], capture_output=True, text=True, check=True)
    process = subprocess.Popen([*command, "-o", tmp_path / "b"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "b" / "train" / "checkpoints"
    while not list(checkpoints.glob("step-*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run([*command, "-o", tmp_path / "b", "--json"], capture_output=True, text=True, check=True)
    one, other = (json.loads(each.stdout)["train"] for each in (undisturbed, again))
    assert other["losses"] == pytest.approx(one["losses"], abs=1e-6)
    assert not checkpoints.exists()


# ---- mixtures ----


def mixed(pool_file: Path, out: Path, **changes: Any) -> Path:
    recipe = {"parts": {"all": {"pool": [str(pool_file)]}}, "suffix": {"cot": " Think step by step."}} | changes
    return qads.write_mixture(qads.compose(qads.load_recipe(recipe)), out)


@pytest.mark.parametrize("shape", ["messages", "chat-prompt-completion", "prompt-completion", "alpaca", "sharegpt"])
def test_every_shape_of_a_mixture_is_the_same_training(model: Path, pool_file: Path, tmp_path: Path, shape: str):
    folder = mixed(pool_file, tmp_path / "mixture", format=shape)
    files = find_training_files([str(folder)])
    method = files.method(FineTuning(**brief(model)))
    found = sorted(text.ids for text in method.plan(files.load()).texts.texts)
    suffixed = (
        qads.Row(id=row.id, source=row.source, problem=f"{row.problem} Think step by step.", solution=row.solution)
        for row in qads.load_pool(pool_file)
    )
    expected = FineTuning(**brief(model)).plan(qads.Pool.from_rows(suffixed))
    assert found == sorted(text.ids for text in expected.texts.texts)


def test_texts_of_another_template_are_refused(model: Path, pool_file: Path, tmp_path: Path):
    folder = mixed(pool_file, tmp_path / "mixture", format="prompt-completion", template={"question": "Q: "})
    files = find_training_files([str(folder)])
    with pytest.raises(InputError, match="Say the same in both places"):
        files.method(FineTuning(**brief(model)))
    assert files.method(FineTuning(**brief(model), template=qads.ExemplarTemplate(question="Q: ")))


def test_of_several_variants_one_is_named(pool_file: Path, tmp_path: Path):
    folder = mixed(pool_file, tmp_path / "mixture", variants={"small": {"all": 5}, "large": {"all": 20}})
    with pytest.raises(InputError, match=r"2 variants \(small, large\); name one by its folder"):
        find_training_files([str(folder)])
    assert len(find_training_files([str(folder / "data" / "small")]).load()) == 5


@pytest.mark.parametrize("content", ["[]", "{not JSON", '{"what": "something"}'])
def test_a_manifest_of_another_program_is_none_of_ours(pool_file: Path, tmp_path: Path, content: str):
    rows_file = tmp_path / "project" / "data" / "a.jsonl"
    rows_file.parent.mkdir(parents=True)
    rows_file.write_bytes(pool_file.read_bytes())
    (tmp_path / "project" / "manifest.json").write_text(content)
    assert find_training_files([str(rows_file)]).locations == (str(rows_file),)


def test_a_damaged_manifest_of_a_mixture_is_told(pool_file: Path, tmp_path: Path):
    folder = mixed(pool_file, tmp_path / "mixture")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text()[:-40])
    with pytest.raises(CorruptError, match="not valid JSON"):
        find_training_files([str(folder)])


def test_a_run_stands_for_its_largest_file(model: Path, pool_file: Path, tmp_path: Path):
    run = run_pipeline(load_config(settings(model, pool_file, quality=None, budget=[4, 7])), tmp_path / "run")
    assert find_training_files([str(tmp_path / "run")]).locations == (str(run.train_file),)


def test_a_preset_gives_way_to_what_is_said(model: Path):
    from qads.cli.train import _config

    config = _config(["x"], "qads-paper", {"steps": 5}, True, more={}, settings=["train.warmup=0.1"])
    assert (config.train.steps, config.train.epochs, config.train.batch_size) == (5, None, 128)
    assert config.train.lora == qads.Lora()
    assert config.train.warmup == 0.1
    assert read_settings(TrainConfig, {"sources": "x"}).train.checkpoints == Checkpointing()

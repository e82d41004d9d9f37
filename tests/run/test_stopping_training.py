"""A training that is asked to end keeps what it has learnt, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest

import qads
from qads.config import TrainConfig
from qads.run import train_files
from qads.train import Checkpointing, FineTuning
from run.processes import background
from run.tiny import written
from run.trials import train_until_asked

STEPS = 6


@pytest.fixture
def config(model: Path, pool_file: Path) -> TrainConfig:
    method = FineTuning(
        model=str(model), dtype="float32", steps=STEPS, batch_size=3, learning_rate=1e-2,
        checkpoints=Checkpointing(minutes=None, steps=1000),
    )  # fmt: skip
    return TrainConfig(sources=(str(pool_file),), train=method, execution=qads.Execution(device="cpu"))


@pytest.mark.parametrize("at", [2, STEPS])
def test_a_training_that_is_asked_to_end_loses_no_step(config: TrainConfig, tmp_path: Path, at: int):
    with background(train_until_asked, config, tmp_path / "out", at) as process:
        process.join()
        assert process.exitcode == 143
    checkpoints = tmp_path / "out" / "train" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == [f"step-{at:08d}"]
    assert not (tmp_path / "out" / "train" / "manifest.json").exists()
    steps: list[int] = []
    train_files(config, tmp_path / "out", on_step=lambda step, plan: steps.append(step.step))
    assert steps == list(range(at + 1, STEPS + 1))
    train_files(config, tmp_path / "undisturbed")
    assert written(tmp_path / "out") == written(tmp_path / "undisturbed")

"""An evaluation in a process of its own, to be killed."""

from __future__ import annotations

from pathlib import Path

import torch

from qads.cluster import Execution
from qads.config import EvaluateConfig
from qads.run import evaluate_model
from run.tiny import StopAt


def measure(model: Path, exam: str, out: Path, observer: StopAt) -> None:
    """Measure the tiny model; stops where the observer does."""
    torch.set_num_threads(1)
    evaluate_model(config(model, exam), out, execution=Execution(device="cpu"), observer=observer)


def config(model: Path, exam: str) -> EvaluateConfig:
    """Likelihoods in one shard, generations in two."""
    return EvaluateConfig(model=str(model), sets=(exam,), dtype="float32", max_new_tokens=3)

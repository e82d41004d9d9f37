"""Several processes train as one does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import qads
from train.conftest import write_pool

pytest.importorskip("trl", reason="the extra 'train' is not installed")


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(model: str, pool: qads.Pool, tmp_path: Path):
    rows = write_pool(tmp_path / "rows.jsonl", pool)
    command = [
        "-m", "qads", "train", str(rows), "--model", model, "--epochs", "2", "--device", "cpu", "--json",
        "--set", "train.dtype=float32", "--set", "train.batch_size=5", "--set", "train.learning_rate=0.01",
        "--set", "execution.max_tokens_per_batch=200",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    told = [
        subprocess.run(
            [sys.executable, *before, *command, "-o", str(tmp_path / name)],
            capture_output=True, text=True, check=True, env=environment,
        ).stdout
        for name, before in (("one", []), ("two", launcher))
    ]  # fmt: skip
    one, two = (json.loads(text)["train"] for text in told)
    assert two["execution"]["processes"] == 2
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert (two["tokens"], two["steps"]) == (one["tokens"], one["steps"])

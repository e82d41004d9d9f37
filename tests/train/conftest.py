"""A tiny model that knows the end of a text, and rows for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import qads
from qads.cluster import Execution
from run.tiny import make_model, rows

CPU = Execution(device="cpu", max_tokens_per_batch=200)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama of a few thousand random weights, with a token that ends a text."""
    folder = make_model(tmp_path_factory.mktemp("model") / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<s>"
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def pool() -> qads.Pool:
    return qads.Pool.from_rows(qads.Row(**row) for row in rows(14))


@pytest.fixture(scope="session")
def brief(model: str) -> dict[str, Any]:
    """Settings of a training that takes a moment."""
    return {"model": model, "dtype": "float32", "epochs": 2, "batch_size": 6, "learning_rate": 1e-2}


def write_pool(path: Path, pool: qads.Pool) -> Path:
    """The rows as JSON Lines."""
    from qads.datasets import write_pool

    write_pool(pool, path)
    return path

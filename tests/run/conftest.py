"""A tiny model for the whole session, on one thread: the other tests want the other core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from run.tiny import make_model, rows, write_rows


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def pool_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pool.jsonl", rows(30))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

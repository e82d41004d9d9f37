"""One tiny experiment for all laws, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compare.tiny_experiment import Files, make_files
from qads.compare import Experiment, Results, run_experiment


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="session")
def finished(files: Files, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path, Results]:
    """Three arms matched in rows and in tokens, two seeds, trained and evaluated."""
    experiment, out = files.experiment(match=["rows", "tokens"]), tmp_path_factory.mktemp("finished") / "out"
    return experiment, out, run_experiment(experiment, out)

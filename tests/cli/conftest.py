"""The command line as it is called, in this process where nothing speaks against it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from in_process import signals_kept
from qads.cli import main
from run.tiny import make_model, rows, write_rows


@dataclass(frozen=True)
class Called:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


def parsed(text: str) -> dict[str, Any]:
    """The one JSON object that the text is."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def qads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `qads` with these words."""

    def call(*words: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["qads", *map(str, words)])
        capsys.readouterr()
        code = 0
        with signals_kept():
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        said = capsys.readouterr()
        return Called(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def tiny(model: Path) -> list[str]:
    """Flags that put the tiny model in every place of one."""
    values = {
        "embedding.kind": "lm", "embedding.model": model, "embedding.dtype": "float32",
        "quality.influence.model": model, "quality.influence.dtype": "float32",
        "quality.sample": 12, "anchors.n": 3, "execution.device": "cpu",
    }  # fmt: skip
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pool.jsonl", rows(30))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plain(tiny: list[str]) -> list[str]:
    """Flags of a selection by distance alone."""
    return ["--no-quality", *tiny[:6]]

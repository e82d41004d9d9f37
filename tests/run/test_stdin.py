"""What comes through standard input is kept, and other rows are never taken for it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from qads.config import load_config
from qads.errors import DriftError, PoolError
from qads.run import estimate_run
from run.tiny import rows, run, settings, write_rows


class Piped:
    """Standard input with these bytes in it."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


def test_standard_input_is_kept_so_that_a_second_start_needs_none(
    model: Path, tmp_path: Path, pool_file: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_config(settings(model, Path("-")))
    content = pool_file.read_bytes()
    monkeypatch.setattr(sys, "stdin", Piped(content))
    assert [stage.status for stage in estimate_run(config, tmp_path / "run")] == ["to do"] * 11
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(sys, "stdin", Piped(content))
    run(config, tmp_path / "run", until="embed")
    for again in (b"", content):
        monkeypatch.setattr(sys, "stdin", Piped(again))
        assert run(config, tmp_path / "run", until="embed").reused == ["pool", "embed"]
    monkeypatch.setattr(sys, "stdin", Piped(b""))
    assert [stage.status for stage in estimate_run(config, tmp_path / "run")][:3] == ["done", "done", "to do"]


def test_other_rows_in_standard_input_are_never_passed_over(
    model: Path, tmp_path: Path, pool_file: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_config(settings(model, Path("-")))
    monkeypatch.setattr(sys, "stdin", Piped(pool_file.read_bytes()))
    run(config, tmp_path / "run", until="pool")
    other = write_rows(tmp_path / "other.jsonl", rows(12, seed=5)).read_bytes()
    monkeypatch.setattr(sys, "stdin", Piped(other))
    with pytest.raises(DriftError, match=r"other rows come through standard input now.*--redo pool"):
        run(config, tmp_path / "run", until="pool")
    assert pq.read_table(tmp_path / "run" / "pool" / "pool.parquet").num_rows == 30
    monkeypatch.setattr(sys, "stdin", Piped(other))
    assert run(config, tmp_path / "run", until="pool", redo=["pool"]).computed == ["pool"]
    assert pq.read_table(tmp_path / "run" / "pool" / "pool.parquet").num_rows == 12
    monkeypatch.setattr(sys, "stdin", Piped(b""))
    assert run(config, tmp_path / "run", until="pool", redo=["pool"]).computed == ["pool"]
    assert pq.read_table(tmp_path / "run" / "pool" / "pool.parquet").num_rows == 12


def test_nothing_in_standard_input_is_an_error_that_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", Piped(b""))
    with pytest.raises(PoolError, match="nothing is piped into it"):
        run(load_config(settings(model, Path("-"))), tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_what_is_wrong_with_standard_input_is_told_of_standard_input(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_config(settings(model, Path("-")))
    for ask in (estimate_run, run):
        monkeypatch.setattr(sys, "stdin", Piped(b"problem,solution\n1?,1\n"))
        with pytest.raises(PoolError, match=r"^standard input, which is read as JSON Lines:1: not valid JSON"):
            ask(config, tmp_path / "run")

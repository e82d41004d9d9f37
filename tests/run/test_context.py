"""Files that are written a part at a time are those that are written at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qads
from qads.run import context
from run.tiny import rows, write_rows


@pytest.mark.parametrize("kept", [np.arange(30), np.array([2, 3, 29]), np.array([5, 1, 28]), np.arange(0)])
def test_rows_are_written_as_their_table_would_be(kept: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(context, "_GROUP_ROWS", 7)
    pool = qads.load_pool(write_rows(tmp_path / "pool.jsonl", rows(30)))
    written = context.write_rows(pool, kept, tmp_path / "parts.parquet")
    context.write_table(pool.take(kept).table, tmp_path / "once.parquet")
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "once.parquet").read_bytes()
    assert written.fingerprint == pool.take(kept).fingerprint


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("shape", [(30, 4), (30,), (7, 3)])
def test_an_array_in_parts_is_written_as_a_whole_one(dtype: type, shape: tuple[int, ...], tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    context.write_array(array, tmp_path / "once.npy")
    context.write_array_parts((array[i : i + 7] for i in range(0, len(array), 7)), len(array), tmp_path / "parts.npy")
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "once.npy").read_bytes()

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import qads
from qads.datasets import mapped
from qads.datasets.mapped import open_pool
from qads.errors import StorageError


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = [qads.Row(id=f"r{i}", source="s", problem=f"{i}? " * 40, solution="so" * 40) for i in range(20_000)]
    qads.write_pool(qads.Pool.from_rows(rows), tmp_path / "pool.parquet")
    return tmp_path / "pool.parquet"


def test_a_mapped_pool_is_the_pool_takes_no_memory_and_leaves_no_file(written, monkeypatch):
    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    before = pa.total_allocated_bytes()
    found = open_pool(written)
    assert found.table.nbytes > 4_000_000 > pa.total_allocated_bytes() - before
    assert [path.name for path in written.parent.iterdir()] == ["pool.parquet"]
    monkeypatch.undo()
    assert found.fingerprint == open_pool(written).fingerprint
    assert found[19_999].problem == "19999? " * 40


def test_on_a_full_disk_the_pool_is_not_read_into_memory(written, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    monkeypatch.setattr(mapped, "_mapped", full)
    with pytest.raises(StorageError, match="No space left on device"):
        open_pool(written)


def test_where_no_file_can_be_made_the_pool_is_read(written, monkeypatch, caplog):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert len(open_pool(written)) == 20_000
    assert "read into memory as a whole" in caplog.text

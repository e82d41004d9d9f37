"""Finished shards on a disk that is full, and after a stage that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qads.errors import StorageError
from qads.run.completing import complete
from qads.run.directory import RunDirectory, StagePlan
from qads.run.observing import SilentObserver
from qads.run.shards import DiskShards
from run.trials import small_disk_or_skip


def test_an_array_for_which_there_is_no_room_leaves_nothing(tmp_path: Path):
    with small_disk_or_skip(tmp_path / "disk", 65_536) as disk:
        with pytest.raises(StorageError, match="No space left on device"):
            DiskShards(disk).array((10_000, 8))
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_keeps_its_shards_and_not_what_it_joined_them_in(tmp_path: Path, error: type[BaseException]):
    stage = RunDirectory(tmp_path).stage(StagePlan("embed", {}))

    def compute() -> dict[str, Any]:
        stage.shards.put(0, pa.table({"x": [1.0]}))
        stage.shards.array((1, 1))
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        complete(stage, compute, observer=SilentObserver())
    assert stage.shards.count() == 1
    assert list(stage.path.glob("joined*")) == []

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
from run.trials import small_disk


def test_an_array_for_which_there_is_no_room_leaves_nothing(tmp_path: Path):
    try:
        with small_disk(tmp_path / "disk", 65_536):
            with pytest.raises(StorageError, match="No space left on device"):
                DiskShards(tmp_path / "disk").array((10_000, 8))
            assert list((tmp_path / "disk").iterdir()) == []
    except PermissionError as error:
        pytest.skip(str(error))


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

"""Finished shards on a disk that is full, after a stage that failed, damaged meanwhile, or of another version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import qads
from qads import embed
from qads.clean import reading, searching
from qads.cluster import Execution, ShardStore
from qads.errors import CorruptError, StorageError
from qads.evaluate import Evaluation
from qads.evaluate import method as evaluating
from qads.quality import likelihoods, scoring
from qads.quality.scorers import base
from qads.quality.scorers import reading as scorer_reading
from qads.run.completing import complete
from qads.run.directory import RunDirectory, StagePlan
from qads.run.observing import SilentObserver
from qads.run.shards import DiskShards
from run.tiny import make_model, rows, write_rows
from run.trials import small_disk_or_skip

CPU = Execution(device="cpu")


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


# ------------------------------------------------------------------------------------------ every stage that has shards


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[ShardStore | None], Any]]:
    """What is computed in shards: a store -> what comes of it, to be compared."""
    folder = tmp_path_factory.mktemp("work")
    made = [row | {"id": f"{copy}{row['id']}"} for copy in "ab" for row in rows(20)]
    model, pool = str(make_model(folder / "tiny")), qads.Pool.from_rows(qads.Row(**row) for row in made)
    exam, part = f"exam={write_rows(folder / 'exam.jsonl', made)}", pool.take(range(20))
    quality = np.random.default_rng(0).random(40)
    probe = qads.ProbeScorer(
        model=model, dtype="float32", reads=("likelihood", "states"), depths=(1.0,), families=("ridge",)
    ).completed()
    fitted = probe.fit(pool, quality, execution=CPU)
    evaluation = Evaluation(sets=(exam,), dtype="float32", generate=False)
    influence = qads.OneShotInfluence(model=model, dtype="float32")
    how = {"execution": CPU}
    return {
        "embed": lambda at: np.asarray(qads.LMEmbedder(model=model, dtype="float32")(pool, shards=at, **how)).tolist(),
        "duplicates": lambda at: qads.Deduplication()(pool, shards=at).rows.tolist(),
        "contamination": lambda at: qads.Decontamination()(pool, part, shards=at).matches,
        "likelihoods": lambda at: qads.AnswerLikelihoods(model=model)(pool, shards=at, **how).tolist(),
        "influence": lambda at: influence(part, pool.take(range(6)), shards=at, **how).one_shot.tobytes(),
        "readings": lambda at: probe.read(pool, CPU, shards=at).states.tolist(),
        "predictions": lambda at: fitted.prediction(pool, shards=at, **how).quality.tolist(),
        "evaluation": lambda at: evaluation(model, shards=at, **how).items.to_pylist(),
    }


JOINED = ["embed", "contamination", "likelihoods", "influence", "readings", "predictions", "evaluation"]
"""All but the search for duplicates, which takes in a shard as it comes."""
SHARDED = [*JOINED, "duplicates"]


def cut(patch: pytest.MonkeyPatch, n_rows: int) -> None:
    """Have so many rows in a shard, of whatever."""
    for module in (embed, likelihoods, scoring, base, scorer_reading):
        patch.setattr(module, "_ROWS_PER_SHARD", n_rows)
    for module in (reading, searching):
        patch.setattr(module, "_ROWS_PER_BATCH", n_rows)
    patch.setattr(evaluating, "_ITEMS_PER_SHARD", {name: n_rows for name in evaluating._ITEMS_PER_SHARD})


class Damaged(DiskShards):
    """Shards to the second of which something happens as soon as it is there."""

    def happens(self) -> None:
        """Damage it."""
        file = self._file(1)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    def put(self, index: int, table: pa.Table) -> None:
        """Keep one."""
        super().put(index, table)
        if index == 1:
            self.happens()


class Killed(Damaged):
    """Shards whose process ends when the second is finished."""

    def happens(self) -> None:
        """End."""
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", JOINED)
def test_a_shard_that_is_damaged_before_it_is_joined_is_told_and_computed_at_the_next_start(
    name: str, work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cut(monkeypatch, 8)
    with pytest.raises(CorruptError, match=r"^shard 1 \(.* \d+ to \d+\) was damaged .*same command again"):
        work[name](Damaged(tmp_path))
    assert work[name](DiskShards(tmp_path)) == work[name](None)


@pytest.mark.parametrize("name", SHARDED)
@pytest.mark.parametrize(("before", "after"), [(8, 16), (16, 8), (12, 8)])
def test_shards_that_were_cut_otherwise_are_computed_again(
    name: str, before: int, after: int, work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    cut(monkeypatch, before)
    with pytest.raises(KeyboardInterrupt):
        work[name](Killed(tmp_path))
    cut(monkeypatch, after)
    assert work[name](DiskShards(tmp_path)) == work[name](None)
    # The first shard of influence is that of the anchors alone, which is the same.
    n_strange = 1 if name == "influence" else 2
    assert f"finished shards of other rows than now: {n_strange}; they are computed again" in caplog.text


@pytest.mark.parametrize("name", [name for name in SHARDED if name != "influence"])  # That says it by a key.
def test_shards_of_a_version_that_did_not_say_of_which_rows_they_are_are_computed_again(
    name: str, work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    cut(monkeypatch, 16)
    expected, shards = work[name](DiskShards(tmp_path)), DiskShards(tmp_path)
    for index in range(n_shards := shards.count()):
        table = shards.get(index)
        assert table is not None
        notes = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"shard_of"}
        shards.put(index, table.replace_schema_metadata(notes).slice(1))  # One row less: it must not be believed.
    assert work[name](shards) == expected
    told = [record.args for record in caplog.records if "of other rows than now" in record.message]
    assert sum(n for (n,) in told) == n_shards  # pyright: ignore
    caplog.clear()
    assert work[name](shards) == expected
    assert "computed again" not in caplog.text

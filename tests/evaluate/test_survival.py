"""An evaluation that is killed goes on from where it was, and ends with the bytes of one that was not."""

from __future__ import annotations

from pathlib import Path

from qads.cluster import Execution
from qads.run import SilentObserver, evaluate_model
from run.measuring import config, measure
from run.processes import background, wait_until_stopped
from run.tiny import StopAt, rows, write_rows

CPU = Execution(device="cpu")


def test_an_evaluation_that_is_killed_ends_as_if_it_had_not_been(model: Path, tmp_path: Path):
    exam = f"exam={write_rows(tmp_path / 'exam.jsonl', rows(40))}"
    whole = evaluate_model(config(model, exam), tmp_path / "whole", execution=CPU, observer=SilentObserver())
    out = tmp_path / "killed"
    with background(measure, model, exam, out, StopAt("evaluate", 40 + 32)) as process:
        wait_until_stopped(process)
    shards = sorted((out / "evaluate" / "shards").glob("*.parquet"))
    assert len(shards) == 2
    written = shards[0].stat().st_mtime_ns
    found = evaluate_model(config(model, exam), out, execution=CPU, observer=Watching(shards[0], written))
    for name in ("items.parquet", "summary.json"):
        assert (found.folder / name).read_bytes() == (whole.folder / name).read_bytes()


class Watching(SilentObserver):
    """Sees whether a shard is written again."""

    def __init__(self, shard: Path, written: int) -> None:
        self.shard, self.written = shard, written

    def progress(self, done: int, total: int) -> None:
        assert self.shard.stat().st_mtime_ns == self.written

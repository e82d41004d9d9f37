"""Scoring shared out to several processes: parts are scored each by itself, and one run takes all of it over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import qads
from run.tiny import make_model, rows, run, settings, write_rows


def test_rows_drawn_beforehand_and_scored_in_parts_are_all_taken_over(tmp_path: Path):
    model = make_model(tmp_path / "model")
    made = rows(64)
    whole = write_rows(tmp_path / "pool.jsonl", made[:60])
    anchors = write_rows(tmp_path / "anchors.jsonl", made[60:])

    def config(pool: Path, sample: int) -> qads.RunConfig:
        asked = settings(model, pool, anchors={"sources": str(anchors)})
        asked["quality"]["sample"] = sample
        return qads.load_config(asked)

    pool = qads.load_pool(whole)
    parts = np.array_split(qads.stratified_sample(pool, 24), 2)
    for number, part in enumerate(parts):
        qads.write_pool(pool.take(part), tmp_path / f"part-{number}.jsonl")
        run(config(tmp_path / f"part-{number}.jsonl", 24), tmp_path / f"run-{number}", until="influence")
    runs = [tmp_path / f"run-{number}" for number in range(2)]
    run(config(whole, 24), tmp_path / "joined", reuse=runs, until="influence")
    found = json.loads((tmp_path / "joined" / "influence" / "manifest.json").read_text())
    assert (found["rows"], found["pairs_reused"]) == (24, 24 * 4)
    assert found["tokens"] == 0

"""The long form of `tests/fuzzing`: python tests/soak/mutations.py [--files N] [--seed S].

Mutated files through the readers and the commands, mutated configurations, and run directories of which a file went bad.
Real files come in where `QADS_TEST_DATA` names their folder. Prints what it has done; ends with 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzzing.attempts import call
from fuzzing.batches import attempt, damaged_configs, damaged_files, damaged_runs
from fuzzing.corpus import invented_records, real_records
from fuzzing.test_files import config_texts
from run.tiny import make_model, rows, write_rows


def finished_run(folder: Path) -> Path:
    """A small run of every stage up to the page."""
    model, pool = make_model(folder / "tiny"), write_rows(folder / "pool.jsonl", rows(30))
    tiny = {"model": str(model), "dtype": "float32"}
    settings = {
        "pool": {"sources": str(pool)}, "budget": 5, "embedding": {"kind": "lm", **tiny}, "anchors": {"n": 3},
        "quality": {"sample": 12, "influence": tiny}, "execution": {"device": "cpu"},
    }  # fmt: skip
    (folder / "run.yaml").write_text(json.dumps(settings))
    code, _, err = call("run", folder / "run.yaml", "-o", folder / "run")
    assert code == 0, err
    return folder / "run"


def soak(n: int, seed: int) -> int:
    """Every sort of case; returns how many faults there were."""
    real = Path(os.environ.get("QADS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    donors = [*(real_records(real, 12) if (real / "pool").is_dir() else []), *invented_records()]
    n_faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "configs").mkdir()
        write_rows(folder / "configs" / "pool.jsonl", rows(6))
        (folder / "runs").mkdir()
        run = finished_run(folder)
        batches = {
            "readers": lambda: damaged_files(donors, folder / "files", n, seed=seed),
            "pools": lambda: damaged_files(donors, folder / "pools", n // 5, seed=seed + 1),
            "configs": lambda: damaged_configs(config_texts(), folder / "configs", n // 5, seed=seed),
            "runs": lambda: damaged_runs(run, folder / "runs", n // 10, seed=seed),
        }
        for what, make in batches.items():
            paths, started = make(), time.monotonic()
            faults = attempt(what, paths)
            n_faults += len(faults)
            print(f"{what}: {len(paths):,} cases, {len(faults)} faults, {time.monotonic() - started:.0f} s", flush=True)
            for fault in faults:
                print(f"  {fault}", flush=True)
    return n_faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5_000, help="mutated files for the readers")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    given = parser.parse_args()
    sys.exit(1 if soak(given.files, given.seed) else 0)

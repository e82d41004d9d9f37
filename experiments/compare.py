"""Run a comparison whose pool is the rows that other runs have really scored.

The rows, and the anchors they were scored on, become the files that the experiment names as ${QADS_INPUTS}; what was
scored is taken over. ${QADS_TEST_DATA} is the folder of real datasets. All else is `qads compare`, its options too: a
second start goes on.

    python experiments/real_pool.py runs smollm2-135m --sample 384 --anchors 72
    python experiments/compare.py experiments/compare_small.yaml OUT --labels runs/smollm2-135m
"""

from __future__ import annotations

import argparse
import os
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from qads import Pool, write_pool
from qads.run import labelled_file, pool_file

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))


def write_inputs(runs: list[Path], folder: Path) -> None:
    """The labelled rows of the first run, and its anchors, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "anchors.jsonl").exists():
        return
    pool = Pool(pq.read_table(pool_file(runs[0])))
    write_pool(pool.take(np.load(labelled_file(runs[0]))), folder / "pool.jsonl")
    write_pool(Pool(pq.read_table(runs[0] / "anchors" / "anchors.parquet")), folder / "anchors.jsonl")


def main() -> None:
    """Write the inputs, fill the folders in, and start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="runs of the same rows, a model each")
    args, more = parser.parse_known_args()
    inputs = args.out.with_name(args.out.name + ".inputs")
    write_inputs(args.labels, inputs)
    folders = {"QADS_TEST_DATA": str(DATA.resolve()), "QADS_INPUTS": str(inputs.resolve())}
    filled = inputs / args.experiment.name
    filled.write_text(string.Template(args.experiment.read_text("utf-8")).substitute(folders), "utf-8")
    reuse = [part for run in args.labels for part in ("--reuse", str(run))]
    command = [sys.executable, "-m", "qads", "compare", str(filled), "--out", str(args.out), *reuse, *more]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()

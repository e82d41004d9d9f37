"""Run a comparison whose pool is the rows that other runs have really scored.

The rows, and the anchors they were scored on, become the files that the experiment names as ${QADS_INPUTS}; what was
scored is taken over. ${QADS_TEST_DATA} is the folder of real datasets. With --stages the experiment has the pool of the
run, and all that the run has finished is taken over. All else is `qads compare`, its options too; a new start goes on.
Of a run only its scores are needed (`results/labels` has some), without --stages.

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

from qads import Decontamination, Influence, load_experiment, load_pool, write_pool
from qads.compare.shared import SHARED_STAGES, shared_folder
from qads.run import pool_file, share_stages
from qads.run.context import read_pool

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))
EVALUATED = {"gsm8k": "gsm8k_test", "math500": "math500", "aqua": "aqua_test"}
"""Evaluation set -> its file."""


def write_inputs(run: Path, folder: Path) -> None:
    """The rows that a run has scored, and its anchors, as files: by their ids, as scores may be all that is left."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "anchors.jsonl").exists():
        return
    scores = Influence.from_table(pq.read_table(run / "influence" / "influence.parquet"))
    pool = load_pool(DATA / "pool", on_bad_row="skip")
    place = {each: at for at, each in enumerate(pool.strings("id"))}
    for name, ids in (("pool", scores.candidate_ids), ("anchors", scores.anchor_ids)):
        if strange := [each for each in ids if each not in place]:
            sys.exit(f"{run}: was scored on rows that are not in {DATA / 'pool'}: {', '.join(strange[:5])} …")
        write_pool(pool.take([place[each] for each in ids]), folder / f"{name}.jsonl")


def take_stages(runs: list[Path], experiment: Path, out: Path) -> None:
    """Everything that the runs have finished; and the ids of rows that are problems of the sets to be evaluated."""
    contaminated = experiment.with_name("contaminated.txt")
    if not contaminated.exists():
        pool = read_pool(pool_file(runs[0]))
        sets = [load_pool(DATA / "eval" / f"{name}.jsonl.gz") for name in EVALUATED.values()]
        rows = np.unique(np.concatenate([Decontamination()(pool, each).rows for each in sets]))
        contaminated.write_text("".join(f"{name}\n" for name in pool.take(rows).strings("id")), "utf-8")
    for model, run in zip(load_experiment(experiment).scoring_models, runs, strict=True):
        share_stages(run, shared_folder(out, model), SHARED_STAGES)


def main() -> None:
    """Write the inputs, fill the folders in, and start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="runs of the same rows, a model each")
    parser.add_argument("--stages", action="store_true", help="take over all that these runs have finished")
    args, more = parser.parse_known_args()
    inputs = args.out.with_name(args.out.name + ".inputs")
    write_inputs(args.labels[0], inputs)
    folders = {"QADS_TEST_DATA": str(DATA.resolve()), "QADS_INPUTS": str(inputs.resolve())}
    filled = inputs / args.experiment.name
    filled.write_text(string.Template(args.experiment.read_text("utf-8")).substitute(folders), "utf-8")
    reuse = [part for run in args.labels for part in ("--reuse", str(run))]
    if args.stages:
        take_stages(args.labels, filled, args.out)
    command = [sys.executable, "-m", "qads", "compare", str(filled), "--out", str(args.out), *reuse, *more]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()

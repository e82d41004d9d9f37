"""Run a comparison whose pool is the rows that other runs have really scored, or rows whose quality a scorer predicts.

The rows, and the anchors they were scored on, become the files that the experiment names as ${QADS_INPUTS}; what was
scored is taken over. ${QADS_TEST_DATA} is the folder of real datasets. With --scorer the pool is every n-th row of all
real rows, and the quality of each is predicted by the scorer that a run has fitted. All else is `qads compare`, its
options too; a new start goes on. Of --labels only the scores are needed (`results/labels` has some).

    python experiments/real_pool.py runs smollm2-135m --sample 384 --anchors 72
    python experiments/compare.py experiments/compare_small.yaml OUT --labels runs/smollm2-135m
    python experiments/compare.py experiments/compare_pool.yaml OUT --scorer runs/smollm2-135m --every 4
"""

from __future__ import annotations

import argparse
import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from qads import Decontamination, Influence, load_pool, write_pool

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


def write_part(scorer: Path, every: int, folder: Path) -> None:
    """Every n-th row of the real ones, the ids of those that are problems of the evaluation, and the run's scorer."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = load_pool(DATA / "pool", on_bad_row="skip")
    part = whole.take(range(0, len(whole), every))
    sets = [load_pool(DATA / "eval" / f"{name}.jsonl.gz") for name in EVALUATED.values()]
    rows = np.unique(np.concatenate([Decontamination()(part, each).rows for each in sets]))
    (folder / "contaminated.txt").write_text("".join(f"{name}\n" for name in part.take(rows).strings("id")), "utf-8")
    write_pool(part, folder / "part.jsonl")
    shutil.copytree(scorer / "scorer", folder / "scorer", dirs_exist_ok=True, ignore=shutil.ignore_patterns("shards"))


def main() -> None:
    """Write the inputs, fill the folders in, and start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("out", type=Path)
    scores = parser.add_mutually_exclusive_group(required=True)
    scores.add_argument("--labels", type=Path, nargs="+", default=[], help="runs of the same rows, a model each")
    scores.add_argument("--scorer", type=Path, help="run that has fitted a scorer")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="with --scorer: every N-th row alone")
    args, more = parser.parse_known_args()
    if args.every != 1 and not args.scorer:
        parser.error("--every goes with --scorer: the rows of --labels are those that were scored")
    inputs = args.out.with_name(args.out.name + ".inputs")
    if args.scorer:
        write_part(args.scorer, args.every, inputs)
    else:
        write_inputs(args.labels[0], inputs)
    folders = {"QADS_TEST_DATA": str(DATA.resolve()), "QADS_INPUTS": str(inputs.resolve())}
    filled = inputs / args.experiment.name
    filled.write_text(string.Template(args.experiment.read_text("utf-8")).substitute(folders), "utf-8")
    reuse = [part for run in args.labels for part in ("--reuse", str(run))]
    command = [sys.executable, "-m", "qads", "compare", str(filled), "--out", str(args.out), *reuse, *more]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()

"""Real influence of a stratified sample of the whole real pool on anchors of one domain, for one base model or several.

Anchors are worked solutions drawn evenly from training sets, of GSM8K, MATH and AQuA unless others are named; no
evaluation set is read. Every model gets a run directory of its own, which a second start goes on with; `qads analyze
--run` reads them.

    python experiments/real_pool.py OUT smollm2-135m [gemma3-270m …] [--sample 960] [--anchors 24]
    python experiments/real_pool.py OUT-code smollm2-135m --anchor-files code_alpaca_2k
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qads import Pool, load_config, load_pool, run_pipeline, write_pool

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))
ANCHOR_FILES = ("gsm8k_train", "math_train", "aqua_rat_flan")
LONGEST_ANCHOR = 1200
"""Characters of problem and solution; longer ones would make up most of the cost."""


def draw_anchors(n: int, files: Sequence[str], out: Path) -> Path:
    """`n` rows, evenly over the training sets, by seed 0; fewer of them are the first of each set."""
    path = out / "anchors.jsonl"
    if not path.exists():
        rows = []
        for name in files:
            pool = load_pool(DATA / "pool" / f"{name}.jsonl.gz")
            short = [i for i, row in enumerate(pool) if len(row.problem) + len(row.solution) <= LONGEST_ANCHOR]
            rows += list(pool.take(np.random.default_rng(0).permutation(short)[: n // len(files)]))
        write_pool(Pool.from_rows(rows), path)
    return path


def main() -> None:
    """Score for every model that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sample", type=int, default=960)
    parser.add_argument("--anchors", type=int, default=24)
    parser.add_argument("--anchor-files", nargs="+", default=ANCHOR_FILES, help="names of files of the pool")
    parser.add_argument("--predict", action="store_true", help="go on to the quality of every row (an hour or more)")
    parser.add_argument("--reuse", nargs="*", default=[], help="run directories whose scores are taken over")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of the run")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    anchors = draw_anchors(args.anchors, args.anchor_files, args.out)
    until = "quality" if args.predict else "scorer"
    for model in args.models:
        config = load_config(
            {
                "pool": {"sources": (str(DATA / "pool"),), "on_bad_row": "skip"},
                "budget": "10%",
                "anchors": {"sources": (str(anchors),)},
                "quality": {"sample": args.sample, "influence": {"model": model, "too_long": "drop"}},
            },
            args.set,
        )
        started = time.monotonic()
        result = run_pipeline(config, args.out / model.replace("/", "--"), until=until, reuse=args.reuse)
        fitted = result.manifests["scorer"]
        print(f"{model}: {fitted['labels']} rows scored in {time.monotonic() - started:.0f} s, {fitted['fidelity']}")


if __name__ == "__main__":
    main()

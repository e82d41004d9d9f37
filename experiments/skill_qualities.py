"""What one number for several skills chooses: the mean over anchors, and other ways to make one number of the skills'.

A skill is a source of anchors. Each way makes labels of the scored rows of a finished run of `real_pool.py`; a probe
that reads no model (source, embedding, surface) predicts all rows from them, and QaDS selects. It tells how well each
was predicted out of fold, overall and within sources, and from which sources the selection is.

    python experiments/real_pool.py RUNS smollm2-135m --sample 640 --reuse experiments/results/labels/smollm2-135m
    python experiments/skill_qualities.py RUNS/smollm2-135m --every 4
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float
from scipy.stats import rankdata

from qads import Constraints, Decontamination, Influence, KCenterGreedy, ProbeScorer, load_pool
from qads.kernels.correlation import centred, pearson

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))
EVALUATED = ("gsm8k_test", "math500", "aqua_test")


def qualities(scores: Influence) -> dict[str, Float[np.ndarray, " n"]]:
    """Name -> quality of every scored row, made of its quality for each skill."""
    of_skill = np.array(list(scores.by_group().values()))
    scaled = of_skill / of_skill.std(axis=1, keepdims=True)
    return {
        "mean over anchors": scores.quality(),
        "mean over anchors, losses too": scores.quality("mean_gain"),
        "mean, each skill over its spread": scaled.mean(axis=0),
        "largest": of_skill.max(axis=0),
        "largest, each skill over its spread": scaled.max(axis=0),
        "least, losses too": np.array(list(scores.by_group("mean_gain").values())).min(axis=0),
        "largest rank": rankdata(of_skill, axis=1).max(axis=0) / of_skill.shape[1],
    }


def main() -> None:
    """Print a row of the table for every way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="finished run of real_pool.py")
    parser.add_argument("--every", type=int, default=4, metavar="N", help="choose from every N-th row")
    parser.add_argument("--budget", type=int, default=60, help="rows")
    args = parser.parse_args()
    scores = Influence.from_table(pq.read_table(args.run / "influence" / "influence.parquet"))
    whole = load_pool(DATA / "pool", on_bad_row="skip")
    place = {name: at for at, name in enumerate(whole.strings("id"))}
    labelled = np.array([place[name] for name in scores.candidate_ids])
    embeddings = np.load(args.run / "embed" / "embeddings.npy", mmap_mode="r")
    part = np.arange(0, len(whole), args.every)
    pool = whole.take(part)
    sets = [load_pool(DATA / "eval" / f"{name}.jsonl.gz") for name in EVALUATED]
    sources, codes = np.array(whole.strings("source")), whole.source_codes[labelled]
    out = np.unique(np.concatenate([Decontamination()(pool, each).rows for each in sets]))
    print("| quality | r | within sources | sources of the selection |\n|---|---|---|---|")
    for name, quality in qualities(scores).items():
        method = ProbeScorer(reads=("source", "embedding", "surface"))
        fitted = method.fit(whole.take(labelled), quality, embeddings=np.asarray(embeddings[labelled]))
        assert fitted.out_of_fold is not None
        said = fitted.out_of_fold.predicted
        predicted = fitted.predict(pool, np.asarray(embeddings[part]))
        chosen = KCenterGreedy()(embeddings[part], predicted, budget=args.budget, constraints=Constraints(exclude=out))
        counts = Counter(sources[part[chosen.indices]].tolist()).most_common()
        agreement = pearson(said, quality), pearson(centred(said, codes), centred(quality, codes))
        shares = ", ".join(f"{source} {n}" for source, n in counts)
        print(f"| {name} | {agreement[0]:.2f} | {agreement[1]:.2f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()

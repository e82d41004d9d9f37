"""How well scorers predict the real influence of the real pool: one table, its intervals, and what was tried beside.

Labels are those of `experiments/real_pool.py`, which it makes if they are not there (hours; a second start goes on).
Every scorer is judged on rows out of fold, near duplicates in one fold; 3 seeds of folds.

    python experiments/scorer.py OUT --json FILE [--models smollm2-135m …] [--sample 640] [--anchors 24] [--skip-labels]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from qads import Influence, Pool, ProbeScorer, RetrievalScorer
from qads.cluster import Execution
from qads.pool import to_json
from qads.quality.fidelity import HeldOut, compare_predictions, fidelity, noise_ceiling
from qads.quality.scorers import FittedScorer, OutOfFold
from qads.quality.scorers.reading import LIKELIHOODS, Readings
from qads.run.clusters import near_duplicates

SEEDS = (0, 1, 2)
SCORERS: dict[str, Any] = {
    "retrieval": RetrievalScorer(),
    "probe": ProbeScorer(),
    "probe, no model": ProbeScorer(reads=("source", "embedding", "surface")),
    "probe, source and embedding": ProbeScorer(reads=("source", "embedding")),
    "probe, no source": ProbeScorer(reads=("embedding", "surface", "likelihood", "states")),
    "probe, no states": ProbeScorer(reads=("source", "embedding", "surface", "likelihood")),
    "probe, states alone": ProbeScorer(reads=("states",)),
    "probe, half of the depth": ProbeScorer(depths=(0.25, 0.5)),
    "probe, ridge": ProbeScorer(families=("ridge",)),
    "probe, kernel": ProbeScorer(families=("kernel",)),
    "probe, boosting": ProbeScorer(families=("boosting",)),
}


class LabelledRun:
    """The labels of one model, and what scorers need of the rows."""

    def __init__(self, run: Path, model: str) -> None:
        self.run, self.model = run, model
        table = pq.read_table(run / "pool" / "pool.parquet")
        drawn = np.load(run / "anchors" / "candidates.npy")
        self.rows = Pool(table.take(drawn))
        self.embeddings = np.load(run / "embed" / "embeddings.npy", mmap_mode="r")[drawn]
        self.influence = Influence.from_table(pq.read_table(run / "influence" / "influence.parquet"))
        self.manifest = json.loads((run / "influence" / "manifest.json").read_text())
        self.clusters = near_duplicates(self.rows)
        self.readings: Readings | None = None

    def read(self) -> Readings:
        """What the model makes of the rows, once."""
        if self.readings is None:
            self.readings = ProbeScorer(model=self.model).completed().read(self.rows, Execution())
        return self.readings

    def fitted(self, scorer: Any, quality: np.ndarray, seed: int, *, curve: bool = False) -> FittedScorer:
        """The scorer, with what it says of every row out of fold."""
        method, known = dataclasses.replace(scorer, seed=seed), {}
        if isinstance(scorer, ProbeScorer):
            method = dataclasses.replace(method, model=self.model)
            if method.reads_model:
                known = {"readings": self.half(method)}
        return method.fit(self.rows, quality, embeddings=self.embeddings, groups=self.clusters, curve=curve, **known)

    def half(self, method: ProbeScorer) -> Readings:
        """The readings of fewer depths, which are the first of those of all: means, then last tokens."""
        whole, n = self.read(), len(method.depths)
        if (n_layers := whole.states.shape[1] // 2) == n:
            return whole
        return dataclasses.replace(
            whole, states=np.concatenate([whole.states[:, :n], whole.states[:, n_layers : n_layers + n]], axis=1)
        )

    def held_out(self, quality: np.ndarray, found: OutOfFold | None) -> HeldOut:
        """The rows as fidelity takes them."""
        assert found is not None
        return HeldOut(
            source=tuple(self.rows.strings("source")), real=quality, predicted=found.predicted, low=found.low,
            high=found.high, source_mean=found.source_mean, fold=found.fold, cluster=self.clusters,
        )  # fmt: skip


def measured(run: LabelledRun) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every scorer on the labels of a run."""
    terms, groups, quality = run.influence.terms(), run.influence.anchor_groups, run.influence.quality()
    rival: dict[int, np.ndarray] = {}
    for name, scorer in SCORERS.items():
        seeds: list[dict[str, Any]] = []
        for seed in SEEDS:
            with_curve = name == "probe" and seed == SEEDS[0]
            fitted = run.fitted(scorer, quality, seed, curve=with_curve)
            held = run.held_out(quality, fitted.out_of_fold)
            if name == "retrieval":
                rival[seed] = held.predicted
            found = fidelity(held, terms=terms, anchor_groups=groups)
            seeds.append(flat(found))
            if name != "retrieval":
                better = compare_predictions(held, rival[seed])
                seeds[-1] |= spread("over_retrieval", better.overall)
                seeds[-1] |= spread("over_retrieval_within", better.within_source)
            if with_curve:
                seeds[-1]["curve"] = [
                    {"labels": n, **flat(fidelity(run.held_out(quality, each), n_bootstraps=300))}
                    for n, each in fitted.curve
                ]
        yield name, averaged(seeds) | {"cost_ratio": token_ratio(run, scorer)}


def spread(name: str, estimate: Any) -> dict[str, float]:
    """An estimate as three numbers."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def flat(found: Any) -> dict[str, Any]:
    """The numbers of the published table."""
    return {
        **spread("pearson", found.overall["pearson"]),
        "spearman": found.overall["spearman"].value,
        "kendall": found.overall["kendall"].value,
        "top_10": found.overall["top_10"].value,
        "top_25": found.overall["top_25"].value,
        **spread("within_source_pearson", found.within_source["pearson"]),
        **spread("over_source_mean", found.over_source_mean),
        "source_mean": found.source_mean.value,
        "pooled_noise_ceiling": found.ceiling.value,
        "noise_ceiling": found.ceiling_within.value,
        "slope": found.slope.value,
        "covered": found.covered.value,
        "n_test": found.n_rows,
    }


def averaged(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, of the ends of intervals too; r of each seed beside."""
    numbers = [key for key, value in seeds[0].items() if isinstance(value, int | float)]
    whole = {key: float(np.mean([each[key] for each in seeds])) for key in numbers}
    curve = {"curve": seeds[0]["curve"]} if "curve" in seeds[0] else {}
    by_seed = {f"{key}_by_seed": [each[key] for each in seeds] for key in ("pearson", "within_source_pearson")}
    return whole | by_seed | curve | {"share_of_ceiling": whole["within_source_pearson"] / whole["noise_ceiling"]}


def token_ratio(run: LabelledRun, scorer: Any) -> float:
    """Tokens of predicting a row as a share of those of scoring it; 0 where no model reads."""
    if not (isinstance(scorer, ProbeScorer) and scorer.reads_model):
        return 0.0
    made = run.manifest["pairs_scored"] - run.manifest["pairs_reused"]  # What reused ones took, another run knows.
    if not made:
        return float("nan")
    read = np.exp(run.read().likelihoods[:, LIKELIHOODS.index("log tokens")])
    return float(np.nanmean(read) / (run.manifest["tokens"] / made * len(run.influence.anchor_ids)))


def across(first: LabelledRun, second: LabelledRun) -> dict[str, Any]:
    """Agreement of the truth of two models, and of a scorer fitted on one with the truth of the other."""
    ours, theirs = (run.influence.quality() for run in (first, second))
    known = np.flatnonzero(np.isfinite(ours) & np.isfinite(theirs))
    found: dict[str, Any] = {"models": [first.model, second.model], "n_test": len(known)}
    pairs = {"real with real": ours}
    out = first.fitted(SCORERS["probe"], ours, 0).out_of_fold
    mine = first.held_out(theirs, out)
    pairs[f"probe of {first.model}"] = mine.predicted
    for name, said in pairs.items():
        held = dataclasses.replace(mine, predicted=said, low=None, high=None)
        both = fidelity(held)
        found[name] = spread("pearson", both.overall["pearson"]) | spread("within", both.within_source["pearson"])
    cells = np.zeros(len(ours), np.int64)
    for run in (first, second):
        terms = run.influence.terms()
        found[f"noise ceiling of {run.model}"] = [
            noise_ceiling(terms, codes).value for codes in (cells, np.asarray(run.rows.source_codes))
        ]
    return found


def main() -> None:
    """Label what is not labelled, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m"])
    parser.add_argument("--sample", type=int, default=640)
    parser.add_argument("--anchors", type=int, default=24)
    parser.add_argument("--skip-labels", action="store_true", help="the runs in OUT are finished")
    args = parser.parse_args()
    if not args.skip_labels:
        label = [sys.executable, str(Path(__file__).with_name("real_pool.py")), str(args.out), *args.models]
        subprocess.run([*label, "--sample", str(args.sample), "--anchors", str(args.anchors)], check=True)
    runs = [LabelledRun(args.out / model.replace("/", "--"), model) for model in args.models]
    main_run = runs[0]
    n_anchors = len(main_run.influence.anchor_ids)
    result: dict[str, Any] = {
        "model": main_run.model, "n_anchors": n_anchors, "n_sources": len(main_run.rows.sources),
        "n_clusters": len(np.unique(main_run.clusters)), "scorers": {},
    }  # fmt: skip
    for name, row in measured(main_run):
        result["scorers"][name] = row
        shown = ("pearson", "spearman", "within_source_pearson", "share_of_ceiling", "covered", "cost_ratio")
        print(f"{name:30}", *(f"{key} {row[key]:.3f}" for key in shown), flush=True)
    result["across"] = [across(a, b) for a in runs for b in runs if a is not b]
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(json.loads(to_json(result)), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

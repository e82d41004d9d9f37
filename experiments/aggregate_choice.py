"""What the choice of the aggregate does behind it: to the scorer, and to what selectors pick.

On the candidates whose training effect `aggregates.py` measured. The scorer's agreement with each aggregate, out of
fold. And, in random halves of each source, the mean training effect (nats a token on the anchors) of the rows that a
selector picks, above that of all rows: once with their real quality, once with a quality predicted by a scorer that was
fitted on the other half.

    python experiments/aggregate_choice.py experiments/results/aggregates --json choice.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from aggregates import MODEL, Records, draw_sample, effects_path, influence_path
from jaxtyping import Float, Int

import qads
from qads.quality.fidelity import HeldOut, fidelity
from qads.quality.influence import AGGREGATES
from qads.run.sealed import write_json

BASELINE = "positive_gain"
ORIGINS = ("real", "predicted")
SCORER = qads.ProbeScorer(reads=("source", "embedding"), families=("ridge",))
BUDGET = 0.2
SELECTORS = {
    "QaDS, ranks (default)": qads.KCenterGreedy(),
    "QaDS, min-max": qads.KCenterGreedy(scale="minmax"),
    "sum, w = 0.5": qads.KCenterGreedy(combine="sum"),
    "top quality": qads.TopQuality(),
}


def halves(codes: Int[np.ndarray, " n"], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a random half of each source, and the others."""
    first = [rng.permutation(np.flatnonzero(codes == c))[: np.sum(codes == c) // 2] for c in np.unique(codes)]
    chosen = np.sort(np.concatenate(first))
    return chosen, np.setdiff1d(np.arange(len(codes)), chosen)


def interval(values: Float[np.ndarray, " s"]) -> dict[str, float]:
    """Mean over the splits, and the middle 95% of them."""
    low, high = np.percentile(values, [2.5, 97.5])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def agreement_of(pool: qads.Pool, quality: Float[np.ndarray, " n"], x: np.ndarray) -> dict[str, Any]:
    """How well the scorer predicts rows that it did not see."""
    out = SCORER.fit(pool, quality, embeddings=x).out_of_fold
    assert out is not None, "there are many problems"
    _, problem = np.unique(np.array(pool.problem_keys), return_inverse=True)
    rows = HeldOut(
        source=tuple(pool.strings("source")), real=quality, predicted=out.predicted, fold=out.fold,
        cluster=problem.reshape(-1), source_mean=out.source_mean,
    )  # fmt: skip
    return fidelity(rows).summary()


def picked_effects(
    pool: qads.Pool, x: np.ndarray, qualities: dict[str, np.ndarray], effect: np.ndarray, splits: int, seed: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Origin of the quality -> selector -> aggregate -> mean effect of the picks above that of all rows, by split."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {
        origin: {name: {a: np.empty(splits) for a in qualities} for name in SELECTORS}
        for origin in ("real", "predicted")
    }
    for split in range(splits):
        fitted_on, rows = halves(pool.source_codes, rng)
        for aggregate, quality in qualities.items():
            scorer = SCORER.fit(pool.take(fitted_on), quality[fitted_on], embeddings=x[fitted_on])
            predicted = scorer.predict(pool.take(rows), x[rows])
            for origin, values in (("real", quality[rows]), ("predicted", predicted)):
                for name, selector in SELECTORS.items():
                    picks = rows[selector(x[rows], values, budget=BUDGET).indices]
                    found[origin][name][aggregate][split] = effect[picks].mean() - effect[rows].mean()
    return found


def main() -> None:
    """Print two tables and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what aggregates.py wrote")
    parser.add_argument("--splits", type=int, default=200, help="random halves (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()
    records = Records(effects_path(given.folder, "adamw")).read()
    influence = qads.Influence.from_table(pq.read_table(influence_path(given.folder)))
    sample = draw_sample(qads.open_causal_lm(MODEL, dtype="float32", device="cpu"), records[0]["settings"]["seed"])
    pool = sample.candidates
    if pool.fingerprint != records[0]["settings"]["candidates"]:
        raise SystemExit("The rows drawn are not those that were measured.")
    effects = {record["id"]: float(np.mean(record["effects"])) for record in records[1:]}
    effect = np.array([effects[name] for name in pool.strings("id")])
    qualities = {name: influence.quality(name) for name in AGGREGATES}
    x = np.asarray(qads.SentenceEmbedder()(pool).vectors)
    agreement = {name: agreement_of(pool, quality, x) for name, quality in qualities.items()}
    print("| scorer predicts | Pearson, out of fold | within sources | source mean alone | negative |")
    print("|---|---|---|---|---|")
    for name, a in agreement.items():
        print(
            f"| `{name}` | {a['pearson']:.2f} [{a['pearson_low']:.2f}, {a['pearson_high']:.2f}] "
            f"| {a['within_source']:.2f} | {a['source_mean']:.2f} | {np.mean(qualities[name] < 0):.0%} |"
        )
    found = picked_effects(pool, x, qualities, effect, given.splits, given.seed)
    figures: dict[str, Any] = {"agreement": agreement, "pool_mean_effect": float(effect.mean()), "budget": BUDGET}
    print("\n| quality | selector | " + " | ".join(f"`{a}`" for a in qualities) + f" | `mean_gain` less `{BASELINE}` |")
    print("|---|---|" + "---|" * (len(qualities) + 1))
    for origin, by_selector in found.items():
        for name, values in by_selector.items():
            means = {a: interval(v) for a, v in values.items()}
            differences = {a: interval(v - values[BASELINE]) for a, v in values.items()}
            figures.setdefault(origin, {})[name] = {"above_all_rows": means, "less_baseline": differences}
            cells = " | ".join(f"{m['mean']:+.4f}" for m in means.values())
            gain = differences["mean_gain"]
            print(f"| {origin} | {name} | {cells} | {gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}] |")
    if given.json:
        write_json(given.json, figures)


if __name__ == "__main__":
    main()

"""Do labels in rounds, where the scorer is least sure, serve better than as many that are evenly drawn?

Real labels of `experiments/real_pool.py` are hidden and given out as a plan asks for them. A quarter of the problems of
every source is held out, the same for both; scorers fitted on either kind of labels are compared on those rows.

    python experiments/labelling.py RUN --json FILE [--budget 160] [--step 40] [--seeds 8]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from scorer import LabelledRun
from sklearn.model_selection import StratifiedGroupKFold

from qads import LabellingPlan, ProbeScorer, stratified_sample
from qads.kernels.agreement import cell_pearson
from qads.quality.scorers import FittedProbe

TEST_SHARE = 4
"""One row in so many is held out."""


class Hidden:
    """Labels that are known and given out when they are asked for."""

    def __init__(self, run: LabelledRun, seed: int) -> None:
        self.run, self.quality = run, run.influence.quality()
        self.method = dataclasses.replace(ProbeScorer(), model=run.model, seed=seed)
        sources = np.asarray(run.rows.source_codes)
        folds = StratifiedGroupKFold(TEST_SHARE, shuffle=True, random_state=seed)
        watched, test = next(folds.split(sources, sources, run.clusters))
        self.watched, self.test, self.sources = watched.astype(np.int64), test, sources

    def fit(self, rows: np.ndarray, judges: np.ndarray | None = None) -> FittedProbe:
        """The scorer on labels of watched rows."""
        at = self.watched[rows]
        given = {} if judges is None else {"judges": judges}
        fitted = self.method.fit(
            self.run.rows.take(at), self.quality[at], embeddings=self.run.embeddings[at],
            groups=self.run.clusters[at], readings=self.run.read().take(at), **given,
        )  # fmt: skip
        assert isinstance(fitted, FittedProbe)
        return fitted

    def widths(self, fitted: FittedProbe) -> np.ndarray:
        """Predictive intervals of the watched rows."""
        found = self._predict(fitted, self.watched)
        return (found.high - found.low).astype(np.float64)

    def agreement(self, fitted: FittedProbe) -> tuple[float, float]:
        """Pearson's r on the rows held out: over all of them, and within sources."""
        said, real = self._predict(fitted, self.test).quality.astype(np.float64), self.quality[self.test]
        cells = np.unique(self.sources[self.test], return_inverse=True)[1]
        once = np.ones((1, len(real)))
        pooled = cell_pearson(said[None], real[None], np.zeros(len(real), np.int64), once)[0]
        return float(pooled), float(cell_pearson(said[None], real[None], cells, once)[0])

    def _predict(self, fitted: FittedProbe, at: np.ndarray) -> Any:
        return fitted.predict_read(self.run.rows.take(at), self.run.embeddings[at], self.run.read().take(at))


def compared(run: LabelledRun, seed: int, budget: int, step: int) -> dict[str, Any]:
    """Both ways of drawing, on one split."""
    hidden = Hidden(run, seed)
    pool = run.rows.take(hidden.watched)
    even = stratified_sample(pool, budget, seed=seed)
    plan = LabellingPlan(step=step, patience=10**6)  # Goes on to the end of the budget, so that both have as many.
    first = stratified_sample(pool, plan.n_first(budget), seed=seed)
    found = plan(
        pool, first, budget, label=lambda number, rows: None,
        fit=lambda rows, judges: (hidden.fit(rows, judges), hidden.quality[hidden.watched[rows]]),
        widths=hidden.widths,
    )  # fmt: skip
    judges = np.arange(budget) < found.n_first
    result: dict[str, Any] = {"seed": seed, "n_test": len(hidden.test), "rounds": len(found.rounds)}
    ways = {"even": (even, None), "rounds": (found.rows, judges), "half": (first, None)}
    for name, (rows, judged) in ways.items():
        result[name] = dict(zip(("pearson", "within"), hidden.agreement(hidden.fit(rows, judged)), strict=True))
    return result


def difference(found: list[dict[str, Any]], one: str, other: str, what: str) -> dict[str, float]:
    """Mean over the splits, and its standard error: splits share rows, so that it is a lower bound."""
    each = np.array([row[one][what] - row[other][what] for row in found])
    return {
        "mean": float(each.mean()),
        "se": float(each.std(ddof=1) / np.sqrt(len(each))),
        "better": int((each > 0).sum()),
    }


def main() -> None:
    """Compare on several splits, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--budget", type=int, default=160)
    parser.add_argument("--step", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=8)
    args = parser.parse_args()
    run = LabelledRun(args.run, args.model)
    found: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        found.append(compared(run, seed, args.budget, args.step))
        print(json.dumps(found[-1]), flush=True)
    pairs = [(one, other) for one, other in (("rounds", "even"), ("even", "half"))]
    summary = {
        f"{one} - {other}, {what}": difference(found, one, other, what)
        for one, other in pairs
        for what in ("pearson", "within")
    }
    print(json.dumps(summary, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "budget": args.budget,
            "step": args.step,
            "n_labels": len(run.rows),
            "anchors": len(run.influence.anchor_ids),
        }
        args.json.write_text(json.dumps(facts | {"summary": summary, "splits": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

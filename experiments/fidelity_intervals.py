"""Do the intervals of a fidelity report hold? Rows, anchors and predictions are made by a known model, again and again.

    quality of row i on anchor j = source + row + noise_ij          prediction = source + share of row + noise

Near duplicates share what is the row's, folds hold whole groups of them. Everything is normal, so the truth within
sources is known: of Spearman's correlation (6/π) asin(r/2), of Kendall's (2/π) asin(r), of a top the orthant of two
normal variables.

    python experiments/fidelity_intervals.py [--samples 400] [--rows 320] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import multivariate_normal, norm

from qads.quality.fidelity import Estimate, HeldOut, compare_predictions, fidelity

N_SOURCES, N_FOLDS, N_ANCHORS = 8, 5, 24
OF_ROW, OF_PAIR, OF_PREDICTION, SHARE = 0.5, 1.5, 0.4, 0.6
"""Standard deviations of a row's part, of a pair's noise and of a prediction's; how much of the row it knows."""


def make(n_rows: int, seed: int) -> tuple[HeldOut, np.ndarray, np.ndarray]:
    """Rows, their quality on every anchor, and what a rival says who knows half as much of the row."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_rows), rng.choice([1, 2, 4], n_rows, p=[0.8, 0.1, 0.1]))[:n_rows]
    source = rng.integers(0, N_SOURCES, n_rows)[group]
    of_source, row = 2 * rng.standard_normal(N_SOURCES)[source], OF_ROW * rng.standard_normal(n_rows)[group]
    terms = (of_source + row)[:, None] + OF_PAIR * rng.standard_normal((n_rows, N_ANCHORS))
    said, rival = (
        of_source + share * row + OF_PREDICTION * rng.standard_normal(n_rows)[group] for share in (SHARE, SHARE / 2)
    )
    rows = HeldOut(
        source=tuple(f"source {code}" for code in source),
        real=terms.mean(axis=1),
        predicted=said,
        fold=group % N_FOLDS,
        cluster=group,
        source_mean=of_source,
    )
    return rows, terms, rival


def r_of(share: float) -> float:
    """Pearson's r within sources of a prediction that knows so much of the row."""
    of_row, real = OF_ROW**2, OF_ROW**2 + OF_PAIR**2 / N_ANCHORS
    return share * of_row / np.sqrt(real * (share**2 * of_row + OF_PREDICTION**2))


def truth() -> dict[str, float]:
    """What is so of infinitely many rows, within sources."""
    r = r_of(SHARE)
    both = multivariate_normal(cov=[[1, r], [r, 1]])
    return {
        "pearson": r,
        "spearman": 6 / np.pi * np.arcsin(r / 2),
        "kendall": 2 / np.pi * np.arcsin(r),
        "top_10": both.cdf([norm.ppf(0.1)] * 2) / 0.1,
        "top_25": both.cdf([norm.ppf(0.25)] * 2) / 0.25,
        "more than a rival": r - r_of(SHARE / 2),
        "ceiling": np.sqrt(OF_ROW**2 / (OF_ROW**2 + OF_PAIR**2 / N_ANCHORS)),
    }


def measured(n_rows: int, seed: int) -> dict[str, Estimate]:
    """What a report says of one sample."""
    rows, terms, rival = make(n_rows, seed)
    found = fidelity(rows, terms=terms, n_bootstraps=500, seed=seed)
    more = compare_predictions(rows, rival, n_bootstraps=500, seed=seed)
    return {**found.within_source, "more than a rival": more.within_source, "ceiling": found.ceiling_within}


def main() -> None:
    """Count how often the truth lies in the interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    samples = [measured(args.rows, seed) for seed in range(args.samples)]
    table: dict[str, dict[str, Any]] = {}
    for name, so in truth().items():
        estimates = [sample[name] for sample in samples]
        table[name] = {
            "truth": round(float(so), 4),
            "mean": round(float(np.mean([e.value for e in estimates])), 4),
            "spread": round(float(np.std([e.value for e in estimates])), 4),
            "width": round(float(np.mean([e.high - e.low for e in estimates])), 4),
            "covered": round(float(np.mean([e.low <= so <= e.high for e in estimates])), 4),
            "too low": round(float(np.mean([e.high < so for e in estimates])), 4),
        }
        print(f"{name:18}", table[name])
    if args.json:
        args.json.write_text(json.dumps({"rows": args.rows, "samples": args.samples, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Does a scorer know what other anchors will say, and better than the real scores it was fitted on?

The anchors of a labelled run are halved at random, with as many of every source in each half. A scorer is fitted on the
quality that one half gives, and its predictions, out of fold, are held against the quality that the *other* half gives;
and so is the quality that the first half gives itself. The second is what a user has who scores every row for real on
that half; the first what one has who scores a few and predicts the rest.

    python experiments/other_anchors.py OUT smollm2-135m [--halvings 10] [--json FILE]

OUT holds the runs of `experiments/real_pool.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scorer import LabelledRun

from qads import ProbeScorer
from qads.kernels.agreement import cell_pearson
from qads.kernels.reliability import halvings


def agreement(
    said: Float[np.ndarray, " n"], real: Float[np.ndarray, " n"], cells: Int[np.ndarray, " n"]
) -> dict[str, float]:
    """Pearson's r inside cells of a fold, and inside those of a fold and source."""
    return {
        name: float(cell_pearson(said[None], real[None], codes, np.ones((1, len(real))))[0])
        for name, codes in (("pooled", cells // 1000), ("within", cells))
    }


def measured(run: LabelledRun, n_halvings: int) -> list[dict[str, dict[str, float]]]:
    """Of every half: what its scorer and its own quality say of the other's."""
    terms, sources = run.influence.terms(), np.asarray(run.rows.source_codes)
    found = []
    for number, half in enumerate(halvings(run.influence.anchor_groups, n_halvings, 0)):
        inside = half > 0
        mine, other = np.nanmean(terms[:, inside], axis=1), np.nanmean(terms[:, ~inside], axis=1)
        out = run.fitted(ProbeScorer(families=("ridge", "kernel")), mine, number).out_of_fold
        assert out is not None
        known = np.flatnonzero(np.isfinite(out.predicted) & np.isfinite(other))
        cells = (out.fold * 1000 + sources)[known]
        found.append(
            {
                "scorer of one half, the other": agreement(out.predicted[known], other[known], cells),
                "one half, the other": agreement(mine[known], other[known], cells),
                "scorer of one half, that half": agreement(out.predicted[known], mine[known], cells),
            }
        )
        print(number, *(f"{name}: {each['within']:.3f}" for name, each in found[-1].items()), flush=True)
    return found


def over_halvings(values: Float[np.ndarray, " h"]) -> dict[str, Any]:
    """Mean and standard deviation over the halvings, which share rows and anchors."""
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1)), "n": len(values)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("model")
    parser.add_argument("--halvings", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    run = LabelledRun(args.out / args.model.replace("/", "--"), args.model)
    found = measured(run, args.halvings)
    table: dict[str, Any] = {"model": args.model, "rows": len(run.rows), "anchors": len(run.influence.anchor_ids)}
    for name in found[0]:
        table[name] = {
            level: over_halvings(np.array([each[name][level] for each in found])) for level in ("pooled", "within")
        }
    first, second = (
        np.array([each[name]["within"] for each in found])
        for name in ("scorer of one half, the other", "one half, the other")
    )
    table["scorer better in"] = f"{int((first > second).sum())} of {len(found)}"
    print(json.dumps(table, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

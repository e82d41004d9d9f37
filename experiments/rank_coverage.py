"""Do the intervals and the bounds of ranks hold as often as they say?

A real matrix of influence stands for the world: its source means are the truth. Rows of every source and anchors of
every group are drawn from it with replacement, as a scored sample is drawn from a source and anchors from a skill, and
the analysis is asked for intervals and ranks. Counted is how often a source's interval holds its true mean, and how
often all true ranks lie between their bounds at once; beside it what is often done instead: ranks read off the draws.

    python experiments/rank_coverage.py experiments/results/aggregates/influence.parquet --rows 40 --anchors 24
    python experiments/rank_coverage.py experiments/results/aggregates/influence.parquet --anchors 16 --group-size 1
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.analyze import rank_with_bounds
from qads.analyze.resampling import anchor_strata, draws, interval_of, row_means
from qads.quality import Influence

CONFIDENCE = 0.95


def sample_world(
    terms: Float[np.ndarray, "k m"], codes: Int[np.ndarray, " k"], groups: Int[np.ndarray, " m"], n_rows: int,
    n_anchors: int, group_size: int | None, rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "r a"], Int[np.ndarray, " r"], list[str]]:  # fmt: skip
    """Rows of every source and anchors of every group, drawn with replacement; and what their groups are called."""
    rows = np.concatenate([rng.choice(np.flatnonzero(codes == s), n_rows) for s in np.unique(codes)])
    each = n_anchors // len(np.unique(groups))
    anchors = np.concatenate([rng.choice(np.flatnonzero(groups == g), each) for g in np.unique(groups)])
    size = group_size or n_anchors
    return terms[np.ix_(rows, anchors)], codes[rows], [f"{g}-{i // size}" for i, g in enumerate(groups[anchors])]


def source_means(quality: Float[np.ndarray, " r"], codes: Int[np.ndarray, " r"]) -> Float[np.ndarray, " s"]:
    """Mean of every source over the rows that have a quality."""
    known = np.isfinite(quality)
    return np.bincount(codes[known], weights=quality[known]) / np.bincount(codes[known])


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("influence", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--anchors", type=int, default=24)
    parser.add_argument("--group-size", type=int, help="call so many anchors a group, as a few of every source are")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    found = Influence.from_table(pq.read_table(args.influence))
    names = [name.split("-", 1)[0] for name in found.candidate_ids]
    codes = np.unique(names, return_inverse=True)[1]
    groups = np.unique(found.anchor_groups, return_inverse=True)[1]
    terms = found.terms("positive_gain")
    # Anchors of every group weigh the same in what is drawn, so they do in the truth.
    weights = 1 / np.bincount(groups)[groups]
    truth = source_means(row_means(terms, weights), codes)
    rank_low = np.array([1 + (truth > t).sum() for t in truth])
    rng = np.random.default_rng(0)
    result: dict[str, dict[str, list[float]]] = {}
    for _ in range(args.repetitions):
        drawn, of, names_of = sample_world(terms, codes, groups, args.rows, args.anchors, args.group_size, rng)
        for title, anchors in (("rows and anchors", True), ("rows alone", False)):
            value = source_means(row_means(drawn, np.ones(drawn.shape[1])), of)
            boot = np.array(
                [
                    source_means(row_means(drawn, d.anchors)[d.rows], of)
                    for d in draws(of, names_of, args.draws, int(rng.integers(2**31)), anchors=anchors)
                ]
            )
            strata = [[args.rows], *([list(map(len, anchor_strata(names_of)))] if anchors else [])]
            means = [interval_of(float(v), boot[:, s], CONFIDENCE, strata=strata) for s, v in enumerate(value)]
            low, high = np.array([i.low for i in means]), np.array([i.high for i in means])
            ranking = rank_with_bounds(value, boot, CONFIDENCE)
            ranks = 1 + (boot[:, :, None] < boot[:, None, :]).sum(axis=2)
            naive_low, naive_high = np.quantile(ranks, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
            counted = result.setdefault(title, {})
            for name, number in {
                "mean in its interval": float(((low <= truth) & (truth <= high)).mean()),
                "all ranks between their bounds": float(
                    ((ranking.lowest <= rank_low) & (rank_low <= ranking.highest)).all()
                ),
                "all ranks between those of the draws": float(
                    ((naive_low <= rank_low) & (rank_low <= naive_high)).all()
                ),
                "ranks between the bounds, mean": float((ranking.highest - ranking.lowest + 1).mean()),
                "wrong pairs told apart, any": float((ranking.better & (truth[:, None] <= truth[None, :])).any()),
                "share of pairs told apart": float(ranking.better.sum() / (len(truth) * (len(truth) - 1) / 2)),
            }.items():
                counted.setdefault(name, []).append(number)
    shown = {title: {name: round(float(np.mean(v)), 3) for name, v in parts.items()} for title, parts in result.items()}
    print(json.dumps({"sources": len(truth), **vars(args) | {"influence": str(args.influence)}, **shown}, indent=1))


if __name__ == "__main__":
    main()

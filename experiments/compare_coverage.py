"""How often intervals of paired differences hold what they are of, with few seeds: the comparison's and other ways.

Arms that do not differ are drawn again and again:

    value[arm, s, i] = σ_a a[arm, s] + σ_b b[arm, i] + σ_e e[arm, s, i]

with the items of three sets, every arm against the first. Counted is how often 0 lies in the interval of one comparison
by itself, and in those of all comparisons (arms × sets and their mean) at once.

    pigeonhole      percentiles of a bootstrap of seeds and of items within their set (Owen 2007)
    expanded        the same, moved outward for small samples (Hesterberg 2015)
    own, max-t      Student by the comparison's own variance; joint level from the bootstrap (Westfall & Young 1993)
    own             Student by the comparison's own variance; Bonferroni
    blocks          how far seeds move a difference told by all arms; Bonferroni: what `qads compare` does

    python experiments/compare_coverage.py [--repeats 1000] [--out coverage.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import norm

from qads.analyze.resampling import draws
from qads.compare import PairedItems, compare_arms
from qads.kernels.crossed import crossed_means, student_interval
from qads.kernels.percentiles import expanded_percentiles

SETS, ITEMS, ARMS = 3, 40, 7
DRAWS = 400
CASES = {
    "items decide": (0.1, 1.0, 0.3, 1.0),
    "seeds and items": (0.3, 1.0, 0.3, 1.0),
    "seeds decide": (1.0, 0.3, 0.3, 1.0),
    "noise": (0.1, 0.0, 1.0, 1.0),
    "seeds and items, every other arm moves less": (0.3, 1.0, 0.3, 0.3),
    "seeds decide, every other arm moves less": (1.0, 0.3, 0.3, 0.3),
}
"""σ_a, σ_b, σ_e, and by what σ_a of every second arm is multiplied."""


def arms_alike(rng: np.random.Generator, n_seeds: int, case: tuple[float, float, float, float]) -> PairedItems:
    """Arms that differ by chance alone."""
    seeds, items, rest, less = case
    n = SETS * ITEMS
    scale = np.where(np.arange(ARMS) % 2 == 1, less, 1.0)[:, None, None]
    values = (
        seeds * scale * rng.standard_normal((ARMS, n_seeds, 1))
        + items * rng.standard_normal((ARMS, 1, n))
        + rest * rng.standard_normal((ARMS, n_seeds, n))
    )
    return PairedItems(tuple("abcdefg"), values, ("x", "y", "z"), np.repeat(np.arange(SETS), ITEMS))


def others(items: PairedItems, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Ends of the other intervals: by themselves, and together."""
    weights = np.tile(np.stack(list(items.scopes.values())), (ARMS - 1, 1))
    d = np.repeat(items.values[1:] - items.values[:1], len(items.scopes), axis=0)
    mean, error, freedom = crossed_means(d, weights, items.codes)
    found = np.empty((len(d), DRAWS))
    n_seeds, names = d.shape[1], np.array(items.sets)[items.codes].tolist()
    for b, draw in enumerate(draws(np.zeros(n_seeds, np.int64), names, DRAWS, seed)):
        of_items = weights[:, items.codes] * draw.anchors / ITEMS
        of_seeds = np.bincount(draw.rows, minlength=n_seeds) / n_seeds
        found[:, b] = np.einsum("csi,ci,s->c", d, of_items, of_seeds)
    away = np.abs(found - found.mean(axis=1, keepdims=True)) / found.std(axis=1, keepdims=True)
    joint = float(np.clip(2 * norm.sf(np.quantile(away.max(axis=0), 0.95)), 0.05 / len(d), 0.05))
    one, all_ = 0.05, 0.05 / len(d)
    plain, wide = (np.quantile(found, [tail / 2, 1 - tail / 2], axis=1) for tail in (one, all_))
    strata = [[n_seeds], [ITEMS]]
    expanded, expanded_all = (
        np.array([expanded_percentiles(m, f, 1 - tail, strata=strata) for m, f in zip(mean, found, strict=True)]).T
        for tail in (one, all_)
    )
    alone = student_interval(mean, error, freedom, 0.05)
    return {
        "pigeonhole": (*plain, *wide),
        "expanded": (*expanded, *expanded_all),
        "own, max-t": (*alone, *student_interval(mean, error, freedom, joint)),
        "own": (*alone, *student_interval(mean, error, freedom, 0.05 / len(d))),
    }


def main() -> None:
    """Count, and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table: list[dict[str, object]] = []
    for n_seeds in (2, 3, 5):
        for name, case in CASES.items():
            rng = np.random.default_rng(0)
            counts: dict[str, list[tuple[float, float, float]]] = {}
            for repeat in range(args.repeats):
                items = arms_alike(rng, n_seeds, case)
                found = compare_arms(items, [(arm, "a") for arm in items.arms[1:]])
                ends = {"blocks": tuple(np.array(v) for v in zip(
                    *((o.difference.low, o.difference.high, o.low, o.high) for o in found), strict=True))}  # fmt: skip
                for way, (low, high, all_low, all_high) in (others(items, repeat) | ends).items():
                    holds, all_hold = (low <= 0) & (high >= 0), (all_low <= 0) & (all_high >= 0)
                    width = float((all_high - all_low).mean())
                    counts.setdefault(way, []).append((float(holds.mean()), float(all_hold.all()), width))
            for way, each in counts.items():
                alone, together, width = np.mean(each, axis=0)
                table.append({"seeds": n_seeds, "case": name, "way": way, "alone": round(alone, 3),
                              "together": round(together, 3), "width": round(width, 3)})  # fmt: skip
                print(
                    f"{n_seeds} seeds, {name}, {way}: {alone:.3f}, together {together:.3f}, {width:.2f} wide",
                    flush=True,
                )
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

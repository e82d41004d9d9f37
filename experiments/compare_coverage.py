"""How often intervals of differences hold what they are of, with few seeds: the comparison's and other ways.

Arms that do not differ are drawn again and again:

    value[arm, s, i] = σ_a a[arm, s] + σ_b b[i] + σ_c c[arm, i] + σ_e e[arm, s, i]

with the items of three sets, every arm against the first. Counted is how often 0 lies in the interval of one comparison
by itself, and in those of all comparisons (arms × sets and their mean) at once.

    pigeonhole      percentiles of a bootstrap of seeds and of items within their set (Owen 2007)
    expanded        the same, moved outward for small samples (Hesterberg 2015)
    paired, max-t   Student by the variance of differences seed by seed; joint level from that bootstrap
    paired          the same; Bonferroni
    blocks          how far seeds move a difference told by all arms together (Fisher 1935); Bonferroni
    each arm's own  how far seeds move an arm told by its own seeds (Welch 1947); Bonferroni: what `qads compare` does

With --shares instead: how often the interval of one arm's share of right items holds the share of all items and seeds,
where item i is right with chance p_i (a beta distribution: items that differ much, or not at all) in every seed.

    Student   by the variance over seeds and items
    Wilson    of as many items as say as much: what `qads compare` does

    python experiments/compare_coverage.py [--shares] [--repeats 1000] [--out coverage.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import norm

from qads.analyze.resampling import draws
from qads.compare import PairedItems, compare_arms, estimate_arm
from qads.kernels.crossed import Part, crossed_means, group_means, seed_part, student_interval
from qads.kernels.percentiles import expanded_percentiles

SETS, ITEMS, ARMS = 3, 40, 7
DRAWS = 400
CASES = {
    "items decide": (0.1, 1.0),
    "seeds and items": (0.3, 1.0),
    "seeds decide": (1.0, 1.0),
    "the first arm moves seven times as far as the rest": (0.7, 1 / 7),
    "so it does, and seeds decide": (2.0, 1 / 7),
    "every other arm moves a third as far": (0.3, None),
}
"""σ_a of the first arm, and by what it is multiplied for the others; None: a third of every other."""
SEEDS = ((2, 2), (3, 3), (3, 12), (5, 5), (5, 15))
"""Of the arms, and of the first."""
SHARES = (0.03, 0.2, 0.5)
SPREADS = {"items differ much": 0.5, "items differ": 5.0, "items are alike": 1e6}
"""Sum of the two parameters of the beta distribution that p_i come from."""
Ends = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Ends of intervals: low and high by themselves, low and high together."""


def arms_alike(rng: np.random.Generator, n_seeds: tuple[int, int], case: tuple[float, float | None]) -> PairedItems:
    """Arms that differ by chance alone."""
    n = SETS * ITEMS
    of_items = rng.standard_normal((1, n))
    values: list[np.ndarray] = []
    for arm in range(ARMS):
        less = 1.0 if arm == 0 else case[1] if case[1] is not None else (1 / 3 if arm % 2 else 1.0)
        seeds = n_seeds[1] if arm == 0 else n_seeds[0]
        values.append(
            case[0] * less * rng.standard_normal((seeds, 1))
            + of_items + 0.2 * rng.standard_normal((1, n)) + 0.3 * rng.standard_normal((seeds, n))
        )  # fmt: skip
    return PairedItems(tuple("abcdefg"), tuple(values), ("x", "y", "z"), np.repeat(np.arange(SETS), ITEMS))


def paired(items: PairedItems, weights: np.ndarray, of_seeds: Part | None = None) -> tuple[np.ndarray, ...]:
    """Mean, error and freedom of differences seed by seed, or with what seeds do given."""
    found: list[tuple[np.ndarray, ...]] = []
    for other in items.values[1:]:
        d = other - items.values[0]
        part = of_seeds or seed_part(d, weights, items.codes)
        found.append(crossed_means(np.tile(d.mean(axis=0), (len(weights), 1)), weights, items.codes, [part]))
    return tuple(np.concatenate(each) for each in zip(*found, strict=True))


def blocks(items: PairedItems, weights: np.ndarray) -> Part:
    """The residual of arms × seeds in every scope."""
    means = np.stack([group_means(each, items.codes, SETS) @ weights.T for each in items.values])
    rest = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean(axis=(0, 1))
    n_arms, n_seeds, _ = means.shape
    freedom = (n_arms - 1) * (n_seeds - 1)
    return 2 * (rest**2).sum(axis=(0, 1)) / freedom / n_seeds, freedom


def others(items: PairedItems, seed: int) -> dict[str, Ends]:
    """The other ways; all of them take pairs of seeds."""
    scopes = np.stack(list(items.scopes.values()))
    weights = np.tile(scopes, (ARMS - 1, 1))
    d = np.repeat(np.stack([each - items.values[0] for each in items.values[1:]]), len(scopes), axis=0)
    mean, error, freedom = paired(items, scopes)
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
    alone = student_interval(mean, error, freedom, one)
    together = paired(items, scopes, blocks(items, scopes))
    return {
        "pigeonhole": (*plain, *wide),
        "expanded": (*expanded, *expanded_all),
        "paired, max-t": (*alone, *student_interval(mean, error, freedom, joint)),
        "paired": (*alone, *student_interval(mean, error, freedom, all_)),
        "blocks": (*student_interval(*together, one), *student_interval(*together, all_)),
    }


def measured(items: PairedItems, repeat: int) -> dict[str, tuple[float, float, float]]:
    """Way -> share of intervals that hold 0 by themselves, whether all hold it together, mean width of the latter."""
    found = compare_arms(items, [(arm, "a") for arm in items.arms[1:]])
    ends = zip(*((o.difference.low, o.difference.high, o.low, o.high) for o in found), strict=True)
    ways: dict[str, Ends] = {} if len(set(map(len, items.values))) > 1 else others(items, repeat)
    ways["each arm's own"] = tuple(np.array(each) for each in ends)
    return {
        way: (
            float(((low <= 0) & (high >= 0)).mean()), float(((all_low <= 0) & (all_high >= 0)).all()),
            float((all_high - all_low).mean()),
        )
        for way, (low, high, all_low, all_high) in ways.items()
    }  # fmt: skip


def shares(repeats: int) -> list[dict[str, object]]:
    """A line for every share, spread of items, and number of seeds: coverage and width of both intervals."""
    table: list[dict[str, object]] = []
    codes, weights = np.zeros(ITEMS, np.int64), np.ones((1, 1))
    for n_seeds in (1, 3, 5):
        for share in SHARES:
            for name, spread in SPREADS.items():
                rng = np.random.default_rng(0)
                ends: list[tuple[float, ...]] = []
                for _ in range(repeats):
                    chances = rng.beta(share * spread, (1 - share) * spread, ITEMS)
                    values = (rng.random((n_seeds, ITEMS)) < chances).astype(float)
                    means = crossed_means(
                        values.mean(axis=0)[None], weights, codes, [seed_part(values, weights, codes)]
                    )
                    low, high = student_interval(*means, 0.05)
                    found = estimate_arm(PairedItems(("a",), (values,), ("x",), codes), "a")["x"]
                    ends.append((low[0], high[0], found.low, found.high))
                low, high, wilson_low, wilson_high = np.array(ends).T
                for way, one, other in (("Student", low, high), ("Wilson", wilson_low, wilson_high)):
                    figures = {"holds": ((one <= share) & (share <= other)).mean(), "width": np.nanmean(other - one)}
                    told: dict[str, object] = {"seeds": n_seeds, "share": share, "case": name, "way": way}
                    table.append(told | {key: round(float(value), 3) for key, value in figures.items()})
                    print(*table[-1].values(), sep=" | ", flush=True)
    return table


def differences(repeats: int) -> list[dict[str, object]]:
    """A line for every number of seeds, case and way."""
    table: list[dict[str, object]] = []
    for n_seeds in SEEDS:
        for name, case in CASES.items():
            rng = np.random.default_rng(0)
            every = [measured(arms_alike(rng, n_seeds, case), repeat) for repeat in range(repeats)]
            for way in every[0]:
                alone, together, width = np.mean([each[way] for each in every], axis=0)
                figures = {"alone": alone, "together": together, "width": width}
                told = {"seeds": n_seeds[0], "of the first": n_seeds[1], "case": name, "way": way}
                table.append(told | {key: round(float(value), 3) for key, value in figures.items()})
                print(*told.values(), *(f"{value:.3f}" for value in figures.values()), sep=" | ", flush=True)
    return table


def main() -> None:
    """Count, and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--shares", action="store_true", help="of one arm's share of right items")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table = shares(args.repeats) if args.shares else differences(args.repeats)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

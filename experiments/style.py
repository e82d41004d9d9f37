"""Quality apart from style beside the plain one, on a run that has been scored.

For every kind of quality: how well it is known (split-half reliability over the anchors, over all rows and within
sources), how much of it lies between sources, how far it agrees with the plain one, how far its values on the anchor
groups agree with each other, and what its best tenth consists of. Intervals are 95% bootstrap: rows within their source
for the reliability, rows and anchors for all else; the gains beyond the style's are not taken anew in each sample.

    python experiments/style.py RUN [--json FILE] [--draws 400] [--clusters 16] [--stopping]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

from qads import AnchorGroups, Influence, Pool, RowScores, StyleControl, UntilRankStable, UntilStandardError
from qads.analyze.agreement import reliability
from qads.analyze.resampling import Draw, Interval, draws, interval_of, row_means
from qads.kernels.correlation import centred, pearson, share_between
from qads.pool import to_json
from qads.quality.rounds import play_rounds
from qads.quality.surface import surface_features
from qads.report import open_run

TOP = 0.1
SEED = 0


def variants(found: Influence, pool: Pool, n_clusters: int) -> dict[str, np.ndarray]:
    """Name -> what the quality averages over the anchors."""
    positive = found.terms("positive_gain")
    by_source, by_surface = StyleControl(), StyleControl(by="surface", n_clusters=n_clusters)
    quality = dataclasses.replace(found, one_shot=positive + found.zero_shot)
    return {
        "plain, positive gain": positive,
        "plain, mean gain": found.terms("mean_gain"),
        "by source, mean gain": by_source(found, pool).terms("mean_gain"),
        "by source, positive gain": by_source(found, pool).terms("positive_gain"),
        "by source, win rate": by_source(found, pool).terms("win_rate"),
        "positive gain less its source's": by_source(quality, pool).terms("mean_gain"),
        "by surface, mean gain": by_surface(found, pool).terms("mean_gain"),
    }


class Sample:
    """Scored rows and anchors, drawn again as often as asked for."""

    def __init__(self, found: Influence, pool: Pool, n_draws: int) -> None:
        self.codes, self.names = pool.source_codes, pool.sources
        self.groups = np.array(found.anchor_groups)
        self.draws = list(draws(self.codes, found.anchor_groups, n_draws, SEED))
        self.whole = Draw(np.arange(len(pool)), np.ones(len(self.groups)))

    def interval(self, measure: Callable[[Draw], float]) -> Interval:
        """A measure with rows and anchors drawn again."""
        return interval_of(measure(self.whole), np.array([measure(draw) for draw in self.draws]), 0.95)

    def group_reliability(self, terms: np.ndarray) -> dict[str, float | None]:
        """Of the quality on the anchors of each group, within sources."""
        names = list(dict.fromkeys(self.groups.tolist()))
        rows = np.arange(len(self.codes))
        on = {name: RowScores(model="", rows=rows, terms=terms[:, self.groups == name]) for name in names}
        return {name: reliability(scores.scored(), self.codes, SEED) for name, scores in on.items()}

    def reliability(self, terms: np.ndarray, *, within: bool) -> Interval:
        """Split-half over the anchors, with rows drawn again; halves of drawn anchors would share some."""
        codes = self.codes if within else np.zeros_like(self.codes)

        def of(draw: Draw) -> float:
            scores = RowScores(
                model="", rows=np.arange(len(codes)), terms=terms[draw.rows], anchor_groups=tuple(self.groups.tolist())
            )
            value = reliability(scores, codes[draw.rows], SEED)
            return float("nan") if value is None else value

        return interval_of(of(self.whole), np.array([of(draw) for draw in self.draws[:100]]), 0.95)

    def agreement(self, one: np.ndarray, other: np.ndarray, *, within: bool) -> Interval:
        """Pearson's r of two qualities."""

        def of(draw: Draw) -> float:
            return self._pearson(row_means(one, draw.anchors), row_means(other, draw.anchors), draw, within)

        return self.interval(of)

    def between_groups(self, terms: np.ndarray, *, within: bool) -> dict[str, Interval]:
        """Pearson's r of the quality on one group of anchors with that on another."""

        def on(name: str, draw: Draw) -> np.ndarray:
            return row_means(terms, draw.anchors * (self.groups == name))

        names = list(dict.fromkeys(self.groups.tolist()))
        return {
            f"{a} with {b}": self.interval(
                lambda draw, a=a, b=b: self._pearson(on(a, draw), on(b, draw), draw, within)
            )
            for a, b in combinations(names, 2)
        }  # fmt: skip

    def top_mean(self, terms: np.ndarray, of: np.ndarray) -> Interval:
        """What the best tenth by one quality has of another."""
        return self.interval(lambda draw: float(row_means(of, draw.anchors)[self._best(terms, draw)].mean()))

    def top(self, terms: np.ndarray) -> dict[str, Interval]:
        """Rows of every source among the best tenth, the most frequent source first."""

        def counts(draw: Draw) -> np.ndarray:
            return np.bincount(self.codes[self._best(terms, draw)], minlength=len(self.names))

        value = counts(self.whole)
        found = np.array([counts(draw) for draw in self.draws])
        return {
            self.names[i]: interval_of(float(value[i]), found[:, i].astype(float), 0.95) for i in np.argsort(-value)
        }

    def _best(self, terms: np.ndarray, draw: Draw) -> np.ndarray:
        quality = row_means(terms, draw.anchors)[draw.rows]
        return draw.rows[np.argsort(-quality, kind="stable")[: round(TOP * np.isfinite(quality).sum())]]

    def _pearson(self, a: np.ndarray, b: np.ndarray, draw: Draw, within: bool) -> float:
        a, b, codes = a[draw.rows], b[draw.rows], self.codes[draw.rows]
        known = np.isfinite(a) & np.isfinite(b)
        a, b, codes = a[known], b[known], codes[known]
        return pearson(centred(a, codes), centred(b, codes)) if within else pearson(a, b)


def measured(sample: Sample, terms: np.ndarray, plain: np.ndarray, gains: np.ndarray) -> dict[str, Any]:
    """Everything about one kind of quality."""
    quality = row_means(terms, sample.whole.anchors)
    known = np.isfinite(quality)
    return {
        "rows": int(known.sum()),
        "reliability": sample.reliability(terms, within=False),
        "reliability_within": sample.reliability(terms, within=True),
        "group_reliability": sample.group_reliability(terms),
        "between_sources": share_between(quality[known], sample.codes[known]),
        "with_plain": sample.agreement(terms, plain, within=False),
        "with_plain_within": sample.agreement(terms, plain, within=True),
        "groups": sample.between_groups(terms, within=False),
        "groups_within": sample.between_groups(terms, within=True),
        "top": sample.top(terms),
        "top_positive_gain": sample.top_mean(terms, plain),
        "top_mean_gain": sample.top_mean(terms, gains),
    }


def beyond_surface(found: Influence, pool: Pool) -> dict[str, Any]:
    """What looks say of quality apart from source, and what the anchor groups have in common without them."""
    codes, apart = pool.source_codes, StyleControl()(found, pool)
    features = np.array([centred(column, codes) for column in surface_features(pool).astype(np.float64).T]).T
    features = features[:, features.std(axis=0) > 1e-9]
    features /= features.std(axis=0)

    def predicted(quality: np.ndarray) -> np.ndarray:
        model = RidgeCV(alphas=10.0 ** np.arange(-1, 5))
        return cross_val_predict(model, features, quality, cv=KFold(10, shuffle=True, random_state=SEED))

    whole = centred(apart.quality("mean_gain"), codes)
    groups = {name: centred(quality, codes) for name, quality in apart.by_group("mean_gain").items()}
    rest = {name: quality - predicted(quality) for name, quality in groups.items()}
    return {
        "out_of_fold": pearson(predicted(whole), whole),
        "groups": {f"{a} with {b}": pearson(rest[a], rest[b]) for a, b in combinations(rest, 2)},
    }


def replayed(found: Influence, pool: Pool) -> list[dict[str, Any]]:
    """Quality apart from style after a stopping rule, three ways, against that on every anchor."""
    control, rows = StyleControl(), []
    whole = control(found, pool).quality("mean_gain")
    rules = [rule(seed=seed) for seed in range(3) for rule in (_soon, _late, UntilRankStable)]
    for rule, aggregate in product(rules, ("positive_gain", "mean_gain")):
        played = play_rounds(
            rule, aggregate, zero_shot=found.zero_shot, anchor_groups=found.anchor_groups,
            may_score=~np.isnan(found.gains), score=lambda i, j: found.one_shot[np.ix_(i, j)],
        )  # fmt: skip
        partial = dataclasses.replace(found, one_shot=played.one_shot, left_out=played.pending)
        apart = control(partial, pool)
        quality = partial.quality("mean_gain")[:, None]
        column = Influence(quality, np.zeros(1), found.candidate_ids, ("all",), ("all",))
        ways = {
            "mean over the scored": apart.quality("mean_gain"),
            "difference estimate": dataclasses.replace(apart, left_out=played.pending).quality("mean_gain"),
            "difference of qualities": control(column, pool).quality("mean_gain"),
        }
        rows.append(
            {"rule": rule.kind, "se": getattr(rule, "se", None), "aggregate": aggregate, "seed": rule.seed}
            | {"pairs": float(1 - played.pending.mean())}
            | {name: [pearson(q, whole), float(np.sqrt(np.mean((q - whole) ** 2)))] for name, q in ways.items()}
        )
    return rows


def _soon(*, seed: int) -> UntilStandardError:
    return UntilStandardError(se=0.03, seed=seed)


def _late(*, seed: int) -> UntilStandardError:
    return UntilStandardError(se=0.02, seed=seed)


def shown(interval: Interval, digits: int = 2) -> str:
    """A number with its interval."""
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def plain_json(value: Any) -> Any:
    """An interval as a mapping."""
    return dataclasses.asdict(value) if isinstance(value, Interval) else value


def main() -> None:
    """Read a run, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--clusters", type=int, default=16)
    parser.add_argument("--stopping", action="store_true", help="replay stopping rules as well")
    args = parser.parse_args()
    run = open_run(args.run, until="influence")
    found = Influence.from_table(pq.read_table(run.root / "influence" / "influence.parquet"))
    pool = run.pool.take(np.load(run.root / "anchors" / "candidates.npy"))
    sample = Sample(found, pool, args.draws)
    terms = variants(found, pool, args.clusters)
    plain = terms["plain, positive gain"]
    groups = AnchorGroups.of(found, pool.strings("source"))
    table = {name: measured(sample, each, plain, found.gains) for name, each in terms.items()}
    for name, m in table.items():
        print(f"\n{name}: {m['rows']} rows; between sources {m['between_sources']:.2f}")
        print(f"  reliability {shown(m['reliability'])}, within sources {shown(m['reliability_within'])}")
        print(f"  with plain  {shown(m['with_plain'])}, within sources {shown(m['with_plain_within'])}")
        for pair, value in m["groups"].items():
            print(f"  {pair}: {shown(value)}, within sources {shown(m['groups_within'][pair])}")
        best = [f"{s} {c.value:.0f} [{c.low:.0f}, {c.high:.0f}]" for s, c in m["top"].items() if c.value]
        print(f"  best tenth, {len(best)} sources: {', '.join(best)}")
        print(f"  of it the positive gain {shown(m['top_positive_gain'], 3)}, mean gain {shown(m['top_mean_gain'], 3)}")
    print(f"\n{'mean gain ± standard error':28s}" + "".join(f"{name:>20s}" for name in (*groups.groups, "all")))
    for source, cells, whole in zip(groups.sources, groups.cells, groups.overall, strict=True):
        values = "".join(f"{f'{c.gain:.3f} ± {c.standard_error:.3f}':>20s}" for c in (*cells, whole))
        print(f"{source:28s}{values}")
    print(f"{'between sources':28s}" + "".join(f"{s:20.2f}" for s in (*groups.between, groups.between_overall)))
    looks = StyleControl(by="surface", n_clusters=args.clusters).styles(pool)
    surface = beyond_surface(found, pool) | {
        "between_clusters": AnchorGroups.of(found, pool.strings("source"), styles=looks).between_overall
    }
    print(f"surface: {surface}")
    stopping = replayed(found, pool) if args.stopping else []
    for row in stopping:
        print(row)
    if args.json:
        settings = {"draws": args.draws, "clusters": args.clusters, "seed": SEED, "anchors": len(found.anchor_ids)}
        kinds = {
            name: {
                key: {k: plain_json(v) for k, v in value.items()} if isinstance(value, dict) else plain_json(value)
                for key, value in m.items()
            }
            for name, m in table.items()
        }  # fmt: skip
        whole = {"settings": settings, "anchor_groups": groups.as_json(), "kinds": kinds}
        whole |= {"surface": surface, "stopping": stopping}
        args.json.write_text(json.dumps(json.loads(to_json(whole)), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

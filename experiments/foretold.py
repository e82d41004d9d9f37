"""What real scores foretell of a selection, skill by skill, beside what training on it gave.

A run tells what the sources of its selection are worth to each group of anchors beside random rows
(`AnchorGroups.worth`). Here the same is told of the arms of finished comparisons, by the labels of a run, and held
against the measured differences to random rows: `training` is the difference in mean log-likelihood, nats a token, *
where its interval is clear of zero with all others of its table at once. Below, for each table: how the two correlate
over its arms on every set, and over all; of the differences that are clear of zero, how many have the foretold sign.
So for two aggregates, of which the first is in the table, and for what needs no score at all: the share of rows of the
source that is written like the set.

    python experiments/foretold.py experiments/results/labels/smollm2-135m OUT/report/results.json [OUT2/…]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from compare import DATA
from qads import AnchorGroups, Influence, load_pool
from qads.kernels.correlation import pearson

SKILLS = {"gsm8k_train": "gsm8k", "math_train": "math500", "aqua_rat_flan": "aqua"}
"""Group of anchors -> the set that measures its skill."""


def measured_groups(run: Path) -> dict[str, AnchorGroups]:
    """What sources are worth to each group, by the two aggregates."""
    scores = Influence.from_table(pq.read_table(run / "influence" / "influence.parquet"))
    pool = load_pool(DATA / "pool", on_bad_row="skip")
    source_of = dict(zip(pool.strings("id"), pool.strings("source"), strict=True))
    sources = [source_of[name] for name in scores.candidate_ids]
    return {name: AnchorGroups.of(scores, sources, aggregate=name) for name in ("positive_gain", "mean_gain")}


def shares(results: Mapping[str, Any], size: str, arm: str) -> dict[str, int]:
    """Source -> rows in a million that an arm chose."""
    chosen = (each for each in results["chosen"] if (each["size"], each["arm"]) == (size, arm))
    return {each["source"]: round(1e6 * each["share"]) for each in chosen}


def table(results: Mapping[str, Any], size: str, groups: Mapping[str, AnchorGroups]) -> None:
    """Print one table of a comparison, and how well it was foretold."""
    (reference,) = {each["reference"] for each in results["results"]}
    told = {
        (each["arm"], each["set"]): each
        for each in results["comparisons"]
        if each["size"] == size and each["other"] == reference and each["n_seeds"] > 1
    }
    arms, random = list(dict.fromkeys(arm for arm, _ in told)), shares(results, size, reference)
    foretold = {
        (name, arm, SKILLS[each.group]): each.difference
        for name, found in groups.items()
        for arm in arms
        for each in found.worth(shares(results, size, arm), random)
    }
    for arm in arms:
        of_arm = shares(results, size, arm)
        foretold |= {
            ("own share", arm, scope): (of_arm.get(group, 0) - random.get(group, 0)) / 1e6
            for group, scope in SKILLS.items()
        }
    print(f"\n| {size} |{' foretold, training |' * len(SKILLS)}\n|---{'|---' * len(SKILLS)}|")
    for arm in arms:
        cells = [_cell(foretold["positive_gain", arm, scope], told[arm, scope]) for scope in SKILLS.values()]
        print(f"| {arm} | {' | '.join(cells)} |")
    for name in (*groups, "own share"):
        pairs = {
            (arm, scope): (foretold[name, arm, scope], told[arm, scope]["difference"])
            for arm in arms
            for scope in SKILLS.values()
        }
        clear = [np.sign(pair[0]) == np.sign(pair[1]) for key, pair in pairs.items() if _is_clear(told[key])]
        n_worse = sum(told[key]["verdict"] == "worse" for key in pairs)
        by_set = [f"{scope} {_r(pairs[arm, scope] for arm in arms):.2f}" for scope in SKILLS.values()]
        print(
            f"{name}: r over {len(arms)} arms: {', '.join(by_set)}, together {_r(pairs.values()):.2f}; the sign is "
            f"right in {sum(clear)} of {len(clear)} that are clear of zero ({n_worse} worse)"
        )


def _is_clear(told: Mapping[str, Any]) -> bool:
    return told["verdict"] in ("better", "worse")


def _cell(foretold: float, told: Mapping[str, Any]) -> str:
    mark = " *" if _is_clear(told) else ""
    return f"{foretold:+.3f}, {told['difference']:+.3f}{mark}".replace("-", "−")


def _r(pairs: Iterable[tuple[float, float]]) -> float:
    return pearson(*np.array(list(pairs)).T)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, help="run whose real scores foretell")
    parser.add_argument("results", type=Path, nargs="+", help="results.json of comparisons")
    args = parser.parse_args()
    groups = measured_groups(args.labels)
    for path in args.results:
        results = json.loads(path.read_text("utf-8"))
        for size in dict.fromkeys(each["size"] for each in results["results"]):
            table(results, size, groups)


if __name__ == "__main__":
    main()

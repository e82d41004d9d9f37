"""The tables of docs/experiments.md out of the results of a comparison: what each arm is worth beside the reference.

A table for every size and model: the difference to the reference on every set and over all of them, with the interval
that holds for all comparisons of that table at once; steps, tokens and operations. `*` marks what the comparison calls
better or worse.

    qads compare EXPERIMENT.yaml -o OUT --json results.json
    python experiments/compare_table.py results.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

SHOWN = {"better", "worse"}


def setting_key(entry: dict[str, Any]) -> tuple[str, str]:
    """What a table is of."""
    return entry["size"], entry["model"]


def difference(compared: dict[str, Any] | None) -> str:
    """`+0.045 [-0.029, +0.119] *`, of the comparison with the reference."""
    if compared is None:
        return ""
    low, high = compared["together_low"], compared["together_high"]
    mark = " *" if compared["verdict"] in SHOWN else ""
    return f"{compared['difference']:+.3f} [{low:+.3f}, {high:+.3f}]{mark}".replace("-", "−")


def table(results: list[dict[str, Any]], comparisons: list[dict[str, Any]], metric: str) -> list[str]:
    """The lines of one table, its header first; results and comparisons are those of one size and one model."""
    results = [each for each in results if each["metric"] == metric]
    sets = list(dict.fromkeys(each["set"] for each in results))
    judged = {(each["arm"], each["other"], each["set"]): each for each in comparisons if each["metric"] == metric}
    lines = [
        f"| | {' | '.join(sets)} | seeds | steps | tokens read | TFLOP choosing | training |",
        "|---" * (len(sets) + 6) + "|",
    ]
    for arm, group in itertools.groupby(results, key=lambda each: each["arm"]):
        of_set = {each["set"]: each for each in group}
        first = next(iter(of_set.values()))
        if arm == first["reference"]:
            cells = [f"{of_set[name]['value']:.3f}".replace("-", "−") for name in sets]
        else:
            cells = [difference(judged.get((arm, first["reference"], name))) for name in sets]
        cost = [first["selection_flops"], first["training_flops"]]
        spent = ["" if each is None else f"{each / 1e12:,.0f}" for each in cost]
        cells += [str(len(first["seeds"])), f"{first['steps']:.0f}", f"{first['tokens_read']:,.0f}", *spent]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def contrasts(results: list[dict[str, Any]], comparisons: list[dict[str, Any]], metric: str) -> list[str]:
    """What was compared with another arm than the reference."""
    reference = {each["reference"] for each in results}
    others = [each for each in comparisons if each["metric"] == metric and each["other"] not in reference]
    return [f"- {each['arm']} beside {each['other']}, {each['set']}: {difference(each)}" for each in others]


def main() -> None:
    """Print the tables of a file that `qads compare --json` has written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--metric", default="answer_log_likelihood")
    args = parser.parse_args()
    found = json.loads(args.results.read_text("utf-8"))
    lines = [f"{found['cells_done']} of {found['cells']} cells, {args.metric}"]
    for key in dict.fromkeys(map(setting_key, found["results"])):
        parts = [[each for each in found[name] if setting_key(each) == key] for name in ("results", "comparisons")]
        lines += ["", f"**{', '.join(key)}**", "", *table(*parts, args.metric), "", *contrasts(*parts, args.metric)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

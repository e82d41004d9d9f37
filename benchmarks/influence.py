"""Time one-shot influence beside what others do and beside the bare matrix products: `python benchmarks/influence.py`.

One interleaved run of one real model on real rows; quotes medians of ratios, since machines differ and are noisy. That
all methods compute the same is checked in the run. `--quick` is meant to take under 5 minutes
on two quiet cores, the full run under 25: it visits every group once and goes on for as long as `--minutes` allows.

    python benchmarks/influence.py --quick --json influence.json
    python benchmarks/influence.py --profile           # where our kernel's time goes, and nothing else
    python benchmarks/influence.py --candidates 2 --anchors 3 --slow-per-visit 1 --repetitions 1     # a trial
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from influence_measure import FAST, GROUP_SIZE, PRECISIONS, SLOW, Bench, Measured, measure
from influence_report import machine_facts, markdown, report_name, spread, versions
from scipy.stats import spearmanr

_FULL = {"candidates": 24, "anchors": 16, "repetitions": 3}
_QUICK = {"candidates": 6, "repetitions": 1}


def summarise(bench: Bench, measured: Measured) -> dict[str, Any]:
    """Seconds a candidate, ratios and their spread."""
    per_candidate: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    by_length: list[dict[str, float]] = []
    fractions: dict[str, list[float]] = defaultdict(list)
    for rows, seconds in zip(measured.groups, measured.visits, strict=True):
        for method in FAST:
            per_candidate[method].append(seconds[method] / len(rows))
        for precision in PRECISIONS:
            ours, floor = seconds[f"ours_{precision}"], f"floor_{precision}"
            fractions[f"floor_fraction_{precision}"].append(seconds[floor] / ours)
            fractions[f"floor_fraction_linear_{precision}"].append(seconds[f"{floor}_linear"] / ours)
    for visit, candidate, method, slow in measured.slow:
        per_candidate[method].append(slow)
        share = bench.n_tokens[candidate] / bench.n_tokens[measured.groups[visit]].sum()
        for fast in FAST:
            ratios[f"{method}/{fast}"].append(slow / (measured.visits[visit][fast] * share))
        if method == "pairs_fp32":
            found = {fast: ratios[f"{method}/{fast}"][-1] for fast in FAST}
            by_length.append({"example_tokens": len(bench.prefixes[candidate]) - len(bench.header), **found})
    means = {method: float(np.mean(values)) for method, values in per_candidate.items()}
    speedups = {name: spread(values) for name, values in ratios.items()}
    return {
        "speedup_fp32_vs_pairs": speedups["pairs_fp32/ours_fp32"]["median"],
        "speedup_bf16_vs_pairs_fp32": speedups["pairs_fp32/ours_bf16"]["median"],
        "speedup_bf16_vs_nuggets_style": speedups["nuggets_style/ours_bf16"]["median"],
        **{name: spread(values)["median"] for name, values in fractions.items()},
        "seconds_per_candidate": {method: spread(values) for method, values in per_candidate.items()},
        "speedups": speedups,
        "pairs_fp32_by_length": sorted(by_length, key=lambda row: row["example_tokens"]),
        "speedups_of_means": {method: means[method] / means["ours_bf16"] for method in SLOW},
        "floor_fractions": {name: spread(values) for name, values in fractions.items()},
    }


def compare_scores(bench: Bench, measured: Measured) -> dict[str, Any]:
    """How far the methods are from the oracle and from each other, in nats a token."""
    scores = measured.scores
    oracle = scores["pairs_fp32"]
    quality: dict[str, np.ndarray] = {}
    one_shot: dict[str, np.ndarray] = {}
    for precision in PRECISIONS:
        found = scores[f"ours_{precision}"]
        one_shot[precision] = np.stack([found[i] for i in range(len(bench.prefixes))])
        gains = one_shot[precision] - bench.zero_shot(precision)
        quality[precision] = np.maximum(gains, 0).mean(axis=1)  # positive_gain; every pair is scored here.
    same = len(quality["fp32"]) < 2 or any(np.ptp(q) == 0 for q in quality.values())
    difference = one_shot["bf16"] - one_shot["fp32"]
    return {
        **{
            f"max_abs_diff_{name}": max(float(np.abs(scores[method][i] - o).max()) for i, o in oracle.items())
            for name, method in (("fp32", "ours_fp32"), ("nuggets_style", "nuggets_style"))
        },
        "n_pairs_checked": len(oracle) * len(bench.targets),
        "max_abs_diff_bf16": float(np.abs(difference).max()),
        "bias_bf16": float(difference.mean()),
        "spearman_bf16": None if same else float(spearmanr(quality["bf16"], quality["fp32"]).statistic),
    }


def describe(bench: Bench, measured: Measured, options: argparse.Namespace) -> dict[str, Any]:
    """What was run, on what, with what."""
    drawn = bench.drawn
    n_groups = math.ceil(len(bench.prefixes) / GROUP_SIZE)
    return {
        "benchmark": "influence",
        "date": datetime.date.today().isoformat(),
        "quick": options.quick,
        "scope": _scope(options),
        "model": Path(options.model).name,
        "visits": len(measured.visits),
        "repetitions": len(measured.visits) / n_groups,
        "group_size": GROUP_SIZE,
        "slow_per_visit": options.slow_per_visit,
        "nuggets_batch": options.nuggets_batch,
        "max_tokens_per_batch": options.max_tokens,
        **{f"head_block_{name}": " × ".join(map(str, floor.head_block)) for name, floor in bench.floors.items()},
        **{f"floor_side_by_side_{name}": floor.side_by_side for name, floor in bench.floors.items()},
        "machine": machine_facts(bench.device),
        "versions": versions(),
        "rows": {
            "origin": drawn.origin,
            "is_real": drawn.is_real,
            "seed": options.seed,
            "n_candidates": len(bench.prefixes),
            "n_sources": len(drawn.candidates.sources),
            "sources": drawn.candidates.sources,
            "n_anchors": len(bench.targets),
            "n_pairs": len(bench.prefixes) * len(bench.targets),
            "n_groups": n_groups,
            "example_tokens": spread([len(p) - len(bench.header) for p in bench.prefixes]),
            "target_tokens": sum(len(t.ids) for t in bench.targets),
            "answer_tokens": sum(t.answer_end - t.answer_start for t in bench.targets),
            "nuggets_padded_tokens": len(bench.targets) * max(len(t.ids) for t in bench.targets),
            "tokens_run_by_ours": int(bench.n_tokens.sum()),
            "n_rejected": drawn.n_rejected,
            "n_passed_over": drawn.n_passed_over,
        },
    }


def _scope(options: argparse.Namespace) -> str:
    """Whether a run is worth keeping: a trial is smaller than a full run and says so."""
    if options.quick:
        return "quick"
    return "full" if all(getattr(options, name) >= least for name, least in _FULL.items()) else "trial"


def profile(bench: Bench) -> None:
    """Print where the time of one group goes, by operation."""
    prefixes = bench.prefixes[:GROUP_SIZE]
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    print(bench.drawn.origin)
    for name in ("bf16", "fp32"):
        with torch.profiler.profile(activities=activities) as profiler:
            bench.timed(lambda: bench.ours[name](prefixes, bench.targets))  # noqa: B023
        print(f"\nqads {PRECISIONS[name]}, one call of {len(prefixes)} candidates × {len(bench.targets)} anchors")
        order = "self_cuda_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


def read_options() -> argparse.Namespace:
    """The command line, with what `--quick` stands for filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer candidates, one repetition; no report file")
    parser.add_argument("--json", type=Path, help="write all numbers here as well")
    parser.add_argument("--profile", action="store_true", help="print the top operations of ours on one group and stop")
    parser.add_argument("--device", default="cpu", help="where models run, as torch names it (default: cpu)")
    parser.add_argument("--model", default="smollm2-135m", help="alias, folder or hub id (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the rows")
    parser.add_argument("--candidates", type=int, help="default: 24; quick: 6")
    parser.add_argument("--anchors", type=int, default=_FULL["anchors"], help="GSM8K and MATH by halves (default: 16)")
    parser.add_argument("--repetitions", type=int, help="visits of every group of 8 candidates (default: 3; quick: 1)")
    parser.add_argument(
        "--minutes", type=float, default=22.0, help="after the first round, time for more (default: 22)"
    )
    parser.add_argument("--slow-per-visit", type=int, help="candidates a visit for slow methods (default: 2; quick: 1)")
    parser.add_argument("--nuggets-batch", type=int, default=8, help="anchors in a batch of the NUGGETS-style scorer")
    parser.add_argument("--max-tokens", type=int, default=2048, help="tokens in a pass of ours (default: 2048)")
    options = parser.parse_args()
    options.candidates = options.candidates or (_QUICK if options.quick else _FULL)["candidates"]
    options.repetitions = options.repetitions or (_QUICK if options.quick else _FULL)["repetitions"]
    options.slow_per_visit = options.slow_per_visit or (1 if options.quick else 2)
    for name in ("candidates", "anchors", "repetitions", "slow_per_visit", "nuggets_batch", "max_tokens"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be 1 at least")
    return options


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = read_options()
    print("opening models, drawing rows, warming up", file=sys.stderr, flush=True)
    bench = Bench(options)
    bench.warm_up()
    if options.profile:
        profile(bench)
        return
    measured = measure(bench, options.repetitions, options.slow_per_visit, options.minutes)
    found: dict[str, Any] = {
        **summarise(bench, measured),
        **compare_scores(bench, measured),
        **describe(bench, measured, options),
    }
    report = markdown(found)
    print(report)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if found["scope"] != "full":
        print(f"no report file after a {found['scope']} run", file=sys.stderr)
    else:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        path = results / report_name(found["machine"], found["date"])
        path.write_text(report)
        print(f"written to {path.relative_to(Path(__file__).parents[1])}", file=sys.stderr)


if __name__ == "__main__":
    main()

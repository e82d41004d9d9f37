"""Does the memory of one-shot influence grow with candidates or anchors? `python benchmarks/influence_memory.py`.

Scores real rows (`influence_rows.py`) through `qads.OneShotInfluence`, once as a base, once with ten times the
candidates and once with ten times the anchors; each in a process of its own, whose greatest resident memory is read at
the end. The base fills passes already, so that every process has the largest pass there is. About ten minutes on two
cores.

    python benchmarks/influence_memory.py --json memory.json
    python benchmarks/influence_memory.py --candidates 2 --anchors 4 --times 3        # a trial
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from influence_report import machine_facts, versions
from influence_rows import draw_rows

import qads
from qads.cluster import Execution
from qads.models import open_tokenizer

_UNIT = 1 if sys.platform == "darwin" else 1024
"""Of the greatest resident memory as the system counts it, in bytes."""


def measure(n_candidates: int, n_anchors: int, options: argparse.Namespace) -> dict[str, Any]:
    """Score in this process; what it took at most before the model was opened, and in the end."""
    tokenizer = open_tokenizer(options.model).tokenizer
    # The largest draw, cut down: candidates and anchors of all processes overlap, and the longest texts are in all.
    drawn = draw_rows(tokenizer, options.candidates * options.times, options.anchors * options.times, options.seed)
    candidates, anchors = (
        pool.take(by_length(pool)[:: max(1, len(pool) // n_rows)][:n_rows])
        for pool, n_rows in ((drawn.candidates, n_candidates), (drawn.anchors, n_anchors))
    )
    before = peak()
    found = qads.OneShotInfluence(model=options.model)(
        candidates, anchors, execution=Execution(device=options.device, max_tokens_per_batch=options.max_tokens)
    )
    return {
        "n_candidates": len(candidates), "n_anchors": len(anchors), "tokens": found.cost.tokens,
        "seconds": found.cost.seconds, "peak_before_mb": before / 1e6, "peak_mb": peak() / 1e6,
        "origin": drawn.origin,
    }  # fmt: skip


def by_length(pool: qads.Pool) -> list[int]:
    """Rows of a pool, the longest first."""
    lengths = [len(p) + len(s) for p, s in zip(pool.strings("problem"), pool.strings("solution"), strict=True)]
    return sorted(range(len(pool)), key=lambda row: -lengths[row])


def peak() -> int:
    """Greatest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def main() -> None:
    """Run the three processes and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=8, help="of the base (default: %(default)s)")
    parser.add_argument("--anchors", type=int, default=16, help="of the base (default: %(default)s)")
    parser.add_argument("--times", type=int, default=10, help="how many times more (default: %(default)s)")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-tokens", type=int, default=2048, help="tokens in a pass (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the rows")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # "8x16": measure that here, for the parent.
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(*map(int, options.only.split("x")), options)))
        return
    n, m, times = options.candidates, options.anchors, options.times
    found: list[dict[str, Any]] = []
    for size in (f"{n}x{m}", f"{n * times}x{m}", f"{n}x{m * times}"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", size]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        part = found[-1]
        print(
            f"{part['n_candidates']:>5} candidates × {part['n_anchors']:>4} anchors: {part['tokens']:>9,} tokens, "
            f"peak {part['peak_mb']:>7,.0f} MB ({part['peak_mb'] / found[0]['peak_mb']:.3f} of the base), "
            f"before the model {part['peak_before_mb']:,.0f} MB",
            flush=True,
        )
    if options.json:
        facts = {
            "benchmark": "influence_memory",
            "machine": machine_facts(torch.device(options.device)),
            "versions": versions(),
        }
        options.json.write_text(json.dumps(facts | {"max_tokens": options.max_tokens, "sizes": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()

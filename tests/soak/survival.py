"""Everything that can happen to a run, many times over: kills, damaged files, full disks, two drivers at once.

    python tests/soak/survival.py --kills 50 --json experiments/results/soak/survival.json

About 25 minutes on two quiet cores with all defaults; every number can be made smaller. Ends with 1 if anything was
lost, computed twice, used though damaged, or not told.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from qads.errors import QadsError
from qads.run import run_pipeline
from run.disturbed import DAMAGES, damages, differing, outcome
from run.trials import Whole, damaged, full_disk, killed, two_at_once


@dataclass(frozen=True)
class Part:
    """What one kind of disturbance came to."""

    what: str
    trials: int
    well: int
    seconds: float
    seen: dict[str, Any]
    wrong: list[Any]


def measured(what: str, trials: Callable[[], tuple[int, dict[str, Any], list[Any]]]) -> Part:
    started = time.monotonic()
    n, seen, wrong = trials()
    part = Part(what, n, n - len(wrong), round(time.monotonic() - started, 1), seen, wrong)
    print(f"{what}: {part.well} of {n} well, {part.seconds:g} s; {seen}", flush=True)
    for each in wrong:
        print(f"  WRONG: {each}", flush=True)
    return part


def kills(whole: Whole, n: int, seed: int) -> tuple[int, dict[str, Any], list[Any]]:
    """One SIGKILL a run, at a moment drawn evenly over the seconds of an undisturbed one.

    Not of the first, which compiles: moments drawn over its seconds fall behind the end of most others.
    """
    draw = random.Random(seed)
    whole.clear()
    started = time.monotonic()
    whole.run_in_process()
    seconds = time.monotonic() - started
    found = [killed(whole, [draw.uniform(0.0, seconds)]) for _ in range(n)]
    seen = {"killed in": dict(Counter(each.left for each in found)), "shards kept": sum(f.n_finished for f in found)}
    return n, seen, [asdict(each) for each in found if each.again or each.differing]


def damaged_files(whole: Whole, share: float, seed: int) -> tuple[int, dict[str, Any], list[Any]]:
    """Every file of a finished run, flipped, cut, emptied and deleted."""
    draw = random.Random(seed)
    drawn = [each for each in damages(whole.kept) if draw.random() < share]
    found = [damaged(whole, name, kind, draw) for name, kind in drawn]
    seen = dict(Counter(f"{each.kind}: {each.ended}" for each in found if each.is_well))
    return len(found), seen, [asdict(each) for each in found if not each.is_well]


def computed_again(whole: Whole, n: int, seed: int) -> tuple[int, dict[str, Any], list[Any]]:
    """A damaged file, then the command that the error names: `--redo STAGE`."""
    draw = random.Random(seed)
    of_stages = [name for name, kind in damages(whole.kept) if kind == "flip" and name.count("/")]
    stages = Counter[str]()
    wrong: list[Any] = []
    for _ in range(n):
        name = draw.choice(of_stages)
        stage, directory = name.split("/")[0], whole.finished()
        DAMAGES["flip"](directory / name, draw)
        try:
            run_pipeline(whole.config, directory)
        except QadsError as error:
            if f"--redo {stage}" not in str(error):
                wrong.append(f"{name}: {error}")
                continue
            stages[stage] += 1
            run_pipeline(whole.config, directory, redo=[stage])
        if differs := differing(outcome(directory), whole.outcome):
            wrong.append(f"{name}: {differs}")
    return n, dict(stages), wrong


def full_disks(whole: Whole, step: int) -> tuple[int, dict[str, Any], list[Any]]:
    """A disk that is full again and again, with a little more room each time."""
    found = full_disk(whole, first=8_000, step=step)
    return len(found.stages) + 1, {"full in": dict(Counter(found.stages))}, list(found.wrong)


def pairs(whole: Whole, n: int) -> tuple[int, dict[str, Any], list[Any]]:
    """Two drivers started on one directory at the same moment."""
    ends = [two_at_once(whole) for _ in range(n)]
    return n, {str(end): count for end, count in Counter(map(tuple, ends)).items()}, [e for e in ends if e != [0, 3]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--damages", type=float, default=1.0, help="share of all damages of all files")
    parser.add_argument("--redo", type=int, default=12)
    parser.add_argument("--disk-step", type=int, default=150_000, help="bytes more after every full disk; 0: no disks")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = Whole(Path(folder))
        print(f"undisturbed: {whole.seconds:.1f} s, {len(whole.outcome)} files", flush=True)
        parts = [
            measured("SIGKILL of the driver", lambda: kills(whole, asked.kills, asked.seed)),
            measured("a damaged file", lambda: damaged_files(whole, asked.damages, asked.seed)),
            measured("a damaged file, computed again", lambda: computed_again(whole, asked.redo, asked.seed)),
            measured("two drivers at once", lambda: pairs(whole, asked.pairs)),
        ]
        if asked.disk_step:
            try:
                parts.append(measured("a full disk", lambda: full_disks(whole, asked.disk_step)))
            except PermissionError as error:
                print(f"a full disk: skipped, {error}")
        seconds = whole.seconds
    print("\n| what | trials | well | seconds |\n|---|---|---|---|")
    for part in parts:
        print(f"| {part.what} | {part.trials} | {part.well} | {part.seconds:g} |")
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {name: value for name, value in vars(asked).items() if name != "json"}
        report = {"settings": settings, "undisturbed_seconds": round(seconds, 1), "parts": [asdict(p) for p in parts]}
        asked.json.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(any(part.wrong for part in parts))


if __name__ == "__main__":
    main()

"""How time and memory of a run grow with the pool, up to a million rows: `python benchmarks/million.py`.

Every size is a run of its own in a process of its own (`million_run.py`): a pool of invented texts, a Llama of two
layers and random weights that embeds it and scores 256 rows on 16 anchors, a probe that reads all rows with it, ten
per cent selected, the file for the trainer, the page. A stage's memory is the greatest that was resident while it ran
(VmHWM, which is forgotten at its start). The largest run is killed half-way through its embedding and started again.

A second start of the same command goes on where it was; sizes that are finished are not run again.

    python benchmarks/million.py --folder DIR --json million.json --results benchmarks/results
    python benchmarks/million.py --folder DIR --rows 3000 10000
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_LIMIT = 4e9
_KILLED_IN = "embed"
_PROGRAM = Path(__file__).with_name("million_run.py")
Stages = dict[str, dict[str, float]]


def measured(folder: Path, n_rows: int, options: argparse.Namespace, *, kill: bool) -> dict[str, Any]:
    """The run of one size, or what an earlier start has left of it."""
    log = folder / "stages.jsonl"
    found = read_log(log)
    if "page" not in found["stages"]:
        command = [sys.executable, str(_PROGRAM), str(folder), "--rows", str(n_rows), "--hidden", str(options.hidden)]
        if kill and not found["killed"]:
            subprocess.run([*command, "--kill-at", _KILLED_IN], check=False)
        subprocess.run(command, check=True)
        found = read_log(log)
    return found | {"rows": n_rows}


def read_log(log: Path) -> dict[str, Any]:
    """Seconds and peak of every stage, and where the run was killed."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    stages = {line["stage"]: line for line in lines if "seconds" in line}
    return {"stages": stages, "killed": next((line for line in lines if "killed" in line), None)}


def growth(runs: Sequence[Mapping[str, Any]], stage: str, what: str) -> float | None:
    """Slope of a stage's number over the rows, both in logarithms, by least squares; None of fewer than two runs."""
    points = [(math.log(run["rows"]), math.log(max(run["stages"][stage][what], 1e-3))) for run in runs]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def report(runs: Sequence[dict[str, Any]]) -> str:
    """Both tables, and what held."""
    head = (
        "| stage | " + " | ".join(f"{run['rows']:,}" for run in runs) + " | growth |\n|---|" + "---|" * (len(runs) + 1)
    )
    told = [
        f"# A run of n rows, {datetime.date.today().isoformat()}",
        "",
        __doc__.split("\n\n")[1].replace("\n", " "),
        "",
    ]
    for title, what, unit in (("Seconds", "seconds", 1.0), ("Greatest resident memory, MB", "peak_bytes", 1e6)):
        told += [f"**{title}**", "", head]
        for stage in runs[0]["stages"]:
            cells = " | ".join(f"{run['stages'][stage][what] / unit:,.1f}" for run in runs)
            is_whole = all(run["killed"] is None or run["killed"]["killed"] != stage for run in runs)
            slope = growth(runs, stage, what) if what == "seconds" and is_whole else None
            told.append(f"| {stage} | {cells} | {'' if slope is None else f'n^{slope:.2f}'} |")
        told.append("")
    peak = max(stage["peak_bytes"] for run in runs for stage in run["stages"].values())
    told.append(f"Greatest of all: {peak / 1e9:.2f} GB, {'under' if peak < _LIMIT else '**over**'} the limit of 4 GB.")
    for killed in (run["killed"] for run in runs if run["killed"]):
        place = f"{killed['done']:,} of {killed['total']:,} rows"
        told.append(f"A run was killed in {killed['killed']} at {place} and went on: seconds there are of the rest.")
    return "\n".join(told) + "\n"


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds and memory over rows, a line a stage."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    rows = [run["rows"] for run in runs]
    for stage in runs[0]["stages"]:
        left.plot(rows, [run["stages"][stage]["seconds"] for run in runs], marker="o", label=stage)
        right.plot(rows, [run["stages"][stage]["peak_bytes"] / 1e9 for run in runs], marker="o", label=stage)
    left.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    right.set(xscale="log", xlabel="rows", ylabel="greatest resident memory, GB", ylim=(0, None))
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run what is missing, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the runs are; several GB")
    parser.add_argument("--rows", type=int, nargs="+", default=_SIZES)
    parser.add_argument("--hidden", type=int, default=64, help="size of the model, and numbers of a vector")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--results", type=Path, help="folder for the table and the drawing")
    options = parser.parse_args()
    sizes = sorted(options.rows)
    runs = [measured(options.folder / f"{n}", n, options, kill=n == sizes[-1]) for n in sizes]
    text = report(runs)
    print(text)
    if options.json:
        options.json.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        name = f"million_{datetime.date.today().isoformat()}"
        (options.results / f"{name}.md").write_text(text)
        plot(runs, options.results / f"{name}.svg")


if __name__ == "__main__":
    main()

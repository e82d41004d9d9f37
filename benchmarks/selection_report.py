"""What `selection.py` writes: facts of the machine, a Markdown table, and growth curves as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from influence_report import machine_facts, report_name

__all__ = ["describe", "markdown", "plot_growth", "write_report"]

_PACKAGES = ("qads", "numpy", "numba", "torch", "scikit-learn", "k-center", "divsel", "fpsample")
_AXES = {"n": "rows", "k": "picks", "d": "dimensions"}


def describe() -> dict[str, Any]:
    """The machine, and the versions of everything that was timed."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"machine": machine_facts(torch.device("cpu")), "versions": versions}


def write_report(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the table, and the curves if growth was measured; returns the files."""
    folder.mkdir(exist_ok=True)
    table = folder / report_name(found["machine"], found["date"], what="selection")
    curves = table.with_suffix(".svg")
    has_curves = bool(found["growth"]) and plot_growth(found["growth"], curves)
    table.write_text(markdown(found, curves.name if has_curves else None))
    return [table, curves] if has_curves else [table]


def markdown(found: Mapping[str, Any], curves: str | None) -> str:
    """The report."""
    machine = found["machine"]
    lines = [
        f"# K-center Greedy × quality ({found['scope']} run, {found['date']})",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores; environment {machine['environment'] or 'plain'}. "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        + f". Medians of {found['repeats']} interleaved rounds (contenders that need minutes: one). * extrapolated "
        f"from its first {found['steps']} picks, all of one cost. Identical: the picks that were made are those "
        "of the plain float64 scan. divsel maximises another objective.",
        "",
    ]
    for pool in dict.fromkeys(row["pool"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["pool"] == pool]
        lines += [
            f"## {pool}, {rows[0]['k']:,} picks",
            "",
            "| contender | seconds | least | greatest | × faster than naive NumPy | identical (picks compared) |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_line(row) for row in rows]
        lines.append("")
    if curves:
        lines += ["## Growth", "", f"![Seconds by rows, picks and dimensions]({curves})", ""]
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    seconds, mark = row["all_seconds"], "*" if row["extrapolated"] else ""
    ratio = f"{1 / row['ratio_to_naive']:.1f}" if row["ratio_to_naive"] else "–"
    name = f"**{row['contender']}**" if row["contender"].startswith("qads") else row["contender"]
    same = "yes" if row["identical"] else "no"
    return (
        f"| {name} | {row['seconds']:.3f}{mark} | {min(seconds):.3f} | {max(seconds):.3f} | {ratio} | "
        f"{same} ({row['compared_picks']:,}) |"
    )


def plot_growth(growth: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Seconds against rows, picks and dimensions, all axes logarithmic; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "qads"
    figure, panels = pyplot.subplots(1, len(_AXES), figsize=(12, 3.6), layout="constrained")
    for panel, (axis, label) in zip(panels, _AXES.items(), strict=True):
        rows = [row for row in growth if row["axis"] == axis]
        for name in dict.fromkeys(row["contender"] for row in rows):
            curve = sorted((row[axis], row["seconds"]) for row in rows if row["contender"] == name)
            panel.loglog(*zip(*curve, strict=True), marker="o", label=name)
        others = ", ".join(f"{other} = {rows[0][other]:,}" for other in _AXES if other != axis)
        panel.set(xlabel=label, ylabel="seconds", title=others)
        panel.grid(visible=True, which="major", alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True

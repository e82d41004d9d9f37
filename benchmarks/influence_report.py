"""What `influence.py` says: facts of the machine, the summary as numbers, and the Markdown report."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["machine_facts", "markdown", "report_name", "spread", "versions"]

_ENVIRONMENT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_METHODS = {
    "pairs_fp32": "plain pairs, float32",
    "pairs_bf16": "plain pairs, bfloat16",
    "nuggets_style": "NUGGETS style, float32",
    "ours_fp32": "**qads, float32**",
    "ours_bf16": "**qads, bfloat16**",
    "floor_fp32": "bare products, float32",
    "floor_bf16": "bare products, bfloat16",
}


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Processor, cores, the instructions that matter for speed, threads, and what was set in the environment."""
    described: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.partition(":") for line in cpuinfo.read_text().split("\n\n")[0].splitlines())
        described = {name.strip(): value.strip() for name, _, value in pairs}
    flags = described.get("flags", "").split()
    facts: dict[str, Any] = {
        "cpu": described.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "amx_bf16": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        "device": device.type,
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def versions() -> dict[str, str]:
    """Of Python and the packages whose speed this is."""
    packages = {name: version(name) for name in ("torch", "transformers", "qads")}
    return {"python": platform.python_version(), **packages}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of measured values, and how many they are."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def report_name(machine: Mapping[str, Any], date: str, *, what: str = "influence") -> str:
    """File name of a report: what, hardware, day."""
    hardware = f"{machine.get('gpu') or machine['cpu']} {machine['cores']} cores"
    return f"{what}_{re.sub(r'[^a-z0-9]+', '-', hardware.lower()).strip('-')}_{date}.md"


def markdown(found: Mapping[str, Any]) -> str:
    """The report."""
    rows, machine = found["rows"], found["machine"]
    lines = [
        f"# One-shot influence: seconds a candidate ({found['scope']} run, {found['date']})",
        "",
        f"Model {found['model']}; {rows['n_candidates']} candidates of {rows['n_sources']} sources, examples of "
        f"{rows['example_tokens']['min']:.0f} to {rows['example_tokens']['max']:.0f} tokens (median "
        f"{rows['example_tokens']['median']:.0f}); {rows['n_anchors']} anchors of together {rows['target_tokens']} "
        f"tokens, {rows['answer_tokens']} of them scored; seed {rows['seed']}. Rows: {rows['origin']}.",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, device "
        f"{machine.get('gpu', machine['device'])}, amx_bf16 {_yes(machine['amx_bf16'])}, avx512_bf16 "
        f"{_yes(machine['avx512_bf16'])}; environment {machine['environment'] or 'plain'}. "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        + ".",
        "",
        *_seconds_table(found),
        "",
        *_numbers_table(found),
        "",
        *_length_table(found),
        "",
        *_notes(found),
    ]
    return "\n".join(lines) + "\n"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _seconds_table(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "| method | seconds a candidate: median | min | max | measured | times qads float32 | times qads bfloat16 |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, name in _METHODS.items():
        seconds = found["seconds_per_candidate"][method]
        ratios = [found["speedups"].get(f"{method}/{ours}") for ours in ("ours_fp32", "ours_bf16")]
        cells = [f"{r['median']:.2f} ({r['min']:.2f} to {r['max']:.2f})" if r else "" for r in ratios]
        lines.append(
            f"| {name} | {seconds['median']:.3f} | {seconds['min']:.3f} | {seconds['max']:.3f} | {seconds['n']} | "
            f"{cells[0]} | {cells[1]} |"
        )
    return lines


def _numbers_table(found: Mapping[str, Any]) -> list[str]:
    lines = ["| number | value | min | max |", "|---|---|---|---|"]
    for precision in ("fp32", "bf16"):
        for kind in ("", "linear_"):
            name = f"floor_fraction_{kind}{precision}"
            r = found["floor_fractions"][name]
            lines.append(f"| {name} | {r['median']:.3f} | {r['min']:.3f} | {r['max']:.3f} |")
    for name in ("max_abs_diff_fp32", "max_abs_diff_nuggets_style", "max_abs_diff_bf16", "bias_bf16", "spearman_bf16"):
        value = found[name]
        lines.append(f"| {name} | {'not defined' if value is None else f'{value:.3g}'} | | |")
    means = found["speedups_of_means"]["nuggets_style"]
    lines.append(f"| speedup_bf16_vs_nuggets_style, ratio of means | {means:.2f} | | |")
    return lines


def _length_table(found: Mapping[str, Any]) -> list[str]:
    """What plain pairs repeat is the example; the longer it is, the more is saved."""
    lines = [
        "| plain pairs, float32, over … by the length of the example | qads float32 | bare products float32 "
        "| qads bfloat16 | bare products bfloat16 |",
        "|---|---|---|---|---|",
    ]
    for row in found["pairs_fp32_by_length"]:
        cells = [f"{row[name]:.2f}" for name in ("ours_fp32", "floor_fp32", "ours_bf16", "floor_bf16")]
        lines.append(f"| {row['example_tokens']} tokens | " + " | ".join(cells) + " |")
    medians = [
        found["speedups"][f"pairs_fp32/{name}"]["median"]
        for name in ("ours_fp32", "floor_fp32", "ours_bf16", "floor_bf16")
    ]
    return [*lines, "| median | " + " | ".join(f"{value:.2f}" for value in medians) + " |"]


def _notes(found: Mapping[str, Any]) -> list[str]:
    rows = found["rows"]
    return [
        f"- One run, interleaved: {found['visits']} visits of {rows['n_groups']} groups of at most "
        f"{found['group_size']} candidates. A visit of a group scores {found['slow_per_visit']} of its candidates with "
        "every slow method in turn and the whole group, in one call, with qads; then the bare products of the same "
        "tokens. The order rotates from visit to visit.",
        "- A ratio compares a candidate's seconds with its share, by tokens, of the same visit's call of qads: the "
        "median over all of them, with the least and the greatest.",
        "- floor_fraction is the seconds of the bare products over those of qads, visit by visit: all linear layers on "
        "all tokens, the head on answer positions, q·kᵀ and p·v where needed (half of causal squares); `linear` leaves "
        f"attention out. Head in blocks of {found['head_block_fp32']} (float32) and {found['head_block_bf16']} "
        "(bfloat16) positions × words, the faster of two at the start.",
        f"- In nats a token. max_abs_diff_fp32 (and …_nuggets_style): qads float32 (NUGGETS style) less plain pairs "
        f"float32, {found['n_pairs_checked']} pairs; max_abs_diff_bf16 and bias_bf16: qads bfloat16 less qads float32, "
        f"{rows['n_pairs']} pairs. spearman_bf16: of the quality positive_gain, {rows['n_candidates']} candidates.",
        f"- NUGGETS style pads all anchors to the longest, {rows['nuggets_padded_tokens']} tokens in place of "
        f"{rows['target_tokens']}, in batches of {found['nuggets_batch']}; its published code pads and cuts at 200. "
        f"qads: max_tokens_per_batch {found['max_tokens_per_batch']}.",
        f"- Rows of the files that cannot serve: {rows['n_rejected']}; drawn and left (outside of 20 to 900 tokens, or "
        f"an anchor's problem): {rows['n_passed_over']}.",
    ]

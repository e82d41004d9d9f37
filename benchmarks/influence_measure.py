"""The run of `influence.py`: every method opened, warmed, and visited in an order that rotates."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from influence_baselines import NuggetsStyle, Pairs
from influence_floor import Floor, Passes, cut_passes
from influence_rows import draw_rows, tokenise

import qads
from qads.kernels.arithmetic import float32_arithmetic
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.models import CausalLM

__all__ = ["FAST", "GROUP_SIZE", "PRECISIONS", "SLOW", "Bench", "Measured", "measure"]

GROUP_SIZE = 8
"""Candidates in a call of ours, as many as a shard of production has."""
SLOW = ("pairs_fp32", "nuggets_style", "pairs_bf16")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
FAST = ("ours_fp32", "floor_fp32", "floor_bf16", "ours_bf16")
"""In this order, so that a product run stands beside ours of its precision whichever comes first."""


@dataclass
class Measured:
    """Everything that was timed and scored."""

    visits: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    """Of every visit of a group: seconds of the calls of ours and of the products (`…_linear` and all)."""
    slow: list[tuple[int, int, str, float]] = field(default_factory=list[tuple[int, int, str, float]])
    """Visit, candidate, method and seconds."""
    groups: list[range] = field(default_factory=list[range])
    """The group of every visit."""
    scores: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    """Method -> candidate -> scores [m]."""


class Bench:
    """The methods, opened and warm, and the texts they score."""

    def __init__(self, options: argparse.Namespace) -> None:
        plain = _open_models(options)
        # Models of their own: whatever ours does to one, the others run as transformers opened theirs.
        own = self._own = _open_models(options)
        self.device: torch.device = plain["fp32"].device
        tokenizer = plain["fp32"].tokenizer
        self.drawn = draw_rows(tokenizer, options.candidates, options.anchors, options.seed)
        texts = tokenise(tokenizer, self.drawn, plain["fp32"].max_length)
        self.header = texts.header
        self.prefixes = [(*texts.header, *example) for example in texts.examples if example is not None]
        self.targets: list[TokenTarget] = [target for target in texts.targets if target is not None]
        self.max_tokens: int = options.max_tokens
        n_targets = sum(len(t.ids) for t in self.targets)
        self.n_tokens = np.array([len(prefix) + n_targets for prefix in self.prefixes])
        self.slow: dict[str, Callable[[Sequence[int], Sequence[TokenTarget]], np.ndarray]] = {
            "pairs_fp32": Pairs(plain["fp32"].model),
            "pairs_bf16": Pairs(plain["bf16"].model),
            "nuggets_style": NuggetsStyle(plain["fp32"].model, options.nuggets_batch),
        }
        self.ours = {
            name: AnswerLikelihood(lm.model, max_tokens_per_batch=options.max_tokens) for name, lm in own.items()
        }
        passes = [cut for stream in self.passes(range(len(self.prefixes))) for cut in stream]
        longest = max((sum(p.n_tokens for p in cut) for cut in passes), default=1)
        capacity = max(longest, options.max_tokens)
        self.floors = {name: Floor(lm.model, capacity, self.synchronize) for name, lm in own.items()}

    def passes(self, rows: range) -> list[Passes]:
        """The passes that ours cuts a group into, stream by stream."""
        return cut_passes([self.prefixes[i] for i in rows], self.targets, self.max_tokens)

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def timed(self, run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
        """What a call gives, and its seconds."""
        self.synchronize()
        started = time.perf_counter()
        found = run()
        self.synchronize()
        return found, time.perf_counter() - started

    def warm_up(self) -> None:
        """Let every method run once on little, so that the clock sees no first time."""
        shortest = sorted(self.targets, key=lambda t: len(t.ids))[:2]
        for method in self.slow.values():
            method(self.prefixes[0], shortest)
        for name in PRECISIONS:
            self.ours[name](self.prefixes[:1], shortest)
            self.floors[name](cut_passes(self.prefixes[:1], shortest, self.max_tokens))

    def zero_shot(self, precision: str) -> np.ndarray:
        """Scores [m] of the targets after the header alone, in float32 arithmetic as production has it."""
        with float32_arithmetic(self._own[precision].model):
            return self.ours[precision]([self.header], self.targets)[0]


def _open_models(options: argparse.Namespace) -> dict[str, CausalLM]:
    return {
        name: qads.open_causal_lm(options.model, device=options.device, dtype=dtype)  # type: ignore[arg-type]
        for name, dtype in PRECISIONS.items()
    }


def measure(bench: Bench, repetitions: int, slow_per_visit: int, minutes: float) -> Measured:
    """Visit the groups in turn; in a visit every method runs, in an order that rotates.

    All groups are visited once; after that no visit begins that would not end within `minutes`, if it took as long as
    the longest so far.
    """
    n = len(bench.prefixes)
    groups = [range(start, min(n, start + GROUP_SIZE)) for start in range(0, n, GROUP_SIZE)]
    measured = Measured()
    started = time.perf_counter()
    longest = 0.0
    for visit in range(repetitions * len(groups)):
        before = time.perf_counter() - started
        if visit >= len(groups) and before + longest > 60 * minutes:
            print(f"{minutes:g} minutes are spent: stopping before visit {visit + 1}", file=sys.stderr)
            break
        repetition, group = divmod(visit, len(groups))
        rows = groups[group]
        measured.groups.append(rows)
        turns = range(repetition * slow_per_visit, (repetition + 1) * slow_per_visit)
        order = list(rows) if repetitions * slow_per_visit > 1 else _middle_first(bench, rows)
        _visit_slow(bench, order, measured, visit, turns)
        measured.visits.append(_visit_fast(bench, rows, measured, visit))
        after = time.perf_counter() - started
        longest = max(longest, after - before)
        print(f"{visit + 1}/{repetitions * len(groups)} visits, {after:.0f} s", file=sys.stderr, flush=True)
    return measured


def _middle_first(bench: Bench, rows: range) -> list[int]:
    """The candidates of a group, those of median length first: a single one should be like most."""
    lengths = bench.n_tokens[rows]
    return [rows[i] for i in np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")]


def _visit_slow(bench: Bench, rows: Sequence[int], measured: Measured, visit: int, turns: range) -> None:
    """Score some candidates of a group with every slow method, candidate by candidate."""
    for turn in turns[: len(rows)]:
        candidate = rows[turn % len(rows)]
        for method in _rotated(SLOW, visit + turn):
            run = bench.slow[method]
            scores, seconds = bench.timed(lambda: run(bench.prefixes[candidate], bench.targets))  # noqa: B023
            measured.slow.append((visit, candidate, method, seconds))
            measured.scores[method][candidate] = scores


def _visit_fast(bench: Bench, rows: range, measured: Measured, visit: int) -> dict[str, float]:
    """Seconds of ours and of the bare products on one group."""
    seconds: dict[str, float] = {}
    prefixes = [bench.prefixes[i] for i in rows]
    order = _rotated(FAST, visit)[:: -1 if visit % 2 else 1]
    for method in order:
        kind, precision = method.split("_")
        if kind == "ours":
            run = bench.ours[precision]
            scores, seconds[method] = bench.timed(lambda: run(prefixes, bench.targets))  # noqa: B023
            measured.scores[method].update(zip(rows, scores, strict=True))
        else:
            products = bench.floors[precision](bench.passes(rows))
            seconds[method], seconds[f"{method}_linear"] = products.full, products.linear
    return seconds


def _rotated(names: Sequence[str], by: int) -> list[str]:
    return [*names[by % len(names) :], *names[: by % len(names)]]

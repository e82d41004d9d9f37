"""The rows that `influence.py` scores: real ones, drawn by seed, or the embedded demo corpus where there are none."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import qads
from qads.demo import make_demo_anchors, make_demo_rows
from qads.pool import Pool, Row
from qads.problems import problem_key
from qads.prompts import ExemplarTemplate
from qads.quality.tokens import FittedTexts, fit_texts

__all__ = ["DrawnRows", "draw_rows", "tokenise"]

_ROOT = Path(__file__).parents[1]
_FIRST = ("gsm8k_train", "math_train", "code_alpaca_2k", "alpaca_5k")
"""Sources that give a row before the others do, so that few candidates are still of all sorts."""
_ANCHOR_SOURCES = ("gsm8k_train", "math_train")
_EXAMPLE_TOKENS = range(20, 901)


@dataclass(frozen=True)
class DrawnRows:
    """Candidates in shuffled order, anchors, and where both came from."""

    candidates: Pool
    anchors: Pool
    origin: str
    is_real: bool
    n_rejected: int
    """Rows of the files that cannot serve."""
    n_passed_over: int
    """Rows drawn and left: an example outside of 20–900 tokens, or an anchor's own problem."""


def draw_rows(tokenizer: Any, n_candidates: int, n_anchors: int, seed: int) -> DrawnRows:
    """Draw candidates evenly over the sources and anchors of GSM8K and MATH, half of each."""
    rng = np.random.default_rng(seed)
    folder = Path(os.environ.get("QADS_TEST_DATA", _ROOT.parent / "shared" / "data")).expanduser() / "pool"
    is_real = folder.is_dir()
    if is_real:
        pool = qads.load_pool(sorted(folder.glob("*.jsonl.gz")), on_bad_row="skip")
        anchors = _draw_anchors(pool, n_anchors, rng)
    else:
        pool = Pool.from_rows(Row(**row) for row in make_demo_rows(seed=seed))  # type: ignore[arg-type]
        anchors = [Row(**row) for row in make_demo_anchors(n_anchors=n_anchors, seed=seed)]  # type: ignore[arg-type]
    keys = {problem_key(anchor.problem) for anchor in anchors}
    chosen, n_passed_over = _draw_candidates(pool, tokenizer, n_candidates, keys, rng)
    return DrawnRows(
        candidates=pool.take(chosen),
        anchors=Pool.from_rows(anchors),
        origin=f"real rows (QADS_TEST_DATA), {len(pool)} in {len(pool.sources)} files" if is_real
        else "EMBEDDED DEMO CORPUS: no real rows here (set QADS_TEST_DATA)",
        is_real=is_real,
        n_rejected=len(pool.rejected),
        n_passed_over=n_passed_over,
    )  # fmt: skip


def tokenise(tokenizer: Any, rows: DrawnRows, max_length: int) -> FittedTexts:
    """Header, examples and targets as production tokenises them; a row that does not fit is an error."""
    return fit_texts(tokenizer, ExemplarTemplate().renderer(None), rows.candidates, rows.anchors, max_length, "error")


def _draw_anchors(pool: Pool, n_anchors: int, rng: np.random.Generator) -> list[Row]:
    """Rows of moderate length, at most twice their source's median in characters; as production chooses them."""
    anchors: list[Row] = []
    seen: set[str] = set()
    by_source = pool.rows_by_source()
    lengths = np.array([len(text) for text in pool.strings("problem")])
    lengths += np.array([len(text) for text in pool.strings("solution")])
    for number, source in enumerate(_ANCHOR_SOURCES):
        rows = by_source[source]
        moderate = rng.permutation(rows[lengths[rows] <= 2 * np.median(lengths[rows])])
        share = (n_anchors + len(_ANCHOR_SOURCES) - 1 - number) // len(_ANCHOR_SOURCES)
        wanted = len(anchors) + share
        for index in moderate:
            row = pool[int(index)]
            if len(anchors) < wanted and problem_key(row.problem) not in seen:
                seen.add(problem_key(row.problem))
                anchors.append(row)
            if len(anchors) == wanted:
                break
    return anchors


def _draw_candidates(
    pool: Pool, tokenizer: Any, n_candidates: int, anchor_keys: Collection[str], rng: np.random.Generator
) -> tuple[Sequence[int], int]:
    """One row a source in turn, as they come within it; the order of the result is shuffled."""
    renderer = ExemplarTemplate().renderer(None)
    by_source = pool.rows_by_source()
    first = [name for name in _FIRST if name in by_source]
    rest = [name for name in by_source if name not in first]
    sources = [*first, *(rest[i] for i in rng.permutation(len(rest)))]
    waiting = {name: iter(rng.permutation(by_source[name])) for name in sources}
    chosen: list[int] = []
    n_passed_over = 0
    while len(chosen) < n_candidates and waiting:
        for name in list(waiting):
            for index in waiting[name]:
                row = pool[int(index)]
                n_tokens = len(tokenizer(renderer.example(row), add_special_tokens=False)["input_ids"])
                if n_tokens in _EXAMPLE_TOKENS and problem_key(row.problem) not in anchor_keys:
                    chosen.append(int(index))
                    break
                n_passed_over += 1
            else:
                del waiting[name]
            if len(chosen) == n_candidates:
                break
    if len(chosen) < n_candidates:
        raise SystemExit(f"{n_candidates} candidates asked for, but only {len(chosen)} rows can serve.")
    return [chosen[i] for i in rng.permutation(len(chosen))], n_passed_over

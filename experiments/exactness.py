"""Are packed scores those of the definition? 2,000 real pairs, each against a plain float32 pass over its whole text.

125 candidates and 16 anchors with problems of their own from GSM8K, MATH, code and general instructions; candidates of
20 to 900 tokens, long ones on purpose. Every pair is scored three times: by a plain float32 forward pass over header,
example and anchor, batch size 1, and by `AnswerLikelihood` in float32 and in bfloat16.

    python experiments/exactness.py --out experiments/results/exactness.jsonl      # a killed run goes on
    python experiments/exactness.py --out … --json exactness.json              # what there is, as a table and as JSON

The data is read from the folder that `QADS_TEST_DATA` names, by default `../shared/data`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aggregates import MODEL, Records
from scipy.stats import spearmanr

import qads
from qads.kernels.arithmetic import float32_arithmetic
from qads.kernels.lanes import run_lanes
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.models import find_model
from qads.prompts import ExemplarTemplate
from qads.quality.tokens import fit_texts
from qads.run.sealed import write_json

SOURCES = ("gsm8k_train", "math_train", "code_alpaca_2k", "alpaca_5k")
N_ANCHORS = 16
N_CANDIDATES = 125
LONG_SHARE = 0.15
"""Share of the candidates that is drawn from the longest tenth of each source."""
SHORTEST, LONGEST = 20, 900
"""Tokens of a candidate."""
LONGEST_ANCHOR = 160
"""Tokens; every anchor is read once a candidate by the oracle too."""
GROUP = 5
"""Candidates in a call of ours."""


def draw(tokenizer: Any, seed: int) -> tuple[qads.Pool, qads.Pool]:
    """Candidates and anchors, sources in turn."""
    folder = Path(os.environ.get("QADS_TEST_DATA") or Path(__file__).resolve().parents[1] / "../shared/data") / "pool"
    pool = qads.load_pool([folder / f"{name}.jsonl.gz" for name in SOURCES], on_bad_row="skip")
    rng = np.random.default_rng(seed)
    renderer = ExemplarTemplate().renderer(None)
    taken: set[str] = set()

    def take(rows: Sequence[int], n_rows: int, limits: tuple[int, int]) -> list[int]:
        chosen: list[int] = []
        for row in rows:
            n_tokens = len(tokenizer(renderer.example(pool[row]), verbose=False)["input_ids"])
            if pool.problem_keys[row] not in taken and limits[0] <= n_tokens <= limits[1]:
                chosen.append(row)
                taken.add(pool.problem_keys[row])
            if len(chosen) == n_rows:
                break
        return chosen

    anchors, candidates = [], []
    for rows in pool.rows_by_source().values():
        mixed = rng.permutation(rows).tolist()
        anchors.append(take(mixed, N_ANCHORS // len(SOURCES), (SHORTEST, LONGEST_ANCHOR)))
        n_rows = -(-N_CANDIDATES // len(SOURCES))
        by_length = sorted(rows.tolist(), key=lambda row: -len(pool[row].problem) - len(pool[row].solution))
        long = rng.permutation(by_length[: len(by_length) // 10]).tolist()
        chosen = take(long, int(LONG_SHARE * n_rows), (SHORTEST, LONGEST))
        candidates.append([*chosen, *take(mixed, n_rows - len(chosen), (SHORTEST, LONGEST))])
    return pool.take(in_turn(candidates)[:N_CANDIDATES]), pool.take(in_turn(anchors))


def in_turn(groups: Sequence[Sequence[int]]) -> list[int]:
    """One of each group after the other."""
    return [row for turn in itertools.zip_longest(*groups) for row in turn if row is not None]


@torch.inference_mode()
def plain_score(model: Any, prefix: Sequence[int], target: TokenTarget) -> float:
    """Mean log-probability of the answer by one plain pass; the model's own head, on the positions before answers."""
    first = len(prefix) + target.answer_start
    ids = torch.tensor([[*prefix, *target.ids]])
    before = torch.arange(first - 1, first - 1 + target.n_answer)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=before).logits[0].double()
    return torch.log_softmax(logits, -1).gather(1, ids[0, before + 1, None]).mean().item()


def plain_scores(model: Any, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget]) -> np.ndarray:
    """Scores [n, m], pair by pair; pairs are shared out among the cores, each computed alone."""
    found = np.empty((len(prefixes), len(targets)))

    def job(i: int) -> Iterator[None]:
        for j, target in enumerate(targets):
            found[i, j] = plain_score(model, prefixes[i], target)
            yield

    run_lanes([partial(job, i) for i in range(len(prefixes))])
    return found


def run(out: Path, seed: int) -> None:
    """Score the candidates that are not in the file yet."""
    models = {name: qads.open_causal_lm(MODEL, dtype=name, device="cpu") for name in ("float32", "bfloat16")}
    tokenizer = models["float32"].tokenizer
    candidates, anchors = draw(tokenizer, seed)
    texts = fit_texts(tokenizer, ExemplarTemplate().renderer(None), candidates, anchors, 8192, "error")
    targets = [target for target in texts.targets if target is not None]
    settings = {"model": find_model(MODEL).identity, "candidates": candidates.fingerprint, "seed": seed,
                "anchors": anchors.fingerprint, "target_tokens": [len(t.ids) for t in targets]}  # fmt: skip
    records = Records(out)
    known = records.read()
    if known and known[0]["settings"] != settings:
        raise SystemExit(f"{out} was made with other rows; give another --out.")
    ours = {name: AnswerLikelihood(lm.model, max_tokens_per_batch=2048) for name, lm in models.items()}
    if not known:
        zero: dict[str, Any] = {}
        for name, lm in models.items():
            with float32_arithmetic(lm.model):  # As production does.
                zero[name] = ours[name]([texts.header], targets)[0].tolist()
        plain = plain_scores(models["float32"].model, [texts.header], targets)[0].tolist()
        records.add({"settings": settings, "zero_shot": {"plain": plain, **zero}})
    left = [i for i in range(len(candidates)) if i >= len(known) - 1]
    for start in range(0, len(left), GROUP):
        rows, began = left[start : start + GROUP], time.perf_counter()
        prefixes = [(*texts.header, *(texts.examples[i] or ())) for i in rows]
        scores = {name: found(prefixes, targets) for name, found in ours.items()}
        scores["plain"] = plain_scores(models["float32"].model, prefixes, targets)
        for k, i in enumerate(rows):
            row = candidates[i]
            facts = {"id": row.id, "source": row.source, "n_tokens": len(prefixes[k])}
            records.add({**facts, **{name: found[k].tolist() for name, found in scores.items()}})
        worst = np.abs(scores["plain"] - scores["float32"]).max()
        seconds = time.perf_counter() - began
        print(f"{rows[-1] + 1}/{len(candidates)}: {worst:.1e} nats at most, {seconds:.0f} s", flush=True)


def summarise(out: Path) -> dict[str, Any]:
    """What the file holds, as figures."""
    start, *rows = Records(out).read()
    scores = {name: np.array([row[name] for row in rows]) for name in ("plain", "float32", "bfloat16")}
    zero = {name: np.array(found) for name, found in start["zero_shot"].items()}
    quality = {name: np.maximum(found - zero[name], 0).mean(axis=1) for name, found in scores.items()}
    gains = {name: found - zero[name] for name, found in scores.items()}
    tokens = np.array([row["n_tokens"] for row in rows])[:, None] + np.array(start["settings"]["target_tokens"])
    away = {name: scores[name] - scores["plain"] for name in ("float32", "bfloat16")}
    return {
        "n_pairs": int(scores["plain"].size),
        "n_candidates": len(rows),
        "sources": {name: sum(row["source"] == name for row in rows) for name in SOURCES},
        "candidate_tokens": [min(row["n_tokens"] for row in rows), max(row["n_tokens"] for row in rows)],
        "pair_tokens": [int(tokens.min()), int(np.median(tokens)), int(tokens.max())],
        "max_abs_diff_fp32": float(np.abs(away["float32"]).max()),
        "max_abs_diff_bf16": float(np.abs(away["bfloat16"]).max()),
        "rms_bf16": float(np.sqrt((away["bfloat16"] ** 2).mean())),
        "bias_bf16": float(away["bfloat16"].mean()),
        "bias_of_gains_bf16": float((gains["bfloat16"] - gains["plain"]).mean()),
        "spearman_bf16": float(spearmanr(quality["bfloat16"], quality["plain"]).statistic),
        "spearman_fp32": float(spearmanr(quality["float32"], quality["plain"]).statistic),
    }


def main() -> None:
    """Score what is missing, then say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/exactness.jsonl"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures of what there is here, and score nothing")
    given = parser.parse_args()
    if given.json is None:
        run(given.out, given.seed)
    found = summarise(given.out)
    for name, value in found.items():
        print(f"{name}: {value}")
    if given.json is not None:
        write_json(given.json, found)


if __name__ == "__main__":
    main()

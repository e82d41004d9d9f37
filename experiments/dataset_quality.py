"""Does complete and complicated reasoning score higher? Variants of the same rows, and rows as they are.

`vary` scores variants of the same worked solutions: with the last half of the reasoning gone, with the first half gone,
with the steps in another order, with the closing statement alone. A row is its own control, so that neither the source
nor the problem can explain a difference; variants of equal length differ in completeness or in order alone.

`observe` takes the really scored rows of a run as they are and relates quality to the number of steps and to length
inside the sources.

    python experiments/dataset_quality.py vary OUT --anchors ANCHORS.jsonl [--every 2] [--rows 10] [--model NAME]
    python experiments/dataset_quality.py observe RUN [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from scipy.stats import rankdata

import qads
from qads.analyze import split_steps
from qads.analyze.resampling import Draw, Interval, draws, interval_of, row_means
from qads.analyze.texts import measure_texts
from qads.kernels.correlation import centred, pearson
from qads.quality import Influence
from qads.report import open_scored_run, read_scores
from qads.run.shards import DiskShards

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))
SOURCES = ("gsm8k_train", "math_train", "aqua_rat_flan", "svamp_train_cot_reft", "tal_scq5k_en_train")
LONGEST = 1500
"""Characters of problem and solution."""
FEWEST_STEPS = 4
N_DRAWS = 2000

Parts = tuple[list[str], str]
"""Steps of the reasoning, and what closes it."""


def shuffled(steps: list[str], row: int) -> list[str]:
    """The steps in another order, by the number of the row; the white space between them stays where it is."""
    order = list(range(len(steps)))
    rng = np.random.default_rng(row)
    while order == sorted(order):
        order = rng.permutation(len(steps)).tolist()
    spaces = [step[len(step.rstrip()) :] for step in steps]
    return [steps[i].rstrip() + space for i, space in zip(order, spaces, strict=True)]


def half(steps: list[str]) -> int:
    """Steps of the first half."""
    return len(steps) // 2


VARIANTS: dict[str, Callable[[list[str], str, int], str]] = {
    "full": lambda steps, closing, row: "".join(steps) + closing,
    "last half and closing gone": lambda steps, closing, row: "".join(steps[: half(steps)]),
    "last half gone": lambda steps, closing, row: "".join(steps[: half(steps)]) + closing,
    "first half gone": lambda steps, closing, row: "".join(steps[len(steps) - half(steps) :]) + closing,
    "steps shuffled": lambda steps, closing, row: "".join(shuffled(steps, row)) + closing,
    "closing alone": lambda steps, closing, row: closing,
}
CONTRASTS = [(name, "full") for name in list(VARIANTS)[1:]] + [("last half gone", "first half gone")]


def parts_of(row: qads.Row) -> Parts | None:
    """Reasoning and closing: the statement of the answer, else the last step; None where there are too few steps."""
    pieces = split_steps(row.solution, row.kind)
    answers = [piece.text for piece in pieces if piece.states_answer]
    steps = [piece.text for piece in pieces if not piece.states_answer]
    closing = "".join(answers) if answers else steps.pop() if steps else ""
    return (steps, closing) if len(steps) >= FEWEST_STEPS else None


def draw_rows(n: int, anchors: qads.Pool) -> list[tuple[qads.Row, Parts]]:
    """`n` rows of every source, by seed 0, none of them an anchor's problem."""
    used = set(anchors.problem_keys)
    chosen: list[tuple[qads.Row, Parts]] = []
    for name in SOURCES:
        pool = qads.load_pool(DATA / "pool" / f"{name}.jsonl.gz", on_bad_row="skip")
        fit = [
            (row, parts)
            for row, key in zip(pool, pool.problem_keys, strict=True)
            if key not in used and len(row.problem) + len(row.solution) <= LONGEST and (parts := parts_of(row))
        ]
        picks = np.random.default_rng(0).choice(len(fit), n, replace=False)
        chosen += [fit[i] for i in np.sort(picks)]
    return chosen


def vary(args: argparse.Namespace) -> None:
    """Score the variants, or read their scores, and print the paired differences."""
    given = qads.load_pool(args.anchors)
    anchors = given.take(np.sort(np.concatenate([rows[:: args.every] for rows in given.rows_by_source().values()])))
    rows = draw_rows(args.rows, anchors)
    candidates = qads.Pool.from_rows(
        replace(row, id=f"{row.id} {name}", solution=make(*parts, number), kind="cot")
        for name, make in VARIANTS.items()
        for number, (row, parts) in enumerate(rows)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"variants-{args.model.replace('/', '--')}.parquet"
    if not path.exists():
        shards = DiskShards(path.with_suffix(""))
        found = qads.OneShotInfluence(model=args.model, too_long="drop")(candidates, anchors, shards=shards)
        pq.write_table(found.to_table(), path)
    influence = Influence.from_table(pq.read_table(path))
    terms = influence.terms("positive_gain").reshape(len(VARIANTS), len(rows), -1)
    words = np.array([len(text.split()) for text in candidates.strings("solution")]).reshape(len(VARIANTS), -1)
    codes = np.repeat(np.arange(len(SOURCES)), args.rows)
    result = {"model": args.model, "rows": len(rows), "anchors": len(influence.anchor_ids)}
    result |= paired(terms, words, codes, influence.anchor_groups)
    print(json.dumps(result, indent=1))


def paired(
    terms: Float[np.ndarray, "v k m"], words: Int[np.ndarray, "v k"], codes: Int[np.ndarray, " k"],
    groups: Sequence[str],
) -> dict[str, object]:  # fmt: skip
    """Mean quality of every variant, and of every contrast the paired difference with its interval."""
    names = list(VARIANTS)
    whole = Draw(np.arange(len(codes)), np.ones(len(groups)))

    def differences(draw: Draw) -> Float[np.ndarray, "c s"]:
        quality = {name: row_means(terms[v], draw.anchors)[draw.rows] for v, name in enumerate(names)}
        by_contrast = []
        for a, b in CONTRASTS:
            gap = quality[a] - quality[b]
            by_contrast.append([np.nanmean(gap), *(np.nanmean(gap[codes == s]) for s in range(len(SOURCES)))])
        return np.array(by_contrast)

    value = differences(whole)
    found = np.array([differences(draw) for draw in draws(codes, groups, N_DRAWS, seed=0)])
    means = {n: float(np.nanmean(row_means(terms[v], whole.anchors))) for v, n in enumerate(names)}
    return {
        "mean quality": means,
        "mean words": {name: float(words[v].mean()) for v, name in enumerate(names)},
        "differences": {
            f"{a} − {b}": {
                scope: rounded(interval_of(float(value[c, s]), found[:, c, s], 0.95, strata=strata(codes, groups, s)))
                for s, scope in enumerate(["all", *SOURCES])
            }
            for c, (a, b) in enumerate(CONTRASTS)
        },
    }


def strata(codes: Int[np.ndarray, " k"], groups: Sequence[str], scope: int) -> list[list[int]]:
    """Sizes of what is drawn from: rows of all sources or of one, anchors of every group."""
    rows = np.bincount(codes).tolist()
    return [rows if scope == 0 else [rows[scope - 1]], np.unique(groups, return_counts=True)[1].tolist()]


def observe(args: argparse.Namespace) -> None:
    """Relate real quality to steps and length inside the sources of a run."""
    run = open_scored_run(args.run)
    scores = read_scores(run).scored()
    sample = run.pool.take(scores.rows)
    texts = measure_texts(sample)
    codes = run.pool.source_codes[scores.rows]
    measures = {
        "steps": texts.steps.astype(float),
        "words": texts.words.astype(float),
        "equations": texts.equations.astype(float),
        "words a step": texts.words / np.maximum(texts.steps, 1),
    }
    worked = np.array(sample.strings("kind")) == "cot"
    result: dict[str, object] = {"model": scores.model, "rows": len(scores.rows)}
    for title, rows in {"all sources": np.arange(len(codes)), "worked solutions": np.flatnonzero(worked)}.items():
        result[title] = inside(scores, rows, codes, measures)
    result["by source"] = {
        name: correlations_of(scores, np.flatnonzero(codes == code), codes, measures)
        for code, name in enumerate(run.pool.sources)
        if (codes == code).sum() >= 30
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def inside(
    scores: qads.RowScores, rows: Int[np.ndarray, " r"], codes: Int[np.ndarray, " k"],
    measures: dict[str, Float[np.ndarray, " k"]],
) -> dict[str, object]:  # fmt: skip
    """Rank correlations inside sources, alone and with the other measures held fixed, over drawn rows and anchors."""
    terms, codes = scores.terms[rows], codes[rows]
    columns = {name: values[rows] for name, values in measures.items()}

    def statistics(draw: Draw) -> list[float]:
        quality = row_means(terms, draw.anchors)[draw.rows]
        known = np.isfinite(quality)
        at, here = draw.rows[known], codes[draw.rows][known]
        ranks = {name: ranks_inside(values[at], here) for name, values in columns.items()}
        q = ranks_inside(quality[known], here)
        alone = [pearson(ranks[name], q) for name in columns]
        return [*alone, partial(ranks["steps"], q, [ranks["words"]]), partial(ranks["words"], q, [ranks["steps"]]),
                partial(ranks["equations"], q, [ranks["words"]])]  # fmt: skip

    labels = [*columns, "steps, words fixed", "words, steps fixed", "equations, words fixed"]
    value = statistics(Draw(np.arange(len(codes)), np.ones(len(scores.groups))))
    found = np.array([statistics(draw) for draw in draws(codes, scores.groups, N_DRAWS // 4, seed=0)])
    named = {label: rounded(interval_of(value[i], found[:, i], 0.95)) for i, label in enumerate(labels)}
    return {"rows": len(rows), "sources": len(np.unique(codes)), **named}


def correlations_of(
    scores: qads.RowScores, rows: Int[np.ndarray, " r"], codes: Int[np.ndarray, " k"],
    measures: dict[str, Float[np.ndarray, " k"]],
) -> dict[str, float | int]:  # fmt: skip
    """Rank correlations of one source."""
    q = ranks_inside(scores.quality[rows], codes[rows])
    found = {name: pearson(ranks_inside(values[rows], codes[rows]), q) for name, values in measures.items()}
    return {"rows": len(rows)} | {name: round(r, 3) if np.isfinite(r) else None for name, r in found.items()}


def ranks_inside(values: Float[np.ndarray, " r"], codes: Int[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Ranks inside each source, from 0 to 1, less their mean."""
    ranks = np.empty(len(values))
    for code in np.unique(codes):
        at = np.flatnonzero(codes == code)
        ranks[at] = rankdata(values[at]) / len(at)
    return centred(ranks, codes)


def partial(a: Float[np.ndarray, " r"], b: Float[np.ndarray, " r"], fixed: Sequence[Float[np.ndarray, " r"]]) -> float:
    """Correlation of what a linear fit on the fixed ones leaves of both."""
    basis = np.column_stack(fixed)
    left = [values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0] for values in (a, b)]
    return pearson(*left)


def rounded(interval: Interval) -> list[float]:
    """Value, low and high."""
    return [round(float(v), 4) for v in (interval.value, interval.low, interval.high)]


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    varied = commands.add_parser("vary")
    varied.add_argument("out", type=Path)
    varied.add_argument("--anchors", type=Path, required=True)
    varied.add_argument("--every", type=int, default=1, help="take every so-manieth anchor of a source")
    varied.add_argument("--rows", type=int, default=12)
    varied.add_argument("--model", default="smollm2-135m")
    varied.set_defaults(command=vary)
    observed = commands.add_parser("observe")
    observed.add_argument("run", type=Path)
    observed.add_argument("--json", type=Path)
    observed.set_defaults(command=observe)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()

"""Do reference solutions state the stored answers, and are the answers of other rows refused?

    python experiments/answers.py DATA                 # solutions in words
    python experiments/answers.py DATA --programs      # and programs, run in the sandbox

Of every set in DATA (`pool/NAME.jsonl.gz`, `eval/NAME.jsonl.gz`): how many reference solutions have another answer than
the stored one, which these are, and how many of 1,500 answers of other rows are taken for the row's own (pairs whose
answers are the same text or number are not counted).
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import qads
from qads.answers import find_answer, read_number, same_answer, split_options
from qads.datasets import load_pool

SETS = (
    "pool/gsm8k_train", "eval/gsm8k_test", "pool/math_train", "eval/math500", "pool/aqua_rat_flan", "eval/aqua_test",
    "pool/tal_scq5k_en_train", "pool/svamp_train_cot_reft",
)  # fmt: skip
PROGRAMS = ("pool/svamp_train_pot_reft", "pool/tabmwp_pot")
N_PAIRS = 1500


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--programs", action="store_true", help="run programs of the sets, in the sandbox")
    options = parser.parse_args()
    for name in (*SETS, *(PROGRAMS if options.programs else ())):
        rows = [row for row in load_pool(options.data / f"{name}.jsonl.gz", require_solution=False) if row.answer]
        rows = [row for row in rows if row.solution.strip()]
        started = time.perf_counter()
        answers = run(rows) if name in PROGRAMS else [stated(row) for row in rows]
        wrong = [
            (row.id, answer, row.answer)
            for row, answer in zip(rows, answers, strict=True)
            if not same_answer(answer, row.answer or "", options=split_options(row.problem).options)
        ]
        seconds = time.perf_counter() - started
        taken, n_pairs = taken_for_own(rows)
        print(f"{name}: {len(wrong)} of {len(rows)} disagree ({seconds:.1f} s); {len(taken)} of {n_pairs} others taken")
        for each in (*wrong, *taken):
            print("   ", each)


def stated(row: qads.Row) -> str | None:
    """The answer of a solution in words."""
    return find_answer(row.solution, options=split_options(row.problem).options).text


def run(rows: list[qads.Row]) -> list[str | None]:
    """The answers of programs."""
    return [outcome.answer for outcome in qads.Sandbox()([row.solution for row in rows])]


def taken_for_own(rows: list[qads.Row]) -> tuple[list[tuple[str, str, str]], int]:
    """Answers of other rows that are taken for a row's own, and how many were tried."""
    draw, taken, tried = random.Random(0), list[tuple[str, str, str]](), 0
    for row in draw.sample(rows, min(N_PAIRS, len(rows))):
        answer, other = row.answer or "", draw.choice(rows).answer or ""
        numbers = read_number(answer), read_number(other)
        equal = numbers[0] is not None and numbers[1] is not None and numbers[0].value == numbers[1].value
        if equal or answer == other:
            continue
        tried += 1
        if found := same_answer(other, answer, options=split_options(row.problem).options):
            taken.append((other, answer, found.how))
    return taken, tried


if __name__ == "__main__":
    main()

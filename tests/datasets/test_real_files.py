"""Real datasets: every row is read, and known facts about them are found."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qads.answers import extract_answer
from qads.datasets import load_pool, write_pool
from qads.datasets.solutions import detect_kind
from qads.errors import PoolError

POOL = {
    "alpaca_5k": 5000,
    "aqua_rat_flan": 2728,
    "arc_challenge_train": 1119,
    "code_alpaca_2k": 2017,
    "ecqa_cot": 7112,
    "gsm8k_train": 7473,
    "math_train": 7500,
    "openbookqa_train": 4957,
    "p3_t0_sample": 3108,
    "qasc_cot": 1084,
    "self_instruct_seed": 175,
    "strategyqa_cot": 2061,
    "svamp_train_cot_reft": 3076,
    "svamp_train_pot_reft": 3043,
    "tabmwp_pot": 4897,
    "tal_scq5k_en_train": 3000,
}
EMPTY = {"alpaca_5k": 2, "code_alpaca_2k": 2}
EVAL = {"aqua_test": 254, "asdiv": 2215, "gsm8k_test": 1319, "math500": 500, "svamp": 1000}
EVAL_WITHOUT_SOLUTIONS = {
    "mathematics_dm": 1000,
    "mawps": 2065,
    "mmlu_math": 974,
    "numglue": 1042,
    "sat_math": 220,
    "simuleq": 514,
}
# File: rows, rows set aside, the kind of most of them, its least share, the least share of rows with an answer.
ORIGINAL = {
    "alpaca_5000.json": (4998, 2, "general", 0.9, 0.0),
    "aqua_dev.jsonl": (254, 0, "cot", 0.9, 1.0),
    "gsm8k_test.jsonl": (1319, 0, "cot", 1.0, 1.0),
    "self_instruct_seed_tasks.jsonl": (175, 0, "general", 0.8, 0.0),
    "svamp_pot.json": (3043, 0, "pot", 1.0, 1.0),
    "svamp_test.json": (1000, 0, "cot", 0.99, 1.0),
    "tora_examples.jsonl": (30, 0, "pot", 0.7, 1.0),
}


def records(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_the_known_files_are_all_the_files(test_data: Path) -> None:
    assert {path.name.removesuffix(".jsonl.gz") for path in (test_data / "pool").iterdir()} == POOL.keys()
    found = {path.name.removesuffix(".jsonl.gz") for path in (test_data / "eval").iterdir()}
    assert found == EVAL.keys() | EVAL_WITHOUT_SOLUTIONS.keys()
    assert {path.name for path in (test_data / "original").iterdir()} == ORIGINAL.keys()


@pytest.mark.parametrize("name", POOL)
def test_every_row_of_a_dataset_is_read_or_listed(name: str, test_data: Path, tmp_path: Path) -> None:
    pool = load_pool(test_data / "pool" / f"{name}.jsonl.gz")
    assert (len(pool), len(pool.rejected)) == (POOL[name] - EMPTY.get(name, 0), EMPTY.get(name, 0))
    assert pool.sources == [name]
    assert {row.reason for row in pool.rejected} <= {"empty solution"}
    write_pool(pool, tmp_path / "x.jsonl", format="messages")
    assert load_pool(tmp_path / "x.jsonl").fingerprint == pool.fingerprint


def test_the_whole_pool_is_one_pool(test_data: Path) -> None:
    pool = load_pool(test_data / "pool")
    assert (len(pool), len(pool.rejected), sum(POOL.values())) == (58_346, 4, 58_350)
    assert pool.sources == sorted(POOL)
    assert Counter(pool.strings("kind")) == {"cot": 23_777, "pot": 7_940, "general": 26_629}
    assert {name: len(rows) for name, rows in pool.rows_by_source().items()} == {
        name: rows - EMPTY.get(name, 0) for name, rows in POOL.items()
    }


@pytest.mark.parametrize("name", EVAL)
def test_a_benchmark_with_solutions_is_a_pool(name: str, test_data: Path) -> None:
    pool = load_pool(test_data / "eval" / f"{name}.jsonl.gz")
    assert (len(pool), len(pool.rejected), pool.table["answer"].null_count) == (EVAL[name], 0, 0)
    assert all(row.meta["kind"] == "eval" for row in pool)


@pytest.mark.parametrize("name", EVAL_WITHOUT_SOLUTIONS)
def test_a_benchmark_without_solutions_is_set_aside_row_by_row(name: str, test_data: Path) -> None:
    path = test_data / "eval" / f"{name}.jsonl.gz"
    message = rf"none of the {EVAL_WITHOUT_SOLUTIONS[name]} rows can serve; the first: {path}:1: empty solution"
    with pytest.raises(PoolError, match=message):
        load_pool(path)


@pytest.mark.parametrize("name", ORIGINAL)
def test_an_upstream_file_is_read_as_it_was_published(name: str, test_data: Path) -> None:
    n_rows, n_rejected, kind, share, answered = ORIGINAL[name]
    pool = load_pool(test_data / "original" / name)
    assert (len(pool), len(pool.rejected)) == (n_rows, n_rejected)
    assert pool.strings("kind").count(kind) >= share * n_rows
    assert n_rows - pool.table["answer"].null_count >= answered * n_rows


def test_the_answer_of_every_gsm8k_row_is_its_last_number(test_data: Path) -> None:
    for row in load_pool(test_data / "pool" / "gsm8k_train.jsonl.gz"):
        last = re.findall(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+", row.solution)[-1].replace(",", "")
        stated = extract_answer(row.solution)
        assert stated is not None and stated.replace(",", "") == row.answer == last, row.solution
        assert "<<" not in row.solution


def test_the_upstream_file_of_gsm8k_gives_the_rows_of_the_normalised_one(test_data: Path) -> None:
    upstream = load_pool(test_data / "original" / "gsm8k_test.jsonl")
    normalised = load_pool(test_data / "eval" / "gsm8k_test.jsonl.gz")
    for column in ("problem", "solution", "kind"):
        assert upstream.strings(column) == normalised.strings(column)
    assert [answer.replace(",", "") for answer in upstream.strings("answer")] == normalised.strings("answer")
    raw = (test_data / "original" / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(raw) if "<<" in line}
    assert {n for n, row in enumerate(upstream) if "solution_with_calculator" in row.meta} == marked


def test_boxed_answers_of_math_are_extracted(test_data: Path) -> None:
    rows = records(test_data / "pool" / "math_train.jsonl.gz")
    equal = sum(extract_answer(row["response"]) == row["answer"] for row in rows)
    assert equal == len(rows) == 7500


@pytest.mark.parametrize(
    ("name", "kind", "share"),
    [
        ("gsm8k_train", "cot", 1.0),
        ("math_train", "cot", 1.0),
        ("svamp_train_cot_reft", "cot", 0.98),
        ("aqua_rat_flan", "cot", 0.85),
        ("svamp_train_pot_reft", "pot", 1.0),
        ("tabmwp_pot", "pot", 1.0),
        ("openbookqa_train", "answer-only", 1.0),
        ("arc_challenge_train", "answer-only", 1.0),
        ("alpaca_5k", "general", 0.9),
        ("ecqa_cot", "general", 0.99),
        ("qasc_cot", "general", 0.99),
        ("strategyqa_cot", "general", 0.95),
    ],
)
def test_the_kind_is_detected_without_being_told(name: str, kind: str, share: float, test_data: Path) -> None:
    rows = records(test_data / "pool" / f"{name}.jsonl.gz")
    found = Counter(detect_kind(row["instruction"], row["response"], row["answer"]) for row in rows)
    assert found[kind] >= share * len(rows), found


MEASURED = """
import json, re, sys
from pathlib import Path
from qads.datasets import load_pool
def peak():  # Not ru_maxrss, which counts what the process that started this one had.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
pool = load_pool(sys.argv[1])
sum(len(codes) for codes in pool.rows_by_source().values())
print(json.dumps([len(pool), pool.fingerprint, peak() - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what memory a process had at most")
def test_short_rows_need_less_than_two_kilobytes_each(tmp_path: Path) -> None:
    n_rows, path = 200_000, tmp_path / "many.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            total = f"{number} + {number % 97} = {number + number % 97}\\n#### {number + number % 97}"
            file.write(
                f'{{"id": "row-{number}", "source": "s{number % 13}", "level": {number % 5}, '
                f'"question": "What is {number} + {number % 97}?", "answer": "{total}"}}\n'
            )
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, timeout=300, check=True
    )
    found, _, n_bytes = json.loads(done.stdout)
    assert found == n_rows
    assert n_bytes < 2000 * n_rows, f"{n_bytes / n_rows:.0f} bytes a row"

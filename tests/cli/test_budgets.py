"""Several budgets from one run, and budgets in tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from cli.conftest import Call
from qads import load_pool


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_smaller_budget_is_what_a_run_for_it_alone_selects(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    out = tmp_path / "all" / "out.jsonl"
    found = qads("select", pool, "-b", "4", "-b", "9", "-b", "20%", "-o", out, *tiny)
    assert found.code == 0, found.err
    assert {path.name for path in out.parent.glob("*.jsonl")} == {"out.jsonl", "out-4.jsonl", "out-6.jsonl"}
    for budget, name in (("9", "out.jsonl"), ("20%", "out-6.jsonl"), ("4", "out-4.jsonl")):
        alone = tmp_path / budget / "out.jsonl"
        assert qads("select", pool, "-b", budget, "-o", alone, *tiny).code == 0
        assert (out.parent / name).read_bytes() == alone.read_bytes()
        assert f"{name}  ({len(lines(alone))} rows" in found.out


def test_the_run_directory_holds_a_file_for_each_budget(qads: Call, pool: Path, plain: list[str], tmp_path: Path):
    found = qads("select", pool, "-b", "3", "-b", "5", "-o", tmp_path / "out.json", "--json", *plain)
    said = json.loads(found.out)
    assert (said["out"], said["smaller"]) == (str(tmp_path / "out.json"), [str(tmp_path / "out-3.json")])
    assert said["stages"]["select"]["settings"]["budget"] == [3, 5]
    assert said["stages"]["mixture"]["train_files"] == {"train.jsonl": 5, "train-3.jsonl": 3}
    assert [row["id"] for row in json.loads((tmp_path / "out-3.json").read_text())] == [
        row["id"] for row in json.loads((tmp_path / "out.json").read_text())[:3]
    ]
    assert len(lines(tmp_path / "out.json.qads" / "mixture" / "train-3.jsonl")) == 3
    page = (tmp_path / "out.json.qads" / "report" / "report.html").read_text()
    assert "5 rows; 3 rows" in page


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["-b", "10", "-b", "1M tokens"], "rows and tokens do not mix"),
        (["-b", "10", "-b", "10"], "one of them is there twice"),
        (["-b", "10", "-b", "5", "--at-least", "source=s0:2"], "make a smaller budget another selection"),
        (["-b", "10", "-b", "5", "--at-most", "source=s0:20%"], "make a smaller budget another selection"),
        (["-b", "10", "-b", "5", "--share", "source=s0:20%"], "make a smaller budget another selection"),
        (["-b", "0.5 tokens"], "must be a whole number, 1 at least"),
    ],
)
def test_budgets_that_no_one_run_can_serve_are_refused_before_any_work(
    qads: Call, pool: Path, plain: list[str], tmp_path: Path, flags: list[str], why: str
):
    found = qads("select", pool, *flags, "-o", tmp_path / "out.jsonl", *plain)
    assert found.code == 2
    assert why in " ".join(found.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]


def test_a_smaller_file_that_would_overwrite_a_source_is_refused(
    qads: Call, pool: Path, plain: list[str], tmp_path: Path
):
    source = pool.rename(tmp_path / "out-3.jsonl")
    before = source.read_bytes()
    found = qads("select", source, "-b", "3", "-b", "5", "-o", tmp_path / "out.jsonl", *plain)
    assert found.code == 2
    assert "would be overwritten" in found.err
    assert source.read_bytes() == before


def counted(pool: Path, model: Path) -> np.ndarray:
    """Tokens of every row as a trainer with the plain template sees it."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [f"Question: {row.problem}\nAnswer: {row.solution}" for row in load_pool(pool)]
    return np.array([len(tokenizer(text)["input_ids"]) for text in texts])


def test_a_budget_in_tokens_takes_the_picks_until_the_next_would_exceed_it(
    qads: Call, pool: Path, tiny: list[str], model: Path, tmp_path: Path
):
    tokens = counted(pool, model)
    whole = tmp_path / "whole.jsonl"
    assert qads("select", pool, "-b", "100%", "-o", whole, *tiny).code == 0
    order = [int(row["id"][1:]) for row in lines(whole)]
    budget = int(tokens[order[:7]].sum()) + 1
    out = tmp_path / "out.jsonl"
    found = qads("select", pool, "-b", f"{budget} tokens", "-b", f"{tokens[order[:4]].sum()}tokens", "-o", out, *tiny)
    assert found.code == 0, found.err
    picked = lines(out)
    assert [int(row["id"][1:]) for row in picked] == order[:7]
    assert [row["qads"]["tokens"] for row in picked] == tokens[order[:7]].tolist()
    assert f"Tokens: {budget - 1:,} in 7 rows, of {budget} tokens asked for." in found.out
    assert len(lines(tmp_path / f"out-{tokens[order[:4]].sum()}-tokens.jsonl")) == 4
    np.testing.assert_array_equal(np.load(tmp_path / "out.jsonl.qads" / "tokens" / "tokens.npy"), tokens)
    curves = json.loads(qads("explain", tmp_path / "out.jsonl.qads", "--json").out)["curves"]
    assert curves["tokens"] == np.cumsum(tokens[order[:7]]).tolist()


def test_tokens_are_those_of_the_tokenizer_that_is_named(
    qads: Call, pool: Path, plain: list[str], model: Path, tmp_path: Path
):
    command = ["select", pool, "-b", "1k tokens", "-o", tmp_path / "out.jsonl", *plain, "--set", f"tokenizer={model}"]
    assert qads(*command).code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.jsonl.qads" / "tokens" / "tokens.npy"), counted(pool, model))
    again = qads(*command)
    assert again.err.count("done before") == 5


@pytest.mark.parametrize("of_excluded", [False, True])
def test_a_token_budget_that_no_row_fits_is_refused_before_anything_is_embedded(
    of_excluded: bool, qads: Call, pool: Path, plain: list[str], model: Path, tmp_path: Path
):
    tokens = counted(pool, model)
    budget, more = 2, []
    if of_excluded:
        budget = int(tokens.min())
        (tmp_path / "out.txt").write_text("".join(f"r{row}\n" for row in np.flatnonzero(tokens == budget)))
        more = ["--exclude", str(tmp_path / "out.txt")]
    out, shortest = tmp_path / "out.jsonl", int(tokens[tokens > budget].min())
    found = qads("select", pool, "-b", f"{budget} tokens", "-o", out, *plain, "--set", f"tokenizer={model}", *more)
    assert found.code == 2
    assert f"budget: {budget:,} tokens, but the shortest row that may be selected has {shortest:,}" in found.err
    assert not out.exists() and not (tmp_path / "out.jsonl.qads" / "embed").exists()

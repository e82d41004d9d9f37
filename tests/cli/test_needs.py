"""What a selector needs beside embeddings and quality a run gives it, and computes no more than that."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import qads as api
from cli.conftest import Call
from qads.pool import Pool


@pytest.fixture
def embedding(tiny: list[str]) -> list[str]:
    """Flags of the tiny embedder and nothing else."""
    return [*tiny[:6], "--set", "execution.device=cpu"]


def selected(run: Path) -> list[int]:
    return pq.read_table(run / "select" / "selection.parquet")["row"].to_pylist()


def stages(run: Path) -> set[str]:
    return {path.name for path in run.iterdir() if (path / "manifest.json").exists()}


def test_a_selection_that_needs_no_quality_measures_none(qads: Call, pool: Path, embedding: list[str], tmp_path: Path):
    command = ["select", pool, "-b", "9", "-o", tmp_path / "out.jsonl", "--no-quality", *embedding]
    assert qads(*command, "--set", "selection.kind=stratified-random").code == 0
    run = tmp_path / "out.jsonl.qads"
    assert stages(run) == {"pool", "embed", "select", "mixture", "coverage", "projection"}
    assert Counter(row["source"] for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())) == {
        "s0": 3,
        "s1": 3,
        "s2": 3,
    }


def test_targets_are_the_anchors_seen_by_the_runs_embedder(
    qads: Call, pool: Path, embedding: list[str], model: Path, tmp_path: Path
):
    found = qads(
        "select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", *embedding, "--set", "selection.kind=nearest-to-anchors",
        "--set", "quality=null", "--set", "anchors.n=3",
    )  # fmt: skip
    assert found.code == 0, found.err
    run = tmp_path / "out.jsonl.qads"
    assert stages(run) == {"pool", "embed", "anchors", "targets", "select", "mixture", "coverage", "projection"}
    anchors = Pool(pq.read_table(run / "anchors" / "anchors.parquet"))
    targets = np.load(run / "targets" / "targets.npy")
    x = np.load(run / "embed" / "embeddings.npy")
    rows = {name: row for row, name in enumerate(api.load_pool(pool).strings("id"))}
    np.testing.assert_allclose(targets, x[[rows[name] for name in anchors.strings("id")]], atol=1e-6)
    assert selected(run) == api.NearestToAnchors()(x, budget=5, targets=targets).indices.tolist()
    assert json.loads(qads("status", run, "--json").out)["stages"][2]["name"] == "anchors"
    assert qads("explain", run).code == 0


def test_likelihoods_are_those_of_the_model_that_is_named(
    qads: Call, pool: Path, embedding: list[str], model: Path, tmp_path: Path
):
    command = [
        "select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", "--no-quality", *embedding,
        "--set", "selection.kind=ifd", "--set", f"likelihoods.model={model}", "--set", "likelihoods.dtype=float32",
    ]  # fmt: skip
    found = qads(*command)
    assert found.code == 0, found.err
    run = tmp_path / "out.jsonl.qads"
    assert stages(run) == {"pool", "embed", "likelihoods", "select", "mixture", "coverage", "projection"}
    expected = api.AnswerLikelihoods(model=str(model), dtype="float32")(
        api.load_pool(pool), execution=api.Execution(device="cpu")
    )
    np.testing.assert_allclose(np.load(run / "likelihoods" / "likelihoods.npy"), expected, atol=1e-5)
    states = {s["name"]: s for s in json.loads(qads(*command, "--dry-run", "--json").out)["stages"]}
    assert {state["status"] for state in states.values()} == {"done"}
    assert states["likelihoods"]["tokens"] > 100


def test_lengths_are_tokens_where_tokens_are_counted_and_characters_else(
    qads: Call, pool: Path, embedding: list[str], model: Path, tmp_path: Path
):
    longest = ["--no-quality", *embedding, "--set", "selection.kind=longest", "--set", f"tokenizer={model}"]
    solutions = api.load_pool(pool).strings("solution")
    assert qads("select", pool, "-b", "5", "-o", tmp_path / "a.jsonl", *longest).code == 0
    order = sorted(range(30), key=lambda row: (-len(solutions[row]), row))
    assert selected(tmp_path / "a.jsonl.qads") == order[:5]
    assert qads("select", pool, "-b", "300 tokens", "-o", tmp_path / "b.jsonl", *longest).code == 0
    tokens = np.load(tmp_path / "b.jsonl.qads" / "tokens" / "tokens.npy")
    picked = selected(tmp_path / "b.jsonl.qads")
    assert picked == np.argsort(-tokens, kind="stable")[: len(picked)].tolist()
    assert tokens[picked].sum() <= 300


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--set", "selection.kind=facility-location", "--at-most", "source=s0:1"], "picks rows as a whole"),
        (["--set", "selection.kind=kmeans", "-b", "5"], "a smaller budget is another selection"),
        (
            ["--set", "selection.kind=random", "--min-distance", "0.1"],
            "constraints.min_distance: .* knows no distances",
        ),
        (["--set", "selection.kind=deita"], "there is none to rank by"),
        (["--set", "budget=1k tokens", "--at-most", "source=s0:20%"], "Give at_most as a number of rows"),
        (["--at-least", "source=s0:6", "--at-least", "source=s1:6"], "minima of source add up to 12: s0 6 . s1 6"),
        (["--at-most", "source=*:2"], "only 6 "),
    ],
)
def test_what_a_selector_would_refuse_is_refused_before_anything_is_embedded(
    qads: Call, pool: Path, embedding: list[str], tmp_path: Path, flags: list[str], why: str
):
    found = qads("select", pool, "-b", "10", "-o", tmp_path / "out.jsonl", "--no-quality", *embedding, *flags)
    assert found.code == 2
    assert re.search(why, " ".join(found.err.split())), found.err
    assert not (tmp_path / "out.jsonl.qads" / "embed").exists()


def test_a_dry_run_refuses_what_the_run_would_refuse(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    command: list[Any] = ["select", pool, "-b", "10", "-o", tmp_path / "out.jsonl", "--dry-run", *tiny]
    assert qads(*command).code == 0
    found = qads(*command, "--at-most", "source=*:2")
    assert found.code == 2
    assert "only 6 " in found.err

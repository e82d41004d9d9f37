"""Every stage of a run leaves the same bytes, whoever computes it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

import qads
from cluster.killing import ActorKiller
from qads import embed
from qads.clean import reading, searching
from qads.cluster import ClusterGreedy, Execution
from qads.config import load_config
from qads.evaluate import method as evaluating
from qads.quality import likelihoods
from qads.quality.scorers import base
from qads.quality.scorers import reading as scorer_reading
from qads.run import run_pipeline
from run.tiny import make_model, rows, settings, write_rows, written

MAPPED = {"clean", "embed", "influence", "scorer", "quality", "evaluate"}
"""Stages whose shards go to workers."""
BRIEF = {"clean": None, "evaluate": None, "quality": {"scorer": {"kind": "retrieval"}}}
"""A run with fewer stages, and of these fewer that open a model."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_model(tmp_path_factory.mktemp("model") / "tiny")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token = "<s>"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pool of few rows has several of each kind; who computes them need not know."""
    for module in (embed, likelihoods, base):
        monkeypatch.setattr(module, "_ROWS_PER_SHARD", 32)
    monkeypatch.setattr(scorer_reading, "_ROWS_PER_SHARD", 8)
    monkeypatch.setattr(evaluating, "_ITEMS_PER_SHARD", {name: 3 for name in evaluating._ITEMS_PER_SHARD})
    monkeypatch.setattr(reading, "_ROWS_PER_BATCH", 32)
    monkeypatch.setattr(searching, "_ROWS_PER_BATCH", 32)


@pytest.fixture
def on_ray() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # By default actors give way to everything else.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # Whatever this process imports, actors do.
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            object_store_memory=100_000_000,
        )  # fmt: skip
        yield
        ray.shutdown()


def run_with(
    execution: dict[str, Any], model: Path, folder: Path, out: str, observer: ActorKiller | None = None, **changes: Any
) -> dict[str, bytes]:
    """What a whole run leaves, but for what says how it was computed."""
    pool = folder / "pool.jsonl"
    exam = folder / "exam.jsonl"
    if not pool.exists():
        made = rows(160)
        copies = [row | {"id": f"copy of {row['id']}", "problem": row["problem"].upper()} for row in made[:9]]
        write_rows(pool, made + copies)
        write_rows(exam, rows(8, seed=1, prefix="e") + [row | {"source": "exam"} for row in made[20:24]])
    whole: dict[str, Any] = {
        "quality": {"sample": 40, "influence": {"model": str(model)}, **changes.pop("quality", {})},
        "clean": {"duplicates": {}, "against": str(exam)},
        "evaluate": {"model": str(model), "sets": [f"exam={exam}"], "max_new_tokens": 8},
        "execution": {"device": "cpu"} | execution,
    }
    config = settings(model, pool, **(whole | changes))
    run_pipeline(load_config(config), folder / out, observer=observer)
    return {name: content for name, content in written(folder / out).items() if name != "config.json"}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
def test_processes_leave_the_bytes_of_this_one(model: Path, tmp_path: Path) -> None:
    alone = run_with({}, model, tmp_path, "alone")
    two = run_with({"workers": 2}, model, tmp_path, "two")
    assert two == alone
    assert {name.partition("/")[0] for name in alone} >= MAPPED | {"select"}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("small_shards", "on_ray")
@pytest.mark.parametrize(
    ("changes", "stages"),
    [(BRIEF, {"influence", "select"}), pytest.param({}, MAPPED | {"select"}, marks=pytest.mark.long)],
    ids=["two stages", "every stage"],
)
def test_actors_leave_the_bytes_of_this_one_though_one_is_killed(
    changes: dict[str, Any], stages: set[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    alone = run_with({}, model, tmp_path, "alone", **changes)
    selected: list[ClusterGreedy] = []
    select = ClusterGreedy.__call__

    def noted(self: ClusterGreedy, *args: Any, **kwargs: Any) -> Any:
        selected.append(self)
        return select(self, *args, **kwargs)

    monkeypatch.setattr(ClusterGreedy, "__call__", noted)
    killer = ActorKiller(stages)
    disturbed = run_with({"kind": "ray", "workers": 2}, model, tmp_path, "actors", killer, **changes)
    assert set(killer.killed) == stages
    assert disturbed == alone
    again = re.findall(r"worker \d+ is lost, and shard (\d+)", caplog.text)
    assert len(again) == len(stages & MAPPED), "the shard in the hands of who was killed is done again, and no other"
    assert [(method.shards, method.checkpoint is not None) for method in selected] == [(2, True)]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.long])])
def test_likelihoods_of_workers_are_those_of_this_process(
    model: Path, kind: Literal["local", "ray"], request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("on_ray")
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(30))
    method = qads.AnswerLikelihoods(model=str(model))
    alone = method(pool, execution=Execution(device="cpu"))
    np.testing.assert_array_equal(method(pool, execution=Execution(kind=kind, device="cpu", workers=2)), alone)


def test_duplicates_and_contamination_that_processes_look_for_are_those_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_ROWS_PER_BATCH", 16)
    monkeypatch.setattr(searching, "_ROWS_PER_BATCH", 16)
    made, two = rows(40), Execution(workers=2)
    nearly = [row | {"solution": f"{row['solution']} Done."} for row in made]
    copies = [row | {"id": f"{row['id']}-{copy}"} for copy, part in enumerate((made, made, nearly)) for row in part]
    pool = qads.Pool.from_rows(qads.Row(**row) for row in copies)
    found = [qads.Deduplication(near=0.3)(pool, execution=each) for each in (Execution(), two)]
    assert found[0].n_by_reason["exact"] == 40 and found[0].n_by_reason["near"] > 0
    for name in ("rows", "kept", "groups", "similarity", "problems"):
        np.testing.assert_array_equal(getattr(found[1], name), getattr(found[0], name))
    short = [
        row | {"id": f"e{n}", "problem": f"{n} + {n + 1} = ?", "source": "short"} for n, row in enumerate(made[:9])
    ]
    exam = qads.Pool.from_rows(qads.Row(**row) for row in [*made[3:9], *short])
    asked = [row | {"problem": f"{n + 50} + {n} = ?"} for n, row in enumerate(made)]
    pool = qads.Pool.from_rows([*pool, *(qads.Row(**row | {"id": f"asked {row['id']}"}) for row in asked)])
    alone, shared = (qads.Decontamination()(pool, exam, execution=each) for each in (Execution(), two))
    assert {match.kind for match in alone.matches} >= {"exact"} and alone.templates
    assert (shared.matches, shared.templates) == (alone.matches, alone.templates)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_rows", [1, 20])
def test_a_vector_does_not_depend_on_the_threads_of_its_process(model: Path, n_threads: int, n_rows: int) -> None:
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(n_rows))
    embedder, before = qads.LMEmbedder(model=str(model), dtype="bfloat16"), torch.get_num_threads()
    expected = np.asarray(embedder(pool, execution=Execution(device="cpu")))
    torch.set_num_threads(n_threads)
    try:
        np.testing.assert_array_equal(np.asarray(embedder(pool, execution=Execution(device="cpu"))), expected)
    finally:
        torch.set_num_threads(before)

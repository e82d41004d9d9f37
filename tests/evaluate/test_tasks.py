"""The task files, by the harness alone."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import pytest
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import qads
from qads.cluster import Execution
from qads.datasets.benchmarks import BENCHMARKS
from qads.evaluate import Evaluation
from qads.evaluate.harness import TASKS
from qads.models import open_causal_lm
from short_model import short_model


def test_every_benchmark_has_a_task_and_every_task_a_benchmark():
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    plain = {f"qads_{name.replace('-', '_')}" for name in BENCHMARKS}
    assert plain <= set(manager.all_subtasks)
    assert {name.removesuffix("_choice") for name in manager.all_subtasks} - {"qads"} == plain
    (group,) = manager.all_groups
    assert len(yaml.safe_load((TASKS / f"{group}.yaml").read_text())["task"]) == 9


@pytest.mark.filterwarnings("ignore:::lm_eval")
def test_the_harness_alone_finds_what_qads_finds(quiz: str, exam: str, tmp_path: Path):
    files = dict(text.split("=", 1) for text in (quiz, exam))
    settings = {"files": {"aqua": files["quiz"], "svamp": files["exam"]}, "items": 3}
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=settings)
    lm = open_causal_lm(short_model(), dtype="float32", device="cpu")
    model = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, add_bos_token=False, batch_size=2)
    tasks = manager.load(["qads_aqua_choice", {"group": "g", "task": [
        {"task": "qads_svamp", "generation_kwargs": {"until": ["\n\nQuestion:"], "max_gen_toks": 8, "do_sample": False}}
    ]}])  # fmt: skip
    alone = lm_eval.evaluate(model, tasks, bootstrap_iters=0, log_samples=True)
    assert alone is not None
    ours = Evaluation(
        sets=(f"aqua={files['quiz']}", f"svamp={files['exam']}"), limit=3, likelihood=False, choice="likelihood",
        max_new_tokens=8, dtype="float32",
    )(short_model(), execution=Execution(device="cpu"))  # fmt: skip
    chosen = {s["doc"]["id"]: s["choice_likelihood"] for s in alone["samples"]["qads_aqua_choice"]}
    written = {s["doc"]["id"]: s["resps"][0][0] for s in alone["samples"]["qads_svamp"]}
    rows = ours.items.to_pylist()
    assert {row["id"]: row["value"] for row in rows if row["measure"] == "choice_likelihood"} == chosen
    assert {row["id"]: row["generation"] for row in rows if row["measure"] == "accuracy"} == written
    sums = {s["doc"]["id"]: [r[0][0] for r in s["resps"]] for s in alone["samples"]["qads_aqua_choice"]}
    for row in rows:
        if row["measure"] == "choice_likelihood":
            ours_sums = list(json.loads(row["details"]).values())
            theirs = sums[row["id"]]
            assert [a - ours_sums[0] for a in ours_sums] == pytest.approx([b - theirs[0] for b in theirs], abs=2e-3)
    assert qads.__name__

"""What a dry run says is what the run then costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qads.cluster import Execution
from qads.config import EvaluateConfig, RunConfig, load_config
from qads.errors import TooLongError
from qads.models import open_tokenizer, prompt_ids
from qads.pool import Kind
from qads.run import StageEstimate, estimate_evaluation, estimate_run, run_pipeline
from qads.run.plan import plan_stages
from quality.serving import serving
from run.tiny import rows, settings, write_rows


@pytest.fixture
def anchored(model: Path, tmp_path: Path, pool_file: Path) -> dict[str, Any]:
    """A configuration whose anchors are the user's own."""
    anchors = write_rows(tmp_path / "anchors.jsonl", rows(11, seed=5, prefix="a"))
    return settings(model, pool_file, anchors={"sources": str(anchors)})


def estimated(config: RunConfig, directory: Path, **options: Any) -> StageEstimate:
    return {stage.name: stage for stage in estimate_run(config, directory, **options)}["influence"]


def spent(config: RunConfig, directory: Path, **options: Any) -> dict[str, Any]:
    return run_pipeline(config, directory, until="influence", **options).manifests["influence"]


def agree(before: StageEstimate, after: dict[str, Any]) -> bool:
    return (before.tokens, before.flops) == (after["tokens"], after["flops"])


def with_rule(raw: dict[str, Any], se: float) -> RunConfig:
    rule = {"kind": "standard-error", "se": se, "start": 3, "panel": 2}
    # Gains that are negative count too, so that no candidate has an error of zero.
    influence = raw["quality"]["influence"] | {"stopping": rule, "aggregate": "mean_gain"}
    return load_config(raw | {"quality": raw["quality"] | {"influence": influence}})


def test_with_anchors_of_the_user_the_dry_run_is_exact(anchored: dict[str, Any], tmp_path: Path):
    config = load_config(anchored)
    before = estimated(config, tmp_path / "run")
    assert before.basis == "exact" and before.note is None
    assert before.seconds is not None and before.seconds > 0
    assert agree(before, spent(config, tmp_path / "run"))
    again = estimated(config, tmp_path / "run")
    assert (again.tokens, again.flops, again.basis) == (before.tokens, before.flops, "exact")


def test_chosen_anchors_are_estimated_until_they_are_chosen(model: Path, pool_file: Path, tmp_path: Path):
    config, directory = load_config(settings(model, pool_file)), tmp_path / "run"
    before = estimated(config, directory)
    assert before.basis == "estimated" and "exact once the stage anchors is done" in (before.note or "")
    run_pipeline(config, directory, until="anchors")
    now = estimated(config, directory)
    after = spent(config, directory)
    assert now.basis == "exact" and agree(now, after)
    assert before.tokens == pytest.approx(after["tokens"], rel=0.3)
    assert before.flops == pytest.approx(after["flops"], rel=0.3)


def test_with_a_stopping_rule_the_dry_run_is_what_a_run_costs_in_which_nobody_stops(
    anchored: dict[str, Any], tmp_path: Path
):
    strict, mild = with_rule(anchored, 1e-12), with_rule(anchored, 0.001)
    most = estimated(strict, tmp_path / "strict")
    assert most.basis == "at most" and "stopped nobody early" in (most.note or "")
    assert agree(most, spent(strict, tmp_path / "strict"))
    assert estimated(mild, tmp_path / "mild") == most
    found = spent(mild, tmp_path / "mild")
    assert found["pairs_left_out"] > 0 and found["tokens"] < (most.tokens or 0)


def test_scores_that_would_be_taken_over_are_not_counted(anchored: dict[str, Any], tmp_path: Path):
    fewer = load_config(anchored | {"quality": anchored["quality"] | {"sample": 10}})
    all_of_it, first = load_config(anchored), tmp_path / "first"
    spent(fewer, first)
    before = estimated(all_of_it, tmp_path / "run", reuse=[first])
    assert (before.tokens or 0) < (estimated(all_of_it, tmp_path / "run").tokens or 0)
    assert agree(before, spent(all_of_it, tmp_path / "run", reuse=[first]))


@pytest.mark.parametrize("kind", ["completions", "sglang"])
def test_a_server_costs_what_its_own_rule_says_and_time_is_unknown(
    kind: str, anchored: dict[str, Any], model: Path, tmp_path: Path
):
    with serving(kind, lambda ids: [-1.0] * (len(ids) - 1), lambda token: f"token_id:{token}", str(model)) as server:
        engine = {"kind": kind, "url": server.url, "api_key_variable": ""}
        influence = {"model": str(model), "engine": engine}
        scorer = {"reads": ["source", "embedding", "surface"]}
        config = load_config(anchored | {"quality": {"sample": 20, "influence": influence, "scorer": scorer}})
        before = estimated(config, tmp_path / "run")
        assert server.requests == []
        after = spent(config, tmp_path / "run")
    assert before.basis == "exact" and agree(before, after)
    assert before.seconds is None and "a server scores" in (before.note or "")
    assert after["matmul_peak"] is None and after["utilisation"] is None
    assert after["max_tokens_per_batch"] == [] and after["model_seconds"] > 0


def test_the_manifest_says_what_scoring_took_and_how_busy_the_device_was(anchored: dict[str, Any], tmp_path: Path):
    found = spent(load_config(anchored), tmp_path / "run")
    assert found["max_tokens_per_batch"] == [2048] and found["extra_tokens"] == 0
    assert 0 < found["answer_tokens"] < found["tokens"]
    # The seconds are written with milliseconds.
    share = found["flops"] / found["matmul_peak"] / found["model_seconds"]
    assert found["utilisation"] == pytest.approx(share, rel=0.1, abs=1e-4)
    assert found["model_seconds"] <= found["seconds"]


def test_texts_that_would_stop_the_run_stop_the_dry_run(anchored: dict[str, Any], tmp_path: Path):
    influence = anchored["quality"]["influence"] | {"max_length": 40}
    config = load_config(anchored | {"quality": anchored["quality"] | {"influence": influence}})
    with pytest.raises(TooLongError, match="do not fit a context of 40 tokens"):
        estimate_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_tokens_of_a_pass_are_no_part_of_the_fingerprint(anchored: dict[str, Any]):
    sources, own = (anchored["pool"]["sources"],), (anchored["anchors"]["sources"],)
    plans = [
        plan_stages(load_config(anchored, [f"execution.max_tokens_per_batch={size}"]), sources, own)
        for size in ("auto", "64")
    ]
    assert [p["influence"].execution["max_tokens_per_batch"] for p in plans] == [2048, 64]
    assert plans[0]["influence"].fingerprint == plans[1]["influence"].fingerprint


@pytest.mark.skipif(torch.cuda.is_available(), reason="here are GPUs, which are asked")
def test_a_run_on_the_gpus_of_a_cluster_is_planned_by_a_machine_that_has_none(anchored: dict[str, Any], tmp_path: Path):
    cluster, auto = {"kind": "ray", "gpus_per_worker": 1}, ["quality.influence.dtype=auto", "embedding.dtype=auto"]
    config = load_config(anchored | {"execution": cluster}, auto)
    found = estimated(config, tmp_path / "run")
    assert found.seconds is None and "what share of its peak a model reaches on cuda" in (found.note or "")
    plans = plan_stages(config, (anchored["pool"]["sources"],), (anchored["anchors"]["sources"],))
    assert plans["influence"].execution == {"device": "cuda", "max_tokens_per_batch": "auto"}
    said = plan_stages(
        load_config(anchored, [*auto, "execution.auto_dtype=bfloat16"]),
        (anchored["pool"]["sources"],), (anchored["anchors"]["sources"],),
    )  # fmt: skip
    assert said["influence"].fingerprint == plans["influence"].fingerprint


def test_an_evaluation_counts_worked_examples_suffixes_and_earlier_turns(model: Path, tmp_path: Path):
    asked = [{"role": "user", "content": "Let a pear cost 7 and a plum 12, in cents of today. " * 3}]
    asked += [{"role": "assistant", "content": "Very well, a pear costs 7 and a plum costs 12 cents."}]
    exam = write_rows(tmp_path / "exam.jsonl", [row | {"context": asked} for row in rows(6)])
    shots = write_rows(tmp_path / "shots.jsonl", rows(4, seed=9))
    method = EvaluateConfig(
        sets=(f"exam={exam}",), model=str(model), likelihood=False, max_new_tokens=16, shots=3, shots_from=str(shots),
        method="pot-cot", suffix={"pot": " Let's write a program that prints it."},
    )  # fmt: skip
    found = estimate_evaluation(method, tmp_path / "out", Execution(device="cpu"))
    lm = open_tokenizer(str(model))
    renderer, examples = method.template.renderer(None), method.examples()
    kinds: tuple[Kind, ...] = ("pot", "cot")
    prompts = [
        prompt_ids(lm.tokenizer, renderer, replace(row, problem=row.problem + method.suffix.get(kind, "")), examples=examples)
        for row in (item.row for item in method.items().items)
        for kind in kinds
    ]  # fmt: skip
    assert any(item.row.context for item in method.items().items)
    assert found.tokens is not None and found.basis == "estimated"
    # The tiny model's tokens are shorter than those that the estimate supposes.
    assert 0.3 < (found.tokens - len(prompts) * 16) / sum(map(len, prompts)) < 1.2


def test_embedding_and_reading_are_called_estimates(anchored: dict[str, Any], tmp_path: Path):
    found = {stage.name: stage for stage in estimate_run(load_config(anchored), tmp_path / "run")}
    for name in ("embed", "scorer", "quality"):
        assert found[name].basis == "estimated" and np.isfinite(found[name].seconds or np.nan)
    assert all(found[name].basis is None for name in ("pool", "anchors", "select", "mixture", "report"))


def test_a_scorer_reads_the_labelled_rows_and_then_the_pool(anchored: dict[str, Any], tmp_path: Path):
    config = load_config(anchored)
    before = {stage.name: stage for stage in estimate_run(config, tmp_path / "run")}
    after = run_pipeline(config, tmp_path / "run", until="quality").manifests
    for name in ("scorer", "quality"):
        # The tiny model's tokens are shorter than those that the estimate supposes.
        assert 0.3 < (before[name].tokens or 0) / after[name]["tokens"] < 1.2
    assert before["quality"].rows == 30 and before["scorer"].rows == 20


@pytest.mark.parametrize(
    "change", [{"scorer": {"kind": "retrieval"}}, {"sample": 99}], ids=["retrieval", "all labelled"]
)
def test_a_scorer_that_reads_nothing_costs_nothing(change: dict[str, Any], anchored: dict[str, Any], tmp_path: Path):
    config = load_config(anchored | {"quality": anchored["quality"] | change})
    found = {stage.name: stage for stage in estimate_run(config, tmp_path / "run")}
    assert found["scorer"].basis is None and found["quality"].basis is None

"""Likelihoods of solutions and options are those of plain forward passes, in float32."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex
from tokenizers.normalizers import Replace

import qads
from qads.cluster import Execution
from qads.evaluate import Evaluation, read_items
from qads.evaluate.likelihoods import LikelihoodScorer
from qads.models import open_causal_lm
from short_model import short_model

CPU = Execution(device="cpu")


def plain_log_likelihood(lm: qads.models.CausalLM, before: str, after: str) -> torch.Tensor:
    """Log-probabilities of the tokens of a text that hold a character behind `before`."""
    encoded = lm.tokenizer(before + after, return_offsets_mapping=True, add_special_tokens=False)
    ids = torch.tensor(encoded["input_ids"])
    with torch.inference_mode():
        found = torch.log_softmax(lm.model(ids[None]).logits[0].float(), -1)
    first = next(i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > len(before))
    return found[range(first - 1, len(ids) - 1), ids[first:]]


def values(result: qads.evaluate.EvaluationResult, measure: str) -> list[float]:
    return [row["value"] for row in result.items.to_pylist() if row["measure"] == measure]


@pytest.mark.parametrize("name", ["short", "tiny"])
def test_the_likelihood_of_a_solution_is_that_of_a_plain_pass(name: str, model: Path, exam: str):
    where = str(model) if name == "tiny" else short_model()
    found = Evaluation(sets=(exam,), generate=False, limit=2, dtype="float32")(where, execution=CPU)
    lm = open_causal_lm(where, dtype="float32", device="cpu")
    for item, value in zip(read_items([exam], limit=2).items, values(found, "answer_log_likelihood"), strict=True):
        plain = plain_log_likelihood(lm, f"Question: {item.row.problem}\nAnswer: ", item.row.solution)
        assert value == pytest.approx(plain.mean().item(), abs=1e-4)


@pytest.mark.parametrize("template", [qads.ExemplarTemplate(), qads.ChatTemplate()])
def test_the_option_that_is_chosen_is_the_likeliest_of_plain_passes(quiz: str, template: qads.ChatTemplate):
    method = Evaluation(
        sets=(quiz,), generate=False, choice="likelihood", likelihood=False, dtype="float32", template=template, limit=1
    )
    found = method(short_model(), execution=CPU)
    lm = open_causal_lm(short_model(), dtype="float32", device="cpu")
    renderer = template.renderer(lm.render_chat)
    for row, item in zip(found.items.to_pylist(), read_items([quiz], limit=1).items, strict=True):
        sums = []
        for letter in "ABC":
            target = renderer.target(
                qads.Row(id="", source="", problem=item.row.problem, solution=f"The answer is ({letter}).")
            )
            before = renderer.header + target.text[: target.answer_start]
            sums.append(
                plain_log_likelihood(lm, before, target.text[target.answer_start : target.answer_end]).sum().item()
            )
        assert row["extracted"] == "ABC"[sums.index(max(sums))]
        assert row["value"] == float(row["extracted"] == "B")


@pytest.mark.parametrize("n_threads", [1, 3])
def test_neither_company_nor_threads_change_a_likelihood(model: Path, tmp_path: Path, n_threads: int):
    rows = [
        {"problem": f"{n} + {n}?", "solution": f"It is {n + n}. " * (1 + n % 7), "answer": f"{n + n}"}
        for n in range(40)
    ]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lm = open_causal_lm(str(model), dtype="bfloat16", device="cpu")
    items = read_items([f"many={path}"]).items
    threads = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        together, alone = (
            LikelihoodScorer(
                lm.model, lm.tokenizer, qads.ExemplarTemplate().renderer(lm.render_chat), max_length=lm.max_length,
                max_tokens_per_batch=n,
            ).solutions(items)
            for n in (300, 1)
        )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose([row["value"] for row in together], [row["value"] for row in alone], atol=1e-5)
    wide = lm.model.float()
    for item, row in zip(items[:5], together, strict=False):
        plain = plain_log_likelihood(
            replace(lm, model=wide), f"Question: {item.row.problem}\nAnswer: ", item.row.solution
        )
        assert row["value"] == pytest.approx(plain.mean().item(), abs=1e-4)


def test_bfloat16_weights_change_a_likelihood_by_no_rounding_of_activations(exam: str):
    half = Evaluation(sets=(exam,), generate=False, limit=1, dtype="bfloat16")(short_model(), execution=CPU)
    whole = Evaluation(sets=(exam,), generate=False, limit=1, dtype="float32")(short_model(), execution=CPU)
    for a, b in zip(*(values(each, "answer_log_likelihood") for each in (half, whole)), strict=True):
        assert a == pytest.approx(b, abs=0.02)


def test_options_that_cannot_be_scored_have_a_true_reason(model: Path, quiz: str):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")

    def reason(max_length: int) -> str:
        renderer = qads.ExemplarTemplate().renderer(None)
        scorer = LikelihoodScorer(lm.model, lm.tokenizer, renderer, max_length=max_length, max_tokens_per_batch=1000)
        (row,) = scorer.choices(read_items([quiz], limit=1).items)
        assert "value" not in row
        return row["reason"]

    assert reason(10) == "longer than the context of 10 tokens"
    lm.tokenizer._tokenizer.normalizer = Replace(Regex(r"\([ABC]\)\.\Z"), "")  # As if no token were any letter's.
    assert reason(1024) == "the options have no token of their own that can be predicted"


def test_a_solution_that_does_not_fit_has_no_likelihood_and_a_reason(model: Path, tmp_path: Path):
    path = tmp_path / "long.jsonl"
    path.write_text('{"problem": "Count.", "solution": "' + "one two " * 2000 + '", "answer": "2"}\n')
    found = Evaluation(sets=(f"long={path}",), generate=False)(str(model), execution=CPU)
    (row,) = found.items.to_pylist()
    assert row["value"] is None and "longer than the context of 1024 tokens" in row["reason"]
    (line,) = found.summary()
    assert (line.n, line.n_without) == (0, 1) and line.value != line.value

"""A whole evaluation: what is measured on what, shards, the same bytes after a kill, sums at the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import qads
from qads.cluster import Execution, MemoryShards
from qads.config import EvaluateConfig
from qads.errors import InputError, PoolError
from qads.evaluate import Evaluation, read_items
from qads.kernels.shares import wilson_interval
from qads.models import open_causal_lm
from qads.run.measured import evaluation_plan

CPU = Execution(device="cpu")


def method(*sets: str, **settings: Any) -> Evaluation:
    return Evaluation(**{"sets": sets, "dtype": "float32", "max_new_tokens": 4} | settings)


def test_every_measure_is_made_where_the_items_allow_it(model: Path, exam: str, quiz: str):
    found = method(exam, quiz, choice="both")(str(model), execution=CPU)
    lines = {(line.set, line.measure): line.n for line in found.summary()}
    assert lines == {
        ("exam", "answer_log_likelihood"): 9, ("quiz", "choice_likelihood"): 4, ("exam", "accuracy"): 9, ("quiz", "accuracy"): 4,
    }  # fmt: skip
    assert found.facts["without_solution"] == {"quiz": 4}
    for row in found.items.to_pylist():
        if row["measure"] == "accuracy":
            assert row["generation"] is not None and row["verdict"] in ("right", "wrong", "no answer")
            assert row["reason"] and row["reference"] and row["n_tokens"] <= 4 and row["method"] == "cot"


def test_items_in_shards_are_the_items_in_one_go(model: Path, exam: str, quiz: str, monkeypatch: pytest.MonkeyPatch):
    whole = method(exam, quiz, choice="both")(str(model), execution=CPU).items
    sizes = {"answer_log_likelihood": 2, "choice_likelihood": 3, "accuracy": 4}
    monkeypatch.setattr("qads.evaluate.method._ITEMS_PER_SHARD", sizes)
    parts = MemoryShards()
    assert (
        method(exam, quiz, choice="both")(str(model), execution=CPU, shards=parts)
        .items.drop(["value"])
        .equals(whole.drop(["value"]))
    )
    assert len(parts.tables) == 5 + 2 + 4


def test_what_is_in_shards_is_not_computed_again(exam: str, model: Path):
    kept = MemoryShards()
    first = method(exam)(str(model), execution=CPU, shards=kept)
    again = method(exam)("no such model", execution=CPU, shards=kept)
    assert again.items.equals(first.items)


def test_weights_stored_in_float32_are_not_rounded_and_others_are_as_auto_says(exam: str, model: Path, tmp_path: Path):
    halves = tmp_path / "halves"
    opened = open_causal_lm(str(model), device="cpu", dtype="bfloat16")
    opened.model.save_pretrained(halves)
    opened.tokenizer.save_pretrained(halves)

    def values(of: Path, dtype: str, auto_dtype: str) -> list[float]:
        execution = Execution(device="cpu", auto_dtype=auto_dtype)  # pyright: ignore[reportArgumentType]
        return method(exam, generate=False, dtype=dtype)(str(of), execution=execution).items["value"].to_pylist()

    assert values(model, "auto", "bfloat16") == values(model, "float32", "auto")
    assert (
        values(model, "bfloat16", "float32") == values(halves, "bfloat16", "auto") != values(model, "float32", "auto")
    )
    assert values(halves, "auto", "bfloat16") == values(halves, "bfloat16", "auto")
    assert values(halves, "auto", "float32") == values(halves, "float32", "auto")


def test_a_limit_draws_the_same_items_whatever_else_is_there(exam: str, quiz: str):
    def ids(*sets: str, limit: int) -> list[str]:
        return [item.row.id for item in read_items(sets, limit=limit).items if item.set == "exam"]

    assert ids(exam, limit=4) == ids(exam, quiz, limit=4)
    assert set(ids(exam, limit=3)) < set(ids(exam, limit=6))
    assert read_items([exam, quiz], limit=4).left_out == {"exam": 5}


def test_more_items_narrow_an_interval_and_it_holds_the_share():
    widths = []
    for n in (4, 40, 400):
        low, high = wilson_interval(n // 4, n)
        assert low < 0.25 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert wilson_interval(0, 10)[0] == 0 and wilson_interval(10, 10)[1] == 1


def test_examples_are_the_first_rows_of_their_file(exam: str, model: Path):
    file = exam.partition("=")[2]
    shown = method(exam, shots=2, shots_from=file)
    assert [row.id for row in shown.examples()] == ["r0", "r1"]
    with pytest.raises(InputError, match=r"shots is 20, but .* holds 9 rows"):
        method(exam, shots=20, shots_from=file).examples()
    assert shown(str(model), execution=CPU).items.num_rows == 18


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sets": ()}, "must name benchmarks"),
        ({"sets": ("-",)}, "not from standard input"),
        ({"limit": 0}, "limit is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"shots": 3}, "give both or none"),
        ({"generate": False, "likelihood": False}, "nothing is measured"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Evaluation(**{"sets": ("x",)} | settings)


def test_a_set_that_is_not_there_is_named(model: Path):
    with pytest.raises(PoolError, match="did you mean gsm8k"):
        method("gsm8")(str(model), execution=CPU)


def test_more_new_tokens_than_the_model_sees_are_refused(exam: str, model: Path):
    with pytest.raises(InputError, match="sees 1024 tokens"):
        method(exam, max_new_tokens=1024)(str(model), execution=CPU)


def test_a_generation_is_judged_by_the_answer_in_it(exam: str, model: Path):
    found = method(exam, likelihood=False)(str(model), execution=CPU)
    for row in found.items.to_pylist():
        item = next(each for each in read_items([exam]).items if each.row.id == row["id"])
        assert row["value"] == float(qads.evaluate.judging.judge_solution(row["generation"], item).is_right)


def test_settings_say_all_that_changes_the_result():
    assert {field.name for field in dataclasses.fields(Evaluation)} >= {"sets", "limit", "seed", "template", "dtype"}


@pytest.mark.parametrize(
    ("settings", "is_marked"),
    [({}, True), ({"generate": False}, False), ({"generate": False, "choice": "likelihood"}, True)],
)
def test_what_rules_decide_is_recorded_with_them(settings: dict[str, Any], is_marked: bool, exam: str, model: Path):
    plan = evaluation_plan(EvaluateConfig(sets=(exam,), **settings), str(model), CPU)
    assert ("judging" in plan.settings) == is_marked


def test_generation_tells_how_far_it_is_within_a_shard(model: Path, exam: str):
    told = list[tuple[int, int]]()
    found = method(exam, likelihood=False)
    small = Execution(device="cpu", max_tokens_per_batch=32)
    found(str(model), execution=small, progress=lambda done, total: told.append((done, total)))
    done = [n for n, _ in told]
    assert {total for _, total in told} == {9} and done == sorted(done)
    assert done[0] == 0 and done[-1] == 9 and len(set(done)) > 3  # One shard, several batches.

"""Every benchmark as its upstream writes it: options, answer and verdicts, through what an evaluation reads and judges.

The texts are invented; the columns, and how values are written in them, are those of the places that
`qads.datasets.benchmarks` names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qads.errors import InputError
from qads.evaluate import Evaluation, Item, read_items
from qads.evaluate.judging import judge_solution
from qads.evaluate.tasks import functions

BIRDS = "A kite climbs 12 metres and sinks 5. How high is it?"
FOUR = ("17", "5", "7", "60")

UPSTREAM: dict[str, tuple[dict[str, Any], tuple[str, ...], str, str, str]] = {
    "gsm8k": (
        {"question": BIRDS, "answer": "It is at 12 - 5 = <<12-5=7>>7 metres.\n#### 7"},
        (), "7", "12 - 5 = 7, so the answer is 7.", "The answer is 17.",
    ),
    "math": (
        {"problem": "Halve $1$.", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{\\frac{1}{2}}$."},
        (), "\\frac{1}{2}", "That is \\boxed{0.5}.", "That is \\boxed{2}.",
    ),
    "math500": (
        {"problem": "Halve $1$.", "solution": "It is $\\boxed{\\frac12}$.", "answer": "\\frac12", "unique_id": "t/1"},
        (), "\\frac12", "The answer is 1/2.", "The answer is 1.",
    ),
    "aqua": (
        {"question": BIRDS, "options": ["A)17", "B)5", "C)7", "D)60", "E)None of these"],
         "rationale": "12 - 5 = 7\nAnswer - C", "correct": "C"},
        (*FOUR, "None of these"), "C", "It is at 7 metres. The answer is 7.", "The answer is (A).",
    ),
    "svamp": (
        {"ID": "chal-0", "Body": "A kite climbs 12 metres and sinks 5", "Question": "How high is it?",
         "Equation": "( 12.0 - 5.0 )", "Answer": "7.0", "Type": "Subtraction", "question_concat": BIRDS},
        (), "7.0", "The answer is 7.", "The answer is 17.",
    ),
    "sat-math": (
        {"query": f"Q: {BIRDS} Answer Choices: (A)17 (B)5 (C)7 (D)60\nA: Among A through D, the answer is",
         "choices": ["(A)17", "(B)5", "(C)7", "(D)60"], "gold": [2]},
        FOUR, "C", "It is (C).", "The answer is 17.",
    ),
    "mmlu-math": (
        {"question": BIRDS, "subject": "elementary_mathematics", "choices": list(FOUR), "answer": 2},
        FOUR, "C", "The answer is 7.", "The answer is (B).",
    ),
    "asdiv": (
        {"body": "A kite climbs 12 metres and sinks 5.", "question": "How high is it?",
         "solution_type": "Subtraction", "answer": "7 (metres)", "formula": "12-5=7"},
        (), "7", "The answer is 7 metres.", "The answer is 5.",
    ),
    "mawps": (
        {"id": "mawps__0", "question": BIRDS, "result": "7", "result_float": 7.0, "equation": "x=12-5",
         "chain": '<gadget id="calculator">12 - 5</gadget>\n<output>7</output>\n<result>7</result>', "expression": "12-5"},
        (), "7", "It is at 12 - 5 = 7 metres.", "The answer is 17.",
    ),
    "numglue": ({"question": BIRDS, "answer": 7, "type": "Type_1"}, (), "7", "So 7.", "The answer is 5."),
    "simuleq": ({"question": BIRDS, "answer": "7.0"}, (), "7.0", "The answer is 7.", "The answer is 5."),
    "mathematics": ({"question": "Which primes divide 6?", "answer": [2, 3]}, (), "[2,3]", "The answer is 2, 3.", "It is 6."),
}  # fmt: skip
"""Benchmark -> a row, its options, its answer, a right solution and a wrong one."""


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def only(path: Path, row: dict[str, Any]) -> Item:
    (item,) = read_items([f"exam={write(path / 'rows.jsonl', row)}"]).items
    return item


@pytest.mark.parametrize("name", UPSTREAM)
def test_a_benchmark_is_judged_as_its_upstream_means_it(name: str, tmp_path: Path):
    row, options, answer, right, wrong = UPSTREAM[name]
    item = only(tmp_path, row)
    assert (item.options, item.row.answer) == (options, answer)
    assert judge_solution(right, item).verdict == "right"
    assert judge_solution(wrong, item).verdict == "wrong"
    if options:
        assert item.right_option == "ABCDE".index(answer) and item.question.stem == BIRDS


@pytest.mark.parametrize("name", [name for name, (_, options, *_) in UPSTREAM.items() if options])
def test_the_task_of_choosing_has_the_options_of_its_upstream(name: str, tmp_path: Path):
    row, options, answer, *_ = UPSTREAM[name]
    found = functions.multiple_choice(set=name, files={name: str(write(tmp_path / "rows.jsonl", row))})["test"]
    assert found[0]["options"] == list(options) and found[0]["right"] == "ABCDE".index(answer)


@pytest.mark.parametrize(
    ("answer", "cut"),
    [
        ("7 (metres)", "7"), ("8 (caps); 5 (lids)", "8; 5"), ("3:45", "3:45"), ("7 (and (so) on)", "7 (and (so) on)"),
        ("12 (plums) and 4 (figs)", "12 (plums) and 4 (figs)"), ("(2,3)", "(2,3)"),
    ],
)  # fmt: skip
def test_only_a_unit_in_brackets_at_the_end_is_cut(answer: str, cut: str, tmp_path: Path):
    item = only(tmp_path, UPSTREAM["asdiv"][0] | {"answer": answer})
    assert item.row.answer == cut
    assert item.row.meta.get("answer_with_unit", answer) == answer


@pytest.mark.parametrize(("result", "answer"), [("1_500", "1500"), ("191/5", "191/5"), ("145.0", "145.0")])
def test_thousands_of_a_calculated_result_are_read(result: str, answer: str, tmp_path: Path):
    item = only(tmp_path, UPSTREAM["mawps"][0] | {"result": result})
    assert item.row.answer == answer and not item.has_solution and "<gadget" in item.row.meta["chain"]


def test_options_that_name_others_or_hold_letters_are_told_apart(tmp_path: Path):
    choices = ["(A ∨ B) ⊃ C", "~A • (B ∨ C)", "Both (A) and (B)", "Neither (a) nor (b)."]
    item = only(tmp_path, {"question": "Which follows?", "choices": choices, "answer": 3})
    assert item.options == tuple(choices) and item.right_option == 3


@pytest.mark.parametrize(
    ("answer", "letter"), [(0, "A"), ("b", "B"), ("7", "C"), ("(D)", "D"), (-1, None), (9, None), (None, None)]
)
def test_which_option_is_right_may_be_said_in_several_ways(answer: object, letter: str | None, tmp_path: Path):
    item = only(tmp_path, UPSTREAM["mmlu-math"][0] | {"answer": answer})
    assert item.row.answer == letter


def test_the_right_option_may_be_named_by_its_text(tmp_path: Path):
    item = only(tmp_path, {"problem": "What is 5+5? Answer Choices: (A) 10 (B) 11", "answer": "10"})
    assert (item.options, item.right_option) == (("10", "11"), 0)
    verdicts = [judge_solution(text, item).verdict for text in ("The answer is (A).", "It is 10.", "So B", "It is 11.")]
    assert verdicts == ["right", "right", "wrong", "wrong"]
    chosen = Evaluation(sets=(f"exam={tmp_path / 'rows.jsonl'}",), choice="likelihood")
    assert [len(found) for found in chosen.measured(chosen.items()).values()] == [0, 1, 0]
    several = only(tmp_path, {"problem": "What is 5+5? Answer Choices: (A) 10 (B) 10.0", "answer": "10"})
    assert (several.options, several.right_option) == ((), None)


def test_a_query_with_several_right_options_is_no_item(tmp_path: Path):
    row = UPSTREAM["sat-math"][0]
    found = read_items([f"exam={write(tmp_path / 'rows.jsonl', row, row | {'gold': [0, 1]})}"])
    assert len(found) == 1 and "several options are right" in "".join(found.rejected)


def test_a_set_of_which_no_item_has_an_answer_is_refused(tmp_path: Path, exam: str):
    told = "There is a long way to go from here, and nobody has stated what is at the end of it."
    bare = f"bare={write(tmp_path / 'bare.jsonl', {'question': BIRDS, 'answer': told})}"
    with pytest.raises(
        InputError, match=r"accuracy cannot be measured on bare: none of its 1 items has an answer. Give"
    ):
        Evaluation(sets=(exam, bare)).items()
    assert len(Evaluation(sets=(exam, bare), generate=False).items()) == 10


def test_a_set_that_would_vanish_from_a_comparison_is_refused(exam: str, quiz: str):
    with pytest.raises(InputError, match=r"nothing can be measured on quiz: none of its 4 items has a solution"):
        Evaluation(sets=(exam, quiz), generate=False).items()


def test_choice_among_options_that_are_not_there_is_refused(tmp_path: Path, exam: str, quiz: str):
    lost = f"lost={write(tmp_path / 'lost.jsonl', {'problem': 'Which is it?', 'answer': 'C'})}"
    with pytest.raises(InputError, match=r"choice_likelihood cannot be measured on lost: its answers are letters"):
        Evaluation(sets=(quiz, lost), choice="both").items()
    with pytest.raises(InputError, match=r"choice_likelihood cannot be measured on exam: no item has options"):
        Evaluation(sets=(exam,), choice="both").items()
    with pytest.raises(InputError, match=r"aqua: none of its 1 items has options; the first: 'Which is it\?'"):
        functions.multiple_choice(set="aqua", files={"aqua": lost.removeprefix("lost=")})


def test_what_some_items_lack_is_told(tmp_path: Path):
    rows = [UPSTREAM["gsm8k"][0], {"question": BIRDS, "answer": None}, {"question": "Which?", "answer": "B"}]
    method = Evaluation(sets=(f"exam={write(tmp_path / 'rows.jsonl', *rows)}",))
    told = method.lacking(method.items())
    assert told == [
        "Without answer, so no accuracy: 1 of 3 items of exam",
        "Without solution, so no likelihood: 1 of 3 items of exam",
        "Their answer is a letter and no options were found, so only the letter counts: 1 of 3 items of exam",
    ]


def test_every_item_of_the_real_aqua_has_five_options_and_a_right_one():
    path = Path(os.environ.get("QADS_TEST_DATA", "../shared/data")) / "original" / "aqua_dev.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    items = read_items([f"aqua={path}"]).items
    assert len(items) == 254 and {len(item.options) for item in items} == {5}
    for item in items:
        right = item.options[item.right_option or 0]
        assert judge_solution(f"The answer is ({item.row.answer}).", item).is_right
        if item.options.count(right) == 1 and right.isdecimal():
            assert judge_solution(f"The answer is {right}.", item).is_right

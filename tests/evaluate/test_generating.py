"""Generation: exactly our prompts, greedy, ended where a solution ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import qads
from cluster.hungry import make_hungry_model
from qads.cluster import Execution
from qads.errors import InputError, ModelError
from qads.evaluate import Evaluation, Item, read_items
from qads.evaluate.generating import Solver
from qads.evaluate.harness import Generation, Harness
from qads.evaluate.judging import holds_program, judge_program, program_in
from qads.models import header_ids, open_causal_lm, prompt_ids, token_target, training_text
from qads.sandbox import ProgramResult
from short_model import short_model

CPU = Execution(device="cpu")
PLAIN = qads.ExemplarTemplate().renderer(None)


def greedy(lm: qads.models.CausalLM, prompt: Sequence[int], n: int) -> list[int]:
    """The slow, obvious way: one whole pass a token."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(n):
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == lm.tokenizer.eos_token_id:
                break
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", ["short", "tiny"])
def test_a_batch_of_prompts_is_gone_on_from_as_each_alone(name: str, model: Path, exam: str):
    lm = open_causal_lm(str(model) if name == "tiny" else short_model(), dtype="float32", device="cpu")
    problems = [*[item.row.problem for item in read_items([exam]).items][:2], "1 + 1?"]
    prompts = [
        prompt_ids(lm.tokenizer, PLAIN, qads.Row(id="", source="", problem=each, solution="")) for each in problems
    ]
    found = Harness(lm, stops=(), max_new_tokens=6, max_tokens_per_batch=10_000)(prompts)
    for prompt, each in zip(prompts, found, strict=True):
        plain = greedy(lm, prompt, 6)
        assert each.text == lm.tokenizer.decode(plain, skip_special_tokens=True)
        assert each.n_tokens == len(plain)
        assert each.is_truncated == (plain[-1] != lm.tokenizer.eos_token_id)


@pytest.mark.parametrize("settings", [{"repetition_penalty": 1.3}, {"num_beams": 3}])
def test_settings_of_generation_that_come_with_a_model_do_not_change_what_it_writes(
    settings: dict[str, Any], model: Path, tmp_path: Path
):
    prompts = [(5, 6, 7), (20, 21, 22, 23), (5, 5, 5)]
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    ends = [lm.tokenizer.eos_token_id, greedy(lm, prompts[1], 8)[5]]
    written = []
    for name, more in (("plain", {}), ("set", settings)):
        folder = shutil.copytree(model, tmp_path / name)
        file = folder / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": ends} | more))
        lm = open_causal_lm(str(folder), dtype="float32", device="cpu")
        written.append(Harness(lm, stops=(), max_new_tokens=16, max_tokens_per_batch=1000)(prompts))
    assert written[0] == written[1]
    assert written[0][1].n_tokens == 6 and not written[0][1].is_truncated, "any of the tokens that end a text does"


@pytest.mark.parametrize(
    "template", [qads.ExemplarTemplate(), qads.ChatTemplate(), qads.ChatTemplate(system="Be brief.")]
)
def test_a_prompt_is_the_beginning_of_what_training_shows(template: qads.ChatTemplate, test_data: Path):
    lm = qads.models.open_tokenizer("smollm2-135m")
    renderer = template.renderer(lm.render_chat)
    names = ("gsm8k_train", "math_train", "aqua_rat_flan", "svamp_train_pot_reft")
    pools = [qads.load_pool(test_data / "pool" / f"{name}.jsonl.gz") for name in names]
    for row in (row for pool in pools for row in pool.take(range(40))):
        prompt, shown = prompt_ids(lm.tokenizer, renderer, row), training_text(lm.tokenizer, renderer, row)
        assert shown.ids[: len(prompt)] == prompt
        assert shown.answer_start - len(prompt) in (0, 1)  # A blank before a figure is a token of its own.


def test_examples_stand_between_header_and_problem():
    lm = qads.models.open_tokenizer("smollm2-135m")
    rows = [qads.Row(id=name, source="s", problem=f"{name}?", solution=f"{name}!") for name in ("a", "b", "c")]
    prompt = prompt_ids(lm.tokenizer, PLAIN, rows[2], examples=rows[:2])
    shown = "Question: a?\nAnswer: a!\n\nQuestion: b?\nAnswer: b!\n\nQuestion: c?\nAnswer:"
    assert lm.tokenizer.decode(prompt) == shown


def with_room_for(lm: qads.models.CausalLM, n_prompts: int) -> list[int]:
    """Let a pass have so many prompts at most; how many those had that were tried is in the list."""
    real, tried = lm.model.forward, list[int]()

    def forward(*args: Any, **options: Any) -> Any:
        if (ids := options["input_ids"]).shape[1] > 1:
            tried.append(len(ids))
        if len(ids) > n_prompts and ids.shape[1] == 1:  # While it writes: what was read takes memory, too.
            torch.empty(2**55, dtype=torch.uint8)  # More than a machine has: the system's own refusal.
        return real(*args, **options)

    lm.model.forward = forward
    return tried


def test_where_memory_runs_out_half_as_many_prompts_are_gone_on_from_and_what_is_written_stays(
    model: Path, caplog: pytest.LogCaptureFixture
):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    prompts = [tuple(range(5, 8 + n)) for n in range(9)]
    expected = Harness(lm, stops=(), max_new_tokens=6, max_tokens_per_batch=10_000)(prompts)
    tried, told = with_room_for(lm, 2), list[int]()
    harness = Harness(lm, stops=(), max_new_tokens=6, max_tokens_per_batch=10_000, written=told.append)
    assert harness(prompts) == expected
    assert tried == [9, 4, 2, 2, 2, 2, 1], "who is answered is not asked again"
    assert told == [2, 4, 6, 8, 9]
    limits = ["max_tokens_per_batch = 68", "max_tokens_per_batch = 34"]  # 4 and 2 of 11 tokens, and 6 to be written.
    assert [record.message.partition("going on with ")[2] for record in caplog.records] == limits
    tried.clear()
    assert harness(prompts) == expected
    assert max(tried) == 2, "it is remembered"


def test_a_prompt_alone_for_which_memory_does_not_suffice_is_told_and_other_errors_come_as_they_are(model: Path):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    with_room_for(lm, 0)
    harness = Harness(lm, stops=(), max_new_tokens=6, max_tokens_per_batch=10_000)
    with pytest.raises(ModelError, match=r"memory does not suffice for one prompt alone, of 9 tokens .*max_new_tokens"):
        harness([(5, 6, 7), (5, 6, 8)])

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    lm.model.forward = broken
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        harness([(5, 6, 7)])


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluation_whose_memory_runs_out_gives_what_one_with_more_memory_gives(
    workers: int, model: Path, exam: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))  # The model's code is put there.
    hungry = make_hungry_model(tmp_path / "hungry", most=150)
    for file in model.glob("tokenizer*"):
        shutil.copy(file, hungry)
    method = Evaluation(sets=(exam,), dtype="float32", max_new_tokens=8, likelihood=False)
    execution = Execution(device="cpu", workers=workers, trust_remote_code=True)
    assert method(str(hungry), execution=execution).items.equals(method(str(model), execution=CPU).items)
    assert "out of memory: going on with max_tokens_per_batch = " in caplog.text


def test_what_is_counted_of_a_generation_does_not_depend_on_others_of_its_batch(model: Path):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    prompts = [(5, 6, 7), (5, 6, 8)]
    written = [greedy(lm, prompt, 12) for prompt in prompts]
    stop, end = lm.tokenizer.decode(written[0][:3])[-1], written[0][6]
    assert stop not in lm.tokenizer.decode(written[1]) and end not in (*written[0][:6], *written[1])
    lm.model.generation_config.eos_token_id = [lm.tokenizer.eos_token_id, end]  # It comes after the stop, if it may.
    batch, alone = (Harness(lm, stops=(stop,), max_new_tokens=12, max_tokens_per_batch=n)(prompts) for n in (1000, 1))
    assert batch == alone and [each.is_truncated for each in batch] == [False, True]


def test_a_generation_ends_before_a_stop_and_counts_its_own_tokens(model: Path):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    prompt = (5, 6, 7)
    whole = lm.tokenizer.decode(greedy(lm, prompt, 12))
    stop = whole[len(whole) // 2 :][:3]
    (found,) = Harness(lm, stops=(stop,), max_new_tokens=12, max_tokens_per_batch=100)([prompt])
    assert found.text == whole.split(stop)[0] and not found.is_truncated
    assert found.n_tokens == len(lm.tokenizer(found.text)["input_ids"])


def test_no_special_token_is_put_before_a_text_twice(model: Path):
    lm = open_causal_lm(str(model), dtype="float32", device="cpu")
    lm.tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    row = qads.Row(id="", source="", problem="apple", solution="pear")
    prompt = prompt_ids(lm.tokenizer, PLAIN, row)
    assert header_ids(lm.tokenizer, PLAIN) == (0,) and prompt.count(0) == 1 and prompt[0] == 0
    assert prompt[1:] == token_target(lm.tokenizer, PLAIN.target(row)).ids[: len(prompt) - 1]
    (found,) = Harness(lm, stops=(), max_new_tokens=4, max_tokens_per_batch=100)([prompt])
    assert found.text == lm.tokenizer.decode(greedy(lm, prompt, 4), skip_special_tokens=True)


# ------------------------------------------------------------------------------------------ programs


ITEMS = [
    Item("exam", qads.Row(id=str(n), source="exam", problem=f"{n} + 1?", solution="", answer=str(n + 1))) for n in range(3)
]  # fmt: skip


def solver(written: dict[str, str], outcomes: dict[str, ProgramResult]) -> Solver:
    """One that writes what it is told to: by the prompt's text, and by the program's."""
    tokenizer = qads.models.open_tokenizer("smollm2-135m").tokenizer

    def generate(prompts: Sequence[tuple[int, ...]]) -> list[Generation]:
        texts = [written[tokenizer.decode(prompt)] for prompt in prompts]
        return [Generation(text, len(text), False) for text in texts]

    return Solver(
        generate=generate, tokenizer=tokenizer, renderer=PLAIN, room=30, suffixes={"cot": "", "pot": " In Python."},
        run_programs=lambda programs: [outcomes[program] for program in programs],
    )  # fmt: skip


@pytest.mark.parametrize("fence", ["```", "```python", "```py", "```Python3", "``` python ", "```python3.11", "```\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_fenced_program_is_what_stands_within_its_fences(fence: str, line_end: str):
    assert program_in(f"Sure:{line_end}{fence}{line_end}print(1)\n```\nDone.") == "print(1)\n"
    assert program_in(f"{fence}{line_end}print(2)") == "print(2)"


def test_a_problem_is_answered_in_words_where_its_program_gives_no_answer():
    written = {f"Question: {n} + 1? In Python.\nAnswer:": f"print({n} + 1)" for n in range(3)}
    written["Question: 1 + 1?\nAnswer:"] = " 1 and 1 make 2. The answer is 2."
    outcomes = {f"print({n} + 1)": ProgramResult("ok", str(n + 1), "", "") for n in (0, 2)}
    outcomes["print(1 + 1)"] = ProgramResult("timeout", None, "", "took 5 seconds")
    outcomes["print(2 + 1)"] = ProgramResult("ok", "4", "4\n", "")
    found = solver(written, outcomes)(ITEMS, "pot-cot")
    assert [(row["method"], row["verdict"], row["value"]) for row in found] == [
        ("pot", "right", 1.0), ("cot", "right", 1.0), ("pot", "wrong", 0.0),
    ]  # fmt: skip
    assert "program: timeout took 5 seconds" in found[1]["details"]
    (alone,) = solver(written, outcomes)([ITEMS[1]], "pot")
    assert (alone["verdict"], alone["value"]) == ("no answer", 0.0)


def judged(line: str, reference: str = "42") -> tuple[str, str | None]:
    row = qads.Row(id="", source="exam", problem="6 * 7?", solution="", answer=reference)
    found = judge_program(ProgramResult("ok", line, line, ""), Item("exam", row))
    return found.verdict, found.extracted


def test_a_program_that_prints_a_sentence_or_a_solution_is_judged_by_the_answer_in_it():
    assert {judged(line) for line in ("42", "The answer is 42", "She has 42 apples.", "[{x: 42}]")} == {("right", "42")}
    assert judged("She has 42 apples and 7 pears.") == ("wrong", "She has 42 apples and 7 pears.")
    assert judged("The meeting is on March 3", "The meeting is on March 3")[0] == "right"


@pytest.mark.parametrize("line", ["None", "nan", "[]"])
def test_a_program_that_gives_nothing_is_followed_by_words(line: str):
    written = {
        "Question: 1 + 1? In Python.\nAnswer:": "print(f())",
        "Question: 1 + 1?\nAnswer:": " 1 and 1 make 2.",
    }
    (found,) = solver(written, {"print(f())": ProgramResult("ok", line, line, "")})([ITEMS[1]], "pot-cot")
    assert (found["method"], found["verdict"]) == ("cot", "right") and f"gave {line}" in found["details"]


def test_words_where_a_program_was_asked_for_are_judged_as_words_and_neither_run_nor_asked_for_again():
    written = {"Question: 1 + 1? In Python.\nAnswer:": " 1 and 1 make 2. The answer is 2."}
    for method in ("pot", "pot-cot"):
        (found,) = solver(written, {})([ITEMS[1]], method)
        assert (found["method"], found["verdict"], found["details"]) == ("pot", "right", None)
        assert found["reason"].startswith("no program; stated")
    written = {"Question: 1 + 1? In Python.\nAnswer:": " I do not know.", "Question: 1 + 1?\nAnswer:": " It is 2."}
    (found,) = solver(written, {})([ITEMS[1]], "pot-cot")
    assert (found["method"], found["verdict"]) == ("cot", "right")


@pytest.mark.parametrize(
    ("text", "is_program"),
    [
        ("```python\n5\n```", True),
        ("So:\nprint(5)", True),
        (" def solution():\n    return 5", True),
        ("from math import pi\nx = pi", True),
        ("ans = 5", True),
        ("# cut\napples = 5\nwhile apples <", True),
        (" The answer is 5.", False),
        ("Let x = 5. Then x + 1 = 6.", False),
        ("Total = 3 + 4 = 7", False),
        ("# Solution\nThere are 5.", False),
        ("", False),
    ],
)
def test_a_program_is_told_from_words(text: str, is_program: bool):
    assert holds_program(text) == is_program


def test_a_prompt_without_room_is_a_wrong_answer_that_says_so():
    long = Item("exam", qads.Row(id="l", source="exam", problem="very " * 40 + "long?", solution="", answer="1"))
    (row,) = solver({}, {})([long], "cot")
    assert row["value"] == 0 and row["generation"] is None and "where 30 leave room" in row["reason"]


@pytest.mark.parametrize("method", ["pot", "pot-cot"])
def test_no_program_runs_that_nobody_has_allowed(method: str, model: Path, exam: str):
    with pytest.raises(InputError, match="--allow-code-execution"):
        Evaluation(sets=(exam,), method=method)(str(model), execution=CPU)

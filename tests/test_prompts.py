"""The texts a model sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

import qads
from qads.errors import ModelError
from qads.pool import Turn
from qads.prompts import sample_text

ROW = qads.Row(id="r", source="s", problem="What is 2 + 2?", solution="4, of course.")
MULTI = qads.Row(
    id="m", source="s", problem="And 3 + 3?", solution="6",
    context=(Turn(role="system", content="Be brief."), Turn(role="user", content="2 + 2?"), Turn(role="assistant", content="4")),
)  # fmt: skip


def chatml(turns: Sequence[Turn]) -> str:
    head = "" if turns[0]["role"] == "system" else "<|system|>default\n"
    return head + "".join(f"<|{t['role']}|>{t['content'].strip()}\n" for t in turns)


def test_plain_text_marks_the_solution_and_nothing_else():
    target = qads.ExemplarTemplate().renderer(None).target(ROW)
    assert target.text[target.answer_start : target.answer_end] == ROW.solution
    assert target.text == "Question: What is 2 + 2?\nAnswer: 4, of course."


def test_an_example_is_the_target_and_a_separator():
    renderer = qads.ExemplarTemplate(separator="\n---\n").renderer(None)
    assert renderer.example(MULTI) == renderer.target(MULTI).text + "\n---\n"


def test_earlier_turns_come_before_the_problem():
    text = qads.ExemplarTemplate().renderer(None).target(MULTI).text
    assert text.index("Be brief.") < text.index("2 + 2?") < text.index("3 + 3?")


@pytest.mark.parametrize("system", [None, "You are terse."])
@pytest.mark.parametrize("row", [ROW, MULTI], ids=["single", "multi-turn"])
def test_chat_blocks_put_together_are_the_rendered_conversation(system: str | None, row: qads.Row):
    renderer = qads.ChatTemplate(system=system).renderer(chatml)
    head = [] if system is None else [Turn(role="system", content=system)]
    turns = [*head, Turn(role="user", content=ROW.problem), Turn(role="assistant", content=ROW.solution)]
    target = renderer.target(row)
    if row is ROW:
        assert renderer.header + target.text == chatml(turns)
        assert renderer.header + renderer.example(ROW) + target.text == chatml([*turns, *turns[len(head) :]])
    assert target.text[target.answer_start : target.answer_end] == row.solution
    assert "default" not in target.text and (row is ROW or "Be brief." in target.text)


def test_the_solution_is_found_even_where_the_problem_repeats_it_and_the_template_strips_it():
    row = qads.Row(id="r", source="s", problem="Say: yes", solution="  yes \n")
    target = qads.ChatTemplate().renderer(chatml).target(row)
    assert target.text[target.answer_start : target.answer_end] == "yes"
    assert target.text[: target.answer_start].endswith("<|assistant|>")


def test_a_chat_template_that_rewrites_earlier_turns_is_refused():
    def forgetful(turns: Sequence[Turn]) -> str:
        return (
            chatml([*turns[:-2], *turns[-2:]]) if len(turns) <= 2 else chatml(turns[-2:]) + "(earlier turns left out)"
        )

    with pytest.raises(ModelError, match=r"use template \{kind: exemplar\}"):
        qads.ChatTemplate().renderer(forgetful)
    with pytest.raises(ModelError, match="has no chat template"):
        qads.ChatTemplate().renderer(None)


def test_an_embedder_sees_the_part_it_is_told():
    assert sample_text(ROW) == f"{ROW.problem}\n{ROW.solution}"
    assert (sample_text(ROW, "problem"), sample_text(ROW, "solution")) == (ROW.problem, ROW.solution)


def test_an_embedder_sees_the_exchanges_before_the_last_question():
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a prime."},
        {"role": "assistant", "content": "2"},
    ]
    row = dataclasses.replace(ROW, context=tuple(turns))
    assert sample_text(row, "problem") == f"Name a prime.\n2\n{ROW.problem}"
    assert sample_text(row) == f"{sample_text(row, 'problem')}\n{ROW.solution}"
    assert sample_text(row, "solution") == ROW.solution
    assert sample_text(dataclasses.replace(ROW, context=tuple(turns[:1]))) == sample_text(ROW)


@pytest.mark.parametrize("solution", ["e", "x", "user", "<|", "t"])
def test_a_solution_that_is_part_of_the_template_is_found_where_it_stands(solution: str):
    target = qads.ChatTemplate().renderer(chatml).target(qads.Row(id="r", source="s", problem="p", solution=solution))
    assert target.text[: target.answer_start].endswith("<|assistant|>")
    assert target.text[target.answer_start : target.answer_end] == solution


def test_a_row_that_the_chat_template_refuses_is_named():
    def strict(turns: Sequence[Turn]) -> str:
        if any(t["role"] == "tool" for t in turns):
            raise RuntimeError("unknown role tool")
        return chatml(turns)

    row = qads.Row(id="r7", source="s", problem="p", solution="q", context=(Turn(role="tool", content="42"),))
    with pytest.raises(ModelError, match="refuses row 'r7': unknown role tool"):
        qads.ChatTemplate().renderer(strict).target(row)


def test_a_chat_template_that_takes_no_system_message_is_an_error_that_names_the_setting():
    def without_system(turns: Sequence[Turn]) -> str:
        if turns[0]["role"] == "system":
            raise RuntimeError("System role not supported")
        return chatml(turns)

    with pytest.raises(ModelError, match=r"template\.system.*System role not supported"):
        qads.ChatTemplate(system="Be brief.").renderer(without_system)
    qads.ChatTemplate().renderer(without_system)

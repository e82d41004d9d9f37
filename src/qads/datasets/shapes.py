"""Shapes of records: one function per format, record -> draft of a row.

To add a format, write a function that takes the fields and returns a `Draft` (or several, or a `Reject`),
and put it into `FORMATS` with the columns it needs. The order matters: the first whose columns are all there
wins, so the more particular ones come first. `QUESTIONS` come after them where no solution is required.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from qads.datasets.drafts import Draft, Fields, Format, Reject, UnknownShapeError, parsed, text_of
from qads.datasets.multiple_choice import read_aqua, read_query_choices, read_question_choices
from qads.pool import Turn

__all__ = ["FORMATS", "QUESTIONS"]


def _problem_solution(fields: Fields) -> Sequence[Draft]:
    return [Draft(fields["problem"], fields["solution"], ("problem", "solution"))]


def _calculated(fields: Fields) -> Sequence[Draft]:
    """Calc-X: a result whose thousands an underscore may part, and a chain of calls of a calculator, no solution."""
    result = fields["result"]
    answer = _THOUSANDS.sub("", result) if isinstance(result, str) else result
    return [Draft(fields["question"], None, ("question", "result"), answer)]


_THOUSANDS = re.compile(r"(?<=\d)_(?=\d)")


def _self_instruct(fields: Fields) -> Sequence[Draft | Reject]:
    instances = parsed(fields["instances"])
    if not isinstance(instances, list) or not all(isinstance(instance, dict) for instance in instances):
        raise UnknownShapeError("'instances' must be a list of objects with 'output'")
    return (
        [Reject("no instances")]
        if not instances
        else [
            Draft(
                _with_input(fields["instruction"], instance.get("input")),
                instance.get("output"),
                ("instruction", "instances"),
                extra={"input": text_of(instance["input"], "input")} if instance.get("input") else {},
            )
            for instance in instances
        ]
    )


def _instruction(solution: str, added: str | None = None) -> Callable[[Fields], Sequence[Draft]]:
    """Alpaca and its relatives: an instruction, perhaps an input that belongs to it, and the solution."""

    def read(fields: Fields) -> Sequence[Draft]:
        text = fields.get(added) if added else None
        used = ("instruction", solution) if added is None else ("instruction", solution, added)
        extra = {"input": text_of(text, "input")} if text else {}
        return [Draft(_with_input(fields["instruction"], text), fields.get(solution), used, extra=extra)]

    return read


def _with_input(instruction: object, text: object) -> str:
    asked = text_of(instruction, "instruction")
    return f"{asked}\n\n{text_of(text, 'input')}" if text else asked


def _story(body: str, question: str, equation: str, answer: str) -> Callable[[Fields], Sequence[Draft]]:
    """A story, what is asked about it, and the equation that solves it."""

    def read(fields: Fields) -> Sequence[Draft]:
        told = str(fields[body]).strip()
        problem = f"{told if told.endswith(('.', '?', '!')) else told + '.'} {fields[question]}"
        extra = {body: fields[body], question: fields[question]}
        used = (body, question, equation, answer)
        return [Draft(problem, fields.get(equation), used, fields.get(answer), extra=extra)]

    return read


def _without_unit(read: Callable[[Fields], Sequence[Draft]]) -> Callable[[Fields], Sequence[Draft]]:
    """A draft whose answer names its unit in brackets, ``9 (apples); 4 (pears)``: that is no part of the answer."""

    def unitless(fields: Fields) -> Sequence[Draft]:
        return [
            replace(draft, answer=cut, extra={**draft.extra, "answer_with_unit": draft.answer})
            if isinstance(draft.answer, str) and (cut := _unit_cut(draft.answer)) != draft.answer
            else draft
            for draft in read(fields)
        ]

    return unitless


def _unit_cut(answer: str) -> str:
    parts = [part.partition(" (") for part in answer.split(";")]
    return ";".join(
        number if number.strip() and unit.rstrip().endswith(")") and "(" not in unit else number + mark + unit
        for number, mark, unit in parts
    )


def _question_answer(fields: Fields) -> Sequence[Draft]:
    return [Draft(fields["question"], fields["answer"], ("question", "answer"), may_be_answer=True)]


def _pair(problem: str, solution: str, answer: str | None = None) -> Callable[[Fields], Sequence[Draft]]:
    """A column that asks and a column that answers."""

    def read(fields: Fields) -> Sequence[Draft]:
        used = (problem, solution) if answer is None else (problem, solution, answer)
        return [Draft(fields[problem], fields.get(solution), used, fields[answer] if answer else None)]

    return read


def _prompt_completion(fields: Fields) -> Sequence[Draft | Reject]:
    if isinstance(fields["prompt"], list) and isinstance(fields["completion"], list):
        return _conversation([*fields["prompt"], *fields["completion"]], "role", "content", ("prompt", "completion"))
    return _pair("prompt", "completion")(fields)


def _asked(read: Callable[[Fields], Sequence[Draft | Reject]]) -> Callable[[Fields], Sequence[Draft | Reject]]:
    """A question of an evaluation set, with its answer where a column has one."""

    def answered(fields: Fields) -> Sequence[Draft | Reject]:
        column = next((name for name in _ANSWERS if name in fields), None)
        return [
            replace(draft, answer=fields[column], used=(*draft.used, column))
            if column and isinstance(draft, Draft) and draft.answer is None
            else draft
            for draft in read(fields)
        ]

    return answered


_ANSWERS = ("answer", "final_answer", "expected_answer", "correct_answer", "correct", "target", "label", "result")
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}


def _conversation(turns: object, role: str, content: str, used: tuple[str, ...]) -> Sequence[Draft | Reject]:
    """The last answer is the solution, the question before it the problem, all earlier turns the context."""
    if not isinstance(turns, list) or not all(isinstance(t, dict) and role in t and content in t for t in turns):
        raise UnknownShapeError(f"{used[0]!r} must be a list of objects with {role!r} and {content!r}")
    plain = [Turn(role=_ROLES.get(str(t[role]), str(t[role])), content=_content(t[content])) for t in turns]
    if len(plain) < 2 or plain[-1]["role"] != "assistant":
        return [Reject("the conversation does not end with an answer of the assistant")]
    if plain[-2]["role"] != "user":
        return [Reject(f"the turn before the last answer is the {plain[-2]['role']}'s, not the user's")]
    lossless = all(set(t) == {role, content} and isinstance(t[content], str) for t in turns)
    extra = {} if lossless else {f"original_{used[0]}": turns}
    return [Draft(plain[-2]["content"], plain[-1]["content"], used, context=tuple(plain[:-2]), extra=extra)]


def _turns(column: str, role: str, content: str) -> Callable[[Fields], Sequence[Draft | Reject]]:
    """A column that holds a conversation."""
    return lambda fields: _conversation(parsed(fields[column]), role, content, (column,))


def _content(value: object) -> str:
    """Text of a turn; the text parts where the content is a list of parts."""
    if isinstance(value, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise UnknownShapeError("a turn has parts that are not text; qads reads text only")
        return "\n".join(str(part["text"]) for part in value)
    return text_of(value, "turn")


FORMATS: tuple[Format, ...] = (
    Format("problem/solution (MATH, qads)", ("problem", "solution"), _problem_solution),
    Format("AQuA", ("question", "options", "rationale", "correct"), read_aqua),
    Format("self-instruct", ("instruction", "instances"), _self_instruct),
    Format("messages", ("messages",), _turns("messages", "role", "content")),
    Format("ShareGPT", ("conversations",), _turns("conversations", "from", "value")),
    Format("Alpaca", ("instruction", "input", "output"), _instruction("output", "input")),
    Format("Alpaca without input (MathInstruct)", ("instruction", "output"), _instruction("output")),
    Format("Dolly", ("instruction", "context", "response"), _instruction("response", "context")),
    Format("instruction/response", ("instruction", "response"), _instruction("response")),
    Format("prompt/completion", ("prompt", "completion"), _prompt_completion),
    Format("SVAMP", ("Body", "Question", "Equation", "Answer"), _story("Body", "Question", "Equation", "Answer")),
    Format(
        "ASDiv",
        ("body", "question", "formula", "answer"),
        _without_unit(_story("body", "question", "formula", "answer")),
    ),
    Format("question/choices/answer (MMLU)", ("question", "choices", "answer"), read_question_choices),
    *(
        Format("program of thought", ("question", program, answer), _pair("question", program, answer))
        for program, answer in (("answer_cot", "answer_value"), ("program", "answer"), ("code", "answer"))
    ),
    Format("question/solution", ("question", "solution"), _pair("question", "solution")),
    Format("query/response (MetaMathQA)", ("query", "response"), _pair("query", "response")),
    Format("prompt/response", ("prompt", "response"), _pair("prompt", "response")),
    Format("question/response", ("question", "response"), _pair("question", "response")),
    Format("question/answer (GSM8K)", ("question", "answer"), _question_answer),
)

QUESTIONS: tuple[Format, ...] = (
    Format("AQuA without rationale", ("question", "options", "correct"), read_aqua),
    Format("query/choices/gold (AGIEval)", ("query", "choices", "gold"), read_query_choices),
    Format("question/chain/result (Calc-X)", ("question", "chain", "result"), _calculated),
    Format("SVAMP without equation", ("Body", "Question"), _asked(_story("Body", "Question", "Equation", "Answer"))),
    Format("instruction alone", ("instruction",), _asked(_instruction("output", "input"))),
    *(
        Format(f"{name} alone", (name,), _asked(_pair(name, "solution")))
        for name in ("problem", "question", "prompt", "query")
    ),
)
"""Shapes that need no solution, as those of evaluation sets; they are read only where none is required."""

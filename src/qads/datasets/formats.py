"""What a record means: one function per format, record -> draft of a row.

To add a format, write a function that takes the fields and returns a `Draft` (or several, or a `Reject`),
and put it into `FORMATS` with the columns it needs. The order matters: the first whose columns are all there
wins, so the more particular ones come first. `QUESTIONS` come after them where no solution is required.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from qads.answers import extract_answer
from qads.datasets.solutions import detect_kind, strip_calculator
from qads.pool import KINDS, Row, Turn, to_json

__all__ = ["FORMATS", "Draft", "Format", "Reject", "UnknownShapeError", "read_record", "shown_names"]

Fields = Mapping[str, Any]
FIELDS = ("id", "source", "problem", "solution", "answer", "kind")
"""The fields that a column map may name."""


@dataclass(frozen=True)
class Draft:
    """A row as its format sees it, before defaults."""

    problem: Any
    solution: Any
    used: tuple[str, ...]
    """Columns that are in the row now; all others go to `meta`."""
    answer: Any = None
    context: tuple[Turn, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the format wants kept in `meta` besides the columns it did not use."""


@dataclass(frozen=True)
class Reject:
    """A well-formed record that cannot serve."""

    reason: str


class UnknownShapeError(Exception):
    """A record fits no format; the message says which is nearest."""


@dataclass(frozen=True)
class Format:
    """A shape of record: its name, the columns that tell it, and how to read it."""

    name: str
    needs: tuple[str, ...]
    read: Callable[[Fields], Sequence[Draft | Reject]]


def read_record(
    fields: Fields, columns: Mapping[str, str], *, default: Row, require_solution: bool = True
) -> list[Row | Reject]:
    """The rows of one record.

    Args:
        fields: the record.
        columns: column map field -> column, overriding recognition where the record has one of the columns mapped to
            problem or solution; an empty column means "leave it out".
        default: gives `id` and `source` where the record has none.
        require_solution: whether a row without a solution is rejected.

    Raises:
        UnknownShapeError: no format fits, a mapped column is missing, or a text is no text.
    """
    drafts = _drafts(fields, columns, require_solution)
    rows: list[Row | Reject] = []
    for part, draft in enumerate(drafts):
        if not isinstance(draft, Reject) and (flaw := _flaw(draft, require_solution)):
            draft = Reject(flaw)
        if isinstance(draft, Reject):
            rows.append(draft)
        else:
            rows.append(_finish(draft, fields, columns, default, part=part if len(drafts) > 1 else None))
    return rows


def _drafts(fields: Fields, columns: Mapping[str, str], require_solution: bool) -> Sequence[Draft | Reject]:
    """By the map where it is meant for this record: one map serves a pool of which other files have known shapes."""
    mapped = [column for name in ("problem", "solution") if (column := columns.get(name))]
    foreign = not any(column in fields for column in mapped)
    if mapped and not (foreign and _format_with(tuple(fields), require_solution)):
        return _mapped(fields, columns, require_solution)
    return _recognised(fields, require_solution)


def _flaw(draft: Draft, require_solution: bool) -> str | None:
    """Why a draft cannot serve as a row."""
    for name, value in (("problem", draft.problem), ("solution", draft.solution)):
        text = _text(value, name)
        if not text.strip() and (name == "problem" or require_solution):
            return f"empty {name}"
        if "\x00" in text:
            return f"NUL character in the {name}"
    return None


def _recognised(fields: Fields, require_solution: bool) -> Sequence[Draft | Reject]:
    shape = _format_with(tuple(fields), require_solution)
    if shape is None:
        names = shown_names(fields)
        raise UnknownShapeError(f"no recognised columns among {names}; {_nearest_format(tuple(fields))}")
    return shape.read(fields)


@lru_cache(maxsize=1024)
def _format_with(columns: tuple[str, ...], require_solution: bool) -> Format | None:
    shapes = FORMATS if require_solution else FORMATS + QUESTIONS
    return next((candidate for candidate in shapes if set(candidate.needs) <= set(columns)), None)


def _mapped(fields: Fields, columns: Mapping[str, str], require_solution: bool) -> Sequence[Draft]:
    names = {name: columns.get(name) or name for name in ("problem", "solution")}
    for name, column in names.items():
        if column not in fields and (name == "problem" or require_solution or columns.get(name)):
            raise UnknownShapeError(f"the column {column!r} mapped to {name!r} is not among {shown_names(fields)}")
    return [Draft(fields[names["problem"]], fields.get(names["solution"]), used=tuple(names.values()))]


def shown_names(fields: Fields) -> str:
    """The columns as a message names them: whoever wrote the file made them as long and as many as he liked."""
    shown = [name if len(name) <= _LONG_NAME else f"{name[:_LONG_NAME]}…" for name in sorted(fields)[:_MANY_NAMES]]
    return f"{shown}" + (f" and {len(fields) - _MANY_NAMES} more" if len(fields) > _MANY_NAMES else "")


_LONG_NAME, _MANY_NAMES = 60, 30
"""Characters of a name, and names, beyond which a message does not go."""


@lru_cache(maxsize=1024)  # Where one row is of no known shape, most are, and of the same one.
def _nearest_format(columns: tuple[str, ...]) -> str:
    names = [name for name in columns if len(name) <= _LONG_NAME][:_MANY_NAMES]

    def closeness(candidate: Format) -> float:
        return sum(max((difflib.SequenceMatcher(None, need, name).ratio() for name in names), default=0.0)
                   for need in candidate.needs) / len(candidate.needs)  # fmt: skip

    best = max(FORMATS, key=closeness)
    missing = [name for name in best.needs if name not in columns]
    return (
        f"the nearest format is {best.name} ({', '.join(best.needs)}), which lacks {', '.join(missing)}. "
        "Map your columns: --column problem=NAME --column solution=NAME "
        "(those of anchors: --set anchors.columns.problem=NAME)"
    )


def _finish(draft: Draft, fields: Fields, columns: Mapping[str, str], default: Row, *, part: int | None) -> Row:
    own = {name: columns.get(name, name) for name in ("id", "source", "answer", "kind")}
    given = {name: fields[column] for name, column in own.items() if column in fields and column not in draft.used}
    problem, solution = _text(draft.problem, "problem"), _text(draft.solution, "solution")
    extra = dict(draft.extra)
    cleaned = strip_calculator(solution)
    if cleaned != solution:
        extra["solution_with_calculator"] = solution
    answer = given.get("answer", draft.answer)
    if answer is None and "answer" not in given:
        answer = extract_answer(cleaned)
    kind = given.get("kind")
    # What was used is gone from meta; a column that was not understood (kind: "eval") stays there.
    used = {*draft.used, *(own[name] for name in given if name != "kind" or kind in KINDS), "context", "meta"}
    identifier = str(given["id"]) if given.get("id") is not None else default.id
    return Row(
        id=identifier if part is None else f"{identifier}#{part}",
        source=str(given["source"]) if given.get("source") is not None else default.source,
        problem=problem,
        solution=cleaned,
        answer=(answer := _answer(answer)),
        kind=kind if kind in KINDS else detect_kind(problem, cleaned, answer),
        context=draft.context or _context(fields.get("context")),
        meta=_meta(fields, draft, used) | extra,
    )


def _text(value: object, name: str) -> str:
    if value is None or value != value:  # NaN is how pandas writes a missing text.
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnknownShapeError(f"the {name} must be text, found {type(value).__name__}")
    *lines, last = str(value).split("\n")
    return "\n".join([*(line.rstrip("\r") for line in lines), last]) if lines else last


def _answer(value: object) -> str | None:
    if value is None or value != value:
        return None
    return to_json(value) if isinstance(value, list | dict) else str(value)


def _meta(fields: Fields, draft: Draft, used: set[str]) -> dict[str, Any]:
    """The columns no one used; a `meta` or `context` column that is not ours is a column like any other."""
    nested = _from_json(fields.get("meta"))
    rest = {name: value for name, value in fields.items() if name not in used}
    if isinstance(nested, dict):
        inner = cast(dict[str, Any], nested)
        taken = inner.keys() & rest.keys()
        rest = inner | rest
        if taken:  # What a column of its own name hides stays where it was.
            rest["meta"] = {name: inner[name] for name in inner if name in taken | {"meta"}}
    elif fields.get("meta") is not None:
        rest["meta"] = fields["meta"]
    is_ours = not draft.context and _context(fields.get("context"))
    if fields.get("context") is not None and "context" not in draft.used and not is_ours:
        rest["context"] = fields["context"]
    return rest


def _context(value: object) -> tuple[Turn, ...]:
    turns = _from_json(value)
    if isinstance(turns, list) and all(_is_turn(turn) for turn in cast(list[Any], turns)):
        return tuple(cast(list[Turn], turns))
    return ()


def _is_turn(value: object) -> bool:
    return (
        isinstance(value, dict)
        and {"role", "content"} == set(value)
        and all(isinstance(v, str) for v in value.values())
    )


def _from_json(value: object) -> object:
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# ---------------------------------------------------------------------------------------------- formats


def _problem_solution(fields: Fields) -> Sequence[Draft]:
    return [Draft(fields["problem"], fields["solution"], ("problem", "solution"))]


def _aqua(fields: Fields) -> Sequence[Draft]:
    options = fields["options"]
    lines = "\n".join(map(str, options)) if isinstance(options, list) else str(options)
    problem = f"{fields['question']}\nAnswer Choices:\n{lines}"
    extra = {"question": fields["question"], "options": options}
    used = ("question", "options", "rationale", "correct")
    return [Draft(problem, fields.get("rationale"), used, fields["correct"], extra=extra)]


def _self_instruct(fields: Fields) -> Sequence[Draft | Reject]:
    instances = _from_json(fields["instances"])
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
                extra={"input": _text(instance["input"], "input")} if instance.get("input") else {},
            )
            for instance in instances
        ]
    )


def _instruction(solution: str, added: str | None = None) -> Callable[[Fields], Sequence[Draft]]:
    """Alpaca and its relatives: an instruction, perhaps an input that belongs to it, and the solution."""

    def read(fields: Fields) -> Sequence[Draft]:
        text = fields.get(added) if added else None
        used = ("instruction", solution) if added is None else ("instruction", solution, added)
        extra = {"input": _text(text, "input")} if text else {}
        return [Draft(_with_input(fields["instruction"], text), fields.get(solution), used, extra=extra)]

    return read


def _with_input(instruction: object, text: object) -> str:
    return (
        f"{_text(instruction, 'instruction')}\n\n{_text(text, 'input')}" if text else _text(instruction, "instruction")
    )


def _story(body: str, question: str, equation: str, answer: str) -> Callable[[Fields], Sequence[Draft]]:
    """A story, what is asked about it, and the equation that solves it."""

    def read(fields: Fields) -> Sequence[Draft]:
        told = str(fields[body]).strip()
        problem = f"{told if told.endswith(('.', '?', '!')) else told + '.'} {fields[question]}"
        extra = {body: fields[body], question: fields[question]}
        used = (body, question, equation, answer)
        return [Draft(problem, fields.get(equation), used, fields.get(answer), extra=extra)]

    return read


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


_ANSWERS = ("answer", "final_answer", "expected_answer", "correct_answer", "correct", "target", "label")
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
    return lambda fields: _conversation(_from_json(fields[column]), role, content, (column,))


def _content(value: object) -> str:
    """Text of a turn; the text parts where the content is a list of parts."""
    if isinstance(value, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise UnknownShapeError("a turn has parts that are not text; qads reads text only")
        return "\n".join(str(part["text"]) for part in value)
    return _text(value, "turn")


FORMATS: tuple[Format, ...] = (
    Format("problem/solution (MATH, qads)", ("problem", "solution"), _problem_solution),
    Format("AQuA", ("question", "options", "rationale", "correct"), _aqua),
    Format("self-instruct", ("instruction", "instances"), _self_instruct),
    Format("messages", ("messages",), _turns("messages", "role", "content")),
    Format("ShareGPT", ("conversations",), _turns("conversations", "from", "value")),
    Format("Alpaca", ("instruction", "input", "output"), _instruction("output", "input")),
    Format("Alpaca without input (MathInstruct)", ("instruction", "output"), _instruction("output")),
    Format("Dolly", ("instruction", "context", "response"), _instruction("response", "context")),
    Format("instruction/response", ("instruction", "response"), _instruction("response")),
    Format("prompt/completion", ("prompt", "completion"), _prompt_completion),
    Format("SVAMP", ("Body", "Question", "Equation", "Answer"), _story("Body", "Question", "Equation", "Answer")),
    Format("ASDiv", ("body", "question", "formula", "answer"), _story("body", "question", "formula", "answer")),
    *(
        Format("program of thought", ("question", program, answer), _pair("question", program, answer))
        for program, answer in (("answer_cot", "answer_value"), ("program", "answer"), ("code", "answer"))
    ),
    Format("question/solution", ("question", "solution"), _pair("question", "solution")),
    Format("query/response (MetaMathQA)", ("query", "response"), _pair("query", "response")),
    Format("prompt/response", ("prompt", "response"), _pair("prompt", "response")),
    Format("question/response", ("question", "response"), _pair("question", "response")),
    Format("question/answer (GSM8K)", ("question", "answer"), _pair("question", "answer")),
)

QUESTIONS: tuple[Format, ...] = (
    Format("AQuA without rationale", ("question", "options", "correct"), _aqua),
    Format("SVAMP without equation", ("Body", "Question"), _asked(_story("Body", "Question", "Equation", "Answer"))),
    Format("instruction alone", ("instruction",), _asked(_instruction("output", "input"))),
    *(
        Format(f"{name} alone", (name,), _asked(_pair(name, "solution")))
        for name in ("problem", "question", "prompt", "query")
    ),
)
"""Shapes that need no solution, as those of evaluation sets; they are read only where none is required."""

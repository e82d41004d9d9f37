"""What a record means: by the first format whose columns it has, or by the user's column map; then its row."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from qads.answers import extract_answer
from qads.datasets.drafts import Draft, Fields, Format, Reject, UnknownShapeError, is_nothing, parsed, text_of
from qads.datasets.shapes import FORMATS, QUESTIONS
from qads.datasets.solutions import detect_kind, is_bare, strip_calculator
from qads.pool import KINDS, Row, Turn, to_json

__all__ = ["FIELDS", "read_record", "shown_names"]

FIELDS = ("id", "source", "problem", "solution", "answer", "kind")
"""The fields that a column map may name."""


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
        if not require_solution and not isinstance(draft, Reject):
            draft = _with_bare_answer(draft)
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


def _with_bare_answer(draft: Draft) -> Draft:
    """The draft of an evaluation item: what stands alone where a solution would is its answer, as it states none.

    Only there: the same text in a pool is what is trained on, and stays a solution that states no answer.
    """
    if not draft.may_be_answer or draft.answer is not None:
        return draft
    if isinstance(draft.solution, list):
        return replace(draft, solution=None, answer=draft.solution)
    text = text_of(draft.solution, "answer").strip()
    return replace(draft, answer=text) if is_bare(text) and extract_answer(text) is None else draft


def _flaw(draft: Draft, require_solution: bool) -> str | None:
    """Why a draft cannot serve as a row."""
    for name, value in (("problem", draft.problem), ("solution", draft.solution)):
        text = text_of(value, name)
        if not text.strip() and (name == "problem" or require_solution):
            return f"empty {name}"
        if "\x00" in text:
            return f"NUL character in the {name}"
    return None


def _recognised(fields: Fields, require_solution: bool) -> Sequence[Draft | Reject]:
    shape = _format_with(tuple(fields), require_solution)
    if shape is None:
        names = shown_names(fields)
        near = _nearest_format(tuple(fields))
        raise UnknownShapeError(f"no recognised columns among {names}{near and f'; {near}'}", advice=_MAP)
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


_MAP = (
    "Map your columns: --column problem=NAME --column solution=NAME (those of anchors: --set "
    "anchors.columns.problem=NAME; in Python: columns=)."
)
_NEAR = 0.7
"""How alike the names of columns are to those of a format that is worth naming; 1 is the same."""
_LONG_NAME, _MANY_NAMES = 60, 30
"""Characters of a name, and names, beyond which a message does not go."""


@lru_cache(maxsize=1024)  # Where one row is of no known shape, most are, and of the same one.
def _nearest_format(columns: tuple[str, ...]) -> str:
    """What to say of the format that the columns are most like; nothing where they are like none."""
    names = [name for name in columns if len(name) <= _LONG_NAME][:_MANY_NAMES]

    def closeness(candidate: Format) -> float:
        return sum(max((difflib.SequenceMatcher(None, need, name).ratio() for name in names), default=0.0)
                   for need in candidate.needs) / len(candidate.needs)  # fmt: skip

    best = max(FORMATS, key=closeness)
    if closeness(best) < _NEAR:
        return ""
    missing = [name for name in best.needs if name not in columns]
    return f"the nearest format is {best.name} ({', '.join(best.needs)}), which lacks {', '.join(missing)}"


def _finish(draft: Draft, fields: Fields, columns: Mapping[str, str], default: Row, *, part: int | None) -> Row:
    own = {name: columns.get(name, name) for name in ("id", "source", "answer", "kind")}
    given = {name: fields[column] for name, column in own.items() if column in fields and column not in draft.used}
    problem, solution = text_of(draft.problem, "problem"), text_of(draft.solution, "solution")
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
    identifier, source = (given.get(name) for name in ("id", "source"))
    identifier = default.id if is_nothing(identifier) else str(identifier)
    return Row(
        id=identifier if part is None else f"{identifier}#{part}",
        source=default.source if is_nothing(source) else str(source),
        problem=problem,
        solution=cleaned,
        answer=(answer := _answer(answer)),
        kind=kind if kind in KINDS else detect_kind(problem, cleaned, answer),
        context=draft.context or _context(fields.get("context")),
        meta=_meta(fields, draft, used) | extra,
    )


def _answer(value: object) -> str | None:
    if is_nothing(value):
        return None
    return to_json(value) if isinstance(value, list | dict) else str(value)


def _meta(fields: Fields, draft: Draft, used: set[str]) -> dict[str, Any]:
    """The columns no one used; a `meta` or `context` column that is not ours is a column like any other."""
    nested = parsed(fields.get("meta"))
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
    turns = parsed(value)
    if isinstance(turns, list) and all(_is_turn(turn) for turn in cast(list[Any], turns)):
        return tuple(cast(list[Turn], turns))
    return ()


def _is_turn(value: object) -> bool:
    return (
        isinstance(value, dict)
        and {"role", "content"} == set(value)
        and all(isinstance(v, str) for v in value.values())
    )

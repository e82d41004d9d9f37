"""What formats make of records: drafts of rows, before defaults."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qads.pool import Turn

__all__ = ["Draft", "Fields", "Format", "Reject", "UnknownShapeError", "parsed", "text_of"]

Fields = Mapping[str, Any]


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
    may_be_answer: bool = False
    """Whether the column of the solution has no more than the answer in some sets."""


@dataclass(frozen=True)
class Reject:
    """A well-formed record that cannot serve."""

    reason: str


class UnknownShapeError(Exception):
    """A record fits no format; the message says why, and which is nearest if one is."""

    def __init__(self, reason: str, *, advice: str = "") -> None:
        super().__init__(reason)
        self.advice = advice


@dataclass(frozen=True)
class Format:
    """A shape of record: its name, the columns that tell it, and how to read it."""

    name: str
    needs: tuple[str, ...]
    read: Callable[[Fields], Sequence[Draft | Reject]]


def is_nothing(value: object) -> bool:
    """Whether a record has no value there: None, or NaN, which is how pandas writes a missing text."""
    return value is None or value != value


def text_of(value: object, name: str) -> str:
    """What a record has for a text, with the ends of lines that Python knows.

    Raises:
        UnknownShapeError: it is no text and no number.
    """
    if is_nothing(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnknownShapeError(f"the {name} must be text, found {type(value).__name__}")
    *lines, last = str(value).split("\n")
    return "\n".join([*(line.rstrip("\r") for line in lines), last]) if lines else last


def parsed(value: object) -> object:
    """What a text that looks like JSON holds; anything else as it is."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value

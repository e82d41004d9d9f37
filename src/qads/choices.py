"""Settings that are one of a few words: a misspelt one must not quietly become another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from qads.errors import InputError

__all__ = ["check_choice", "check_choices"]


def check_choice(value: object, choices: Sequence[object], *, name: str, method: str) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        InputError: it is none of them.
    """
    if value not in choices:
        raise InputError(f"{method}: {name} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")


def check_choices(settings: Any) -> None:
    """Refuse a dataclass of settings in which a field is none of the words of its `Literal`.

    pydantic reads configurations by the same annotations; this is for settings that are made in Python.

    Raises:
        InputError: one is none of them, also within a tuple or a dictionary.
    """
    for name, hint in _hints(type(settings)).items():
        for value, choices in _words(getattr(settings, name), hint):
            check_choice(value, choices, name=name, method=type(settings).__name__)


@cache
def _hints(settings: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(settings)  # Without what is `Annotated`.
    return {each.name: hints[each.name] for each in dataclasses.fields(settings)}


def _words(value: object, hint: Any) -> Iterator[tuple[object, Sequence[object]]]:
    """The parts of a value that have to be one of some words, and the words."""
    origin, members = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield value, members
    elif origin in (Union, UnionType):
        words = [word for each in members if get_origin(each) is Literal for word in get_args(each)]
        others = [each for each in members if get_origin(each) is not Literal and each is not NoneType]
        # What is no text may be of another type that is allowed.
        if words and str not in others and (isinstance(value, str) or not others):
            yield value, [*words, *([None] if NoneType in members else [])]
    elif origin is tuple and isinstance(value, tuple | list):
        for each in cast(Sequence[object], value):
            yield from _words(each, members[0])
    elif origin is dict and isinstance(value, Mapping):
        for key, each in cast(Mapping[object, object], value).items():
            yield from _words(key, members[0])
            yield from _words(each, members[1])

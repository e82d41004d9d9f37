"""The reference of every setting, written from the dataclasses that the settings are.

A section of a configuration is a dataclass and its keys are the fields (see `qads.settings`), so what a key means is
said once: in the docstring under the field. A field without one is an error here, and so of the build.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from qads.amounts import Tokens
from qads.mixture.recipe import Share

__all__ = ["field_docstrings", "sections_of", "settings_page"]

_PLAIN = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    Path: "path",
    Tokens: "tokens (`2M tokens`)",
    Share: "share (`{share: 30%}`)",
}
"""How a type is called in a table; `Tokens` and `Share` are written as text, so they are no sections."""


@dataclass(frozen=True)
class Section:
    """One dataclass at the first place where a configuration has it."""

    path: str
    cls: type

    @property
    def kind(self) -> str | None:
        """What picks this class among several."""
        return next((str(f.default) for f in fields(self.cls) if _is_tag(f)), None)

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return "-".join(filter(None, [*self.path.replace("*", "each").split("."), self.kind]))


def sections_of(root: type) -> list[Section]:
    """Every dataclass that a configuration may hold, outer ones first, each at its first place."""
    found: dict[type, Section] = {}

    def visit(path: str, cls: type) -> None:
        if cls in found:
            return
        found[cls] = Section(path, cls)
        for name, hint in _hints(cls).items():
            inside = f"{path}.{name}" if path else name
            for below, inner in _classes_in(hint, inside):
                visit(below, inner)

    visit("", root)
    return list(found.values())


@cache
def field_docstrings(cls: type) -> dict[str, str]:
    """Field -> the docstring under it, in one line; those of base classes too."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not is_dataclass(each):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
                if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                    found[field.target.id] = " ".join(after.value.value.split())
    return found


def settings_page(root: type, title: str, introduction: str) -> str:
    """The page in Markdown.

    Raises:
        ValueError: a field has no docstring.
    """
    sections = sections_of(root)
    anchors = {section.cls: section.anchor for section in sections}
    bare = [
        f"{section.cls.__qualname__}.{field.name}"
        for section in sections
        for field in _shown_fields(section.cls)
        if field.name not in field_docstrings(section.cls)
    ]
    if bare:
        raise ValueError(f"settings without a docstring under their field: {', '.join(bare)}")
    lines = [f"# {title}", "", introduction, ""]
    top = ""
    for section in sections:
        key = section.path.partition(".")[0]
        if key != top and (section.kind or "." in section.path):
            about = field_docstrings(root)[key]
            lines += [f"## `{key}` {{ #{key} }}", "", about, ""]
        top = key
        lines += _section(section, anchors)
    return "\n".join(lines)


def _section(section: Section, anchors: dict[type, str]) -> Iterator[str]:
    if section.path:
        level = "##" if "." not in section.path and section.kind is None else "###"
        kind = f": {{kind: {section.kind}}}" if section.kind else ""
        yield f"{level} `{section.path}{kind}` {{ #{section.anchor} }}"
        yield ""
        yield _summary(section.cls)
        yield ""
    shown = _shown_fields(section.cls)
    if not shown:
        yield "No settings of its own."
        yield ""
        return
    yield "| key | what | default | |"
    yield "|---|---|---|---|"
    hints = _hints(section.cls)
    for field in shown:
        about = field_docstrings(section.cls)[field.name].replace("|", "\\|")
        yield f"| `{field.name}` | {_named(hints[field.name], anchors)} | {_default(field, anchors)} | {about} |"
    yield ""


def _shown_fields(cls: type) -> list[Field[Any]]:
    return [field for field in fields(cls) if not _is_tag(field)]


def _is_tag(field: Field[Any]) -> bool:
    """Whether a field is what tells classes apart; rows have a kind too, which is none."""
    return field.name == "kind" and isinstance(field.default, str)


def _summary(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def _members(hint: object) -> tuple[Any, ...]:
    """What a hint is a union of."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for each in get_args(hint) for member in _members(each))
    return (hint,)


def _classes_in(hint: object, path: str) -> Iterator[tuple[str, type]]:
    for member in _members(hint):
        if isinstance(member, type) and is_dataclass(member) and member not in _PLAIN:
            yield path, member
        elif get_origin(member) is dict:
            yield from _classes_in(get_args(member)[1], f"{path}.*")


def _named(hint: object, anchors: dict[type, str]) -> str:
    """The type in words."""
    return ", ".join(dict.fromkeys(_named_member(member, anchors) for member in _members(hint)))


def _named_member(member: Any, anchors: dict[type, str]) -> str:
    if member in _PLAIN:
        return _PLAIN[member]
    if member in anchors:
        return f"[{_word_of(member)}](#{anchors[member]})"
    origin, inner = get_origin(member), get_args(member)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is dict:
        return f"mapping to {_named(inner[1], anchors)}"
    if origin is tuple:
        return f"list of {_named(inner[0], anchors)}"
    raise TypeError(f"{member!r}: the reference of settings has no word for it; add one to _PLAIN")


def _word_of(cls: type) -> str:
    return Section("", cls).kind or "section"


def _default(field: Field[Any], anchors: dict[type, str]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "**required**"
    value = field.default if field.default is not MISSING else field.default_factory()  # pyright: ignore
    if type(value) in anchors:
        return _named_member(type(value), anchors)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict):
        return f"`[{', '.join(map(str, value))}]`" if value else "none"
    if not isinstance(value, str):
        return f"`{value}`"
    return f"`{value if value == value.strip() else json.dumps(value)}`"

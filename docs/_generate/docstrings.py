"""How docstrings are shown: examples as Python sessions, and the fields of a dataclass as one table."""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

__all__ = ["Docstrings"]

_SESSION = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)


class Docstrings(griffe.Extension):
    """What is done to docstrings before they are read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put a fence around the lines from a prompt to the next empty line."""
        if obj.docstring is not None:
            obj.docstring.value = _SESSION.sub(_fenced, inspect.cleandoc(obj.docstring.value))

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Move the docstrings under the fields of a dataclass to where a list of them is made."""
        if cls.docstring is None or not any("dataclass" in str(each.value) for each in cls.decorators):
            return
        fields = [
            field
            for name, field in cls.members.items()
            if isinstance(field, griffe.Attribute) and field.docstring is not None and not name.startswith("_")
        ]
        listed = [f"    {field.name}: {' '.join(field.docstring.value.split())}" for field in fields if field.docstring]
        if listed:
            cls.docstring.value = "\n".join([inspect.cleandoc(cls.docstring.value), "", "Attributes:", *listed])
        for field in fields:
            field.docstring = None


def _fenced(session: re.Match[str]) -> str:
    indent = session[1]
    return f"{indent}```pycon\n{session[0]}\n{indent}```"

"""Examples in docstrings are shown as Python sessions, whatever stands above them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

__all__ = ["Doctests"]

_SESSION = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts a fence around the lines from a prompt to the next empty line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """A docstring was read."""
        if obj.docstring is not None:
            obj.docstring.value = _SESSION.sub(_fenced, inspect.cleandoc(obj.docstring.value))


def _fenced(session: re.Match[str]) -> str:
    indent = session[1]
    return f"{indent}```pycon\n{session[0]}\n{indent}```"

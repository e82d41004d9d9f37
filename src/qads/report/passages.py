"""Texts of strangers: cut for display, and with nothing in them that acts on the page or the terminal."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["Passage", "beginning", "line", "visible"]

_TEXT, _LINE = 400, 120
"""Characters of a text, and of a name or reason, that are shown."""
_SURELY_INERT = re.compile(r"[\n\t -~]*")
"""Most texts, found without looking at every character by itself."""
_ZERO_WIDTH_JOINERS = "\u200c\u200d"
"""Part of the spelling of Persian words and of emoji."""


@dataclass(frozen=True)
class Passage:
    """The beginning of a text."""

    text: str
    length: int
    """Characters of the whole text."""

    @property
    def is_cut(self) -> bool:
        """Whether there is more."""
        return len(self.text) < self.length

    def __str__(self) -> str:
        return f"{self.text}… (of {self.length:,} characters)" if self.is_cut else self.text


def beginning(text: str, *, length: int | None = None) -> Passage:
    """What is shown of a problem or solution; `length` is that of the whole where the text is not."""
    return Passage(text[:_TEXT], len(text) if length is None else length)


def line(text: str) -> Passage:
    """What is shown of a name or a reason."""
    return Passage(text[:_LINE], len(text))


def visible(text: str) -> str:
    r"""The text with control and format characters (ANSI escapes, bidirectional overrides, …) as their names.

    >>> visible("a\x1b[31m b\u202e")
    'a⟨U+001B⟩[31m b⟨U+202E⟩'
    """
    text = text.replace("\r\n", "\n")
    if _SURELY_INERT.fullmatch(text):
        return text
    return "".join(f"⟨U+{ord(c):04X}⟩" if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    if character in "\n\t" or character in _ZERO_WIDTH_JOINERS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")

"""Unicode forms of texts that anybody may have written."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

__all__ = ["normalized"]

_LONG_RUN = re.compile(r"[^\x00-\x7f\w\s]{64,}")
"""Where combining marks may be piled up; no spelling of any language does it."""
_PILE = 30
"""Marks on one character, as in the Stream-Safe Text Format of Unicode (UAX #15, section 13)."""
_JOINER = "\u034f"
"""COMBINING GRAPHEME JOINER: seen by nobody, and marks are not sorted across it."""


def normalized(form: Literal["NFC", "NFKC"], text: str) -> str:
    r"""The text in a Unicode form, in time linear in its length.

    Marks on one character are sorted by insertion, which takes hours for a text of nothing else; so piles of them are
    cut into short ones, as Unicode advises.

    >>> normalized("NFKC", "ﬁve x²"), len(normalized("NFC", "e\u0301"))
    ('five x2', 1)
    """
    if text.isascii():
        return text
    return unicodedata.normalize(form, _LONG_RUN.sub(_in_piles, text))


def _in_piles(found: re.Match[str]) -> str:
    return _JOINER.join(found[0][start : start + _PILE] for start in range(0, len(found[0]), _PILE))

r"""A text of a pool as what it is made of: words, formulas, code.

Formulas stand between ``$…$``, ``$$…$$``, ``\(…\)``, ``\[…\]`` or in an environment of AMS-LaTeX. Dollars are also
money: as in Pandoc, an opening one has no blank after it, a closing one none before it and no digit after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from qads.report.passages import visible

__all__ = ["Segment", "segments"]

_ENVIRONMENTS = "align|aligned|equation|gather|eqnarray|multline|array|cases|pmatrix|bmatrix|matrix"
# What is longer could not be typeset; without a limit each of many opening marks would look for its end in the whole.
_PIECES = re.compile(
    r"```[\w+-]*\n(?P<fenced>.*?)(?:```|\Z)"
    r"|(?P<drawing>\[asy\].*?(?:\[/asy\]|\Z))"
    r"|\$\$(?P<display>[^$]+)\$\$"
    r"|\\\[(?P<bracket>.{1,1500}?)\\\]"
    r"|\\\((?P<inline>.{1,1500}?)\\\)"
    rf"|(?P<environment>\\begin\{{(?P<name>(?:{_ENVIRONMENTS})\*?)\}}.{{0,1500}}?\\end\{{(?P=name)\}})"
    r"|(?<![\\$])\$(?![\s$])(?P<dollar>(?:\\.|[^$\\]){1,600}?)(?<![\s\\])\$(?![\d$])",
    re.DOTALL,
)
_DISPLAYED = ("display", "bracket", "environment")


@dataclass(frozen=True)
class Segment:
    """A piece of a text."""

    kind: Literal["words", "code", "inline", "display"]
    text: str
    """Nothing in it acts. Of a formula the TeX between its marks."""


def segments(text: str, *, is_code: bool = False) -> list[Segment]:
    r"""The pieces of a text, in order.

    Args:
        text: as it is in the pool.
        is_code: all of it is a program.

    >>> [(piece.kind, piece.text) for piece in segments("It costs $5, so $x = 5$.")]
    [('words', 'It costs $5, so '), ('inline', 'x = 5'), ('words', '.')]
    """
    if is_code:
        return [Segment("code", visible(text).strip("\n"))]
    if "$" not in text and "\\" not in text and "```" not in text and "[asy]" not in text:
        return [Segment("words", visible(text))]
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[Segment]:
    end = 0
    for match in _PIECES.finditer(text):
        if match.start() > end:
            yield Segment("words", visible(text[end : match.start()]))
        end = match.end()
        found = next((kind, piece) for kind, piece in match.groupdict().items() if piece is not None)
        kind, piece = found
        if kind in ("fenced", "drawing"):
            yield Segment("code", visible(piece).strip("\n"))
        else:
            yield Segment("display" if kind in _DISPLAYED else "inline", visible(piece).strip())
    if end < len(text):
        yield Segment("words", visible(text[end:]))

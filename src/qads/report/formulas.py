r"""TeX -> MathML that a page may hold: a tree of known elements, no markup of a stranger's.

latex2mathml makes the elements, for documents of one's own: when it prints them, ``\text{<img …>}`` becomes an image,
and ``\href`` and ``\style`` become attributes. So its printing is not used, only its tree, and of that only elements
and attributes of MathML Core that draw. What it cannot read, or what asks for too much, stays TeX.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from qads.report.passages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Node", "formula"]

Node = list[Any]
"""``[element, attributes or 0, child, …]``; a child is text or another node."""

_MOST_CHARACTERS = 1_500
_MOST_NODES = 3_000
_DEEPEST = 60
"""Of braces: the reader calls itself for each."""
_ELEMENTS = frozenset(
    "math mrow mi mn mo mtext mspace ms mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup munder mover "
    "munderover mmultiscripts mprescripts none mtable mtr mtd menclose merror".split()
)
_PLAIN = re.compile(r"-?[\w.%+ ()#-]{1,40}")
_ATTRIBUTES = frozenset(
    "display mathvariant stretchy fence separator form accent accentunder lspace rspace minsize maxsize movablelimits "
    "symmetric largeop width height depth linethickness columnalign rowalign columnspacing rowspacing columnlines "
    "rowlines notation displaystyle scriptlevel".split()
)


@lru_cache(maxsize=20_000)
def formula(tex: str, *, display: bool = False) -> Node | None:
    r"""The tree of a formula; None where it cannot be typeset.

    >>> formula("x^2")
    ['math', 0, ['mrow', 0, ['msup', 0, ['mi', 0, 'x'], ['mn', 0, '2']]]]
    >>> formula(r"\text{<img src=x>}")[2][2]
    ['mtext', 0, '<img\xa0src=x>']
    >>> formula("a_b_c") is None
    True
    """
    from latex2mathml.converter import convert_to_element

    if not tex.strip() or len(tex) > _MOST_CHARACTERS or _depth(tex) > _DEEPEST:
        return None
    quiet = logging.getLogger("latex2mathml")
    try:
        found: Element = convert_to_element(tex, display="block" if display else "inline")
        tree = _node(found, [_MOST_NODES])
    except (Exception, RecursionError) as error:  # Its errors share no class of their own.
        quiet.debug("not typeset: %s (%s)", tex[:80], type(error).__name__)
        return None
    if tree is not None and display:
        tree[1] = {"display": "block"}
    return tree


def _node(element: Element, left: list[int]) -> Node | None:
    """An element with what is known of it; None, and so no formula, where there is something else."""
    left[0] -= 1
    if element.tag not in _ELEMENTS or left[0] < 0:
        return None
    known = dict(_attributes(element))
    node: Node = [element.tag, known or 0]
    if element.text and element.text.strip("\n"):
        node.append(_text(element.text))
    for child in element:
        if (inner := _node(child, left)) is None:
            return None
        node.append(inner)
    return node


def _attributes(element: Element) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name in _ATTRIBUTES and name != "display" and _PLAIN.fullmatch(value):
            yield name, value


_ENTITY = re.compile(r"&#x([0-9A-Fa-f]{1,6});")


def _text(text: str) -> str:
    """Its references are meant for a printer."""
    shown = _ENTITY.sub(lambda match: chr(int(match[1], 16)) if int(match[1], 16) < 0x110000 else "", text)
    return visible(shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def _depth(tex: str) -> int:
    deepest = depth = 0
    for character in tex:
        depth += (character == "{") - (character == "}")
        deepest = max(deepest, depth)
    return deepest

"""When two problems are one, whatever dress they come in and whatever was said before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from qads.characters import normalized

__all__ = ["earlier_exchanges", "problem_key"]

Said = TypeVar("Said", bound=Mapping[str, Any])

_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_VULGAR_FRACTION = re.compile("[¼½¾⅐-⅞]")
_ONE_OPERATOR = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "⁄": "/", "\N{MINUS SIGN}": "-"}
)
_CONTENT = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3}(?!\d))+|\d+)(?:\.\d+)*)"
    r"|[^\W\d_]+"
    r"|(?P<hyphens>-[-\s]*)(?=(?P<word>[^\W\d_]{2})?)"
    r"|(?<=\d)!"  # 5! is a factorial
    r"|[()\[\]{}+*/^%=<>±|\u2200-\u22ff]"  # the block of mathematical operators stays
)
_WORD_OR_END = re.compile(r"(?:[^\W\d_]{2,})?")


def earlier_exchanges(context: Iterable[Said]) -> list[Said]:
    """Of the turns before a problem those of user and model: a system message says how to answer, not what is asked."""
    return [turn for turn in context if turn["role"] != "system"]


def problem_key(text: str, context: str | None = None) -> str:
    """The problem reduced to what makes it the same problem.

    NFKC, case-folded, and of the characters only letters, digits and operators, since 2+3, 2·3 and 23 are three
    problems. Signs of one operation (×, · and *) are one. Besides:

    - Numbers keep their decimal points and lose the commas of thousands; whatever stands between two numbers is one
      blank, so 1,000 is 1000, but "1, 23", "12, 3" and 123 are three.
    - A bracket stays where a number, an operator or a single letter is next to it: in (2+3)*4, not in "(eggs)".
    - A hyphen goes before a word of two letters or more: "3-page" is "3 page", and 3 - x is not 3x. So 3 - xy and 3xy
      are taken for one, as are 2:3 and "2 3", and lists like 100,200 for one number.

    After other exchanges the same words ask something else ("Continue."), so a digest of these, where there are some,
    stands before the rest.

    Args:
        text: the problem.
        context: earlier turns as a pool has them, JSON.

    >>> problem_key("What is  2 + 2 ?") == problem_key("what is 2+2?")
    True
    >>> problem_key("What is 2 + 2?") == problem_key("What is 2 * 2?")
    False
    """
    if context and (earlier := earlier_exchanges(json.loads(context))):
        said = json.dumps([[turn["role"], turn["content"]] for turn in earlier])
        return f"{blake2b(said.encode(), digest_size=16).hexdigest()}\0{problem_key(text)}"
    powers = _SUPERSCRIPT.sub(lambda match: "^" + normalized("NFKC", match[0]), text)
    apart = _VULGAR_FRACTION.sub(r" \g<0>", powers)  # 5½ is not 51/2
    folded = normalized("NFKC", apart).casefold().translate(_ONE_OPERATOR)
    pieces = [piece for match in _CONTENT.finditer(folded) if (piece := _piece(match))]
    key: list[str] = []
    for before, piece, after in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        if piece in "()[]{}" and _WORD_OR_END.fullmatch(before) and _WORD_OR_END.fullmatch(after):
            continue
        key.append(f" {piece}" if before[-1:].isdecimal() and piece[0].isdecimal() else piece)
    return "".join(key)


def _piece(match: re.Match[str]) -> str:
    if match["hyphens"]:
        return "" if match["word"] else "-" * match[0].count("-")
    return match[0].replace(",", "")

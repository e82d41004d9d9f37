"""Answers inside prose: emphasis taken off, and the number of a sentence that says one."""

from __future__ import annotations

import re

from qads.answers.numbers import SCALES, read_number

__all__ = ["begins_as_prose", "denies", "only_number", "said_number", "without_emphasis"]

_BOLD = re.compile(r"(?<![\w)\]}*])\*{2,3}(?=[^\s*])([^*\n]*[^\s*])\*{2,3}(?![\w({\[*])")
_UNDERLINED = re.compile(r"(?<![\w)\]}_])__(?=[^\s_])([^_\n]*[^\s_])__(?![\w({\[_])")
_WORD = r"[^\W\d_]+"
_BEGINS = re.compile(rf"(?:{_WORD}['’\w-]*[,:]?\s|#|\\boxed|\*)")
_FIGURES = re.compile(r"\S*\d\S*")
_WORD_BEFORE = re.compile(rf"(?:\A|\s)(?P<word>{_WORD})[,:;]?\s+\Z")
_WORD_AFTER = re.compile(rf"\s+(?P<word>{_WORD})")
_NOT_IT = re.compile(r"\b(?:no|not|cannot|never|error|failed|invalid|than|least|most)\b|n['’]t\b", re.IGNORECASE)
"""Where a line has one of these, a number in it is perhaps no answer."""
_CHANGES = frozenset(
    "of by negative minus plus base at times per root twice thrice double triple half under over".split()
)
"""Words that make another thing of the number after them."""
_SAID = re.compile(
    r"\b(?:is|are|was|were|be|has|have|had|gets?|got|needs?|takes?|took|makes?|made|pays?|paid|costs?|earns?|spends?|spent|sells?"
    r"|sold|buys?|bought|eats?|ate|uses?|equals?|totals?)\s(?:(?:about|approximately|exactly|only|a total of)\s)?"
    r"(?P<number>[-−$€£¥₹.\d][^;:]*)\Z",
    re.IGNORECASE,
)
"""A verb and the number that it says, with all that follows."""
_ENDS = ".,;:!?"
_LONGEST = 400


def without_emphasis(text: str) -> str:
    """A text without Markdown's bold, which tells nothing apart; powers and products (``2**3``) stay.

    >>> without_emphasis("**Answer:** 18"), without_emphasis("2**3 + 4**2")
    ('Answer: 18', '2**3 + 4**2')
    """
    if "**" in text:
        text = _BOLD.sub(r"\1", text)
    return _UNDERLINED.sub(r"\1", text) if "__" in text else text


def begins_as_prose(text: str) -> bool:
    """Whether a text begins with a word that other text follows, or with Markdown."""
    return _BEGINS.match(text) is not None


def denies(text: str) -> bool:
    """Whether a text has a word that makes a number in it perhaps no answer."""
    return _NOT_IT.search(text) is not None


def only_number(text: str) -> str | None:
    """The number of a text that begins with a word and has one number, which is no part of an expression.

    >>> only_number("she has 7 apples left"), only_number("7 apples and 3 pears"), only_number("the square root of 7")
    ('7', None, None)
    """
    found = list(_FIGURES.finditer(text)) if len(text) <= _LONGEST else []
    if len(found) != 1 or not begins_as_prose(text) or denies(text):
        return None
    before, after = _WORD_BEFORE.search(text[: found[0].start()]), text[found[0].end() :]
    number = found[0][0].rstrip(_ENDS)
    if before is None or before["word"].casefold() in _CHANGES or not _is_plain("1", before["word"]):
        return None
    if after.strip() and number == found[0][0]:
        word = _WORD_AFTER.match(after)
        if word is None or word["word"].casefold().rstrip("s") in SCALES or not _is_plain(number, word["word"]):
            return None
    return number if read_number(number) is not None else None


def said_number(text: str) -> str | None:
    """The number that a sentence says somebody has, or something is, with its unit; None where it says anything else.

    >>> said_number("that she has 7 apples left"), said_number("she earns 3 million dollars"), said_number("base 7")
    ('7 apples left', '3 million dollars', None)
    """
    if len(text) > _LONGEST or len(_FIGURES.findall(text)) != 1 or not begins_as_prose(text) or denies(text):
        return None
    said = _SAID.search(text)
    return said["number"] if said and read_number(said["number"]) is not None else None


def _is_plain(number: str, word: str) -> bool:
    """Whether a word beside a number leaves it what it is, as "apples" does and "pi" or "and" do not."""
    return read_number(f"{number} {word}") is not None

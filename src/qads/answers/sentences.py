"""Answers inside prose: emphasis taken off, and the one number of a sentence that says one."""

from __future__ import annotations

import re

from qads.answers.numbers import read_number

__all__ = ["begins_as_prose", "denies", "only_number", "without_emphasis"]

_BOLD = re.compile(r"(?<![\w)\]}*])\*{2,3}(?=[^\s*])([^*\n]*[^\s*])\*{2,3}(?![\w({\[*])")
_UNDERLINED = re.compile(r"(?<![\w)\]}_])__(?=[^\s_])([^_\n]*[^\s_])__(?![\w({\[_])")
_WORD = r"[^\W\d_]+"
_BEGINS = re.compile(rf"(?:{_WORD}['’\w-]*[,:]?\s|#|\\boxed|\*)")
_FIGURES = re.compile(r"\S*\d\S*")
_WORD_BEFORE = re.compile(rf"(?:\A|\s)(?P<word>{_WORD})[,:;]?\s+\Z")
_WORD_AFTER = re.compile(rf"\s+(?P<word>{_WORD})")
_NOT_IT = re.compile(
    r"\b(?:no|not|cannot|never|error|failed|invalid|than|least|most|twice|thrice|double|triple|half)\b|n['’]t\b",
    re.IGNORECASE,
)
"""Where a line has one of these, a number in it is perhaps no answer."""
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

    >>> only_number("she has 7 apples left"), only_number("7 apples and 3 pears"), only_number("x + 1")
    ('7', None, None)
    """
    found = list(_FIGURES.finditer(text)) if len(text) <= _LONGEST else []
    if len(found) != 1 or not begins_as_prose(text) or denies(text):
        return None
    before, after = _WORD_BEFORE.search(text[: found[0].start()]), text[found[0].end() :]
    number = found[0][0].rstrip(_ENDS)
    if before is None or not _is_plain("1", before["word"]):
        return None
    if after.strip() and number == found[0][0]:
        word = _WORD_AFTER.match(after)
        if word is None or not _is_plain(number, word["word"]):
            return None
    return number if read_number(number) is not None else None


def _is_plain(number: str, word: str) -> bool:
    """Whether a word beside a number leaves it what it is, as "apples" does and "pi" or "and" do not."""
    return read_number(f"{number} {word}") is not None

"""Multiple choice: the options at the end of a problem, and which of them an answer means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["LETTERS", "Question", "is_letter", "named_option", "split_options"]

LETTERS = "ABCDEFGHIJ"
"""What options are called, in order."""

_OPTIONS_FOLLOW = re.compile(r"(?:answer choices|options|choices)\s?:\Z", re.IGNORECASE)
_LABEL = re.compile(r"(?:(?<=\s)|^)(?:\(([A-Ja-j])\)|([A-Ja-j])[).:](?=\s))")
_ANNOUNCED = re.compile(
    r"(?:answer choices|options|choices)\s?:\s*(?P<open>\(?)(?P<first>[Aa])(?P<close>[).])", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:options?|choices?|answers?|letters?)?\s*[:=]?\s*"
    r"[(\[{]?\s*(?P<letter>[A-Ja-j])\s*(?:[)\]}.:,;]+|\Z)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_DRESS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed|fbox)\s*|[*$`\"'{}]")
_LETTER_ALONE = re.compile(r"\(?[A-J]\)?")
_AFTER_BLANK = r"(?<!\S)"


class Question(NamedTuple):
    """A problem, and the options to choose from that stood at its end."""

    stem: str
    options: tuple[str, ...]
    """In the order given; none where it is no multiple choice."""


def split_options(text: str) -> Question:
    """A problem without the options at its end, and these.

    >>> split_options("What is 2+3? Answer Choices: (A) 4 (B) 5")
    Question(stem='What is 2+3?', options=('4', '5'))
    """
    labels = _announced(text) or _at_the_end(text)
    if not labels:
        return Question(text, ())
    ends = [*(start for start, _ in labels[1:]), len(text)]
    options = tuple(text[after:end].strip() for (_, after), end in zip(labels, ends, strict=True))
    stem = text[: labels[0][0]].rstrip()
    return Question(_OPTIONS_FOLLOW.sub("", stem).rstrip(), options)


def _announced(text: str) -> list[tuple[int, int]]:
    """Where labels begin and end that follow "Answer Choices:", each the next letter, written as the first is.

    What stands in an option (``Both (A) and (C)``, ``(A ∨ B) ⊃ C``) is none of them. Where the first begins a line all
    do, if there are several that do.
    """
    found = max(_ANNOUNCED.finditer(text), key=re.Match[str].start, default=None)
    if found is None:
        return []
    start, lower = found.start("open"), found["first"] == "a"
    before = [r"^[^\S\n]*", _AFTER_BLANK] if "\n" in text[found.start() : start] else [_AFTER_BLANK]
    after = "" if found["open"] else r"(?=\s)"
    for place in before:
        labels, position = list[tuple[int, int]](), start
        for letter in LETTERS.lower() if lower else LETTERS:
            label = re.compile(f"{place}({re.escape(found['open'] + letter + found['close'])}){after}", re.MULTILINE)
            following = label.search(text, position)
            if following is None:
                break
            labels.append(following.span(1))
            position = following.end()
        if len(labels) > 1:
            return labels
    return []


def _at_the_end(text: str) -> list[tuple[int, int]]:
    """The same of labels that nothing announces: the last ones, if their letters are in order."""
    labels = list(_LABEL.finditer(text))
    names = "".join(found[1] or found[2] for found in labels).upper()
    n_options = LETTERS.index(names[-1]) + 1 if names else 0
    if n_options < 2 or names[-n_options:] != LETTERS[:n_options]:
        return []
    return [found.span() for found in labels[-n_options:]]


def is_letter(answer: str) -> bool:
    """Whether an answer is the letter of an option, and nothing else.

    >>> is_letter("B"), is_letter("(B)"), is_letter("b"), is_letter("5")
    (True, True, False, False)
    """
    return _LETTER_ALONE.fullmatch(answer.strip()) is not None


def named_option(answer: str, options: Sequence[str]) -> int | None:
    """The option that an answer names by its letter; None where it names none of them.

    A letter that other text follows counts only with a mark after it (``(B) 5``, ``B. 5``): "a dozen" names nothing.

    >>> options = ("4", "5")
    >>> [named_option(text, options) for text in ("B", "(b)", "option B", "B) 5", "5", "a dozen", "C")]
    [1, 1, 1, 1, None, None, None]
    """
    named = _NAMED.match(_DRESS.sub("", answer).strip())
    if named is None:
        return None
    place = LETTERS.index(named["letter"].upper())
    return place if place < len(options) else None

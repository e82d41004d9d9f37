"""Multiple choice: the options at the end of a problem, and which of them an answer means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["LETTERS", "Question", "named_option", "split_options"]

LETTERS = "ABCDEFGHIJ"
"""What options are called, in order."""

_OPTIONS_FOLLOW = re.compile(r"(?:answer choices|options|choices)\s?:\Z", re.IGNORECASE)
_LABEL = re.compile(r"(?:(?<=\s)|^)(?:\(([A-Ja-j])\)|([A-Ja-j])[).:](?=\s))")
_NAMED = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:options?|choices?|answers?|letters?)?\s*[:=]?\s*"
    r"[(\[{]?\s*(?P<letter>[A-Ja-j])\s*(?:[)\]}.:,;]+|\Z)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_DRESS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed|fbox)\s*|[*$`\"'{}]")


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
    labels = list(_LABEL.finditer(text))
    names = "".join(found[1] or found[2] for found in labels).upper()
    n_options = LETTERS.index(names[-1]) + 1 if names else 0
    if n_options < 2 or names[-n_options:] != LETTERS[:n_options]:
        return Question(text, ())
    labels = labels[-n_options:]
    ends = [*(found.start() for found in labels[1:]), len(text)]
    options = tuple(text[found.end() : end].strip() for found, end in zip(labels, ends, strict=True))
    stem = text[: labels[0].start()].rstrip()
    return Question(_OPTIONS_FOLLOW.sub("", stem).rstrip(), options)


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

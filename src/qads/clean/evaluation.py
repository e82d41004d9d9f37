"""The texts of evaluation sets, made ready to be recognised in other texts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from qads.answers import split_options
from qads.clean.ngrams import SEED
from qads.clean.text import NUMBER, exact_key, mask_numbers, template, words
from qads.pool import Pool

__all__ = ["LONG", "SHORTEST", "Asked", "EvaluationTexts", "Part", "Reading"]

Part = Literal["problem", "context", "solution"]
"""What of a row a text is; `context` is an earlier turn of its conversation."""

LONG = 13
"""Words that make a text specific: the n of GPT-3's n-grams."""
_FEW_NUMBERINGS = 2
"""A short text that a set fills with numbers in more ways than this is a template of the set."""
SHORTEST = 3
"""Words; a shorter problem is recognised where it is all that is asked, and not within a longer text."""
_SENTENCE_END = re.compile(r"[.:;?!](?=\s|$)|\n")


class Reading:
    """A text in the forms that are compared, each made when it is first needed.

    Args:
        text: as it stands in the row.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.stem, self._options = split_options(text)

    @cached_property
    def key(self) -> str:
        """What makes it the same text; of punctuation alone, the text itself."""
        return exact_key(self.text) or self.text

    @cached_property
    def stem_key(self) -> str:
        """`key` of the text without the options at its end."""
        return exact_key(self.stem) or self.stem if self._options else self.key

    @cached_property
    def options(self) -> frozenset[str]:
        """Keys of the options."""
        return frozenset(exact_key(option) or option for option in self._options)

    @cached_property
    def words(self) -> list[str]:
        """Words and numbers of the whole."""
        return words(self.text)

    @cached_property
    def template(self) -> tuple[str, ...]:
        """What the stem and its re-numbered copies share."""
        return template(self.stem)

    @cached_property
    def pieces(self) -> list[tuple[str, ...]]:
        """Words of its sentences, and of two neighbours together: where a short problem may stand within."""
        sentences = [tuple(words(part)) for part in _SENTENCE_END.split(self.text)]
        sentences = [found for found in sentences if found]
        joined = [one + other for one, other in pairwise(sentences)]
        return [found for found in (*sentences, *joined) if SHORTEST <= len(found) < SEED]


@dataclass(frozen=True, eq=False)
class Asked:
    """A text of an evaluation set."""

    row: int
    """Position in the evaluation pool; of equal texts of a set the first."""
    source: str
    part: Part
    reading: Reading
    words: tuple[str, ...]
    """What has to be found: the stem, or the whole where the stem is short."""
    n_content: int
    """Different words of two letters or more that are no numbers."""
    numberings: int
    """In how many ways the set fills the same template with numbers."""

    @property
    def is_template(self) -> bool:
        """Whether it is short, and the set itself has it with other numbers again and again."""
        return self.structure < LONG and self.numberings > _FEW_NUMBERINGS

    @property
    def structure(self) -> int:
        """Words, signs and letters of the template that are no numbers."""
        return sum(token != NUMBER for token in self.reading.template)


class EvaluationTexts:
    """All texts of evaluation sets, by what they are recognised by.

    Args:
        evaluation: the sets, one after the other.
        solutions: whether their solutions are looked for, too.
        long: words from which a solution is long enough to be recognised.
    """

    def __init__(self, evaluation: Pool, *, solutions: bool, long: int) -> None:
        self.asked = list(_problems(evaluation))
        if solutions:
            self.asked += _solutions(evaluation, long)
        self.by_key: dict[str, list[Asked]] = defaultdict(list)
        self.by_stem: dict[str, list[Asked]] = defaultdict(list)
        self.by_template: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
        self.short: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
        for text in self.asked:
            if text.part == "solution":
                continue
            self.by_key[text.reading.key].append(text)
            self.by_stem[text.reading.stem_key].append(text)
            self.by_template[text.reading.template].append(text)
            if SHORTEST <= len(text.words) < SEED:
                self.short[text.words].append(text)


def _problems(evaluation: Pool) -> Iterator[Asked]:
    readings = [Reading(text) for text in evaluation.strings("problem")]
    sources = evaluation.strings("source")
    seen: set[tuple[str, str]] = set()
    stems = {(source, reading.template, reading.stem_key) for source, reading in zip(sources, readings, strict=True)}
    numberings = Counter((source, shape) for source, shape, _ in stems)
    for row, (source, reading) in enumerate(zip(sources, readings, strict=True)):
        if (source, reading.key) in seen:
            continue
        seen.add((source, reading.key))
        yield _asked(row, source, "problem", reading, numberings[source, reading.template])


def _solutions(evaluation: Pool, long: int) -> Iterator[Asked]:
    sources = evaluation.strings("source")
    for row, text in enumerate(evaluation.strings("solution")):
        found = _asked(row, sources[row], "solution", Reading(text), 1)
        if len(found.words) >= long:
            yield found


def _asked(row: int, source: str, part: Part, reading: Reading, numberings: int) -> Asked:
    stem = words(reading.stem)
    sought = reading.words if len(stem) < SEED else stem
    content = {w for w, masked in zip(sought, mask_numbers(sought), strict=True) if masked != NUMBER and len(w) > 1}
    return Asked(row, source, part, reading, tuple(sought), len(content), numberings)

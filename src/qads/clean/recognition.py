"""Recognises the texts of evaluation sets in rows that stream by: the rules of `Decontamination`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

from qads.clean.evaluation import LONG, Asked, EvaluationTexts, Part, Reading
from qads.clean.ngrams import NgramIndex
from qads.clean.text import NUMBER, mask_numbers
from qads.pool import Pool

__all__ = ["KINDS", "Filled", "Found", "MatchKind", "Recognition", "Rules"]

MatchKind = Literal["exact", "ngram", "renumbered"]
KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
"""The strongest first."""

_SAME_OPTIONS = 0.5
"""Share of the options that two questions with one short stem must have in common to be the same."""


class Rules(NamedTuple):
    """The settings of `Decontamination` that decide."""

    n: int
    overlap: float
    masked_overlap: float
    least_structure: int
    solutions: bool


class Found(NamedTuple):
    """A text of an evaluation set in a text of a row."""

    asked: Asked
    kind: MatchKind
    overlap: float
    part: Part
    text: str

    @property
    def strength(self) -> tuple[int, float]:
        """The stronger of two is the larger."""
        return -KINDS.index(self.kind), self.overlap


class Filled(NamedTuple):
    """A text of a row that is one of a set with other numbers, and yet no evidence."""

    asked: Asked
    """The first of the set that fills the template."""
    shape: tuple[str, ...]
    """The template."""


class _Text(NamedTuple):
    row: int
    part: Part
    reading: Reading


class Recognition:
    """Evaluation sets, ready to be recognised.

    Args:
        evaluation: the sets.
        rules: what counts.
    """

    def __init__(self, evaluation: Pool, rules: Rules) -> None:
        self._rules = rules
        self._texts = EvaluationTexts(evaluation, solutions=rules.solutions, long=2 * LONG)
        self._index = NgramIndex([asked.words for asked in self._texts.asked], n=rules.n)

    def seen(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Found | Filled]]:
        """What is in a batch of rows, by row, then by row of the evaluation; of a pair the strongest.

        Args:
            rows: of a pool, as the strings of its table.

        Returns:
            Places in the batch, and what was found there; templates, each once for a row, come last.
        """
        texts = list(_texts_of(rows))
        strongest: dict[tuple[int, int, Part], Found] = {}
        filled: dict[tuple[int, str, tuple[str, ...]], Filled] = {}
        for row, found in chain(self._equal(texts), self._overlapping(texts)):
            if isinstance(found, Filled):
                filled[row, found.asked.source, found.shape] = found
                continue
            pair = row, found.asked.row, found.asked.part
            if pair not in strongest or found.strength > strongest[pair].strength:
                strongest[pair] = found
        yield from ((pair[0], strongest[pair]) for pair in sorted(strongest))
        yield from ((place[0], filled[place]) for place in sorted(filled))

    def _equal(self, texts: Iterable[_Text]) -> Iterator[tuple[int, Found | Filled]]:
        """Texts that are equal as a whole, up to options or numbers, and short ones within a longer text."""
        known = self._texts
        for row, part, reading in texts:
            if part == "solution":
                continue
            for asked in known.by_key.get(reading.key, ()):
                yield row, Found(asked, "exact", 1.0, part, reading.text)
            for asked in known.by_stem.get(reading.stem_key, ()):
                if reading.key != asked.reading.key and _same_question(reading, asked):
                    yield row, Found(asked, "exact", 1.0, part, reading.text)
            for piece in reading.pieces if known.short else ():
                for asked in known.short.get(piece, ()):
                    if asked.reading.key in reading.key:
                        yield row, Found(asked, "exact", 1.0, part, reading.text)
            for asked in known.by_template.get(reading.template, ()):
                if asked.reading.stem_key == reading.stem_key or NUMBER not in reading.template:
                    continue
                if asked.is_template or asked.structure < self._rules.least_structure:
                    yield row, self._filled(asked.source, reading.template)
                else:
                    yield row, Found(asked, "renumbered", 1.0, part, reading.text)

    def _filled(self, source: str, shape: tuple[str, ...]) -> Filled:
        return Filled(next(asked for asked in self._texts.by_template[shape] if asked.source == source), shape)

    def _overlapping(self, texts: Sequence[_Text]) -> Iterator[tuple[int, Found]]:
        """Texts that share long stretches."""
        parts = self._index.overlaps([text.reading.words for text in texts])
        pairs = (zip(*(column.tolist() for column in part), strict=True) for part in parts)
        for number, document, *counts in chain.from_iterable(pairs):
            text, asked = texts[number], self._texts.asked[document]
            if asked.part == "solution" and text.part != "solution":
                continue
            kind, n_words = self._judged(text, asked, *counts)
            if kind is not None:
                yield text.row, Found(asked, kind, n_words / len(asked.words), text.part, text.reading.text)

    def _judged(self, text: _Text, asked: Asked, masked: int, same: int, longest: int) -> tuple[MatchKind | None, int]:
        """What the shared words say, and how many they are."""
        n_words, rules = len(asked.words), self._rules
        sought = asked.reading.key if len(asked.words) == len(asked.reading.words) else asked.reading.stem_key
        if longest == n_words and sought in text.reading.key:
            return "exact", n_words
        if text.part != "solution" and LONG <= len(text.reading.words) == longest and text.reading.key in sought:
            return "exact", same
        if masked > same and self._is_renumbered(asked, masked):
            return "renumbered", masked
        return ("ngram", same) if same >= max(LONG, rules.overlap * n_words) else (None, 0)

    def _is_renumbered(self, asked: Asked, masked: int) -> bool:
        """Whether so many words up to numbers are the same problem: nearly all of a long one, all of a short one."""
        if asked.part == "solution":
            return False  # A worked solution with other numbers is a method, and no leak.
        if asked.n_content >= LONG:
            return masked >= self._rules.masked_overlap * len(asked.words)
        n_plain = sum(word != NUMBER for word in mask_numbers(asked.words))
        return masked == len(asked.words) and n_plain >= self._rules.least_structure and not asked.is_template


def _texts_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[_Text]:
    for number, row in enumerate(rows):
        yield _Text(number, "problem", Reading(row["problem"]))
        for turn in json.loads(row["context"]) if row["context"] else ():
            yield _Text(number, "context", Reading(turn["content"]))
        yield _Text(number, "solution", Reading(row["solution"]))


def _same_question(reading: Reading, asked: Asked) -> bool:
    """Whether a stem is one question though the options differ: if it is specific, or most options are the same."""
    one, other = reading.options, asked.reading.options
    if one and other and len(one & other) >= _SAME_OPTIONS * max(len(one), len(other)):
        return True
    structure = asked.reading.template
    return len(structure) >= LONG or (len(structure) >= 4 and NUMBER in structure)

"""Rows of a pool that hold a problem of an evaluation set: as it is, nearly as it is, or with other numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Int

from qads.clean.evaluation import Part
from qads.clean.ngrams import SEED
from qads.clean.recognition import KINDS, MatchKind, Rules
from qads.clean.searching import Seen, search
from qads.cluster import Execution, ShardStore
from qads.errors import AlignmentError, InputError
from qads.pool import Pool, Progress, check_aligned

__all__ = ["ContaminationReport", "Decontamination", "Match", "MatchKind", "Neighbour", "Template"]

_BATCH_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class Match:
    """A text of an evaluation set in a row of the pool."""

    row: int
    """Position in the pool."""
    id: str
    source: str
    part: Part
    """Of the row: its problem, an earlier turn, or its solution."""
    evaluation_id: str
    evaluation_source: str
    evaluation_part: Part
    kind: MatchKind
    """`exact`: the same text, or one within the other; `ngram`: long stretches of it; `renumbered`: up to numbers."""
    overlap: float
    """Share of the evaluation text's words that are in shared n-grams; of a re-numbered one, in n-grams shared up to
    the numbers."""
    problem: str
    """The text of the row that it was found in."""
    evaluation_problem: str
    """The text of the evaluation set."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text that proves nothing once its numbers are put aside.

    It has few words beside them, or the evaluation set itself fills it with several numbers.
    """

    evaluation_source: str
    evaluation_id: str
    """The first row of the set that fills it."""
    numberings: int
    """Rows of the set that fill it, each with other numbers."""
    rows: tuple[int, ...]
    """Rows of the pool that fill it with numbers of their own, and are not counted as contaminated."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A row of the pool whose embedding is near a problem's; for a look, and never counted as contaminated."""

    row: int
    id: str
    source: str
    evaluation_id: str
    evaluation_source: str
    similarity: float
    """Cosine of the two embeddings."""
    problem: str
    evaluation_problem: str


@dataclass(frozen=True, kw_only=True)
class ContaminationReport:
    """What `Decontamination` found."""

    n_rows: int
    n_evaluation: Mapping[str, int]
    """Rows of every evaluation set."""
    matches: tuple[Match, ...]
    """By row, then by row of the evaluation; one for every pair, and of equal texts of a set for the first."""
    templates: tuple[Template, ...] = ()
    """Texts of the evaluation that rows have with other numbers, and that are no evidence."""
    neighbours: tuple[Neighbour, ...] = ()
    """The most similar first."""

    @cached_property
    def rows(self) -> Int[np.ndarray, " r"]:
        """Positions of the contaminated rows, ascending."""
        return np.unique(np.array([match.row for match in self.matches], np.int64))

    @cached_property
    def clean_rows(self) -> Int[np.ndarray, " k"]:
        """Positions of all other rows, ascending."""
        return np.delete(np.arange(self.n_rows), self.rows)

    @cached_property
    def strongest(self) -> tuple[Match, ...]:
        """For every row and evaluation set that it matches the first match of the strongest kind."""
        found: dict[tuple[int, str], Match] = {}
        for match in self.matches:
            place = (match.row, match.evaluation_source)
            if place not in found or KINDS.index(match.kind) < KINDS.index(found[place].kind):
                found[place] = match
        return tuple(found.values())

    @cached_property
    def counts(self) -> dict[tuple[str, str, MatchKind], int]:
        """Rows for every source, evaluation set and kind; a row counts once in each set, under its strongest kind."""
        found: Counter[tuple[str, str, MatchKind]] = Counter()
        found.update((match.source, match.evaluation_source, match.kind) for match in self.strongest)
        return dict(sorted(found.items()))

    @cached_property
    def found_of(self) -> dict[str, int]:
        """Problems of every evaluation set that are in the pool."""
        pairs = {(match.evaluation_source, match.evaluation_id) for match in self.matches}
        found = Counter(source for source, _ in pairs)
        return {name: found[name] for name in self.n_evaluation}


@dataclass(frozen=True, kw_only=True)
class Decontamination:
    """Finds problems of evaluation sets in a pool by their text.

    A row matches a problem if one of its texts (problem, earlier turns, solution)

    - is the same or holds it whole (`exact`): Unicode form, case, spacing, punctuation, LaTeX forms and the order of
      options do not count;
    - holds `overlap` of its words, `n` at least, in n-grams of `n` words, fewer for a problem of fewer than 2n
      (`ngram`);
    - is the same, or holds `masked_overlap` of its words in such n-grams, up to the numbers (`renumbered`). A text
      with few words that are no numbers is no evidence: see `least_structure` and `Template`.

    The published rules it descends from: n-grams of 13 words, and of 8 for short texts (GPT-3, Brown et al. 2020,
    appendix C); a share of the text's words that must be in matched n-grams (Llama 2, Touvron et al. 2023, appendix
    A.6; Llama 3, Dubey et al. 2024, section 5.1.4).

    >>> import qads
    >>> asked = "A farmer has 12 cows and buys 5 more at the fair. How many cows does the farmer have after the fair?"
    >>> copied = asked.replace("12", "31").replace("5", "8")
    >>> evaluation = qads.Pool.from_rows([qads.Row(id="e", source="exam", problem=asked, solution="17")])
    >>> pool = qads.Pool.from_rows([qads.Row(id="p", source="web", problem=copied, solution="39")])
    >>> qads.Decontamination()(pool, evaluation).matches[0].kind
    'renumbered'
    """

    n: int = 13
    """Words of an n-gram; of a problem with fewer than 2n words half of them, but 8 at least."""
    overlap: float = 0.5
    """Share of a problem's words that must be in n-grams of the text, from 0 to 1."""
    masked_overlap: float = 0.8
    """The same with all numbers taken for equal."""
    least_structure: int = 8
    """Words, letters and signs beside the numbers that a text must have for a re-numbered copy to be one."""
    solutions: bool = True
    """Whether solutions of the evaluation sets are looked for in the solutions of the pool."""
    neighbours: int = 20
    """Nearest pairs to list where embeddings are given."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.n < SEED:
            raise InputError(f"Decontamination: n is {self.n}; it must be {SEED} or more.")
        for name in ("overlap", "masked_overlap"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"Decontamination: {name} is {getattr(self, name)}; it must be over 0 and at most 1.")
        for name in ("least_structure", "neighbours"):
            if getattr(self, name) < 0:
                raise InputError(f"Decontamination: {name} is {getattr(self, name)}; it must be 0 or more.")

    def __call__(
        self,
        pool: Pool,
        evaluation: Pool,
        *,
        embeddings: npt.ArrayLike | None = None,
        evaluation_embeddings: npt.ArrayLike | None = None,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> ContaminationReport:
        """Find the rows of `pool` that hold a problem of `evaluation`.

        Args:
            pool: what is to be trained on, or anchors; read in batches, so its size does not matter.
            evaluation: the evaluation sets, told apart by `source`; held in memory with their n-grams.
            embeddings: of the pool, to list its rows nearest to the evaluation [n, d].
            evaluation_embeddings: of the evaluation, by the same encoder [m, d].
            execution: who reads the texts; this process alone unless a number of workers or a cluster is asked for.
            shards: where finished batches of rows are kept, so that a killed search goes on; memory by default.
            progress: called with (rows done, rows of the pool).

        Raises:
            ClusterError: workers died again and again.
            AlignmentError: embeddings are not one for each row or of another pool, or only one of the two was given.
        """
        vectors = _checked_vectors(pool, evaluation, embeddings, evaluation_embeddings)
        rules = Rules(self.n, self.overlap, self.masked_overlap, self.least_structure, self.solutions)
        seen = list(search(pool, evaluation, rules, execution=execution, shards=shards, progress=progress))
        matches = tuple(_matches(pool, evaluation, seen))
        contaminated = {match.row for match in matches}
        return ContaminationReport(
            n_rows=len(pool),
            n_evaluation={name: len(rows) for name, rows in evaluation.rows_by_source().items()},
            matches=matches,
            templates=tuple(_templates(evaluation, seen, contaminated)),
            neighbours=tuple(_neighbours(pool, evaluation, *vectors, contaminated, self.neighbours)) if vectors else (),
        )


def _matches(pool: Pool, evaluation: Pool, seen: Iterable[Seen]) -> Iterator[Match]:
    for found in seen:
        if found.kind is not None and found.overlap is not None and found.part is not None and found.text is not None:
            yield Match(
                row=found.row,
                id=pool.table["id"][found.row].as_py(),
                source=pool.table["source"][found.row].as_py(),
                part=found.part,
                evaluation_id=evaluation.table["id"][found.asked_row].as_py(),
                evaluation_source=evaluation.table["source"][found.asked_row].as_py(),
                evaluation_part=found.asked_part,
                kind=found.kind,
                overlap=found.overlap,
                problem=found.text,
                evaluation_problem=evaluation.table[found.asked_part][found.asked_row].as_py(),
            )


def _templates(evaluation: Pool, seen: Iterable[Seen], contaminated: Collection[int]) -> Iterator[Template]:
    first: dict[tuple[str, tuple[str, ...]], Seen] = {}
    rows: dict[tuple[str, tuple[str, ...]], set[int]] = defaultdict(set)
    for found in seen:
        if found.shape is not None and found.row not in contaminated:
            place = evaluation.table["source"][found.asked_row].as_py(), found.shape
            first.setdefault(place, found)
            rows[place].add(found.row)
    for place in sorted(first):
        yield Template(
            evaluation_source=place[0],
            evaluation_id=evaluation.table["id"][first[place].asked_row].as_py(),
            numberings=first[place].numberings,
            rows=tuple(sorted(rows[place])),
        )


def _checked_vectors(
    pool: Pool, evaluation: Pool, embeddings: npt.ArrayLike | None, evaluation_embeddings: npt.ArrayLike | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    if embeddings is None and evaluation_embeddings is None:
        return None
    if embeddings is None or evaluation_embeddings is None:
        raise AlignmentError("Decontamination: embeddings of the pool and of the evaluation go together; give both.")
    vectors = np.asarray(embeddings), np.asarray(evaluation_embeddings)
    for name, found, rows in zip(("embeddings", "evaluation_embeddings"), vectors, (pool, evaluation), strict=True):
        if found.ndim != 2 or len(found) != len(rows):
            raise AlignmentError(f"Decontamination: {name} have shape {found.shape}; they must be [{len(rows)}, dims].")
    check_aligned(embeddings, pool)
    check_aligned(evaluation_embeddings, evaluation)
    if vectors[0].shape[1] != vectors[1].shape[1]:
        raise AlignmentError(
            f"Decontamination: the embeddings have {vectors[0].shape[1]} and {vectors[1].shape[1]} dimensions; "
            "both must be of one encoder."
        )
    return vectors


def _neighbours(
    pool: Pool, evaluation: Pool, vectors: npt.NDArray[Any], asked: npt.NDArray[Any], leave: Collection[int], k: int
) -> Iterator[Neighbour]:
    """The k rows nearest to a problem, without those that match one."""
    unit = _directions(asked).T
    similarity, nearest = np.empty(len(pool), np.float32), np.empty(len(pool), np.int64)
    for start in range(0, len(pool), _BATCH_ROWS):
        block = _directions(vectors[start : start + _BATCH_ROWS]) @ unit
        nearest[start : start + _BATCH_ROWS] = block.argmax(axis=1)
        similarity[start : start + _BATCH_ROWS] = block.max(axis=1)
    similarity[list(leave)] = -np.inf
    for row in np.argsort(-similarity, kind="stable")[: min(k, len(pool) - len(leave))].tolist():
        one, other = pool[row], evaluation[int(nearest[row])]
        yield Neighbour(
            row=row,
            id=one.id,
            source=one.source,
            evaluation_id=other.id,
            evaluation_source=other.source,
            similarity=float(similarity[row]),
            problem=one.problem,
            evaluation_problem=other.problem,
        )


def _directions(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows of length 1; a row of zeros, as an empty text may have, stays one and is near nothing."""
    block = np.asarray(vectors, np.float32)
    return block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), np.finfo(np.float32).tiny)

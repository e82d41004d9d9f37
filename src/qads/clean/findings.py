"""What should not be in a pool: problems that repeat, and problems of the evaluation.

Which problems repeat each other is `qads.clean.keys`' to say, as for `qads.Deduplication`: what is asked counts, after
the same turns, and not how it is written or how its options stand. What counts as a problem of the evaluation is
`qads.Decontamination`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qads.clean.contamination import ContaminationReport, Decontamination, Match
from qads.clean.duplicates import Deduplication, Duplicates
from qads.clean.keys import same_solution_key
from qads.cluster import Execution
from qads.pool import Pool, Progress, RejectedRow

__all__ = ["DuplicateGroup", "NearDuplicate", "PoolFindings", "check_pool"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Rows with one problem."""

    ids: tuple[str, ...]
    sources: tuple[str, ...]
    same_solution: bool
    """Whether the solutions are equal too; several solutions of one problem may be wanted."""
    problem: str


@dataclass(frozen=True)
class NearDuplicate:
    """A row that nearly repeats another."""

    id: str
    source: str
    kept: str
    """Id of the row that it repeats."""
    similarity: float
    """Of their problems or of their solutions, the lesser (Jaccard)."""
    same_problem: bool
    """Whether only their solutions differ; then the row is in a `DuplicateGroup`, too."""
    problem: str
    kept_problem: str


@dataclass(frozen=True)
class PoolFindings:
    """What `check_pool` found."""

    n_rows: int
    n_by_source: dict[str, int]
    n_by_kind: dict[str, int]
    rejected: tuple[RejectedRow, ...]
    duplicates: tuple[DuplicateGroup, ...]
    """Groups of rows with one problem, whatever their solutions."""
    near: tuple[NearDuplicate, ...] = ()
    """Rows that are nearly, and not quite, the same as another one."""
    n_exact_duplicates: int = 0
    """Rows whose problem and solution another row has."""
    against: ContaminationReport | None = None
    """The pool against the evaluation sets, where there are any."""
    evaluation_rejected: tuple[RejectedRow, ...] = ()
    """Rows of the evaluation sets that were set aside, so that they were not looked for."""
    anchors: ContaminationReport | None = None
    """The anchors against them, where there are any."""

    @property
    def contamination(self) -> tuple[Match, ...]:
        """Texts of the evaluation in the pool."""
        return self.against.matches if self.against else ()

    @property
    def n_duplicate_rows(self) -> int:
        """Rows beyond the first of every group."""
        return sum(len(group.ids) - 1 for group in self.duplicates)

    @property
    def n_findings(self) -> int:
        """Rows set aside, rows that repeat a problem or nearly a row, and contaminated rows and anchors."""
        contaminated = sum(len(report.rows) for report in (self.against, self.anchors) if report)
        near = sum(not row.same_problem for row in self.near)
        return len(self.rejected) + self.n_duplicate_rows + near + contaminated


def check_pool(
    pool: Pool,
    evaluation: Pool | None = None,
    *,
    anchors: Pool | None = None,
    deduplication: Deduplication | None = None,
    decontamination: Decontamination | None = None,
    embeddings: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> PoolFindings:
    """Unusable rows, repeated problems, near duplicates and, against evaluation sets, contamination.

    Args:
        pool: what is to be trained on.
        evaluation: the evaluation sets; without them nothing is contaminated.
        anchors: the target skill's samples, which must not be of the evaluation either.
        deduplication: what counts as a near duplicate; by default `Deduplication()`.
        decontamination: what counts as a problem of the evaluation; by default `Decontamination()`.
        embeddings: of the pool [n, d] and of the evaluation [m, d], to list neighbours.
        execution: who reads the texts; this process alone unless a number of workers or a cluster is asked for.
        progress: called with (steps done, steps).

    >>> import qads
    >>> row = qads.Row(id="a", source="s", problem="1 + 1?", solution="2")
    >>> pool = qads.Pool.from_rows([row, qads.Row(id="b", source="s", problem="1+1 ?", solution="two")])
    >>> check_pool(pool).n_duplicate_rows
    1
    """
    find = decontamination or Decontamination()
    near = embeddings or (None, None)
    kinds = pool.strings("kind")
    repeated = (deduplication or Deduplication())(pool, execution=execution, progress=progress)
    return PoolFindings(
        n_rows=len(pool),
        n_by_source={name: len(rows) for name, rows in pool.rows_by_source().items()},
        n_by_kind={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        rejected=pool.rejected,
        duplicates=tuple(_duplicates(pool, repeated)),
        near=tuple(_near(pool, repeated)),
        n_exact_duplicates=repeated.n_by_reason["exact"],
        against=None
        if evaluation is None
        else find(
            pool, evaluation, embeddings=near[0], evaluation_embeddings=near[1], execution=execution, progress=progress
        ),
        evaluation_rejected=() if evaluation is None else evaluation.rejected,
        anchors=None if evaluation is None or anchors is None else find(anchors, evaluation),
    )


def _duplicates(pool: Pool, repeated: Duplicates) -> list[DuplicateGroup]:
    by_problem = np.argsort(repeated.problems, kind="stable")
    borders = np.flatnonzero(np.diff(repeated.problems[by_problem])) + 1
    groups = sorted((rows.tolist() for rows in np.split(by_problem, borders) if len(rows) > 1), key=min)
    ids, sources = pool.strings("id"), pool.strings("source")
    problems, solutions = pool.strings("problem"), pool.strings("solution")
    return [
        DuplicateGroup(
            ids=tuple(ids[i] for i in rows),
            sources=tuple(sources[i] for i in rows),
            same_solution=len({same_solution_key(solutions[i]) for i in rows}) == 1,
            problem=problems[rows[0]],
        )
        for rows in groups
    ]


def _near(pool: Pool, repeated: Duplicates) -> Iterator[NearDuplicate]:
    ids, sources, problems = pool.strings("id"), pool.strings("source"), pool.strings("problem")
    columns = repeated.rows, repeated.kept, repeated.similarity
    for row, kept, similarity in zip(*(c[repeated.reasons == "near"].tolist() for c in columns), strict=True):
        same = bool(repeated.problems[row] == repeated.problems[kept])
        yield NearDuplicate(ids[row], sources[row], ids[kept], similarity, same, problems[row], problems[kept])

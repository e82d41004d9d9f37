"""What should not be in a pool: problems that repeat, and problems of the evaluation.

Two problems are the same here when their `qads.pool.problem_key` is: NFKC, case, spacing and punctuation do
not count, numbers and operators do. A problem of punctuation alone, whose key is empty, is the same as its
equals only; and two rows repeat each other only if the earlier turns of their conversations are equal too,
since "Continue." asks something else every time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from qads.pool import Pool, RejectedRow

__all__ = ["Contamination", "DuplicateGroup", "PoolFindings", "check_pool"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Rows with one problem."""

    ids: tuple[str, ...]
    sources: tuple[str, ...]
    same_solution: bool
    """Whether the solutions are equal too; several solutions of one problem may be wanted."""
    problem: str


@dataclass(frozen=True)
class Contamination:
    """A row of the pool whose problem is in an evaluation set."""

    id: str
    source: str
    evaluation_id: str
    evaluation_source: str
    problem: str
    evaluation_problem: str


@dataclass(frozen=True)
class PoolFindings:
    """What `check_pool` found."""

    n_rows: int
    n_by_source: dict[str, int]
    n_by_kind: dict[str, int]
    rejected: tuple[RejectedRow, ...]
    duplicates: tuple[DuplicateGroup, ...]
    contamination: tuple[Contamination, ...]

    @property
    def n_duplicate_rows(self) -> int:
        """Rows beyond the first of every group."""
        return sum(len(group.ids) - 1 for group in self.duplicates)

    @property
    def n_findings(self) -> int:
        """Rows set aside, rows that repeat a problem, and rows of the evaluation."""
        return len(self.rejected) + self.n_duplicate_rows + len(self.contamination)


def check_pool(pool: Pool, evaluation: Pool | None = None) -> PoolFindings:
    """Unusable rows, repeated problems and, against evaluation sets, contamination.

    >>> import qads
    >>> row = qads.Row(id="a", source="s", problem="1 + 1?", solution="2")
    >>> pool = qads.Pool.from_rows([row, qads.Row(id="b", source="s", problem="1+1 ?", solution="two")])
    >>> check_pool(pool).n_duplicate_rows
    1
    """
    keys = _keys(pool)
    kinds = pool.strings("kind")
    return PoolFindings(
        n_rows=len(pool),
        n_by_source={name: len(rows) for name, rows in pool.rows_by_source().items()},
        n_by_kind={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        rejected=pool.rejected,
        duplicates=tuple(_duplicates(pool, keys)),
        contamination=() if evaluation is None else tuple(_contamination(pool, keys, evaluation)),
    )


def _keys(pool: Pool) -> list[str]:
    return [key or text for key, text in zip(pool.problem_keys, pool.strings("problem"), strict=True)]


def _duplicates(pool: Pool, keys: list[str]) -> list[DuplicateGroup]:
    groups: dict[tuple[str | None, str], list[int]] = defaultdict(list)
    for position, found in enumerate(zip(pool.table["context"].to_pylist(), keys, strict=True)):
        groups[found].append(position)
    ids, sources = pool.strings("id"), pool.strings("source")
    problems, solutions = pool.strings("problem"), pool.strings("solution")
    return [
        DuplicateGroup(
            ids=tuple(ids[i] for i in rows),
            sources=tuple(sources[i] for i in rows),
            same_solution=len({solutions[i].strip() for i in rows}) == 1,
            problem=problems[rows[0]],
        )
        for rows in groups.values()
        if len(rows) > 1
    ]


def _contamination(pool: Pool, keys: list[str], evaluation: Pool) -> list[Contamination]:
    first: dict[str, int] = {}
    for position, key in enumerate(_keys(evaluation)):
        first.setdefault(key, position)
    ids, sources, problems = pool.strings("id"), pool.strings("source"), pool.strings("problem")
    found: list[Contamination] = []
    for position, key in enumerate(keys):
        if (match := first.get(key)) is not None:
            row = evaluation[match]
            found.append(
                Contamination(ids[position], sources[position], row.id, row.source, problems[position], row.problem)
            )
    return found

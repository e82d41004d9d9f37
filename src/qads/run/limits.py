"""The constraints of a configuration, for the rows of one pool."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from qads.config import ANY_OTHER, ConstraintsConfig, PoolConfig, QuotaConfig, RunConfig
from qads.errors import InputError
from qads.pool import Pool, to_json
from qads.run.budgets import resolve_rows
from qads.run.named import NamedRows, read_named
from qads.selection import Constraints, Grouping, Quota
from qads.selection.terms import Terms

__all__ = ["ROLES", "NamedFiles", "check_limits", "make_constraints"]

ROLES = ("exclude", "include", "given")
"""The settings that name files of rows."""
_MISSING = "null"
"""Value of a row that lacks the column."""


@dataclass(frozen=True, eq=False)
class NamedFiles:
    """What the files of `constraints` name."""

    exclude: NamedRows
    include: NamedRows
    given: NamedRows

    @property
    def out(self) -> Int[np.ndarray, " r"]:
        """Rows that are not selected."""
        return np.unique(np.concatenate([self.exclude.rows, self.given.rows]))

    @classmethod
    def read(
        cls,
        pool: Pool,
        config: ConstraintsConfig,
        *,
        reading: PoolConfig | None = None,
        uncleaned: Callable[[], Pool] | None = None,
    ) -> NamedFiles:
        """Find the rows.

        Args:
            pool: the candidates.
            config: which files name rows.
            reading: how the files of the pool are read, and so these; not needed where no file names rows.
            uncleaned: gives the candidates before cleaning, where they were cleaned.

        Raises:
            InputError: an id is not in the pool, a sample to include is not in it, or a row is to be in and out.
            PoolError: a file is missing or cannot be read, or a row of a list has no id.
        """

        def read(role: str) -> NamedRows:
            files = getattr(config, role)
            return read_named(pool, files, setting=f"constraints.{role}", reading=reading, uncleaned=uncleaned)

        found = cls(*map(read, ROLES))
        if found.include.others is not None:
            raise InputError(
                f"constraints.include: {len(found.include.others)} samples are not in the pool, the first "
                f"{found.include.others[0].id!r}; add their file to pool.sources, or leave them out. What "
                "cleaning took out is in clean/dropped.parquet."
            )
        for role in ("exclude", "given"):
            both = np.intersect1d(found.include.rows, getattr(found, role).rows)
            if len(both):
                raise InputError(
                    f"constraints: {len(both)} rows are in both include and {role}, the first "
                    f"{pool[int(both[0])].id!r}; a row is either selected first or not at all."
                )
        return found


def make_constraints(pool: Pool, config: ConstraintsConfig, named: NamedFiles) -> Constraints | None:
    """The constraints for the rows of a pool; None where there are none.

    Raises:
        InputError: no row has a column or value that a quota names.
    """
    if config == ConstraintsConfig():
        return None
    return Constraints(
        groupings=tuple(_grouping(pool, column, quotas) for column, quotas in config.quotas.items()),
        exclude=named.out if len(named.out) else None,
        include=named.include.rows if len(named.include.rows) else None,
        min_distance=config.min_distance,
    )


def check_limits(pool: Pool, config: RunConfig, named: NamedFiles) -> None:
    """Refuse before any model runs what the selector would refuse after it.

    Budgets in tokens are left to the selector: what they come to is not known before tokens are counted.

    Raises:
        InputError: constraints and budget cannot be met together; with the arithmetic.
    """
    rows = resolve_rows(config, len(pool), n_included=len(named.include.rows))
    constraints = make_constraints(pool, config.constraints, named)
    if rows and constraints is not None:
        Terms.of(max(rows), constraints, len(pool), method=f"selection {config.selection.kind}", knows_distances=True)


def _grouping(pool: Pool, column: str, quotas: Mapping[str, QuotaConfig]) -> Grouping:
    values = _values(pool, column)
    known = dict.fromkeys(values)
    for value in quotas:
        if value != ANY_OTHER and value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {_listed(list(known))}."
            raise InputError(f"constraints.quotas.{column}.{value}: no row of the pool has this {column}; {hint}")
    named = {value: quota for value, quota in quotas.items() if value != ANY_OTHER}
    others = {value: quotas[ANY_OTHER] for value in known if value not in named} if ANY_OTHER in quotas else {}
    return Grouping(
        name=column,
        values=np.array(values, dtype=object),
        quotas=tuple(
            Quota(value=value, minimum=quota.at_least, maximum=quota.at_most, share=quota.share)
            for value, quota in (named | others).items()
        ),
    )


def _values(pool: Pool, column: str) -> list[str]:
    """One text a row: the value of a column; what is no text in `meta` as JSON."""
    if column in ("source", "kind"):
        return pool.strings(column)
    name = column.removeprefix("meta.")
    found = pool.meta(name)
    if all(value is None for value in found):
        known = sorted({key for row in pool for key in row.meta})
        if name in known:
            raise InputError(f"constraints.quotas.{column}: this column has no value in any row of the pool.")
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean 'meta.{near[0]}'?" if near else f"there are {_listed([f'meta.{k}' for k in known])}."
        raise InputError(f"constraints.quotas.{column}: no row of the pool has this column; {hint}")
    return [value if isinstance(value, str) else _MISSING if value is None else to_json(value) for value in found]


def _listed(names: Sequence[str]) -> str:
    return (", ".join(names[:10]) or "none") + (f" and {len(names) - 10} more" if len(names) > 10 else "")

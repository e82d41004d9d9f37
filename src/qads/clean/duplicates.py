"""Duplicates of a pool: exact, near, semantic, and several solutions of one problem.

The rules, from the surest on: equal rows (`keys.py`), near duplicates (`near.py`), more solutions of a problem than are
wanted (`solutions.py`), rows whose embeddings nearly coincide. How rows go and come back: `settling.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int, Shaped
from pydantic import BeforeValidator

from qads.choices import check_choices
from qads.clean.keys import RowKeys, row_keys
from qads.clean.near import KeptRows, NearRule
from qads.clean.reading import Reading
from qads.clean.settling import REASONS, Reason, Standing, Vectors
from qads.cluster import Execution, ShardStore
from qads.errors import AlignmentError, InputError
from qads.kernels.distance import Rows
from qads.pool import Pool, Progress, check_aligned

__all__ = ["REASONS", "Deduplication", "Duplicates", "Embed", "Reason"]

Keep = Literal["first", "longest", "shortest", "quality", "source"]
Embed = Callable[[Int[np.ndarray, " m"]], npt.ArrayLike]
"""Positions of rows, rising -> their embeddings, for a pool that is not embedded yet."""


def _check_solutions(value: object) -> object:
    if value in ("keep", "collapse") or (isinstance(value, int) and value >= 1):
        return value
    raise InputError(f"solutions is {value!r}; it must be keep, collapse, or how many of a problem stay, 1 at least.")


@dataclass(frozen=True, eq=False)
class Duplicates:
    """The rows that go, each for a row that stays."""

    n_rows: int
    """Rows of the pool."""
    rows: Int[np.ndarray, " g"]
    """Positions of the rows that go, rising."""
    kept: Int[np.ndarray, " g"]
    """For each the row that stays in its place."""
    groups: Int[np.ndarray, " g"]
    """For each the number of its group: a row that stays and those that go for it."""
    reasons: Shaped[np.ndarray, " g"]
    """For each `exact`, `near`, `solution` or `semantic`."""
    similarity: Float[np.ndarray, " g"]
    """For each how similar it is to the row that stays, by the measure of its reason: 1 for exact, else the lesser of
    two Jaccard similarities, that of the solutions, or the cosine; float32."""
    solution_rows: Int[np.ndarray, " s"]
    """Rows of problems that have several different solutions, before any cap: neither equal nor near duplicates."""
    solution_groups: Int[np.ndarray, " s"]
    """For each of those the number of its problem."""
    problems: Int[np.ndarray, " n"]
    """For every row of the pool a number that is equal where the problem is the same, as `keys.py` says."""

    @property
    def kept_rows(self) -> Int[np.ndarray, " k"]:
        """Positions of the rows that stay, rising."""
        return np.delete(np.arange(self.n_rows), self.rows)

    @property
    def n_by_reason(self) -> dict[str, int]:
        """Rows that go for each reason."""
        return {reason: int((self.reasons == reason).sum()) for reason in REASONS}

    @property
    def n_problems_with_several(self) -> int:
        """Problems that have several different solutions."""
        return len(np.unique(self.solution_groups))


@dataclass(frozen=True, kw_only=True)
class Deduplication:
    """Find rows that repeat others, and say which one of them stays.

    >>> import qads
    >>> rows = [("a", "What is 2 + 2?", "It is 4."), ("b", "what is 2+2 ?", "It is 4."), ("c", "What is 2 + 3?", "5")]
    >>> pool = qads.Pool.from_rows(qads.Row(id=i, source="s", problem=p, solution=s) for i, p, s in rows)
    >>> qads.Deduplication()(pool).kept_rows.tolist()
    [0, 2]
    """

    near: float | None = 0.8
    """Least Jaccard similarity, of the problems and of the solutions, at which two rows are near duplicates; in (0, 1].
    None looks for equal rows only."""
    shingle: int = 3
    """Words in a shingle, whose sets are compared."""
    numbers: Literal["same", "any"] = "same"
    """Whether near duplicates must have the same numbers, operators and symbols in the same order. With ``any``
    problems of one template are near duplicates."""
    semantic: float | None = None
    """Greatest cosine distance at which two rows are the same in meaning; in [0, 1). None does not ask."""
    solutions: Annotated[Literal["keep", "collapse"] | int, BeforeValidator(_check_solutions)] = "keep"
    """Of one problem with several different solutions: all stay, one, or the so many that differ most."""
    keep: Keep = "first"
    """Which one of rows that repeat each other stays: the first of the pool, that with the longest or the shortest
    solution, of highest quality, or of the source that `sources` names first. Ties go to the first."""
    sources: tuple[str, ...] = ()
    """With ``keep="source"``: the preferred source first; those not named come last, in order of appearance."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.near is not None and not 0 < self.near <= 1:
            raise InputError(f"Deduplication: near is {self.near}; it must be a Jaccard similarity in (0, 1], or None.")
        if self.shingle < 1:
            raise InputError(f"Deduplication: shingle is {self.shingle}; it must be a number of words, 1 at least.")
        if self.semantic is not None and not 0 <= self.semantic < 1:
            raise InputError(
                f"Deduplication: semantic is {self.semantic}; it must be a cosine distance in [0, 1), or None."
            )
        _check_solutions(self.solutions)
        check_choices(self)
        if (self.keep == "source") != bool(self.sources):
            raise InputError(
                f"Deduplication: keep is {self.keep!r} and sources is {list(self.sources)}; keep='source' and a list "
                "of sources, the preferred one first, belong together."
            )

    def __call__(
        self,
        pool: Pool,
        *,
        embeddings: npt.ArrayLike | Embed | None = None,
        prefer: npt.ArrayLike | None = None,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Duplicates:
        """Look through a pool; texts are read batch by batch.

        Args:
            pool: the rows.
            embeddings: float [n, d], one row a row of the pool, or a function that embeds rows when they are needed;
                with `semantic` only.
            prefer: one number a row [n], the greatest stays; with ``keep="quality"`` only.
            execution: who reads the texts; this process alone unless a number of workers or a cluster is asked for.
            shards: where what was read is kept batch by batch, so that a killed cleaning goes on; nowhere by default.
            progress: called with (steps done, steps).

        Raises:
            InputError: what a setting needs is missing or cannot be used, or a source is named that no row has.
            AlignmentError: `embeddings` or `prefer` are not one a row, or of another pool.
        """
        if (self.semantic is None) != (embeddings is None):
            raise InputError(
                f"Deduplication: semantic is {self.semantic} and embeddings are "
                f"{'missing' if embeddings is None else 'given'}; a radius and embeddings belong together."
            )
        n = len(pool)
        check_aligned(embeddings, pool)
        vectors = None if embeddings is None else _vectors(embeddings, n)
        steps = _Steps(progress, n, 1 + (self.near is not None) + (self.semantic is not None))
        reading = Reading(execution or Execution(), shards)
        keys = row_keys(pool, reading=reading, progress=steps.next())
        standing = Standing(keys, self._rank(pool, keys, prefer))
        if self.near is not None:
            rule = NearRule(threshold=self.near, shingle=self.shingle, same_mathematics=self.numbers == "same")
            standing.drop_near(KeptRows(pool, standing.leaders, keys, rule, reading=reading, progress=steps.next()))
        several = standing.several_solutions()
        if self.solutions != "keep":
            standing.cap_solutions(pool, 1 if self.solutions == "collapse" else self.solutions, size=self.shingle)
        if self.semantic is not None and vectors is not None:
            said = steps.next()
            standing.drop_semantic(vectors, self.semantic, lambda done: said(done, n))
        return _result(standing, several)

    def _rank(self, pool: Pool, keys: RowKeys, prefer: npt.ArrayLike | None) -> Int[np.ndarray, " n"]:
        """0 for the row that stays before all others."""
        if (self.keep == "quality") != (prefer is not None):
            raise InputError(
                f"Deduplication: keep is {self.keep!r} and prefer is {'missing' if prefer is None else 'given'}; "
                "keep='quality' and one number a row belong together."
            )
        n, value = len(pool), np.zeros(len(pool))
        if self.keep in ("longest", "shortest"):
            value = keys.solution_lengths * (-1 if self.keep == "longest" else 1)
        elif self.keep == "source":
            value = self._source_priority(pool)[pool.source_codes]
        elif prefer is not None:
            value = -_checked_quality(prefer, n)
        rank = np.empty(n, np.int64)
        rank[np.argsort(value, kind="stable")] = np.arange(n)
        return rank

    def _source_priority(self, pool: Pool) -> Int[np.ndarray, " s"]:
        for name in self.sources:
            if name not in pool.sources:
                near = difflib.get_close_matches(name, pool.sources, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(pool.sources[:10])}."
                raise InputError(f"Deduplication: sources names {name!r}, which no row of the pool is from; {hint}")
        unnamed = [name for name in pool.sources if name not in self.sources]
        order = {name: place for place, name in enumerate([*dict.fromkeys(self.sources), *unnamed])}
        return np.array([order[name] for name in pool.sources], np.int64)


class _Steps:
    """One count over several passes."""

    def __init__(self, progress: Progress | None, n_rows: int, n_passes: int) -> None:
        self._progress, self._n_rows, self._total, self._done = progress, n_rows, n_rows * n_passes, -n_rows

    def next(self) -> Progress:
        """What the next pass calls."""
        self._done += self._n_rows
        before = self._done

        def said(done: int, total: int) -> None:
            del total  # Passes over fewer rows end early.
            if self._progress:
                self._progress(before + done, self._total)

        return said


def _vectors(embeddings: npt.ArrayLike | Embed, n_rows: int) -> Vectors:
    """Embeddings of any origin as a function of rows."""
    if callable(embeddings):
        embed = embeddings

        def of(rows: Int[np.ndarray, " m"]) -> tuple[Rows, Int[np.ndarray, " m"]]:
            return _checked_embeddings(embed(rows), len(rows)), np.arange(len(rows))

        return of
    x = _checked_embeddings(embeddings, n_rows)
    return lambda rows: (x, rows)


def _checked_embeddings(embeddings: Any, n_rows: int) -> Rows:
    x = np.asarray(embeddings)
    if x.ndim != 2 or x.dtype.kind != "f":
        raise InputError(
            f"Deduplication: embeddings have shape {x.shape} and type {x.dtype}; they must be floats [n, d]."
        )
    if len(x) != n_rows:
        raise AlignmentError(f"Deduplication: {len(x)} embeddings for {n_rows} rows; both must be of one pool.")
    for start in range(0, n_rows, 65536):
        norms = np.einsum("nd,nd->n", block := x[start : start + 65536].astype(np.float64), block)
        if len(wrong := np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))):
            raise InputError(
                f"Deduplication: the embedding of row {start + int(wrong[0])} is zero or not finite, so it has no "
                "direction. Embed the pool again, or leave the row out."
            )
    return x


def _checked_quality(prefer: npt.ArrayLike, n_rows: int) -> Float[np.ndarray, " n"]:
    quality = np.asarray(prefer, dtype=np.float64)
    if quality.shape != (n_rows,):
        raise AlignmentError(
            f"Deduplication: prefer has shape {quality.shape} for {n_rows} rows; it must be one number a row."
        )
    if len(wrong := np.flatnonzero(np.isnan(quality))):
        raise InputError(f"Deduplication: prefer of row {wrong[0]} is not a number, so it has no place in an order.")
    return quality


def _result(standing: Standing, several: Sequence[np.ndarray]) -> Duplicates:
    rows = np.flatnonzero(~standing.is_kept)
    kept = standing.kept_for[rows]
    none = np.empty(0, np.int64)
    return Duplicates(
        n_rows=len(standing.is_kept),
        rows=rows,
        kept=kept,
        groups=np.unique(kept, return_inverse=True)[1].astype(np.int64),
        reasons=np.array(REASONS, dtype=object)[standing.reason[rows]],
        similarity=standing.similarity[rows].astype(np.float32),
        solution_rows=np.concatenate([none, *several]),
        solution_groups=np.repeat(np.arange(len(several)), [len(group) for group in several]).astype(np.int64),
        problems=standing.problems,
    )

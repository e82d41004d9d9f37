"""Parts put together: which row stands where, under which id, and what each part came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, UInt64

from qads.errors import InputError
from qads.kernels.hashed import hashed
from qads.mixture.counting import OpenedTokenizer, TokenCounter, count_characters, open_counted
from qads.mixture.parts import LoadedPart, load_part
from qads.mixture.recipe import Recipe, load_recipe
from qads.mixture.taking import Orders, Taken, take_parts
from qads.pool import Pool, Progress, first_repeated

__all__ = ["Composition", "Mixture", "PartSummary", "SourceSummary", "compose"]

_ROWS_AT_A_TIME = 65536


@dataclass(frozen=True)
class SourceSummary:
    """What of one source is in a mixture."""

    rows: int
    tokens: int | None
    characters: int
    license: str | None


@dataclass(frozen=True)
class PartSummary:
    """What a part came to."""

    take: str
    """As asked."""
    available: int
    """Rows that could have been taken."""
    same_text: int
    """Rows that were left out, since an earlier part had taken the same text."""
    distinct: int
    """Rows taken, each counted once."""
    rows: int
    """Rows in the mixture, with repetitions."""
    tokens: int | None
    """Of the training texts; None without a tokenizer."""
    characters: int
    """Of problems and solutions."""
    sources: Mapping[str, SourceSummary]


@dataclass(frozen=True, eq=False)
class Composition:
    """One mixture: the rows in their order."""

    name: str
    rows: Int[np.ndarray, " k"]
    """Positions in the joint table of all parts."""
    copies: Int[np.ndarray, " k"]
    """Which time the row is there: 0, 1, …."""
    parts: Mapping[str, PartSummary]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def tokens(self) -> int | None:
        """Tokens of all training texts; None without a tokenizer."""
        counts = [part.tokens for part in self.parts.values() if part.tokens is not None]
        return sum(counts) if len(counts) == len(self.parts) else None

    @property
    def characters(self) -> int:
        """Characters of all problems and solutions."""
        return sum(part.characters for part in self.parts.values())


@dataclass(frozen=True, eq=False)
class Mixture:
    """A recipe, carried out: one composition, or one for each variant."""

    recipe: Recipe
    parts: Mapping[str, LoadedPart]
    compositions: Mapping[str, Composition]
    """By variant; ``default`` where the recipe has none."""
    tokenizer: OpenedTokenizer | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.largest)

    @property
    def largest(self) -> Composition:
        """The composition with the most rows, the first of them if several have."""
        return max(self.compositions.values(), key=len)

    @cached_property
    def table(self) -> pa.Table:
        """The rows of all parts, one part after the other."""
        return pa.concat_tables([part.table for part in self.parts.values()]).combine_chunks()

    @cached_property
    def part_codes(self) -> Int[np.ndarray, " n"]:
        """For every row of `table` the position of its part."""
        return np.repeat(np.arange(len(self.parts)), [len(part) for part in self.parts.values()])

    @cached_property
    def quality(self) -> Float[np.ndarray, " n"]:
        """Quality of every row of `table`; NaN where it is not known."""
        return np.concatenate([part.quality for part in self.parts.values()])

    @cached_property
    def steps(self) -> Int[np.ndarray, " n"]:
        """Step at which every row of `table` was picked; −1 where it was drawn."""
        return np.concatenate([part.steps for part in self.parts.values()])

    @cached_property
    def suffixed(self) -> Bool[np.ndarray, " n"]:
        """Rows of `table` whose problem was lengthened by a suffix."""
        return np.concatenate([part.suffixed for part in self.parts.values()])

    def ids(self, composition: Composition) -> pa.ChunkedArray:
        """Unique ids: the row's own, ``part/id`` where several parts have it, and ``…#2`` for a second copy.

        Raises:
            InputError: a row's own id is what another would be called.
        """
        own = self.table["id"].take(pa.array(composition.rows))
        counts = own.filter(pa.array(composition.copies == 0)).value_counts()
        shared = counts.field("values").filter(pc.call_function("greater", [counts.field("counts"), pa.scalar(1)]))
        names = pa.array(list(self.parts), pa.large_string()).take(pa.array(self.part_codes[composition.rows]))
        is_shared = pc.call_function("is_in", [own], pc.SetLookupOptions(shared))
        found = pc.call_function("if_else", [is_shared, _joined(names, "/", own), own])
        if composition.copies.any():
            number = pa.array(composition.copies + 1).cast(pa.large_string())
            again = pa.array(composition.copies > 0)
            found = pc.call_function("if_else", [again, _joined(found, "#", number), found])
        if (repeated := first_repeated(found)) is not None:
            raise InputError(
                f"{repeated!r}: two rows of the mixture would have this id. Let ids be made anew in the part whose "
                "files have it, by columns: {id: ''}."
            )
        return found

    def pool(self, variant: str | None = None) -> Pool:
        """The rows of a composition, the largest by default, as a pool with the ids of the mixture."""
        composition = self.compositions[variant] if variant else self.largest
        rows = self.table.take(pa.array(composition.rows))
        return Pool(rows.set_column(0, "id", self.ids(composition)))


def compose(recipe: Recipe | Mapping[str, Any] | Path | str, *, progress: Progress | None = None) -> Mixture:
    r"""Put parts together as a recipe says: the same rows in the same order on every machine.

    Args:
        recipe: a `Recipe`, a YAML file, or what one would hold.
        progress: called with (rows read, −1), and (rows, of these) as tokens are counted.

    Raises:
        ConfigError: the recipe has an unknown key or an impossible value.
        InputError: the amounts cannot be had; says the arithmetic.
        PoolError: a file cannot be read.
        RunError: a run has no finished selection.

    >>> import qads, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "sums.jsonl"
    >>> _ = path.write_text("".join(f'{{"problem": "{n} + 1?", "solution": "{n + 1}"}}\n' for n in range(10)))
    >>> mixture = qads.compose({"parts": {"sums": {"pool": str(path), "take": "50%", "repeat": 2}}})
    >>> len(mixture), mixture.largest.parts["sums"].distinct
    (10, 5)
    """
    settings = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    opened = open_counted(settings)
    parts = {name: load_part(name, part, settings, progress) for name, part in settings.parts.items()}
    counter = None if opened is None else TokenCounter(opened, progress)
    orders, compositions = Orders(settings.seed), dict[str, Composition]()
    for variant in settings.variants or ("default",):
        try:
            taken = take_parts(settings, variant, parts, orders, counter)
        except InputError as error:
            raise InputError(f"variants.{variant}: {error}" if settings.variants else str(error)) from None
        compositions[variant] = _composed(settings, variant, parts, taken, counter)
    return Mixture(settings, parts, compositions, opened)


def _composed(
    recipe: Recipe,
    variant: str,
    parts: Mapping[str, LoadedPart],
    taken: Mapping[str, Taken],
    counter: TokenCounter | None,
) -> Composition:
    summaries = {name: _summary(parts[name], taken[name], counter) for name in taken}
    starts = np.cumsum([0, *(len(part) for part in parts.values())])
    ordered = {name: found if recipe.shuffle else _in_file_order(parts[name], found) for name, found in taken.items()}
    rows = np.concatenate([found.rows + start for found, start in zip(ordered.values(), starts, strict=False)])
    copies = np.concatenate([found.copies for found in ordered.values()])
    if recipe.shuffle:
        keys = [_shuffle_keys(recipe.seed, parts[name], found) for name, found in ordered.items()]
        order = np.argsort(np.concatenate(keys), kind="stable")
        rows, copies = rows[order], copies[order]
    return Composition(variant, rows, copies, summaries)


def _in_file_order(part: LoadedPart, taken: Taken) -> Taken:
    """Rows of a pool epoch by epoch as they stand in its files; picks stay in their order."""
    if part.is_selection:
        return taken
    order = np.lexsort((taken.rows, taken.copies))
    return Taken(taken.rows[order], taken.copies[order], taken.asked, taken.n_available, taken.n_same_text)


def _shuffle_keys(seed: int, part: LoadedPart, taken: Taken) -> UInt64[np.ndarray, " k"]:
    """The place of every row in the shuffle, by seed, part, id and copy."""
    keys = np.empty(len(taken.rows), np.uint64)
    for start in range(0, len(keys), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        ids = part.table["id"].take(pa.array(taken.rows[rows])).to_pylist()
        names = (f"{name}\0{copy}" for name, copy in zip(ids, taken.copies[rows].tolist(), strict=True))
        keys[rows] = hashed(names, seed=seed, purpose=f"shuffle {part.name}")
    return keys


def _summary(part: LoadedPart, taken: Taken, counter: TokenCounter | None) -> PartSummary:
    columns = part.table.select(["problem", "solution", "source"])
    characters = count_characters(columns)[taken.rows]
    tokens = None if counter is None else counter.tokens(part, taken.rows)
    encoded = columns["source"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)[taken.rows]
    # In one pass each: there may be as many sources as rows.
    n_rows, of_each = np.bincount(codes), np.bincount(codes, weights=characters)
    tokens_of_each = None if tokens is None else np.bincount(codes, weights=tokens)
    names = encoded.dictionary.to_pylist()
    sources = {
        names[code]: SourceSummary(
            rows=int(n_rows[code]), tokens=None if tokens_of_each is None else int(tokens_of_each[code]),
            characters=int(of_each[code]), license=part.licenses.get(names[code]),
        )
        for code in np.flatnonzero(n_rows).tolist()
    }  # fmt: skip
    return PartSummary(
        take=str(taken.asked), available=taken.n_available, same_text=taken.n_same_text,
        distinct=int((taken.copies == 0).sum()), rows=len(taken.rows),
        tokens=None if tokens is None else int(tokens.sum()), characters=int(characters.sum()), sources=sources,
    )  # fmt: skip


def _joined(*parts: pa.Array | pa.ChunkedArray | str) -> Any:
    texts: Sequence[Any] = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return pc.call_function("binary_join_element_wise", [*texts, pa.scalar("", pa.large_string())])

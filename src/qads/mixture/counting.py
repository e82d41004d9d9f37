"""Tokens of rows as a trainer sees them, counted when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from qads.mixture.parts import LoadedPart
from qads.mixture.recipe import Recipe
from qads.pool import Pool, Progress, take_rows
from qads.prompts import Renderer, Template

__all__ = ["OpenedTokenizer", "TokenCounter", "count_characters", "open_counted"]

_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class OpenedTokenizer:
    """A tokenizer with the template that renders rows for it."""

    tokenizer: Any
    renderer: Renderer
    identity: str
    """Of its files: the same wherever they are."""


def open_counted(recipe: Recipe) -> OpenedTokenizer | None:
    """The tokenizer that a recipe names; None where it names none.

    Raises:
        ModelError: it cannot be opened, or has no chat template where one is needed.
    """
    if recipe.tokenizer is None:
        return None
    from qads.models import open_tokenizer  # Loads torch and transformers.

    opened = open_tokenizer(recipe.tokenizer)
    template: Template = recipe.template
    return OpenedTokenizer(opened.tokenizer, template.renderer(opened.render_chat), opened.source.identity)


@dataclass(eq=False)
class TokenCounter:
    """Counts tokens of rows of parts, each row once."""

    opened: OpenedTokenizer
    progress: Progress | None = None
    _known: dict[str, Int[np.ndarray, " n"]] = field(default_factory=dict[str, Int[np.ndarray, " n"]])

    def tokens(self, part: LoadedPart, rows: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Tokens of these rows of a part."""
        known = self._known.setdefault(part.name, np.full(len(part), -1, np.int64))
        missing = np.unique(rows[known[rows] < 0])
        if len(missing):
            from qads.models import training_tokens

            pool = Pool(take_rows(part.table, missing))
            known[missing] = training_tokens(self.opened.tokenizer, self.opened.renderer, pool, progress=self.progress)
        return known[rows]

    def rows_within(self, part: LoadedPart, order: Int[np.ndarray, " n"], budget: int) -> int:
        """How many rows, in this order and from its beginning again when it ends, come to `budget` tokens at most."""
        spent = 0
        for start in range(0, len(order), _ROWS_AT_A_TIME):
            total = spent + np.cumsum(self.tokens(part, order[start : start + _ROWS_AT_A_TIME]))
            if total[-1] > budget:
                return start + int(np.searchsorted(total, budget, side="right"))
            spent = int(total[-1])
        epochs, rest = divmod(budget, spent) if spent else (1, 0)
        whole = np.cumsum(self.tokens(part, order))
        return epochs * len(order) + int(np.searchsorted(whole, rest, side="right"))


def count_characters(table: pa.Table, columns: Sequence[str] = ("problem", "solution")) -> Int[np.ndarray, " n"]:
    """Characters (code points) of problem and solution of every row."""
    total = np.zeros(table.num_rows, np.int64)
    for name in columns:
        total += pc.call_function("utf8_length", [table[name]]).to_numpy().astype(np.int64)
    return total

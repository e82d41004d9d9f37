"""Quality in discrete levels, as a language model can say it: quantiles of the labels, each named by one token.

The expectation over a model's probabilities of the levels is on the scale of the labels, since a level stands for the
mean quality of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qads.errors import InputError, ModelError
from qads.models import token_ids
from qads.prompts import QUALITY_QUESTION

__all__ = ["LevelTokens", "Levels"]


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels from low to high, counted from 1 in a text and from 0 here."""

    values: Float[np.ndarray, " l"]
    """Mean quality of the rows of each level."""
    counts: Int[np.ndarray, " l"]
    """How many they are."""

    @classmethod
    def of(cls, quality: Float[np.ndarray, " n"], n_levels: int) -> tuple[Levels, Int[np.ndarray, " n"]]:
        """Cut labels at their quantiles.

        Rows of equal quality lie in one level. Where so many are equal that a level has no row, there are fewer levels.

        Args:
            quality: of the rows that are fitted on.
            n_levels: as many levels, of equal counts (±1) where no labels are equal.

        Returns:
            The levels, and that of every row.

        Raises:
            InputError: all labels are equal, so that there is one level.

        Example:
            >>> levels, level = Levels.of(np.array([0.0, 0.0, 0.0, 0.1, 0.2, 0.3]), 3)
            >>> levels.values, level
            (array([0.  , 0.1 , 0.25]), array([0, 0, 0, 1, 2, 2]))
        """
        first_of_equals = np.searchsorted(np.sort(quality), quality)
        raw = first_of_equals * n_levels // len(quality)
        found, level = np.unique(raw, return_inverse=True)
        if len(found) < 2:
            raise InputError(
                f"LMScorer: the {len(quality)} rows it is fitted on have {len(np.unique(quality))} different "
                "qualities, too few for two levels. Score more rows, or choose another aggregate."
            )
        counts = np.bincount(level)
        return cls(np.bincount(level, quality) / counts, counts), level

    def __len__(self) -> int:
        return len(self.values)

    def expectation(self, probabilities: Float[np.ndarray, "n l"]) -> Float[np.ndarray, " n"]:
        """Σ_l p_l · value_l of every row."""
        return probabilities @ self.values

    def arrays(self) -> dict[str, np.ndarray]:
        """As `load` reads them."""
        return {"values": self.values, "counts": self.counts}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray]) -> Levels:
        """What `arrays` gave."""
        return cls(arrays["values"], arrays["counts"])


@dataclass(frozen=True)
class LevelTokens:
    """The tokens of the question that follows a row, and of the levels that answer it."""

    question: tuple[int, ...]
    levels: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Any, n_levels: int) -> LevelTokens:
        """The levels 1, 2, … as the tokenizer writes them behind the question.

        Where a digit takes the space before it into its token, it does so here: what all levels begin with is the
        question, and what is left must be one token each.

        Raises:
            ModelError: a level is not one token, or not one of its own; names it.
        """
        written = {str(level): token_ids(tokenizer, f"{QUALITY_QUESTION}{level}") for level in range(1, n_levels + 1)}
        alike = [len(set(ids)) == 1 for ids in zip(*written.values(), strict=False)]
        question = written["1"][: [*alike, False].index(False)]
        for name, ids in written.items():
            if len(own := ids[len(question) :]) != 1:
                told = " ".join(repr(token) for token in tokenizer.convert_ids_to_tokens(list(own)))
                what = f"{len(own)} tokens ({told})" if own else "no token that others have not"
                raise ModelError(
                    f"LMScorer: behind {QUALITY_QUESTION!r} this tokenizer makes {what} of the level {name!r}; every "
                    f"level must be one token of its own. Lower levels, which is {n_levels} (up to 9 have one digit), "
                    "or take another model."
                )
        return cls(question, tuple(ids[-1] for ids in written.values()))

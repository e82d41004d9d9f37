"""Rows as the token sequences that a model is trained on, with an account of every row that does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from qads.errors import InputError, TooLongError
from qads.models import TrainingText, training_text
from qads.pool import Pool, Progress
from qads.prompts import Renderer

__all__ = ["Affected", "FittedRows", "TooLongRow", "fit_rows"]

TooLongRow = Literal["error", "drop", "cut"]
"""What a row does that exceeds the longest text: stops the training, is left out, or loses its end."""


@dataclass(frozen=True)
class Affected:
    """A row that is not trained on as it is."""

    id: str
    what: Literal["dropped", "cut"]
    reason: str


@dataclass(frozen=True)
class FittedRows:
    """What is trained on."""

    texts: tuple[TrainingText, ...]
    """In the order of the pool."""
    affected: tuple[Affected, ...] = ()
    """Rows that were dropped or cut."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of every text."""
        return [len(text.ids) for text in self.texts]

    @property
    def n_answers(self) -> list[int]:
        """Tokens of every text that are trained on."""
        return [text.n_answer for text in self.texts]

    @property
    def sha256(self) -> str:
        """Of all texts, in order."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(np.array([len(text.ids), text.answer_start, *text.ids], "<i8").tobytes())
        return digest.hexdigest()


def fit_rows(
    tokenizer: Any,
    renderer: Renderer,
    pool: Pool,
    *,
    max_length: int,
    too_long: TooLongRow,
    progress: Progress | None = None,
) -> FittedRows:
    """Tokenise the rows, applying the policy to what is longer than `max_length` tokens.

    Raises:
        InputError: there are no rows.
        TooLongError: the policy is ``"error"`` and a row does not fit, or no row is left.
    """
    if not len(pool):
        raise InputError("train: there are no rows to train on.")
    texts: list[TrainingText] = []
    affected: list[Affected] = []
    for number, row in enumerate(pool, 1):
        text = training_text(tokenizer, renderer, row)
        if len(text.ids) > max_length:
            what, text = _shortened(text, max_length, too_long)
            affected.append(Affected(row.id, "cut" if text else "dropped", what))
        if text is not None:
            texts.append(text)
        if progress:
            progress(number, len(pool))
    if affected and (too_long == "error" or not texts):
        raise _too_long_error(affected, len(pool), max_length, too_long)
    return FittedRows(tuple(texts), tuple(affected))


def _shortened(text: TrainingText, max_length: int, too_long: TooLongRow) -> tuple[str, TrainingText | None]:
    """What is done with a text that is too long, and what is left of it."""
    found = f"{len(text.ids)} tokens where {max_length} fit"
    if too_long != "cut":
        return found, None
    if text.answer_start >= max_length:
        return f"{found}, and the solution begins behind them", None
    lost = len(text.ids) - max_length
    return f"{found}; the last {lost} tokens of the solution cut", TrainingText(
        text.ids[:max_length], text.answer_start
    )


def _too_long_error(affected: list[Affected], n_rows: int, max_length: int, too_long: TooLongRow) -> TooLongError:
    shown: Callable[[Affected], str] = lambda row: f"  {row.id}: {row.reason}"  # noqa: E731
    listed = "\n".join(map(shown, affected[:10]))
    more = f"\n  … and {len(affected) - 10} more" if len(affected) > 10 else ""
    advice = "Raise max_length, or set too_long to drop (left out) or cut (the end goes)."
    if too_long != "error":
        advice = "No row is left. Raise max_length."
    return TooLongError(
        f"train: {len(affected)} of {n_rows} rows do not fit {max_length} tokens:\n{listed}{more}\n{advice}"
    )

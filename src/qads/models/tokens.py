"""Texts as tokens: what a trainer sees of a row, and which of it is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from qads.kernels.target import TokenTarget
from qads.pool import Pool, Progress, Row
from qads.prompts import Renderer, Target

__all__ = ["TrainingText", "header_ids", "token_ids", "token_target", "training_text", "training_tokens"]

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class TrainingText:
    """A row as a trainer sees it; the tokens from `answer_start` on are trained on. `answer_start` is ≥ 1."""

    ids: tuple[int, ...]
    answer_start: int

    @property
    def n_answer(self) -> int:
        """Tokens that are trained on."""
        return len(self.ids) - self.answer_start


def training_text(tokenizer: Any, renderer: Renderer, row: Row) -> TrainingText:
    """The tokens of a row: header, problem, solution, what the template puts after it, and the end of the text.

    A token is trained on from the first that holds a character of the solution on, as it is scored. The end-of-text
    token is put last, unless the template has put it after the solution already.
    """
    header, rendered = header_ids(tokenizer, renderer), renderer.target(row)
    target = token_target(tokenizer, rendered)
    end = _end_of_text(tokenizer, rendered)
    # A solution without a token of its own leaves the end to be learnt; nothing can be learnt of the first token.
    start = target.answer_start if target.n_answer else len(target.ids)
    return TrainingText((*header, *target.ids, *end), max(1, len(header) + start))


def training_tokens(
    tokenizer: Any, renderer: Renderer, pool: Pool, *, progress: Progress | None = None
) -> Int[np.ndarray, " n"]:
    """Tokens of every row as a trainer sees it: the lengths of `training_text`, counted for many rows at once.

    Padding that a trainer adds is not counted.
    """
    header, counts = len(header_ids(tokenizer, renderer)), np.empty(len(pool), np.int64)
    for start in range(0, len(pool), _ROWS_AT_A_TIME):
        rows = Pool(pool.table.slice(start, _ROWS_AT_A_TIME))
        targets = [renderer.target(row) for row in rows]
        ids = tokenizer([target.text for target in targets], add_special_tokens=False, verbose=False)["input_ids"]
        ends = [len(_end_of_text(tokenizer, target)) for target in targets]
        counts[start : start + len(rows)] = [header + len(each) + end for each, end in zip(ids, ends, strict=True)]
        if progress:
            progress(start + len(rows), len(pool))
    return counts


def token_target(tokenizer: Any, target: Target) -> TokenTarget:
    """A target's tokens; a token is scored if it holds a character of the answer."""
    encoded = tokenizer(target.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    scored = [
        position
        for position, (start, end) in enumerate(encoded["offset_mapping"])
        if start < end and end > target.answer_start and start < target.answer_end
    ]
    first, last = (scored[0], scored[-1] + 1) if scored else (0, 0)
    return TokenTarget(tuple(encoded["input_ids"]), first, last)


def header_ids(tokenizer: Any, renderer: Renderer) -> tuple[int, ...]:
    """The tokens before everything else: the BOS, where renderer and tokenizer have one, and the header."""
    ids = token_ids(tokenizer, renderer.header) if renderer.header else ()
    opening = tokenizer("", add_special_tokens=True)["input_ids"] if renderer.add_bos else []
    has_bos = bool(opening) and opening[0] == tokenizer.bos_token_id
    return (tokenizer.bos_token_id, *ids) if has_bos else ids


def token_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a text alone."""
    return tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _end_of_text(tokenizer: Any, target: Target) -> tuple[int, ...]:
    """The token that ends a text, where the tokenizer has one and the template has not put it after the answer."""
    if tokenizer.eos_token_id is None or tokenizer.eos_token in target.text[target.answer_end :]:
        return ()
    return (tokenizer.eos_token_id,)

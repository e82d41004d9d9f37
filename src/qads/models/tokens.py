"""Texts as tokens: how many a trainer will see."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from qads.kernels.target import TokenTarget
from qads.pool import Pool, Progress
from qads.prompts import Renderer, Target

__all__ = ["header_ids", "token_ids", "token_target", "training_tokens"]

_ROWS_AT_A_TIME = 1024


def training_tokens(
    tokenizer: Any, renderer: Renderer, pool: Pool, *, progress: Progress | None = None
) -> Int[np.ndarray, " n"]:
    """Tokens of every row as a trainer sees it alone: header, problem and solution as the template renders them.

    An end-of-text token or padding that a trainer adds is not counted.
    """
    header, counts = len(header_ids(tokenizer, renderer)), np.empty(len(pool), np.int64)
    for start in range(0, len(pool), _ROWS_AT_A_TIME):
        rows = Pool(pool.table.slice(start, _ROWS_AT_A_TIME))
        texts = [renderer.target(row).text for row in rows]
        ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        counts[start : start + len(rows)] = [header + len(each) for each in ids]
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

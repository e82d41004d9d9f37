"""How many tokens a forward pass should have: found by trying where it is not known.

More tokens keep a device busier until it is busy, and need more memory. The number doubles while a pass fits and gains
speed. Looking for the largest that fits, as training libraries do, would end next to the limit, where a longer text no
longer fits and nothing is faster. What was found is no promise: texts may be longer than those tried, and then
`AnswerLikelihood` halves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qads.kernels.likelihood import AnswerLikelihood, TokenTarget

__all__ = ["find_pass_size", "pass_speed"]

_FIRST, _MOST = 4096, 2**20
_WORTH_IT = 1.05
"""A pass of twice the tokens must be so many times as fast, a token."""
_PREFIX, _TARGET, _TARGETS = 400, 250, 16
"""Tokens of an example and of an anchor, and about how many anchors: the sizes of worked solutions."""


def find_pass_size(speed: Callable[[int], float | None], *, first: int = _FIRST) -> int:
    """The tokens of a pass from which on more gain no speed, or do not fit.

    Args:
        speed: tokens a second in passes of so many tokens; None where memory does not suffice for them.
        first: tried first, and halved until it fits.

    Returns:
        The number found; 1 where nothing fits.

    >>> find_pass_size(lambda n: None if n > 20_000 else n)
    16384
    >>> find_pass_size(lambda n: min(n, 10_000))
    16384
    """
    size, best = first, speed(first)
    while best is None and size > 1:
        size //= 2
        best = speed(size)
    if best is None or size < first:
        return size
    while 2 * size <= _MOST:
        found = speed(2 * size)
        if found is None or found < _WORTH_IT * best:
            break
        size, best = 2 * size, found
    return size


def pass_speed(model: Any, max_tokens: int, *, max_length: int) -> float | None:
    """Tokens a second that a model scores in passes of so many tokens; None where memory does not suffice for them.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        max_tokens: tokens of a pass.
        max_length: tokens that the model sees at once.

    Raises:
        ModelError: the architecture cannot score.
    """
    likelihood = AnswerLikelihood(model, max_tokens_per_batch=max_tokens)
    prefixes, targets = _one_pass(max_tokens, max_length, model.get_output_embeddings().weight.shape[0])
    likelihood(prefixes, targets)  # Memory is asked for, and kernels are made ready.
    started = time.perf_counter()
    likelihood(prefixes, targets)
    seconds = time.perf_counter() - started
    if likelihood.max_tokens_per_batch < max_tokens:
        return None
    return len(prefixes) * (len(prefixes[0]) + sum(len(target.ids) for target in targets)) / seconds


def _one_pass(max_tokens: int, max_length: int, n_words: int) -> tuple[list[list[int]], list[TokenTarget]]:
    """Made-up texts of usual sizes that fill one pass."""
    n_prefix, n_target = min(_PREFIX, max_length // 2), max(2, min(_TARGET, max_length // 2))
    n_prefixes = max(1, max_tokens // (_PREFIX + _TARGETS * _TARGET))
    n_targets = max(1, (max_tokens // n_prefixes - n_prefix) // n_target)
    rng = np.random.default_rng(0)
    prefixes = rng.integers(0, n_words, (n_prefixes, n_prefix)).tolist()
    ids = rng.integers(0, n_words, (n_targets, n_target)).tolist()
    return prefixes, [TokenTarget(tuple(each), n_target // 2, n_target) for each in ids]

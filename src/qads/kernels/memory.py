"""How the libraries say that memory ran out; each says it in its own way."""

from __future__ import annotations

import torch

__all__ = ["is_out_of_memory"]

_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc", "can't start new thread")
"""The last for want of a stack: threads are memory too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an error for want of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)

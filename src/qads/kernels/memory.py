"""Where memory runs out: how the libraries say it, each in its own way, and what to do with less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from qads.errors import ModelError
from qads.kernels.lanes import MOST_LANES

__all__ = ["PassLimits", "is_out_of_memory"]

_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc", "can't start new thread")
"""The last for want of a stack: threads are memory too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an error for want of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


class PassLimits:
    """How much of a model runs at once: the tokens of a pass, and passes side by side.

    Args:
        model: a model of transformers.
        max_tokens: tokens of a pass, at first.
        notify: is told when memory ran out.
    """

    def __init__(self, model: Any, *, max_tokens: int, notify: Callable[[str], None] | None = None) -> None:
        self._model, self._first = model, max_tokens
        self._notify = notify or (lambda _: None)
        self.max_tokens = max_tokens
        """Tokens of a pass now."""
        self.most_lanes = MOST_LANES if model.device.type == "cpu" else 1
        """Passes side by side at most."""

    def lower(self, error: Exception) -> None:
        """Go on with half the tokens in a pass where memory ran out, at last with one pass at a time.

        Raises:
            ModelError: there is nothing smaller than one text alone.
            Exception: any other error, as it came.
        """
        if not is_out_of_memory(error):
            raise error
        if self.max_tokens >= 2 and "new thread" not in str(error):
            self.max_tokens //= 2
            self._notify(f"out of memory: going on with max_tokens_per_batch = {self.max_tokens}")
        elif self.most_lanes > 1 and torch.get_num_threads() > 1:
            self.most_lanes, self.max_tokens = 1, max(1, self._first // 2)
            self._notify(f"out of memory: going on with one pass at a time, of {self.max_tokens} tokens")
        else:
            raise ModelError(
                f"{_name(self._model)}: memory does not suffice for one text alone ({error}). Set "
                "max_length to leave out the longest, or use a device with more memory."
            ) from error


def _name(model: Any) -> str:
    """What to call a model: a sentence encoder has no configuration of its own."""
    return getattr(getattr(model, "config", None), "model_type", type(model).__name__)

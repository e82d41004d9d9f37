"""Memory of models that nothing uses any more.

A model with its trainer, or with an attention of another make, refers to itself: Python gives it back only when its
collector comes round, which is a matter of objects and not of bytes. And what it gives back the C library keeps, in
pieces between what is still in use. A comparison that had trained 135 M parameters four times held 10 GB by both.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any
from weakref import WeakSet

__all__ = ["give_back_models", "remember_model"]

_WORTH_BYTES = 2**26
"""Weights from which it is worth to look through all objects of the process, which takes a tenth of a second."""


class _Opened:
    """The models that are open, and whether one was since memory was last given back."""

    def __init__(self) -> None:
        self.models: WeakSet[Any] = WeakSet()
        self.is_worth_it = False

    @property
    def n_bytes(self) -> int:
        return sum(each.nbytes for model in list(self.models) for each in model.parameters())


_opened = _Opened()


def remember_model(model: Any) -> None:
    """Know a model until it is gone."""
    _opened.models.add(model)
    _opened.is_worth_it = _opened.n_bytes >= _WORTH_BYTES


def give_back_models() -> None:
    """Give the memory of models back that nothing uses any more."""
    if _opened.is_worth_it:
        gc.collect()
        _trim()
        _opened.is_worth_it = _opened.n_bytes >= _WORTH_BYTES


def _trim() -> None:
    """Let the C library give back what is free, where it is the GNU one."""
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # Another C library, or Windows.
        return None

"""Models that nothing uses any more and that memory still holds.

A model with its trainer, or with an attention of another make, refers to itself: Python gives it back only when its
collector comes round, which is a matter of objects and not of bytes. Two such models of 135 M parameters with their
optimiser states are 4 GB.
"""

from __future__ import annotations

import gc
from typing import Any
from weakref import WeakSet

__all__ = ["give_back_models", "remember_model"]

_WORTH_BYTES = 2**26
"""Weights from which it is worth to look through all objects of the process, which takes a tenth of a second."""
_opened: WeakSet[Any] = WeakSet()


def remember_model(model: Any) -> None:
    """Know a model until it is gone."""
    _opened.add(model)


def give_back_models() -> None:
    """Give the memory of models back that nothing uses any more."""
    if sum(each.nbytes for model in list(_opened) for each in model.parameters()) >= _WORTH_BYTES:
        gc.collect()

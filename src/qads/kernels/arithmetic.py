"""Float32 arithmetic with the weights that a model has.

What is computed once and enters every result should not be rounded as what is computed a thousand times may be: the
error of an anchor's zero-shot score is in the influence of every candidate on it. Copying a model into float32 takes
twice its memory; here each module's own weights are widened while it runs, and no longer.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

import torch

__all__ = ["float32_arithmetic"]


@contextmanager
def float32_arithmetic(model: Any) -> Generator[None]:
    """Let the modules of a model compute in float32; afterwards it is what it was. Passes may run side by side."""
    hooks: list[Any] = []
    for module in model.modules():
        names = [n for n, weight in module.named_parameters(recurse=False) if weight.dtype in _NARROW]
        if names:
            widened = _Widened(names)
            hooks.append(module.register_forward_pre_hook(widened.before))
            # Also when the pass fails, or the next one would find float32 weights.
            hooks.append(module.register_forward_hook(widened.after, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


_NARROW = (torch.bfloat16, torch.float16)


class _Widened:
    """The weights of one module: float32 from the first pass that enters it to the last that leaves."""

    def __init__(self, names: list[str]) -> None:
        self._names, self._lock = names, Lock()
        self._inside = set[int]()
        """Threads whose passes are in the module."""
        self._own: dict[str, torch.nn.Parameter] = {}

    def before(self, module: torch.nn.Module, _: Any) -> None:
        with self._lock:
            if not self._inside:
                wide = {name: _wide(module.get_parameter(name)) for name in self._names}
                self._own = {name: module.get_parameter(name) for name in self._names}
                for name, weight in wide.items():
                    setattr(module, name, weight)
            self._inside.add(get_ident())

    def after(self, module: torch.nn.Module, *_: Any) -> None:
        with self._lock:
            if get_ident() not in self._inside:  # Memory did not suffice to widen it.
                return
            self._inside.remove(get_ident())
            if not self._inside:
                for name, weight in self._own.items():
                    setattr(module, name, weight)
                self._own.clear()


def _wide(weight: torch.nn.Parameter) -> torch.nn.Parameter:
    return torch.nn.Parameter(weight.float(), requires_grad=False)

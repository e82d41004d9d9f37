"""How fast a device multiplies matrices, here and now: what the operations of a model are held against."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from qads.kernels.memory import is_out_of_memory

__all__ = ["matmul_peak"]

_SIZES = (512, 1024, 2048, 4096, 8192)
"""Square matrices: a CPU is at its best with some hundreds of rows already, a large GPU with thousands."""
_SECONDS = 1.0
"""For all sizes together, about."""
_TIMES = 8
"""Products of one size at most; the fastest counts, since a busy machine only slows them."""


@lru_cache(maxsize=16)
def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of the fastest of some matrix products; measured once in a process."""
    best, until = 0.0, time.perf_counter() + _SECONDS
    for n in _SIZES:
        if best and 2 * 2 * n**3 / best > until - time.perf_counter():  # Two products would take longer than is left.
            break
        try:
            best = max(best, _fastest(n, device, dtype, until))
        except (RuntimeError, MemoryError) as error:
            if not best or not is_out_of_memory(error):
                raise
            break  # The model takes nearly all memory; smaller products have told enough.
        if time.perf_counter() > until:
            break
    return best


def _fastest(n: int, device: torch.device, dtype: torch.dtype, until: float) -> float:
    """Operations a second of the fastest product of one size; one at least, and none begun after `until`."""
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    _product_seconds(a, b)  # The first one of a size also sets things up.
    best = 0.0
    for _ in range(_TIMES):
        best = max(best, 2 * n**3 / _product_seconds(a, b))
        if time.perf_counter() > until:
            break
    return best


def _product_seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    started = time.perf_counter()
    (a @ b)[0, 0].item()  # .item() waits for the device.
    return time.perf_counter() - started

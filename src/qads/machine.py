"""What this process has to compute with: cores, devices, and the processes that a launcher has started with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from qads.choices import check_choice
from qads.errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["Dtype", "is_first_process", "n_cores", "n_processes", "resolve_device", "resolve_dtype"]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_processes() -> int:
    """Processes that a launcher (accelerate, torchrun) has started to train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the one of them that writes and speaks; a process that nobody launched is."""
    return os.environ.get("RANK", "0") == "0"


def resolve_device(device: str) -> torch.device:
    """The device that ``auto`` stands for here, or the one named.

    Raises:
        ModelError: the name is none of torch's, or the device is not there.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return found


def resolve_dtype(dtype: Dtype, device: str) -> Dtype:
    """The precision that ``auto`` becomes on a device: it changes results, so it is recorded and fingerprinted.

    Raises:
        InputError: it is no precision.
        ModelError: the device is not there.
    """
    import torch

    check_choice(dtype, get_args(Dtype), name="dtype", method="model")
    if dtype != "auto":
        return dtype
    kind = resolve_device(device).type
    if kind == "cuda":
        hardware = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # No public name in torch says this yet.
        hardware = kind == "cpu" and torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
    return "bfloat16" if hardware else "float32"

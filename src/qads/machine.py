"""What this process has to compute with: cores, and the processes that a launcher has started with it."""

from __future__ import annotations

import os

__all__ = ["is_first_process", "n_cores", "n_processes"]


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_processes() -> int:
    """Processes that a launcher (accelerate, torchrun) has started to train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the one of them that writes and speaks; a process that nobody launched is."""
    return os.environ.get("RANK", "0") == "0"

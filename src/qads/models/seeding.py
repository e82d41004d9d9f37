"""Global generators that libraries draw from, seeded for a while."""

from __future__ import annotations

import random
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Global generators are seeded, and afterwards as they were; warnings of names that will change are not shown."""
    import torch
    from transformers import set_seed

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        set_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002

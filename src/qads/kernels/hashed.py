"""Draws by SHA-256: the same on every machine and for every version of a library, and of each name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt64

__all__ = ["hashed"]


def hashed(names: Iterable[str], *, seed: int, purpose: str) -> UInt64[np.ndarray, " n"]:
    """The first eight bytes of the SHA-256 of seed, purpose and name, as numbers.

    >>> hashed(["a"], seed=0, purpose="draw")
    array([3498458421747589130], dtype=uint64)
    """
    start = hashlib.sha256(f"{seed}\0{purpose}\0".encode())

    def digest(name: str) -> bytes:
        own = start.copy()
        own.update(name.encode())
        return own.digest()[:8]

    return np.frombuffer(b"".join(map(digest, names)), dtype=">u8").astype(np.uint64)

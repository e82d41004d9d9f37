"""Embeddings on their way to shards: an array, which is sent, or a file, which every machine reads for itself."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from qads.errors import InputError
from qads.kernels.distance import Rows

__all__ = ["StoredRows", "file_of", "opened"]

_TYPES = ("float64", "float32", "float16", "uint16")


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Some rows of a .npy file that every machine of a cluster reads under one name."""

    path: Path
    """The file; its values are as those of `Rows`, uint16 being the bits of bfloat16."""
    shape: tuple[int, int]
    """Rows and dimensions of the whole file."""
    dtype: str
    """Type of its numbers."""
    part: range
    """The rows."""

    def read(self) -> Rows:
        """Map the rows into memory; they are read when they are needed.

        Raises:
            InputError: there is no such file here, or another one.
        """
        x = opened(self.path)
        if x.shape != self.shape or x.dtype != np.dtype(self.dtype):
            raise InputError(
                f"ClusterGreedy: {self.path} on {platform.node()} has shape {x.shape} and type {x.dtype}, where the "
                f"selection began {self.shape} and {self.dtype}; every machine must read the same file under this name."
            )
        return x[self.part.start : self.part.stop]


def opened(path: Path) -> Rows:
    """The rows of a .npy file, mapped into memory.

    Raises:
        InputError: it cannot be read, or does not hold rows of numbers in C order and the machine's byte order.
    """
    try:
        x = open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(
            f"ClusterGreedy: {path} cannot be read on {platform.node()} ({error}); it must be a .npy file that every "
            "machine reads under this name. Put it on a shared file system, or give the array."
        ) from error
    if x.ndim != 2 or x.dtype.name not in _TYPES or not x.dtype.isnative or not x.flags.c_contiguous:
        raise InputError(
            f"ClusterGreedy: {path} holds an array of shape {x.shape} and type {x.dtype}"
            f"{'' if x.flags.c_contiguous else ', in Fortran order'}; it must be rows [n, d] in C order of one of the "
            f"types {', '.join(_TYPES)} (uint16: the bits of bfloat16)."
        )
    return np.asarray(x)


def file_of(embeddings: object) -> Path | None:
    """The .npy file of floats that a memory map shows the whole of, if it is one."""
    if not isinstance(embeddings, np.memmap) or embeddings.dtype.kind != "f":
        return None
    path = Path(str(embeddings.filename))
    try:
        whole = opened(path)
    except InputError:
        return None
    is_whole = whole.shape == embeddings.shape and whole.dtype == embeddings.dtype and embeddings.flags.c_contiguous
    return path if is_whole else None

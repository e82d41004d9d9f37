"""What the system refuses to write, told so that it can be mended."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qads.errors import StorageError

__all__ = ["FULL", "flush", "storing"]

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The system's numbers for a place that has no more room."""
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EIO,
    errno.ESTALE,
}  # fmt: skip
_OF_BYTES = {errno.EIO, errno.ESTALE}
"""Of these, what the system tells of a file that is open already."""
_OF_ARROW = re.compile(r"local file '(.+)'\. Detail")
"""How Arrow tells of which file it is."""
_OF_RUST = re.compile(r"\(os error (\d+)\)")
"""How safetensors tells the system's error."""
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")
"""How NumPy tells that less was written than it wanted."""


@contextmanager
def storing(path: Path, *also: Path) -> Generator[None]:
    """While the block writes `path`: what the system refuses becomes an error that says where and what to do.

    Args:
        path: the file or folder that is written.
        also: other names under which it is, until it is whole.

    Raises:
        StorageError: the disk is full, may not be written to, or is gone.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        number = _number(error)
        if number in FULL:
            raise _refused(path, number, f"{_free(path)} Make room there, or give another place") from error
        if number in _REFUSED and isinstance(error, OSError) and _is_of(path, error, also):
            raise _refused(path, number, _hint(path, number)) from error
        raise


def flush(path: Path) -> None:
    """A file's bytes, or a folder's names, are on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_of(path: Path, error: OSError, also: tuple[Path, ...]) -> bool:
    """Whether an error is about the file that is written, and not about one that is read meanwhile.

    Arrow names a file in its message alone. No file is named where bytes are written or flushed; nor where they are
    read, so that a source on a disk that fails meanwhile is not told from it.
    """
    named = error.filename or _OF_ARROW.search(str(error))
    if named is None:
        return error.errno in _OF_BYTES
    file = Path(named[1] if isinstance(named, re.Match) else os.fsdecode(named))
    begun = file.parent == path.parent and file.name.startswith(f".{path.name}.")
    return begun or file in {path, *also, *path.parents}


def _number(error: Exception) -> int | None:
    """The system's number of an error, whichever library tells it."""
    if isinstance(error, OSError):
        return errno.ENOSPC if error.errno is None and _OF_NUMPY.search(str(error)) else error.errno
    told = _OF_RUST.search(str(error))
    return int(told[1]) if told else None


def _refused(path: Path, number: int, hint: str) -> StorageError:
    return StorageError(
        number,
        f"{path}: cannot be written: {os.strerror(number)}. {hint}, then start the same command again: what is "
        "finished is kept, and nothing half-written is used.",
    )


def _hint(path: Path, number: int) -> str:
    if number in (errno.EACCES, errno.EPERM):
        folder = _existing(path)
        return (
            f"You are user {os.geteuid()}, and {folder} belongs to user {folder.stat().st_uid}. Give yourself the right"
        )
    if number == errno.EROFS:
        return "The file system is mounted read-only. Give another place"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ESTALE):
        return f"Its folder is not there (any more): the nearest is {_existing(path)}. Put it back"
    if number == errno.EISDIR:
        return "There is a folder of that name. Move it away"
    return "The disk reports an error of its own. Look at the system's log"


def _free(path: Path) -> str:
    folder = _existing(path)
    found = shutil.disk_usage(folder)
    return f"Of {_size(found.total)} on the file system of {folder} {_size(found.free)} are free."


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    return next((each for each in path.absolute().parents if each.is_dir()), Path("/"))


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"

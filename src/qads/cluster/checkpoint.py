"""Picks on disk, so that a selection whose process ended goes on where it was.

Picks are all there is to keep: what shards know is a function of their rows and the picks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float

from qads.errors import InputError, StorageError
from qads.kernels.distance import Given, GreedyPicks, Rows
from qads.kernels.limits import Limits
from qads.storage import flush, storing

__all__ = ["Checkpoint", "UnusableCheckpointError", "identity"]

_log = logging.getLogger(__name__)

_VERSION = 1
_BLOCK = 2**24  # Bytes that are hashed at a time.

Identity = dict[str, str]
"""What a selection is of, by the name of the input."""


class UnusableCheckpointError(InputError):
    """A file that is no checkpoint, or that of another selection."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}.")
        self.reason = reason
        """What is wrong with it."""


class Checkpoint:
    """The first picks of one selection, in a .npz file that is always whole."""

    def __init__(self, path: Path, of: Identity, *, every: int, method: str = "ClusterGreedy") -> None:
        """Picks `of` these inputs, written once in so many picks; `method` is for messages."""
        self._path, self._of, self._every, self._method = path, of, every, method
        self._n_kept = 0

    def load(self, k: int) -> GreedyPicks | None:
        """What was kept, at most k picks; None where nothing was.

        Raises:
            UnusableCheckpointError: the file is of other inputs, which are named, or is no such file.
        """
        if not self._path.exists():
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                of: dict[str, str] = json.loads(str(kept["of"]))
                picks = GreedyPicks(*(kept[name][:k] for name in GreedyPicks._fields))
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise UnusableCheckpointError(
                f"{self._method}: {self._path} is no checkpoint of a selection ({error})",
                "delete it, or give another path",
            ) from error
        other = [name for name in (self._of | of) if of.get(name) != self._of.get(name)]
        if other:
            raise UnusableCheckpointError(
                f"{self._method}: the checkpoint {self._path} is of another selection, with other {', '.join(other)}",
                "give the inputs that it was made with, or another path",
            )
        self._n_kept = len(picks.indices)
        return picks

    def keep(self, picks: GreedyPicks, n_picked: int, *, now: bool = False) -> None:
        """Write the first picks if they are the first ones, or many more than are kept, or `now`."""
        due = n_picked > self._n_kept if now else n_picked >= self._n_kept + self._every or self._n_kept == 0
        if not due or n_picked == 0:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        self._clear()
        try:
            with storing(self._path, temporary):
                with temporary.open("xb") as file:
                    np.savez(
                        file, of=np.array(json.dumps(self._of)), indices=picks.indices[:n_picked],
                        gains=picks.gains[:n_picked], distances=picks.distances[:n_picked],
                        nearest=picks.nearest[:n_picked],
                    )  # fmt: skip
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
                flush(self._path.parent)
        finally:
            temporary.unlink(missing_ok=True)
        self._n_kept = n_picked

    @contextmanager
    def at_the_end(self, picked: Callable[[], tuple[GreedyPicks, int]]) -> Generator[None]:
        """Write what is picked when the block ends, however it does; an error of the block goes before one of writing.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            yield
        except BaseException:
            try:
                self.keep(*picked(), now=True)
            except StorageError as error:
                _log.warning("the last picks are lost: %s", error)
            raise
        self.keep(*picked(), now=True)

    def _clear(self) -> None:
        """Remove what was begun and is not written any more: by killed processes, or a link in the place of our own."""
        begun = re.compile(rf"\.{re.escape(self._path.name)}\.([0-9]+)\.partial")
        with suppress(OSError):  # Writing tells what is wrong with the folder.
            for path in list(self._path.parent.iterdir()):
                if (found := begun.fullmatch(path.name)) and (int(found[1]) == os.getpid() or _is_gone(int(found[1]))):
                    path.unlink()


def _is_gone(process: int) -> bool:
    """Whether there is no such process on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def identity(
    x: Rows,
    weight: Float[np.ndarray, " n"],
    *,
    start: Sequence[int],
    cosine: bool,
    distance_share: float | None,
    given: Given | None,
    limits: Limits | None = None,
) -> Identity:
    """What a selection is of: all that its picks depend on, but their number where they do not. Reads the rows once.

    Limits must not have been used yet.
    """
    marks = {} if limits is None else limits.marks()
    return {name: " ".join(_hash(array) for array in arrays) for name, arrays in marks.items()} | {
        "version": str(_VERSION),
        "embeddings": _hash(x),
        "weight": _hash(weight),
        "start": _hash(np.array(start, np.int64)),
        "given": "" if given is None else _hash(given),
        "metric": "cosine" if cosine else "euclidean",
        "distance_share": repr(distance_share),
    }


def _hash(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape}".encode())
    rows = max(1, _BLOCK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[first : first + rows]).data)
    return digest.hexdigest()

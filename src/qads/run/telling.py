"""How far a process is, told to others by a small file: what `qads status` reads while it works, and after it died."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from qads.pool import Progress
from qads.run.directory import TOLD

__all__ = ["Told", "read_told"]

_SECONDS = 2.0


@dataclass
class Told:
    """Writes the file now and then, and hands on what it hears.

    Args:
        root: directory of the run, which the caller has locked.
        inner: hears the same.
    """

    root: Path
    inner: Progress | None = None
    _last: float = field(default=float("-inf"), init=False)

    def __call__(self, done: int, total: int) -> None:
        """So many of `total` are done."""
        if self.inner is not None:
            self.inner(done, total)
        now = time.monotonic()
        if now - self._last >= _SECONDS or done == total:
            self._last = now
            partial = self.root / f"{TOLD}.new"
            with suppress(OSError):  # What is told is a courtesy, and stops no work on a full disk.
                partial.unlink(missing_ok=True)  # Of a killed process; or a link, which would be written through.
                with partial.open("x", encoding="utf-8") as file:
                    json.dump({"done": done, "of": total}, file)
                os.replace(partial, self.root / TOLD)


def read_told(root: Path) -> tuple[int, int] | None:
    """(done, of) as it was told last; None where nothing was, or it cannot be read."""
    try:
        found = json.loads((root / TOLD).read_text(encoding="utf-8"))
        return int(found["done"]), int(found["of"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

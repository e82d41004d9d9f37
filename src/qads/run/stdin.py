"""Standard input as a source: kept in the run directory, so that a second start can read it again."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

from qads.config import RunConfig
from qads.datasets import atomic_path
from qads.errors import DriftError, PoolError
from qads.run.shards import file_sha256

__all__ = ["local_sources", "spool_stdin", "stdin_file", "stdin_stage", "told_as_stdin"]


def stdin_file(root: Path) -> Path:
    """Where a run keeps what came through standard input, so that a second start can read it again."""
    return root / "input" / "stdin.jsonl"


def local_sources(sources: tuple[str, ...], stdin: Path) -> tuple[str, ...]:
    """The sources with standard input replaced by the file that holds it."""
    return tuple(str(stdin) if source == "-" else source for source in sources)


def stdin_stage(config: RunConfig) -> str | None:
    """The stage that reads standard input."""
    if "-" in config.pool.sources:
        return "pool"
    return "anchors" if "-" in config.anchors.sources else None


def spool_stdin(config: RunConfig, kept: Path, target: Path, *, replace: bool = False) -> Path:
    """Keep standard input, if the configuration reads it, in a file.

    Args:
        config: what is going to run.
        kept: the file that an earlier start may have left; serves where nothing is piped in now.
        target: the file to write.
        replace: let what is piped in now take the place of what was kept.

    Returns:
        The file that holds it.

    Raises:
        PoolError: nothing is piped in, and nothing was kept.
        DriftError: something else than what was kept.
    """
    if stdin_stage(config) is None:
        return kept
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    if sys.stdin is not None and not sys.stdin.isatty():
        with atomic_path(fresh) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    if not fresh.exists() or fresh.stat().st_size == 0:
        fresh.unlink(missing_ok=True)
        if not kept.exists():
            raise PoolError("'-' reads standard input, but nothing is piped into it.")
        return kept
    if kept.exists() and not replace and file_sha256(kept) != file_sha256(fresh):
        fresh.unlink()
        raise DriftError(
            f"{kept}: the run was made from this, and other rows come through standard input now. To go on "
            "with what was kept, pipe nothing in; to start anew: "
            f"--redo {stdin_stage(config)}, or another directory."
        )
    fresh.replace(target)
    return target


@contextlib.contextmanager
def told_as_stdin(root: Path) -> Generator[None]:
    """Tell what is wrong with standard input as of standard input, not of the file that it is kept in."""
    try:
        yield
    except PoolError as error:
        if (kept := str(stdin_file(root))) not in error.found:
            raise
        found = error.found.replace(kept, "standard input, which is read as JSON Lines")
        raise PoolError(found, advice=error.advice) from error

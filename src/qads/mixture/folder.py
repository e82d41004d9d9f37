"""A folder that is there whole or not at all, and takes the place of nothing but a mixture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import filelock

from qads.errors import LockedError, RunError
from qads.storage import flush

__all__ = ["MANIFEST", "check_replaceable", "whole_folder"]

MANIFEST = "manifest.json"
_LOCK = ".lock"


@contextmanager
def whole_folder(out: Path) -> Generator[Path]:
    """A folder beside `out` that becomes `out` when the block ends without an error.

    A mixture that is there is replaced then, and only then. What a killed process has left is used by nobody and is
    cleared by the next that writes there.

    Raises:
        RunError: `out` holds something else than a mixture, or the place cannot be written to.
        LockedError: another process is writing it.
    """
    check_replaceable(out)
    partial = out.absolute().with_name(f".{out.name}.partial")
    lock = filelock.FileLock(partial / _LOCK, timeout=0)
    if partial.is_symlink():  # What it points to would be cleared.
        raise RunError(f"{partial}: is a link, in the place where the mixture is made. Remove it.")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise LockedError(f"{out}: another process is writing it. Wait for it, or write to another folder.") from None
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}. Write to another folder.") from error
    try:
        _clear(partial)
        yield partial
        check_replaceable(out)
        (partial / _LOCK).unlink(missing_ok=True)
        _replace(out, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        lock.release()


def check_replaceable(out: Path) -> None:
    """Refuse a place where something else than a mixture is.

    Raises:
        RunError: names what is there.
    """
    if not out.exists() and not out.is_symlink():
        return
    if Path.cwd().is_relative_to(out.resolve()):
        raise RunError(
            f"{out}: is, or holds, the folder that you are in, and is written whole. Write to another folder."
        )
    if not out.is_dir() or out.is_symlink():
        raise RunError(f"{out}: is no folder. Write to another place.")
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir() or path.is_symlink()}
    if not found:
        return
    own = _own_files(out / MANIFEST)
    strangers = sorted(found - own - {MANIFEST}) if own else sorted(found)
    if strangers:
        shown = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        what = "files that are no part of its mixture" if own else "files, but no mixture"
        raise RunError(f"{out}: holds {what} ({shown}), so it is not replaced. Write to another folder.")


def _own_files(manifest: Path) -> set[str]:
    """The files that a mixture's manifest names; none where there is no such manifest."""
    try:
        found: Any = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(found, dict) or cast(dict[str, Any], found).get("what") != "qads mixture":
        return set()
    return set(cast(dict[str, Any], found).get("files") or {})


def _replace(out: Path, partial: Path) -> None:
    old = partial.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    flush(out.absolute().parent)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()

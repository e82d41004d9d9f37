"""One process at a time in a run directory, on this machine or another that shares the disk.

The lock is the system's (`flock` on `.lock`): it ends with the process that holds it, however that ends, so that none
is ever left behind. Who holds it stands in `.owner`, for people; nothing is decided by it while the system can tell.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from qads.errors import LockedError, RunError
from qads.storage import storing

try:
    import fcntl
except ImportError:  # Not on Windows.
    fcntl = None

__all__ = ["DirectoryLock"]

_SECONDS = 0.3
"""How long another process may be only asking who is there, before it counts as being there."""


@dataclass(frozen=True)
class DirectoryLock:
    """The lock of a run directory."""

    root: Path

    @property
    def owner(self) -> str | None:
        """Who holds it now, as `number` or `number on host`; None where nobody does."""
        held = self._is_held()
        if held is None:
            return self._living_owner()
        return (self._told() or "unknown") if held else None

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold it while the block runs; the directory is made if it is not there.

        Raises:
            LockedError: another process holds it.
            RunError: the directory cannot be made or written to.
            StorageError: the disk is full.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / ".lock", timeout=_SECONDS, poll_interval=0.02)
            lock.acquire()
        except filelock.Timeout:
            raise LockedError(
                f"{self.root}: another run is using this directory (process {self.owner or 'unknown'}). "
                "Wait for it, or give another one."
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with storing(self.root):
                    raise
            raise RunError(
                f"{self.root}: cannot be used as a run directory: {error.strerror}. Give another one."
            ) from error
        try:
            with storing(self.root / ".owner"):
                (self.root / ".owner").write_text(f"{os.getpid()} on {socket.gethostname()}\n")
            yield
        finally:
            with suppress(OSError):  # The directory may be gone.
                (self.root / ".owner").unlink()
            lock.release()

    def _is_held(self) -> bool | None:
        """Whether a process holds the lock; None where the system cannot be asked."""
        if fcntl is None:
            return None
        try:
            file = os.open(self.root / ".lock", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return True if error.errno in (errno.EAGAIN, errno.EACCES) else None
        finally:
            os.close(file)
        return False

    def _told(self) -> str | None:
        """Who `.owner` says it is; a process of this machine by its number alone."""
        try:
            number, _, host = (self.root / ".owner").read_text(encoding="utf-8").strip().partition(" on ")
        except (OSError, ValueError):
            return None
        if not (number.isascii() and number.isdigit()):
            return None
        return number if host in ("", socket.gethostname()) else f"{number} on {host}"

    def _living_owner(self) -> str | None:
        """Who `.owner` says it is, if such a process lives here; one of another machine is taken to live."""
        told = self._told()
        if told is None or not told.isdigit():
            return told
        try:
            os.kill(int(told), 0)
        except PermissionError:
            return told
        except (OSError, OverflowError):
            return None
        return told if int(told) > 0 else None

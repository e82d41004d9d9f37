"""How a process gives up, one by one, what it must not have. Called between the forks, in this order."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import resource
import sys

from qads.sandbox.guest import syscalls
from qads.sandbox.guest.frames import Limits

__all__ = [
    "address_space",
    "close_all_but",
    "die_with_parent",
    "drop_capabilities",
    "enter_namespaces",
    "limit",
    "mount_scratch",
    "use_reserve",
]

_libc = ctypes.CDLL(None, use_errno=True)

RESERVE = 16 << 20
"""Bytes that a program gets on top when it has run out of memory, so that this can be said."""
_OUR_PROCESSES = 4
"""Of the same user in the same user namespace: bubblewrap's, the keeper, the watcher, the first process."""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_namespaces() -> None:
    """New mount, IPC and host-name namespaces for this process, and a new process namespace for its children."""
    new_mounts, new_ipc, new_names, new_processes = 0x00020000, 0x08000000, 0x04000000, 0x20000000
    _check(_libc.unshare(new_mounts | new_ipc | new_names | new_processes), "unshare")


def mount_scratch(n_bytes: int) -> None:
    """An empty folder in memory at /tmp, seen in this mount namespace alone and gone with it."""
    no_suid, no_device, no_exec = 2, 4, 8
    options = f"size={n_bytes},nr_inodes=1024,mode=0700".encode()
    _check(_libc.mount(b"scratch", b"/tmp", b"tmpfs", no_suid | no_device | no_exec, options), "mount")


def die_with_parent() -> None:
    """Be killed when the process that forked this one ends; on Linux, others do not know it."""
    if sys.platform.startswith("linux"):
        _check(_libc.prctl(1, 9, 0, 0, 0), "PR_SET_PDEATHSIG")


def drop_capabilities() -> None:
    """No capability, no way to any, and no other process may look into this one's memory."""
    _check(_libc.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _check(_libc.prctl(47, 4, 0, 0, 0), "PR_CAP_AMBIENT_CLEAR_ALL")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _check(_libc.prctl(4, 0, 0, 0, 0), "PR_SET_DUMPABLE")


def address_space() -> int:
    """Bytes of address space that this process has, found by asking for a page under ever closer limits.

    (/proc, which would say it, is not there.)
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, 1 << 40
    try:
        while high - low > mmap.PAGESIZE:
            middle = (low + high) // 2
            resource.setrlimit(resource.RLIMIT_AS, (middle, before[1]))
            try:
                mmap.mmap(-1, mmap.PAGESIZE).close()
                high = middle
            except (OSError, MemoryError):
                low = middle
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return high


def limit(limits: Limits, base: int) -> None:
    """Set the limits of the program's process, hard ones, and in isolation the filter of system calls.

    Args:
        limits: what it may use.
        base: bytes of address space that the interpreter itself has.
    """
    seconds = math.ceil(limits.seconds)
    hard: dict[int, tuple[int, int]] = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, then SIGKILL for those that do not listen.
        resource.RLIMIT_FSIZE: (limits.scratch, limits.scratch),
        resource.RLIMIT_NOFILE: (64, 64),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_AS: (base + limits.memory, base + limits.memory + RESERVE),
    }
    if limits.isolated:
        n_processes = limits.processes + _OUR_PROCESSES
        hard |= {
            resource.RLIMIT_NPROC: (n_processes, n_processes),
            resource.RLIMIT_MEMLOCK: (0, 0),
            resource.RLIMIT_MSGQUEUE: (0, 0),
            resource.RLIMIT_SIGPENDING: (64, 64),
        }
    for kind, pair in hard.items():
        resource.setrlimit(kind, pair)
    if limits.isolated:
        syscalls.refuse(_libc)


def use_reserve() -> None:
    """Raise the limit of memory to the hard one, to say that it was reached."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def close_all_but(kept: int) -> None:
    """Close every file but 0, 1, 2 and `kept`."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)

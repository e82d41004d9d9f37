"""Look at the walls from inside, before anything that nobody has read runs behind them."""

from __future__ import annotations

import functools
import platform
import subprocess
import tempfile

from qads.errors import SandboxError
from qads.sandbox.guest import syscalls
from qads.sandbox.guest.frames import Limits
from qads.sandbox.worker import Lost, Worker

__all__ = ["bubblewrap_version", "try_walls"]

# `unshare` the filter refuses; `clone` with the same flag it lets pass, so that bubblewrap's own wall is looked at.
_TRIAL = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
assert os.getpid() == 2 and os.getppid() == 1, "it sees other processes"
assert not os.path.exists("/proc") and not os.path.exists("/etc/passwd"), "it sees files of the machine"
assert libc.unshare(0x10000000) and libc.mount(b"x", b"/tmp", b"tmpfs", 0, None), "it has rights"
child = libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
assert child == -1, "it makes user namespaces"
try:
    socket.socket()
except PermissionError:
    print("contained")
"""


@functools.cache
def try_walls(bwrap: str) -> None:
    """Run a program that looks at the walls from inside; once a process.

    Raises:
        SandboxError: they are not there.
    """
    if platform.machine() not in syscalls.MACHINES:
        known = ", ".join(syscalls.MACHINES)
        raise SandboxError(f"no list of refused system calls for {platform.machine()}; there is one for {known}.")
    try:
        with tempfile.TemporaryDirectory(prefix="qads-sandbox-") as folder:
            worker = Worker(Limits(), (), folder)
            try:
                reply = worker.run(_TRIAL)
            finally:
                worker.close()
        found = reply.message or reply.answer
    except Lost as lost:
        found = str(lost)
    if found != "contained":
        raise SandboxError(
            f"programs cannot be run in isolation here: {found}. {bwrap} ({bubblewrap_version(bwrap)}) must be 0.8 or"
            " newer and allowed to make user namespaces (in a container: --privileged, or a seccomp profile that allows"
            " unshare and mount; on Ubuntu 24.04 and later an AppArmor profile for bwrap)."
        )


def bubblewrap_version(bwrap: str) -> str:
    """What it says of itself."""
    found = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "of unknown version"

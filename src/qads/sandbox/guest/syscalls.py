"""The system calls that a program is refused: ways to more memory than it may have, and corners of the kernel.

A filter of the classic BPF kind (seccomp(2), ``SECCOMP_SET_MODE_FILTER``), built here because it must be set after the
fork, in the program's own process: what the sandbox does for a program (namespaces, mounts) needs calls that the
program itself must not have. It refuses a list; what is not on it is left to namespaces, limits and permissions.

`clone` is not on it, whatever its flags: that it makes no user namespace is bubblewrap's doing (``--disable-userns``),
and a filter in front of that wall would hide from the trial (`qads.sandbox.trial`) whether it stands.

Numbers are those of the kernel's tables, ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``asm-generic/unistd.h``.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

__all__ = ["MACHINES", "filter_for", "refuse"]

_X86_64 = {
    "socket": 41,
    "execve": 59,
    "execveat": 322,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "pidfd_getfd": 438,
    "memfd_create": 319,
    "memfd_secret": 447,
    "shmget": 29,
    "shmat": 30,
    "shmctl": 31,
    "semget": 64,
    "msgget": 68,
    "mq_open": 240,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "setns": 308,
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "move_mount": 429,
    "open_tree": 428,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "fanotify_init": 300,
    "quotactl": 179,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "io_setup": 206,
    "vmsplice": 278,
    "personality": 135,
    "modify_ldt": 154,
    "iopl": 172,
    "ioperm": 173,
    "kexec_load": 246,
    "kexec_file_load": 320,
    "init_module": 175,
    "finit_module": 313,
    "delete_module": 176,
    "reboot": 169,
    "swapon": 167,
    "swapoff": 168,
    "acct": 163,
    "syslog": 103,
}
_AARCH64 = {
    "socket": 198,
    "execve": 221,
    "execveat": 281,
    "ptrace": 117,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "pidfd_getfd": 438,
    "memfd_create": 279,
    "memfd_secret": 447,
    "shmget": 194,
    "shmat": 196,
    "shmctl": 195,
    "semget": 190,
    "msgget": 186,
    "mq_open": 180,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "unshare": 97,
    "setns": 268,
    "mount": 40,
    "umount2": 39,
    "pivot_root": 41,
    "chroot": 51,
    "move_mount": 429,
    "open_tree": 428,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "fanotify_init": 262,
    "quotactl": 60,
    "bpf": 280,
    "perf_event_open": 241,
    "userfaultfd": 282,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "io_setup": 0,
    "vmsplice": 75,
    "personality": 92,
    "kexec_load": 104,
    "kexec_file_load": 294,
    "init_module": 105,
    "finit_module": 273,
    "delete_module": 106,
    "reboot": 142,
    "swapon": 224,
    "swapoff": 225,
    "acct": 89,
    "syslog": 116,
}
_CLONE3 = 435  # On both. Its flags lie in memory, where no filter can look; clone serves as well.
MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
"""Per machine: the mark that the kernel has for it (``AUDIT_ARCH_…``), and the refused calls."""

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000  # Calls of the x32 interface are x86-64 calls by other numbers.


def filter_for(machine: str) -> bytes:
    """The filter, as the kernel reads it: eight bytes an instruction.

    Raises:
        KeyError: there is no list for such a machine.
    """
    mark, refused = MACHINES[machine]
    lines = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, mark), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]  # glibc falls back to clone.
    for number in refused.values():
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    lines += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def refuse(libc: ctypes.CDLL) -> None:
    """Set the filter for this process and all that come of it; it cannot be taken away again."""
    code = filter_for(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    set_filter, mode_filter = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    if libc.prctl(set_filter, mode_filter, program, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {errno.errorcode.get(number, number)}")

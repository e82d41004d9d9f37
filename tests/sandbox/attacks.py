"""Programs that do what a program must not be able to do, each with what must become of it.

A program that reports tries one thing and prints what happened: its answer is part of what is expected. ``{home}``,
``{secret}`` and ``{project}`` stand for a folder of the user, a file in it and the folder of this project.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ATTACKS", "Attack"]


@dataclass(frozen=True)
class Attack:
    """A program, the status that it must get, and the answer, or None where it must have none.

    Where more than one outcome contains it (who owns a file is another matter on each machine), a ``|`` divides them.
    """

    program: str
    status: str
    answer: str | None = None
    message: str = ""
    """What the message must hold."""


def _try(code: str, *, imports: str = "os") -> str:
    """A program that prints the name of the error that `code` raises, or "done"."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return f"import {imports}\ntry:\n{body}\n    print('done')\nexcept BaseException as error:\n    print(type(error).__name__)"


_NETWORK = {
    "tcp": _try("socket.create_connection(('127.0.0.1', 22), 1)", imports="socket"),
    "udp": _try("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))", imports="socket"),
    "ipv6": _try("socket.socket(socket.AF_INET6)", imports="socket"),
    "abstract unix socket": _try("socket.socket(socket.AF_UNIX).bind('\\0qads')", imports="socket"),
    "netlink": _try("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", imports="socket"),
}
_FILES = {
    "passwd": _try("open('/etc/passwd').read()"),
    "home": _try("os.listdir('{home}')"),
    "a secret of the user": _try("open('{secret}').read()"),
    "project": _try("os.listdir('{project}/docs')"),
    "link out": _try("os.symlink('{secret}', '/tmp/link'); open('/tmp/link').read()"),
    "path out": _try("open('/tmp/../../..{secret}').read()"),
    "memory of itself": _try("open('/proc/self/mem', 'rb')"),
    "memory of the first process": _try("open('/proc/1/mem', 'rb')"),
    "other processes": _try("os.listdir('/proc')"),
    "settings of the kernel": _try("open('/proc/sys/kernel/core_pattern', 'w')"),
    "devices of the kernel": _try("open('/sys/kernel/uevent_helper', 'w')"),
    "shared memory": _try("open('/dev/shm/x', 'w')"),
}
_WRITES = {
    "root folder": "open('/x', 'w')",
    "root folder, with folders": "os.makedirs('/srv/x/y')",
    "library": "open(os.__file__, 'a')",
    "package": "import numpy; open(numpy.__file__, 'a')",
    "its own jailer": "open('/code/qads/sandbox/guest/keeper.py', 'a')",
    "packages": "open('/packages/sitecustomize.py', 'w')",
    "device": "open('/dev/x', 'w')",
}
_LIBC = "libc = ctypes.CDLL(None, use_errno=True)\n"
_CALLS = {
    "ptrace": "libc.ptrace(16, 1, 0, 0)",
    "memory of another": "libc.process_vm_readv(1, None, 0, None, 0, 0)",
    "new user namespace": "libc.unshare(0x10000000)",
    "mount": "libc.mount(b'x', b'/tmp', b'tmpfs', 0, None)",
    "remount": "libc.mount(None, b'/', None, 0x1020, None)",
    "chroot": "libc.chroot(b'/tmp')",
    "memory without address": "libc.memfd_create(b'x', 0)",
    "System V memory": "libc.shmget(0, 1 << 30, 0o1600)",
    "keys": "libc.syscall(250 if os.uname().machine == 'x86_64' else 219, 0, -3, 1)",
    "io_uring": "libc.syscall(425, 1, ctypes.create_string_buffer(120))",
    "bpf": "libc.syscall(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)",
}
_CLONE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
number = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000000 | 17, 0, 0, 0, 0)
if number == 0:
    os._exit(0)
print(min(number, 1), os.strerror(ctypes.get_errno()))
"""
"""A user namespace by the call that forks, which the filter lets pass: what refuses it is bubblewrap alone."""
_REFUSED = {
    **{name: Attack(program, "ok", "PermissionError") for name, program in _NETWORK.items()},
    **{name: Attack(program, "ok", "FileNotFoundError") for name, program in _FILES.items()},
    **{f"writing to the {name}": Attack(_try(code), "ok", "OSError|PermissionError") for name, code in _WRITES.items()},
    **{
        f"call: {name}": Attack(
            f"import ctypes, os\n{_LIBC}print({call}, os.strerror(ctypes.get_errno()))",
            "ok",
            "-1 Operation not permitted",
        )
        for name, call in _CALLS.items()
    },
    "call: new user namespace by clone": Attack(_CLONE, "ok", "-1 No space left on device|-1 Operation not permitted"),
    "other command": Attack(_try("os.execv('/usr/bin/id', ['id'])"), "ok", "PermissionError"),
    "shell": Attack(
        _try("subprocess.run(['sh', '-c', 'id'], check=True)", imports="subprocess"), "ok", "PermissionError"
    ),
    "another user": Attack(_try("os.setuid(0)"), "ok", "OSError|PermissionError"),
    "more time": Attack(
        _try("resource.setrlimit(resource.RLIMIT_CPU, (99, 99))", imports="resource"), "ok", "ValueError"
    ),
    "more processes": Attack(
        _try("resource.setrlimit(resource.RLIMIT_NPROC, (-1, -1))", imports="resource"), "ok", "ValueError"
    ),
    "more memory": Attack(
        _try("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", imports="resource"), "ok", "ValueError"
    ),
    "environment": Attack(
        "import os; print(sorted(os.environ))",
        "ok",
        "['HOME', 'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PWD', 'PYTHONHASHSEED', 'PYTHONPATH', 'TMPDIR', 'TZ']",
    ),
    "what there is": Attack(
        "import os; print(*sorted(os.listdir('/dev')), *os.listdir('/tmp'))", "ok", "null random urandom zero"
    ),
    "files of its jailers": Attack(
        "import os, stat\nkinds = []\nfor file in range(100):\n    try:\n        os.fstat(file)\n        kinds.append(file)\n"
        "    except OSError:\n        pass\nprint(len(kinds))",
        "ok",
        "4",
    ),
    "whom it sees": Attack(
        "import os; print(os.getuid(), os.getpid(), os.getppid(), os.uname().nodename)", "ok", "65534 2 1 sandbox"
    ),
}

_FORKS = "import os, time\nn = 0\ntry:\n    while True:\n        if not os.fork():\n            time.sleep(60)\n        n += 1\n"
_SIGNALS = "import os, signal\n"
_ENDED = {
    "fork bomb": Attack(
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", "timeout"
    ),
    "fork bomb that counts": Attack(_FORKS + "except OSError:\n    print(n)", "ok", "3"),
    "thread bomb": Attack(
        "import threading, time\nn = 0\ntry:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n        n += 1\n"
        "except RuntimeError:\n    print(n)",
        "ok",
        "3",
    ),
    "thread that never ends": Attack(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", "timeout"
    ),
    "memory bomb": Attack("x = []\nwhile True:\n    x.append(bytearray(10**7))", "memory"),
    "memory at once": Attack("x = bytearray(10**12)", "memory"),
    # On a slow machine a second of processor time is over before the memory is.
    "memory in small pieces": Attack("x = []\nwhile True:\n    x.append([0] * 1000)", "memory|timeout"),
    # On a busy machine the clock comes before the second of CPU.
    "loop": Attack("while True: pass", "timeout", message="more than"),
    "sleep": Attack("import time; time.sleep(10**6)", "timeout", message="ran for more than 3 seconds"),
    "output without end": Attack("while True: print('x')", "output"),
    "errors without end": Attack("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
    "one long line": Attack("print('x' * 10**7)", "output"),
    "deaf to signals": Attack(
        _SIGNALS + "for number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True: pass",
        "timeout",
    ),
    "deaf and asleep": Attack(
        _SIGNALS
        + "import time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "while True: time.sleep(1)",
        "timeout",
    ),
    "ends at once": Attack("import os; os._exit(0)", "nothing"),
    "ends at once with a code": Attack("import os; os._exit(3)", "error", message="exit code 3"),
    "kills all it can": Attack(_try("os.kill(-1, 9)"), "ok", "ProcessLookupError"),
    "kills itself": Attack("import os; os.kill(os.getpid(), 9)", "killed", message="signal 9"),
    "kills its group": Attack("import os; os.killpg(0, 9)", "killed"),
    "kills the first process": Attack(
        "import os, signal\nfor number in (2, 9, 15, 24, 25):\n    os.kill(1, number)\nprint('alive')", "ok", "alive"
    ),
    "starves the first process": Attack(
        "import resource, time\nresource.prlimit(1, resource.RLIMIT_CPU, (0, 0))\ntime.sleep(9)", "timeout"
    ),
    "null pointer": Attack("import ctypes; ctypes.string_at(0)", "killed", message="signal 11"),
    "abort": Attack("import os; os.abort()", "killed", message="signal 6"),
    "daemon": Attack(
        "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(3600)\n    os._exit(0)\n"
        "print('left one')",
        "ok",
        "left one",
    ),
    "zombies": Attack(
        "import os\nfor _ in range(3):\n    if not os.fork():\n        os._exit(0)\nprint('left three')",
        "ok",
        "left three",
    ),
    "10 GB in a file": Attack(
        _try("with open('/tmp/x', 'wb') as file:\n    for _ in range(10_000):\n        file.write(bytes(10**6))"),
        "ok",
        "OSError",
    ),
    "10 GB in many files": Attack(
        _try(
            "for i in range(10_000):\n    with open(f'/tmp/{i}', 'wb') as file:\n        file.write(bytes(10**6))".replace(
                "{i}", "{{i}}"
            )
        ),
        "ok",
        "OSError",
    ),
    "a million files": Attack(
        _try("for i in range(10**6):\n    open(f'/tmp/{i}', 'w').close()".replace("{i}", "{{i}}")), "ok", "OSError"
    ),
    "many open files": Attack(_try("x = [open('/dev/null') for _ in range(1000)]"), "ok", "OSError"),
    "library from /tmp": Attack(
        "import ctypes, shutil, os\nname = next(p for p in os.listdir('/lib') if os.path.isdir('/lib/' + p) and 'linux-gnu' in p)\n"
        "shutil.copy(f'/lib/{{name}}/libz.so.1', '/tmp/z.so') if os.path.exists(f'/lib/{{name}}/libz.so.1') else open('/tmp/z.so', 'w')\n"
        "try:\n    ctypes.CDLL('/tmp/z.so')\nexcept OSError:\n    print('refused')",
        "ok",
        "refused",
    ),
    "deep recursion": Attack("def f(n):\n    return f(n + 1)\nprint(f(0))", "error", message="RecursionError"),
    "closes all": Attack("import os; os.closerange(0, 100)\nprint('x')", "nothing"),
    "closes the way to say it": Attack("import os; os.closerange(3, 100)\nans = 1", "nothing"),
    "closes standard output": Attack("import sys; sys.stdout.close(); ans = 5", "ok", "5"),
    "no standard output": Attack("import sys; sys.stdout = None; ans = 5", "ok", "5"),
    "floods the way to say it": Attack(
        "import os\nfor file in range(3, 100):\n    try:\n        while True:\n            os.write(file, b'A' * 10**6)\n"
        "    except OSError:\n        pass",
        "timeout",
    ),
    "10 MB of text": Attack("x = '" + "x" * 10**7 + "'\nprint(len(x))", "ok", "10000000"),
    "10 MB of code": Attack("x = 1\n" * (10**7 // 6), "memory|timeout"),
    "null byte": Attack("print(1)\0", "error", message="null bytes"),
    "surrogate": Attack("print('\ud800')", "error", message="Unicode"),
    "nested without end": Attack("(" * 100_000, "error"),
    "a number of a million digits": Attack("print(10 ** 10**6)", "error", message="4300 digits"),
    "exits": Attack("import sys; sys.exit('no')", "error", message="SystemExit: no"),
    "interrupts itself": Attack("raise KeyboardInterrupt", "error", message="KeyboardInterrupt"),
    "asks": Attack("x = input()", "error", message="EOFError"),
    "an error that cannot be shown": Attack(
        "class E(BaseException):\n    def __str__(self):\n        raise self\nraise E",
        "error",
        message="E: (its text cannot be shown)",
    ),
    "a long error of many lines": Attack("raise ValueError('a\\nb' * 10**5)", "error", message="ValueError: a ba ba b"),
}

ATTACKS = _REFUSED | _ENDED

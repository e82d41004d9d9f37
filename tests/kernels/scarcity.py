"""A process whose memory is limited while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

LIMIT = """
def only(megabytes):
    \"\"\"From now on this process gets no more than so much beside what it has.\"\"\"
    import resource
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
"""


def run_short_of_memory(code: str) -> None:
    """Run code that may call `only(megabytes)`, and fail with what it says if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", LIMIT + textwrap.dedent(code)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]

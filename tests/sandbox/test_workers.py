"""Workers come and go; results do not."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from qads import Sandbox

SLEEPS = [f"import time; time.sleep(0.2); print({number})" for number in range(8)]


def marked(**settings: Any) -> tuple[Sandbox, str]:
    """A sandbox, and what the command lines of its processes hold and no others."""
    number = random.Random().randrange(10_001, 10_000_000)
    return Sandbox(output_chars=number, packages=("numpy",), **settings), f'"output_chars": {number},'


def running(mark: str) -> list[psutil.Process]:
    """Processes of a sandbox that are alive."""
    found = list[psutil.Process]()
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and mark in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return [process for process in found if process.pid != psutil.Process().pid]


def ends(mark: str) -> bool:
    """Whether a sandbox has no process any more, soon."""
    for _ in range(100):
        if not running(mark):
            return True
        time.sleep(0.1)
    return False


def once(action: Callable[[], object]) -> Callable[[int, int], None]:
    """Progress that does something when the first program is done."""
    did = list[bool]()

    def progress(done: int, _: int) -> None:
        if done and not did:
            did.append(True)
            action()

    return progress


def test_nothing_is_left_when_the_programs_are_done(walls: None):
    sandbox, mark = marked()
    counts = list[int]()
    found = sandbox(SLEEPS[:2], workers=1, progress=once(lambda: counts.append(len(running(mark)))))
    assert [result.answer for result in found] == ["0", "1"]
    assert counts[0] > 0 and ends(mark)


def test_a_worker_that_something_else_kills_costs_no_program(walls: None):
    sandbox, mark = marked()

    def kill_all() -> None:
        for process in running(mark):
            with contextlib.suppress(psutil.NoSuchProcess):  # It went with one before it.
                process.kill()

    found = sandbox(SLEEPS, workers=2, progress=once(kill_all))
    assert [result.answer for result in found] == [str(number) for number in range(8)]
    assert ends(mark)


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_an_interruption_ends_all_programs(walls: None, isolation: str):
    sandbox, mark = marked(isolation=isolation)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox(["print(1)", *["import time; time.sleep(100)"] * 3], workers=2, progress=once(interrupt))
    assert ends(mark)


def test_programs_die_with_the_evaluation(walls: None):
    _, mark = marked()
    number = mark.split()[1].rstrip(",")
    code = (
        f"import qads; qads.Sandbox(output_chars={number}, packages=())"
        "(['print(1)', 'import time; time.sleep(14)'], workers=1, progress=lambda done, n: print(done, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as evaluation:
        assert evaluation.stdout and [evaluation.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        assert running(mark)
        evaluation.kill()
    assert ends(mark)


def test_results_do_not_depend_on_the_workers_or_the_order(walls: None):
    sandbox, _ = marked()
    programs = [
        "import random; print(random.random())",
        "print(sorted({'a', 'b', 'c'}, key=hash))",
        "open('/tmp/left', 'w').write('x'); import math; math.pi = 3; print(1)",
        "import os, math; print(os.listdir('/tmp'), math.pi)",
        "def solution(): return 1 / 3",
        "1 / 0",
        "x = 2",
        "import numpy; print(numpy.random.random())",
    ]
    first = sandbox(programs, workers=1)
    assert sandbox(programs[::-1], workers=3)[::-1] == first
    assert first[3].answer == "[] 3.141592653589793"


def test_no_programs_are_no_work(walls: None):
    assert Sandbox()([]) == []

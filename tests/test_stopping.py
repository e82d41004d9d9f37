"""A process that is asked to end does so in time, at once when asked twice, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qads.stopping import StopHandler

PROGRAM = """
import hashlib, os, sys, time
from qads.stopping import StopHandler, Stopped, deferred
def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # Whole lines, whichever thread it is.
if sys.argv[1] == "many files":
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1200)]
handler = StopHandler(grace=float(sys.argv[2]), say=tell)
def rest():
    tell("ready")
    for _ in range(600):
        time.sleep(0.1)
def for_ever(work):
    while True:
        try:
            work()
        except BaseException:
            pass
try:
    if sys.argv[1] in ("rests", "many files"):
        rest()
    elif sys.argv[1] == "computes":  # In a library that has no ear for signals, as a product of matrices has none.
        for_ever(lambda: tell("ready") or hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1))
    elif sys.argv[1] == "swallows":
        for_ever(rest)
    elif sys.argv[1] == "defers":
        with deferred() as asked:
            tell("ready")
            while not asked():
                time.sleep(0.01)
            tell("finished its step")
    elif sys.argv[1] == "forks":
        child = os.fork()
        if child == 0:
            tell("ready")
            tell("child", os.getpid())
            time.sleep(60)
        tell("ended by", os.WTERMSIG(os.waitpid(child, 0)[1]))
except Stopped:
    tell("stopped")
    sys.exit(handler.exit_code)
"""


@contextmanager
def program(
    what: str, grace: float = 60.0, *, ignored: signal.Signals | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, what, str(grace)]
    if ignored is not None:
        heedless = f"signal.signal({int(ignored)}, signal.SIG_IGN)"
        ignore = f"import os, signal, sys; {heedless}; os.execv(sys.argv[1], sys.argv[1:])"
        command = [sys.executable, "-c", ignore, *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().splitlines()


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_ends_the_process_where_it_is_and_is_told(sign: signal.Signals, code: int):
    with program("rests") as process:
        process.send_signal(sign)
        lines = said(process)
        assert process.wait() == code
    assert "stopped" in lines
    told = f"{sign.name}: stopping within 60 seconds; what is finished is kept. A second one ends it at once."
    assert set(lines) <= {"stopped", told}  # One that ends this soon may have ended before it is told.


@pytest.mark.parametrize("what", ["computes", "swallows"])
def test_a_process_that_does_not_listen_is_ended_when_its_time_is_over(what: str):
    with program(what, grace=0.2) as process:
        process.terminate()
        assert said(process)[-1] == "not stopped within 0.2 seconds: ended. What is finished is kept."
        assert process.wait() == 143


@pytest.mark.parametrize("what", ["computes", "swallows"])
def test_a_second_signal_ends_at_once_what_the_first_did_not(what: str):
    with program(what) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while not process.stdout.readline().startswith("SIGINT: stopping"):
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait() in (130, -signal.SIGINT)


def test_a_block_that_asked_for_it_ends_its_step_first():
    with program("defers") as process:
        process.terminate()
        lines = [line for line in said(process) if not line.startswith("SIGTERM")]
        assert lines == ["finished its step", "stopped"]
        assert process.wait() == 143


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored():
    with program("defers", ignored=signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert "SIGHUP" not in "".join(said(process))
        assert process.wait() == 143


def test_a_forked_process_ends_as_it_would_without_us():
    with program("forks") as process:
        assert process.stdout is not None
        number = process.stdout.readline().removeprefix("child ").strip()
        subprocess.run(["kill", "-TERM", number], check=True)
        assert process.stdout.readline() == f"ended by {int(signal.SIGTERM)}\n"
        assert process.wait() == 0


def test_what_is_let_go_leaves_no_thread_no_file_and_no_handler():
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def held() -> tuple[object, ...]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), *map(signal.getsignal, signals)

    before = held()
    for _ in range(3):
        handler = StopHandler(grace=60.0, say=print)
        assert held() != before
        handler.close()
        handler.close()
        assert held() == before


def test_signals_are_heard_where_thousands_of_files_are_open():
    with program("many files") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM

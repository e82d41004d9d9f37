"""What a result is, what a sandbox refuses, and how it says so."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import qads
from qads import ProgramResult, Sandbox, SandboxError
from qads.errors import InputError
from qads.sandbox.guest.frames import REPLY, STATUSES, Reply, pack_reply, reply_size
from qads.sandbox.guest.syscalls import MACHINES, filter_for

ANSWERS = {
    "a line": ("print(6 * 7)", "42"),
    "the last line": ("print('so')\nprint(' 5 dollars ')\nprint()", "5 dollars"),
    "without an end of line": ("import sys; sys.stdout.write('7')", "7"),
    "a value": ("def solution():\n    return 1 / 4", "0.25"),
    "a value before what was printed on the way": ("def solution():\n    print('hm')\n    return 3", "3"),
    "what was printed on the way": ("def solution():\n    print('hm')", "hm"),
    "what was printed on the way before ans": ("ans = 1\ndef solution():\n    print('hm')", "hm"),
    "a line before a value": ("def solution():\n    return 3\nprint(solution() + 1)", "4"),
    "a script": ("def solution():\n    return 3\nif __name__ == '__main__':\n    print(solution())", "3"),
    "a coroutine": ("async def solution():\n    return 3", "3"),
    "ans": ("result = 1\nanswer = 2\nans = 3", "3"),
    "answer": ("result = 1\nanswer = 2", "2"),
    "result": ("result = {'x': 1}", "{'x': 1}"),
    "an empty ans": ("ans = None\nresult = 4", "4"),
    "an ans that is a function": ("def ans(): ...\nresult = 4", "4"),
    "a number of numpy": ("import numpy\nans = numpy.float64(2) / 3", "0.6666666666666666"),
    "no float error": ("from fractions import Fraction\nans = Fraction(1, 3) * 3", "1"),
    "of the future": ("from __future__ import annotations\ndef f(x: Nowhere): ...\nans = 1", "1"),
    "a class": ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\nans = A()", "A(x=1)"),
    "after exit": ("print(3)\nexit()", "3"),
    "after os._exit": ("import os\nprint(3)\nos._exit(0)", "3"),
    "at exit": ("import atexit; atexit.register(print, 8)", "8"),
    "of a thread": ("import threading; threading.Thread(target=print, args=(8,)).start()", "8"),
    "tasks left": ("import asyncio\nasync def f():\n    asyncio.create_task(asyncio.sleep(99))\n    return 1\nans = asyncio.run(f())", "1"),
    "past a warning": ("import warnings; warnings.warn('x'); ans = 2", "2"),
    "no UTF-8": ("import sys; sys.stdout.buffer.write(b'\\xff1')", "\\xff1"),
    "surrogates": ("print('\\ud800')", "\\ud800"),
    "escapes of the terminal": ("print('\\x1b[31mred')", "\x1b[31mred"),
    "standard output elsewhere": ("import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    print(1)\nans = 2", "2"),
    "a lie, its own": ("import os\nos.write(max(f for f in range(3, 64) if os.isatty(f) or is_open(f)), b'A999')\nos._exit(0)".replace("os.isatty(f) or is_open(f)", "is_open(f)").replace("import os\n", "import os\ndef is_open(f):\n    try:\n        os.fstat(f)\n        return True\n    except OSError:\n        return False\n"), "999"),
}  # fmt: skip
NOTHING = {
    "no code": "",
    "no answer": "x = 1",
    "white space": "print(' ')",
    "errors only": "import sys; print(5, file=sys.stderr)",
    "a solution without value": "def solution():\n    pass",
}


@pytest.fixture(scope="module")
def found(sandbox: Sandbox) -> dict[str, ProgramResult]:
    programs = {name: program for name, (program, _) in ANSWERS.items()} | NOTHING
    return dict(zip(programs, sandbox(list(programs.values()), workers=2), strict=True))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_program_has_the_answer_that_it_says(found: dict[str, ProgramResult], name: str):
    assert found[name].status == "ok", found[name]
    assert (found[name].answer, found[name].message) == (ANSWERS[name][1], "")


@pytest.mark.parametrize("name", NOTHING)
def test_a_program_that_says_nothing_has_no_answer(found: dict[str, ProgramResult], name: str):
    assert (found[name].status, found[name].answer) == ("nothing", None)


def test_output_is_kept_as_it_was_printed(sandbox: Sandbox):
    (found,) = sandbox(["print('é\\t1')\nprint(2)\n1 / 0"])
    assert found == ProgramResult("error", None, "é\t1\n2\n", "ZeroDivisionError: division by zero")


def test_output_is_cut_with_a_mark(walls: None):
    found = Sandbox(output_chars=5, packages=())(["print(12345, end='')", "print('é' * 6, end='')", "ans = 'é' * 6"])
    assert [result.status for result in found] == ["ok", "output", "ok"]
    assert [found[0].output, found[1].output, found[2].answer] == ["12345", "ééééé… [cut]", "ééééé… [cut]"]


def test_the_same_answers_come_without_walls(found: dict[str, ProgramResult], caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        bare = Sandbox(isolation="none", seconds=1, memory_mb=200, packages=("numpy",))
    assert "without isolation" in caplog.text
    programs = [program for program, _ in ANSWERS.values()] + [
        "while True: pass",
        "x = bytearray(10**12)",
        "while True: print(1)",
    ]
    results = bare(programs, workers=2)
    assert results[: len(ANSWERS)] == [found[name] for name in ANSWERS]
    assert [result.status for result in results[len(ANSWERS) :]] == ["timeout", "memory", "output"]
    assert results[-2].message == "needed more than 200 MiB of memory"


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_programs_may_import_what_is_named_and_nothing_else(walls: None, isolation: Literal["bubblewrap", "none"]):
    programs = [
        "import yaml",
        "import numpy",
        "import qads.errors",
        "import pytest",
        "import sympy; print(sympy.Rational(1, 3))",
    ]
    found = Sandbox(isolation=isolation, packages=("mpmath", "sympy", "yaml"))(programs)
    assert [result.status for result in found] == ["nothing", "error", "error", "error", "ok"]


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_programs_start_without_packages_in_an_empty_folder(walls: None, isolation: Literal["bubblewrap", "none"]):
    loaded = "import os, sys; print(os.listdir(), 'numpy' in sys.modules, 'pyarrow' in sys.modules)"
    (found,) = Sandbox(isolation=isolation, packages=())([loaded])
    assert found.answer == "[] False False"


def test_versions_name_what_a_result_depends_on(walls: None):
    versions = Sandbox(packages=("numpy", "yaml")).versions()
    assert list(versions) == ["python", "bubblewrap", "numpy", "yaml"] and all(versions.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 0.0}, "seconds is 0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"memory_mb": 0}, "memory_mb is 0"),
        ({"output_chars": -1}, "output_chars is -1"),
        ({"processes": 0}, "processes is 0"),
    ],
)
def test_impossible_limits_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Sandbox(isolation="none", **settings)  # type: ignore[arg-type]


def test_a_package_that_is_missing_is_refused():
    with pytest.raises(SandboxError, match="'no_such_package', which is not installed"):
        Sandbox(isolation="none", packages=("no_such_package",))


def test_without_bubblewrap_it_refuses_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        Sandbox()


def test_where_walls_cannot_be_built_it_refuses(walls: None):
    bwrap = shutil.which("bwrap")
    assert bwrap
    code = "import qads\ntry:\n    qads.Sandbox()\nexcept qads.SandboxError as error:\n    print(error)"
    inside = [bwrap, "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--", sys.executable, "-c", code]
    found = subprocess.run(inside, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert found.startswith("programs cannot be run in isolation here: ") and "user namespaces" in found


def test_walls_that_leave_user_namespaces_open_are_refused(
    walls: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bwrap, forgetful = shutil.which("bwrap"), tmp_path / "bwrap"
    assert bwrap
    # Run by root it is asked twice, the second time inside, where bubblewrap itself is put in its place.
    forgetful.write_text(
        f"#!{sys.executable}\nimport os, sys\nleft = [part for part in sys.argv if part != '--disable-userns']\n"
        "for i, part in enumerate(left):\n    if part == '--ro-bind' and left[i + 1] == __file__:\n"
        f"        left[i + 1] = {bwrap!r}\nos.execv({bwrap!r}, left)\n"
    )
    forgetful.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="it makes user namespaces"):
        Sandbox()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_the_same_walls(walls: None):
    bwrap, home = shutil.which("bwrap"), Path.home()
    assert bwrap
    needed = [Path(sys.base_prefix), Path(sys.prefix), Path(qads.__file__).parents[1]]
    opened = [part for path in needed if home in path.parents for part in _open(path, home)]
    view = [bwrap, "--dev-bind", "/", "/", "--tmpfs", str(home), "--chmod", "0755", str(home), *opened, "--"]
    code = (
        "import os; os.setgroups([]); os.setresgid(1234, 1234, 1234); os.setresuid(1234, 1234, 1234); import qads;"
        "print([r.answer for r in qads.Sandbox(packages=())(['print(7)', 'import os; print(os.getuid(), os.getpid())'])])"
    )
    found = subprocess.run([*view, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "['7', '65534 2']\n", found.stderr


def _open(path: Path, home: Path) -> list[str]:
    """Arguments of bubblewrap to see a folder below a home that is hidden."""
    above = [folder for folder in reversed(path.parents) if home in folder.parents]
    return [*(part for folder in above for part in ("--dir", str(folder))), "--ro-bind", str(path), str(path)]


@given(st.binary(min_size=REPLY.size, max_size=REPLY.size), st.integers(0, 2**32 - 1))
def test_bytes_that_are_no_reply_are_refused(header: bytes, number: int):
    with pytest.raises(ValueError, match="expected"):
        reply_size(header, number, 100)


@given(st.sampled_from(STATUSES), st.text(max_size=100), st.none() | st.text(max_size=100), st.integers(0, 2**32 - 1))
def test_a_reply_comes_as_it_was_sent(status: str, output: str, answer: str | None, number: int):
    packed = pack_reply(number, Reply(status, output, answer, "why"))
    found, n_output, n_answer, n_message = reply_size(packed[: REPLY.size], number, 100)
    assert (found, REPLY.size + n_output + max(n_answer, 0) + n_message) == (status, len(packed))
    with pytest.raises(ValueError, match="expected"):
        reply_size(packed[: REPLY.size], (number + 1) % 2**32, 100)


def test_a_reply_that_claims_too_much_is_refused():
    packed = pack_reply(1, Reply("ok", "x" * 1000, None, ""))
    with pytest.raises(ValueError, match="claims 1000"):
        reply_size(packed[: REPLY.size], 1, 100)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_has_whole_instructions_and_names_no_call_twice(machine: str):
    _, refused = MACHINES[machine]
    assert len(set(refused.values())) == len(refused)
    assert len(filter_for(machine)) == 8 * (4 + 2 + 2 * len(refused) + 3)

"""Real processes: a terminal gets bars and colours, a pipe gets plain lines, and pipes work both ways."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import yaml
from rich.console import Console

from qads.cli.terminal import Terminal
from run.tiny import rows, settings, write_rows

QUIET = {
    "NO_COLOR",
    "FORCE_COLOR",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "COLUMNS",
    "GITHUB_ACTIONS",
    "PY_COLORS",
    "TERM",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in QUIET} | {"OMP_NUM_THREADS": "1"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MOVEMENT = re.compile(r"\x1b\[[0-9;?]*[A-KSThl]")


def qads(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "qads", *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, env=ENVIRONMENT, check=False)


def on_a_terminal(*words: object, columns: int = 100, **environment: str) -> tuple[int, str]:
    """Exit code and everything that a terminal would have been sent."""
    said = io.StringIO()
    process = pexpect.spawn(
        sys.executable, ["-m", "qads", *map(str, words)],
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | environment, dimensions=(40, columns), encoding="utf-8", timeout=120,
    )  # fmt: skip
    process.logfile_read = said
    process.expect(pexpect.EOF)
    process.close()
    return process.exitstatus, said.getvalue()


@pytest.fixture
def config(model: Path, pool: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(settings(model, pool)))
    return path


@pytest.mark.long
@pytest.mark.slow
def test_a_pool_through_a_pipe_is_kept_for_the_second_start(tiny: list[str], pool: Path, tmp_path: Path):
    command = ["select", "-", "-b", "5", "-o", tmp_path / "out.jsonl", "--no-quality", *tiny[:6]]
    first = qads(*command, stdin=pool.read_bytes())
    assert first.returncode == 0, first.stderr
    picked = (tmp_path / "out.jsonl").read_bytes()
    again = qads(*command)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count(b"done before") == 4
    assert (tmp_path / "out.jsonl").read_bytes() == picked
    assert len({json.loads(line)["id"] for line in picked.splitlines()}) == 5


def test_check_reads_a_pipe_and_stops_quietly_when_nobody_reads_it(pool: Path, tmp_path: Path):
    assert qads("check", "-", stdin=pool.read_bytes()).returncode == 0
    many = [row | {"id": f"{k}{row['id']}", "source": f"{k}{row['id']}"} for k in "ab" for row in rows(3000)]
    command = f"{sys.executable} -m qads check {write_rows(tmp_path / 'many.jsonl', many)} --show 9999"
    found = subprocess.run(
        f"({command}; echo exit $? >&2) | head -n 1", shell=True, capture_output=True, env=ENVIRONMENT, check=False
    )
    assert found.stdout == b"Rows\n"
    assert b"Traceback" not in found.stderr
    assert b"exit 1" in found.stderr


def test_a_pipe_gets_plain_lines_and_an_error_no_traceback(tmp_path: Path, pool: Path):
    found = qads("check", pool)
    assert found.returncode == 0
    assert b"\x1b" not in found.stdout + found.stderr
    assert found.stderr.decode().splitlines() == ["[1/1] reading …", "[1/1] looking …"]
    missing = qads("check", tmp_path / "nothing.jsonl")
    assert missing.returncode == 2
    assert missing.stderr.decode().splitlines()[-1] == f"error: {tmp_path}/nothing.jsonl: no such file or folder."
    debug = qads("check", tmp_path / "nothing.jsonl", "--debug")
    assert b"Traceback" in debug.stderr
    assert b"PoolError" in debug.stderr


@pytest.mark.slow
def test_a_terminal_sees_progress_and_colours(config: Path, tmp_path: Path):
    code, said = on_a_terminal("run", config, "--out", tmp_path / "run")
    assert code == 0, said
    assert MOVEMENT.search(said)
    assert COLOUR.search(said)
    assert "━" in said
    for name in ("pool", "influence", "mixture"):
        assert re.search(rf"\[\d/8\] {name}", COLOUR.sub("", said))
        assert re.search(rf"✓ {name}", said)


def test_no_color_takes_the_colours_away(pool: Path):
    code, said = on_a_terminal("check", pool)
    assert code == 0
    assert COLOUR.search(said)
    code, said = on_a_terminal("check", pool, NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m", said)
    assert "30 usable rows" in said


def test_a_narrow_terminal_loses_no_text(pool: Path, tmp_path: Path):
    made = [row | {"source": "a-source-of-a-rather-long-name"} for row in rows(3)]
    code, said = on_a_terminal("check", write_rows(tmp_path / "p.jsonl", made), columns=24)
    assert code == 0
    letters = re.sub(r"[\s\d]", "", COLOUR.sub("", MOVEMENT.sub("", said)))  # The numbers stand beside the name.
    assert "a-source-of-a-rather-long-name" in letters


@pytest.mark.parametrize("width", [30, 40, 80])
def test_numbers_of_a_table_are_never_broken(width: int):
    terminal, said = Terminal(as_json=False), io.StringIO()
    terminal.out = Console(file=said, force_terminal=True, no_color=True, highlight=False, width=width)
    columns = ("id", "source", "covered by", "at step", "distance", "quality")
    terminal.table("Rows", columns, [("forum-49", "forum", "stepwise-117", 10, 0.389, 0.00101)])
    shown = COLOUR.sub("", said.getvalue())
    assert all(number in shown for number in ("10", "0.389", "0.00101"))
    assert ("forum-49: source forum" in shown) == (width < 60)
    assert max(map(len, shown.splitlines())) <= width


def test_evidence_stands_in_two_columns_where_there_is_room(tmp_path: Path):
    asked = "A ferry makes 6 crossings a day and carries 45 cars each time at 12 crowns a car. How much money is that a day?"
    exam = write_rows(tmp_path / "e.jsonl", [{"id": "e", "source": "e", "problem": asked, "solution": "3240"}])
    copied = asked.replace("45", "30") + "\x1b[2J"
    leak = write_rows(tmp_path / "p.jsonl", [{"id": "p", "source": "p", "problem": copied, "solution": "2160"}])
    for columns, beside in ((140, True), (80, False)):
        code, said = on_a_terminal("check", leak, "--against", exam, columns=columns)
        assert code == 1
        assert "\x1b[2J" not in said
        assert COLOUR.search(said)  # The number that differs.
        lines = [line for line in COLOUR.sub("", MOVEMENT.sub("", said)).splitlines() if "A ferry makes" in line]
        assert [line.count("A ferry makes") for line in lines] == ([2] if beside else [1, 1])

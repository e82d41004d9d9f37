"""A command ends with the command that most type next, and that one can be typed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
import yaml

from cli.conftest import Call, parsed
from cli.test_terminal import COLOUR, ENVIRONMENT, MOVEMENT, on_a_terminal
from run.tiny import settings


def next_words(said: str) -> list[str]:
    """What follows `qads` in the command that is named last."""
    program, *words = shlex.split(re.findall(r"^Next: (.*)$", said, re.MULTILINE)[-1])
    assert program == "qads"
    return words


def test_what_embed_names_goes_on_from_its_run(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    embedded = qads("embed", pool, "--out", tmp_path / "a run", *tiny)
    went_on = qads(*next_words(embedded.out))
    assert went_on.code == 0, went_on.err
    assert went_on.err.count("done before") == 2
    assert "3 rows, each with its reason" in went_on.out
    explained = qads(*next_words(went_on.out))
    assert explained.code == 0, explained.err
    assert "Not picked" in explained.out
    assert qads(*next_words(explained.out)).code == 0


def test_check_names_a_selection_that_cleans_what_was_found(qads: Call, pool: Path):
    clean = ["select", str(pool), "--budget", "10%", "-o", "picked.jsonl"]
    assert next_words(qads("check", pool).out) == clean
    found = qads("check", pool, "--against", pool)
    assert (found.code, next_words(found.out)) == (1, [*clean, "--dedup", "near", "--against", str(pool)])


def test_what_check_names_reads_the_pool_as_check_did(qads: Call, tiny: list[str], tmp_path: Path):
    odd = tmp_path / "odd.csv"
    odd.write_text("task;reply\n" + "".join(f"{n} + {n}?;{2 * n}\n" for n in range(20)) + "7 + 7?\n")
    checked = qads("check", odd, "--column", "problem=task", "--column", "solution=reply")
    words = next_words(checked.out)
    assert words[2:8] == ["--column", "problem=task", "--column", "solution=reply", "--on-bad-row", "skip"]
    words[words.index("picked.jsonl")] = str(tmp_path / "picked.jsonl")
    planned = qads(*words, *tiny, "--dry-run")
    assert planned.code == 0, planned.err
    assert "pool: set aside: 1 (most often: 1 cells where the header names 2 columns)." in planned.out


@pytest.mark.parametrize(("damaged", "wanted"), [("coverage", ["report"]), ("select", ["run", "--redo", "select"])])
def test_what_status_names_mends_a_damaged_stage(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, damaged: str, wanted: list[str]
):
    run = tmp_path / "run"
    selected = qads(
        "select", pool, "--budget", 3, "--no-quality", "-o", tmp_path / "picked.jsonl", "--run-dir", run, *tiny[:6],
        "--set", "report.projection=null",
    )  # fmt: skip
    assert selected.code == 0, selected.err
    assert next_words(qads("status", run).out) == ["explain", str(run), "--not-picked"]
    (run / damaged / "manifest.json").write_text("{")
    words = next_words(qads("status", run).out)
    assert [word for word in words if str(run) not in word and word != "--out"] == wanted
    mended = qads(*words)
    assert mended.code == 0, mended.err
    assert {stage["state"] for stage in parsed(qads("status", run, "--json").out)["stages"]} == {"done"}


def test_machines_are_told_no_next_command(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    assert "Next:" not in qads("embed", pool, "--out", tmp_path / "run", *tiny, "--json").out
    assert parsed(qads("status", tmp_path / "run", "--json").out)["running"] is None


def test_the_shell_completes_commands_and_options():
    def completed(words: str) -> list[str]:
        asked = {"_QADS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-c", "import sys; sys.argv = ['qads']; from qads.cli import main; main()"]
        found = subprocess.run(command, env=ENVIRONMENT | asked, capture_output=True, text=True, check=False)
        assert "Traceback" not in found.stderr
        return found.stdout.split()

    assert completed("qads sel") == ["select"]
    assert completed("qads select --bud") == ["--budget"]


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_run_says_on_a_narrow_terminal_how_it_goes_on(model: Path, pool: Path, tmp_path: Path):
    config, run = tmp_path / "mine.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(settings(model, pool)))
    process = pexpect.spawn(
        sys.executable, ["-m", "qads", "run", str(config), "--out", str(run)],
        env=ENVIRONMENT | {"TERM": "xterm-256color"}, dimensions=(24, 48), encoding="utf-8", timeout=120,
    )  # fmt: skip
    process.expect("✓ embed")
    os.kill(process.pid, signal.SIGKILL)
    process.close()
    time.sleep(0.1)
    code, said = on_a_terminal("status", run, columns=48)
    plain = COLOUR.sub("", MOVEMENT.sub("", said))
    assert code == 0
    assert re.search(r"embed +done", plain)
    assert re.search(r"select +to do", plain)
    assert "No process is using it." in plain
    words = shlex.split(plain.partition("Next: qads ")[2].replace("\r\n", ""))
    code, said = on_a_terminal(*words, columns=48)
    assert code == 0, said
    assert re.search(r"✓ embed .*done before", COLOUR.sub("", said))
    code, said = on_a_terminal("status", run, columns=48)
    assert "to do" not in said

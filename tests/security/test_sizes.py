"""Small files that stand for large ones, and texts made to be slow, end soon and in little memory."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
{body}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
READ = """
from qads.datasets import load_pool
from qads.errors import PoolError
load_pool({ok!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_pool({bomb!r}, on_bad_row="skip")
except PoolError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def ran(body: str) -> list[str]:
    """What a child says that the system ends when it has used too much of the processor."""
    found = subprocess.run(
        [sys.executable, "-c", CHILD.format(body=body)], capture_output=True, text=True, timeout=540,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert found.returncode == 0, f"{found.returncode} after {found.stdout.splitlines()[-1:]}: {found.stderr[-2000:]}"
    return found.stdout.splitlines()


def bomb(path: Path, piece: bytes, megabytes: int) -> Path:
    """`megabytes` of the piece, compressed to next to nothing."""
    block = piece * (1_048_576 // len(piece))
    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(megabytes):
                file.write(block)
    else:
        with path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as file:
            for _ in range(megabytes):
                file.write(block)
    return path


@pytest.mark.parametrize(
    ("name", "piece", "message", "most"),
    [
        ("x.jsonl.gz", b" ", "the line is longer than 67,108,864 bytes", 300),
        ("x.csv.gz", b"a", "the line is longer than 67,108,864 bytes", 300),
        ("x.json.zst", b" ", "times as many, which no text does", 700),
        ("x.jsonl.zst", b" " * 1023 + b"\n", "times as many, which no text does", 100),
    ],
)
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused_in_bounded_memory(
    name: str, piece: bytes, message: str, most: int, tmp_path: Path
):
    good = tmp_path / "good.jsonl"
    good.write_text('{"question": "1+1?", "solution": "2"}\n')
    path = bomb(tmp_path / name, piece, 320)
    assert path.stat().st_size < 1_048_576 * 320 // 200
    said = ran(READ.format(ok=str(good), bomb=str(path)))
    assert message in said[0] and name in said[0]
    assert int(said[1]) < most, f"{said[1]} MiB"


TEXTS = """
N = {n}
UNITS = [
    " ", chr(10), chr(9), ".", "-", "a", "A", "1", ",", "1,", "(", "((A)", "(A) ", "A. ", "{{", "}}", "[", "$", "$$", "$a", chr(92), chr(96) * 3,
    chr(92) + "[", chr(92) + "(", chr(92) + "begin{{align}}", chr(92) + "frac{{", chr(92) + "sqrt[", chr(92) + "text{{", chr(92) + "boxed{{", chr(92) + "boxed ",
    chr(96) * 3 + "python" + chr(10), "the answer is ", "answer ", "option ", "so A ", "is ", "<<1=", "####", "#### " + chr(10), "[asy]", "A" + chr(10), "= ", "1/",
    chr(34) * 3, chr(39) * 3, "x = ", "print(" + chr(10), "and ", chr(0x301), chr(0x316) + chr(0x301), chr(0x202E), chr(0xFDFA), chr(0xB2), chr(0xBD), "us$", "10^",
]
def long(unit, n):
    return "." + unit * (n // len(unit)) + "x="
from qads.answers import extract_answer, find_answer
from qads.answers.options import named_option, split_options
from qads.analyze.texts import split_steps
from qads.clean.evaluation import Reading
from qads.clean.keys import mathematics, same_solution_key
from qads.clean.text import exact_key, template, words
from qads.cli.terminal import inert
from qads.datasets.solutions import detect_kind, strip_calculator
from qads.problems import problem_key
from qads.report.passages import visible
from qads.report.segments import segments
READERS = [
    problem_key, exact_key, template, words, same_solution_key, mathematics, lambda t: Reading(t).pieces, extract_answer,
    lambda t: find_answer(t, options=("1", "2")), split_options, lambda t: named_option(t, ("1", "2")), split_steps, segments, visible, inert,
    lambda t: detect_kind("1", t, None), lambda t: strip_calculator("####" + t),
]
import signal
for number, read in enumerate(READERS):
    for unit in UNITS:
        print(number, ascii(unit), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 2.5)  # Of the processor; the system then ends this process.
        read(long(unit, N))
"""


@pytest.mark.slow
def test_no_pattern_blows_up_on_a_text_made_for_it():
    # Each takes some tenths of a second; what grows with the square of the length would take from 3 to minutes.
    ran(TEXTS.format(n=70_000))

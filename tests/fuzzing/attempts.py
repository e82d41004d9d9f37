"""Reads files that went bad as a user would, in a process that a hang ends: `python -m fuzzing.attempts FOLDER …`.

Every file goes through the reader and through the commands; what is wrong is printed as one JSON object a line. A file
that takes longer than the limit ends the process with the stacks of all threads, and the caller sees which it was.
"""

from __future__ import annotations

import contextlib
import csv
import faulthandler
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from in_process import signals_kept
from qads.cli import main
from qads.datasets import load_pool
from qads.datasets.files import open_bytes
from qads.errors import PoolError

__all__ = ["Fault", "call", "faults_of", "faults_of_command", "n_rows"]

LONGEST_MESSAGE = 3000
ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal may obey, or what turns the order of what it shows."""
CODES = {0, 1, 2}


@dataclass(frozen=True)
class Fault:
    """What a file should not have led to."""

    file: str
    what: str


def n_rows(path: Path) -> int | None:
    """Rows of a file as other programs count them; None where they cannot."""
    names = path.name.split(".")
    try:
        with open_bytes(str(path)) as stream:
            content = stream.read()
        if "parquet" in names:
            return pq.read_metadata(pa.BufferReader(content)).num_rows
        if "arrow" in names:
            return pa.ipc.open_file(pa.BufferReader(content)).read_all().num_rows
        text = content.decode("utf-8-sig")
        if "jsonl" in names:
            return sum(1 for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())
        if "json" in names:
            found = json.loads(text)
            return len(found) if isinstance(found, list) else None
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "tsv" in names else ",", strict=True))
        return sum(1 for row in rows[1:] if row)
    except Exception:  # Whatever the other program says of a broken file.
        return None


def faults_of(path: Path) -> Iterator[Fault]:
    """What is wrong with reading a file: anything raised but our own error, a count that is wrong."""
    for policy in ("skip", "error"):
        try:
            pool = load_pool(path, on_bad_row=policy, require_solution=policy == "skip")
        except PoolError as error:
            yield from _faults_of_message(path, str(error))
            continue
        except Exception as error:
            yield Fault(path.name, f"load_pool({policy}): {type(error).__name__}: {str(error)[:300]}")
            continue
        expected = n_rows(path)
        if expected is not None and len(pool) + len(pool.rejected) != expected:
            yield Fault(path.name, f"{len(pool)} rows and {len(pool.rejected)} set aside, of {expected}")
        if any(not row.reason or path.name not in row.where for row in pool.rejected):
            yield Fault(path.name, "a row was set aside without a reason or a place")


def faults_of_command(path: Path, *words: object, codes: set[int] = CODES) -> Iterator[Fault]:
    """What is wrong with a call of `qads`: an exit code that is not documented, a traceback, an escape."""
    code, out, err = call(*words)
    said = f"qads {words[0]}"
    if code not in codes:
        yield Fault(path.name, f"{said}: exit code {code}: {err[-300:]}")
    if "Traceback" in err:
        yield Fault(path.name, f"{said}: a traceback: {err[-300:]}")
    if code == 2 and not err.strip():
        yield Fault(path.name, f"{said}: exit code 2 without a word")
    if found := ACTING.search(out + err):
        yield Fault(path.name, f"{said}: prints {found[0]!r}")
    if code == 2:
        yield from _faults_of_message(path, err)
    if "--json" in words and code < 2:
        try:
            json.loads(out)
        except ValueError as error:
            yield Fault(path.name, f"{said}: --json gives no JSON: {error}")


def call(*words: object) -> tuple[int, str, str]:
    """`qads` with these words, in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["qads", *map(str, words)]
    code = 0
    try:
        with signals_kept(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


def _faults_of_message(path: Path, message: str) -> Iterator[Fault]:
    if len(message) > LONGEST_MESSAGE:
        yield Fault(path.name, f"a message of {len(message)} characters: {message[:100]}…")


def _as_pool(path: Path) -> Iterator[Fault]:
    yield from faults_of(path)
    yield from faults_of_command(path, "check", path, "--json")
    yield from faults_of_command(path, "check", path, "--show", 50)
    skip = ("--on-bad-row", "skip", "--no-quality")
    yield from faults_of_command(
        path, "select", path, "--budget", 1, "-o", path.with_name("out.jsonl"), *skip, "--dry-run", codes={0, 2}
    )
    recipe = path.with_name("recipe.yaml")
    recipe.write_text(json.dumps({"parts": {"one": {"pool": str(path), "on_bad_row": "skip"}}}))
    yield from faults_of_command(path, "mix", recipe, "-o", path.with_name("mixture"), "--dry-run", codes={0, 2})


def _as_config(path: Path) -> Iterator[Fault]:
    for words in (("run", path, "-o", path.with_name("run"), "--dry-run"), ("mix", path, "-o", path.with_name("mixture"), "--dry-run"),
                  ("compare", path, "-o", path.with_name("compared"), "--dry-run")):  # fmt: skip
        yield from faults_of_command(path, *words, codes={0, 2})


def _as_run(directory: Path) -> Iterator[Fault]:
    """A run directory in which one file was damaged."""
    for words in (("status", directory), ("status", directory, "--json"), ("explain", directory), ("explain", directory, "--not-picked", "--json"),
                  ("report", directory), ("run", directory / "config.json", "--dry-run", "-o", directory)):  # fmt: skip
        yield from faults_of_command(directory, *words, codes={0, 2})
    recipe = directory.with_name("recipe.yaml")
    recipe.write_text(json.dumps({"parts": {"one": {"selection": str(directory)}}}))
    yield from faults_of_command(
        directory, "mix", recipe, "-o", directory.with_name("mixture"), "--dry-run", codes={0, 2}
    )


ATTEMPTS: dict[str, Callable[[Path], Iterator[Fault]]] = {
    "readers": faults_of, "pools": _as_pool, "configs": _as_config, "runs": _as_run,
}  # fmt: skip


def _work(attempt: str, paths: list[Path], limit: int) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("error")
    for path in paths:
        sys.__stdout__.write(f"{json.dumps({'starts': path.name})}\n")
        sys.__stdout__.flush()
        faulthandler.dump_traceback_later(limit, exit=True)
        for fault in ATTEMPTS[attempt](path):
            sys.__stdout__.write(f"{json.dumps(asdict(fault))}\n")
        faulthandler.cancel_dump_traceback_later()
    sys.__stdout__.write(f"{json.dumps({'finished': len(paths)})}\n")


if __name__ == "__main__":
    _work(sys.argv[1], [Path(line) for line in sys.stdin.read().splitlines()], int(sys.argv[2]))

"""A training of a cell in processes that a launcher starts, as `accelerate launch` does on several GPUs.

What runs there is `qads train` on the rows of the cell, in a folder of its own, so that a killed one goes on from its
checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qads.cluster import Execution
from qads.datasets import write_pool
from qads.errors import InputError, RunError
from qads.pool import Pool, Progress
from qads.run import RunDirectory, StagePlan
from qads.run.telling import read_told
from qads.train import FineTuning

__all__ = ["train_launched"]

_LEFT = ("losses.jsonl", "left_out.jsonl")
_OF_STAGE = (
    "stage", "fingerprint", "format", "settings", "inputs", "execution", "code", "packages", "seconds", "files",
    "train_files", "rejected",
)  # fmt: skip
"""What a manifest holds that is not about the training itself, or about the file that the rows went through."""
_GRACE = 45.0
"""Seconds that all of its processes have to keep a checkpoint and to end; torchrun gives its own 30."""
_LOOK = 0.5
_LAST_WORDS = 2_000


def train_launched(
    launcher: Sequence[str], method: FineTuning, rows: Pool, out: Path, *, execution: Execution, progress: Progress
) -> tuple[dict[str, Any], Path]:
    """Train as `method` does, and leave its `losses.jsonl` and `left_out.jsonl` in `out`.

    The rest is in `out/checkpoints`, for the stage to throw away.

    Args:
        launcher: program and arguments that come before ``-m qads train``.
        method: how.
        rows: what on.
        out: the stage's folder.
        execution: device, and tokens of a pass.
        progress: called with (steps done, steps in all).

    Returns:
        What the training came to, and the folder of the model, for the caller to move.

    Raises:
        InputError: the launcher is no program.
        RunError: it has failed; with its last words.
    """
    folder = out / "checkpoints" / "launched"
    folder.mkdir(parents=True, exist_ok=True)
    write_pool(rows, folder / "rows.parquet")
    command = [
        *launcher, "-m", "qads", "train", str(folder / "rows.parquet"), "-o", str(folder / "trained"), "--json",
        "--set", f"train={json.dumps(dataclasses.asdict(method))}",
        "--set", f"execution={json.dumps(dataclasses.asdict(execution))}",
    ]  # fmt: skip
    trained = RunDirectory(folder / "trained").stage(StagePlan("train", {}))
    manifest = trained.manifest()
    if manifest is not None and not (trained.path / str(manifest["model"])).exists():
        shutil.rmtree(folder / "trained")  # The comparison was killed after it had taken the model.
        manifest = None
    if manifest is None:
        _run(command, folder, progress)
    if (manifest := trained.manifest()) is None:
        raise RunError(f"--launch {' '.join(launcher)}: has ended, but left no training in {trained.path}.")
    for name in _LEFT:
        if (trained.path / name).exists():
            os.replace(trained.path / name, out / name)
    facts = {name: value for name, value in manifest.items() if name not in _OF_STAGE}
    return facts | {"launcher": list(launcher)}, trained.path / str(manifest["model"])


def _run(command: Sequence[str], folder: Path, progress: Progress) -> None:
    log = folder / "log.txt"
    with log.open("ab") as file:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,  # So that whatever it starts can be ended with it.
            )  # fmt: skip
        except OSError as error:
            raise InputError(f"--launch {command[0]}: cannot be started: {error.strerror}.") from error
        try:
            while process.poll() is None:
                time.sleep(_LOOK)
                if (told := read_told(folder / "trained")) is not None:
                    progress(*told)
        finally:
            _end(process)
    if process.returncode != 0:
        words = log.read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip()
        left = "the same command goes on from its last checkpoint, and all it said is in {log}"
        if not any((folder / "trained").rglob("step-*")):
            left = "it had kept no checkpoint"
        raise RunError(
            f"--launch: {command[0]} ended with exit code {process.returncode}; {left.format(log=log)}. Its last "
            f"words:\n{words}"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask all of its processes to end, and wait until they have; those of a launcher that is gone already, too."""
    end = time.monotonic() + _GRACE
    number = signal.SIGTERM
    while _signalled(process, number):
        process.poll()
        time.sleep(_LOOK / 5)
        number = 0 if time.monotonic() < end else signal.SIGKILL


def _signalled(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether the group that it leads had anybody left to hear this; 0 asks only."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True

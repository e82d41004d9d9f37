"""One disturbance of a whole run, and whether it ended as if there had been none."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from qads.config import RunConfig, TrainConfig
from qads.errors import LockedError, QadsError, StorageError
from qads.run import read_status, run_pipeline, train_files
from qads.stopping import StopHandler, Stopped
from run.disturbed import DAMAGES, differing, outcome, run_whole, run_whole_in_process, whole_config
from run.processes import background

PAGES = "report"
"""The one stage whose files hold seconds, and are written anew by every run."""


class Whole:
    """A configuration, what comes of it undisturbed, and the one place where its runs are: a path is part of a run."""

    def __init__(self, folder: Path, *, train: bool = True) -> None:
        self.config = whole_config(folder / "inputs", train=train)
        self.place, self.kept, self.watched = folder / "run", folder / "kept", folder / "watched.json"
        started = time.monotonic()
        self.run_in_process()
        self.seconds = time.monotonic() - started
        """Of an undisturbed run in a process of its own."""
        shutil.copytree(self.place, self.kept)
        self.outcome = outcome(self.place)
        self.without_pages = {name: content for name, content in self.outcome.items() if not name.startswith(PAGES)}
        self.clear()

    def clear(self) -> Path:
        """The place, empty."""
        shutil.rmtree(self.place, ignore_errors=True)
        return self.place

    def finished(self) -> Path:
        """A finished run in the place."""
        shutil.copytree(self.kept, self.clear())
        return self.place

    def run_in_process(self) -> dict[str, object]:
        """Run to the end in a process of its own; gives what was computed and what was found."""
        self.watched.unlink(missing_ok=True)
        with background(run_whole_in_process, self.config, self.place, self.watched) as process:
            process.join()
            assert process.exitcode == 0, f"the run ended with {process.exitcode}"
        return json.loads(self.watched.read_text())


@dataclass(frozen=True)
class Killed:
    """What a run that was killed left, and what came of it."""

    left: str
    """The stage that was not complete."""
    n_finished: int
    """Shards that were finished when it was killed."""
    again: list[str]
    """Finished shards and stages that were computed once more; there must be none."""
    differing: list[str]
    """Files that are others than those of an undisturbed run; there must be none."""


def killed(whole: Whole, moments: Sequence[float]) -> Killed:
    """Start a run, kill it after so many seconds, and so on; then let it end."""
    whole.clear()
    for seconds in moments:
        with background(run_whole_in_process, whole.config, whole.place) as process:
            process.join(seconds)
            process.kill()
            process.join()
    states = {}
    if (whole.place / "config.json").exists():
        states = {stage.name: stage for stage in read_status(whole.place).stages}
    left = next((name for name, stage in states.items() if stage.state != "done"), "nothing" if states else "no stage")
    done = {name for name, stage in states.items() if stage.state == "done"}
    n_finished = states[left].shards if left in states else 0
    watched = whole.run_in_process()
    again = [*watched["again"], *(done & set(watched["computed"]))]
    if left in ("clean", "influence", "embed", "quality") and watched["kept"] != n_finished:
        again.append(f"{left}: {n_finished} shards were finished, {watched['kept']} served")
    return Killed(left, n_finished, again, differing(outcome(whole.place), whole.outcome))


@dataclass(frozen=True)
class Damaged:
    """What came of a damaged file."""

    name: str
    kind: str
    ended: str
    """``refused``, with an error that names the file or its stage; ``mended``, with the undisturbed outputs; or what
    went wrong."""

    @property
    def is_well(self) -> bool:
        """Whether nothing damaged was used or left."""
        return self.ended in ("refused", "mended")


def damaged(whole: Whole, name: str, kind: str, draw: random.Random) -> Damaged:
    """Damage one file of a finished run and run once more."""
    directory = whole.finished()
    DAMAGES[kind](directory / name, draw)
    stage = Path(name).parts[0]
    pages = stage in ("coverage", "projection", PAGES)  # Made by the pages, when they are written.
    try:
        if pages:
            run_whole(whole.config, directory)
        else:
            run_pipeline(whole.config, directory)
    except QadsError as error:
        return Damaged(name, kind, "refused" if str(directory / name) in str(error) else f"does not name it: {error}")
    except Exception as error:
        return Damaged(name, kind, f"unexpected {type(error).__name__}: {error}")
    expected = whole.outcome if pages else whole.without_pages
    wrong = differing(outcome(directory, pages=pages), expected)
    return Damaged(name, kind, f"used or left: {', '.join(wrong)}" if wrong else "mended")


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """A file system of its own, in memory; needs the rights of root.

    Raises:
        PermissionError: it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        raise PermissionError("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def small_disk_or_skip(folder: Path, n_bytes: int) -> Iterator[Path]:
    """The same for one test, which is skipped where it cannot be mounted."""
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder, n_bytes))
        except PermissionError as error:
            pytest.skip(str(error))
        yield folder


def grow(folder: Path, n_bytes: int) -> None:
    """Make room on it."""
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", str(folder)], check=True)


@dataclass(frozen=True)
class Full:
    """How often a disk was full on the way, and what came of it."""

    stages: list[str]
    """Where it was full, each time."""
    wrong: list[str]
    """Messages that did not say what is needed, and files that differ; there must be none."""


def full_disk(whole: Whole, *, first: int, step: int) -> Full:
    """Run on a disk that is full again and again, with a little more room each time, until it is enough."""
    stages: list[str] = []
    wrong: list[str] = []
    size = first
    with small_disk(whole.clear(), size):
        while True:
            try:
                run_whole(whole.config, whole.place)
                break
            except StorageError as error:
                said = str(error)
                if not ("No space left on device" in said and " free" in said and str(whole.place) in said):
                    wrong.append(said)
                stages.append(Path(said.split(":")[0]).relative_to(whole.place).parts[0])
                if half := [str(path) for path in whole.place.rglob("*.partial")]:
                    wrong.append(f"half-written: {half}")
            size += step
            grow(whole.place, size)
        grow(whole.place, size + 32_000_000)  # For the pages beside those that they replace.
        wrong += differing(outcome(whole.place), whole.outcome)
    return Full(stages, wrong)


def two_at_once(whole: Whole) -> list[int]:
    """Two drivers start in one empty directory; gives how they end: 0, or 3 where the directory was locked."""
    whole.clear()
    with (
        background(pool_or_locked, whole.config, whole.place) as one,
        background(pool_or_locked, whole.config, whole.place) as other,
    ):
        one.join()
        other.join()
        return sorted([one.exitcode or 0, other.exitcode or 0])


def pool_or_locked(config: RunConfig, directory: Path) -> None:
    """The first stage, or exit code 3 where another process has the directory."""
    try:
        run_pipeline(config, directory, until="pool", observer=Lingering())
    except LockedError:
        raise SystemExit(3) from None


class Lingering:
    """Stays in the first stage long enough for another to come."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Waits."""
        time.sleep(1.0)

    def progress(self, done: int, total: int) -> None:
        """Nothing."""

    def stage_finished(self, name: str, manifest: dict[str, object], *, reused: bool) -> None:
        """Nothing."""


def train_until_asked(config: TrainConfig, out: Path, at: int) -> None:
    """Train in this process, which is asked to end while it is at a step."""
    torch.set_num_threads(1)
    handler = StopHandler(grace=300.0, say=lambda text: None)
    try:
        train_files(
            config, out, on_step=lambda step, plan: os.kill(os.getpid(), signal.SIGTERM) if step.step == at else None
        )
    except Stopped:
        sys.exit(handler.exit_code)

"""Runs in processes of their own, to be stopped and killed."""

from __future__ import annotations

import multiprocessing
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from qads.config import RunConfig
from run.tiny import StopAt, run_in_process


@contextmanager
def background(target: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """A function in a process of its own, forked off one that has loaded the libraries and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qads.run", "qads.report", "transformers.models.llama.modeling_llama"])
    process = context.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


@contextmanager
def started(config: RunConfig, directory: Path, observer: StopAt | None = None) -> Iterator[BaseProcess]:
    """A run in a process of its own."""
    with background(run_in_process, config, directory, observer) as process:
        yield process


def wait_for(condition: Callable[[], bool], process: BaseProcess | subprocess.Popen[bytes]) -> None:
    """Look until it is so; a process that is gone first is an error."""
    while not condition():
        alive = process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()
        assert alive or condition(), "the run ended before it came there"
        time.sleep(0.0005)


def wait_until_stopped(process: BaseProcess) -> None:
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, process)

"""Many programs at once, results in the order asked."""

from __future__ import annotations

import logging
import math
import platform
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from qads.choices import check_choices
from qads.errors import InputError
from qads.machine import n_cores
from qads.pool import Progress
from qads.sandbox import isolation
from qads.sandbox.crew import Crew
from qads.sandbox.guest.frames import Limits
from qads.sandbox.results import ProgramResult
from qads.sandbox.trial import bubblewrap_version, try_walls
from qads.sandbox.worker import Worker

__all__ = ["Sandbox"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    r"""Runs Python programs that nobody has read, each in its own process and namespaces, without network or files.

    Making one is the permission to run programs; it looks at the walls from inside first, and refuses where they do
    not stand. What it protects from and what it does not is in ``docs/security.md``.

    >>> from qads import Sandbox
    >>> sandbox = Sandbox(seconds=2)  # doctest: +SKIP
    >>> [found.answer for found in sandbox(["print(6 * 7)", "def solution():\n    return 1 / 4"])]  # doctest: +SKIP
    ['42', '0.25']

    Raises:
        SandboxError: programs cannot be run in isolation here; says what is missing.
        InputError: a limit is impossible.
    """

    isolation: Literal["bubblewrap", "none"] = "bubblewrap"
    """``none`` runs programs as yourself, with limits of time, memory and output and with nothing else between them and
    your files, processes and network. It is never chosen for you."""
    seconds: float = 5.0
    """Of CPU, for each process of a program; counted in whole ones, rounded up. By the clock a program has three
    times as many, so that a busy machine is no timeout."""
    memory_mb: int = 512
    """Address space of each process of a program, in MiB, on top of the interpreter's."""
    output_chars: int = 10_000
    """A program that prints more, to standard output and standard error together, is ended."""
    scratch_mb: int = 16
    """What it may keep in /tmp, in MiB, in memory; gone with the program."""
    processes: int = 4
    """Processes and threads of a program at once, itself included. Not limited without isolation."""
    packages: tuple[str, ...] = ("mpmath", "numpy", "scipy", "sympy")
    """Installed packages that programs may import beside the standard library; imported once, before any program."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if not (math.isfinite(self.seconds) and 0 < self.seconds <= 86_400):
            raise InputError(f"Sandbox: seconds is {self.seconds:g}; it must be above 0, and a day at most.")
        for name in ("memory_mb", "output_chars", "scratch_mb", "processes"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"Sandbox: {name} is {value}; it must be 1 at least.")
        isolation.package_paths(self.packages)
        if self.isolation == "none":
            _log.warning("programs that a model wrote run without isolation: as you, with your files and your network")
        else:
            try_walls(isolation.bubblewrap())

    def __call__(
        self, programs: Sequence[str], *, workers: int | None = None, progress: Progress | None = None
    ) -> list[ProgramResult]:
        """Run programs.

        Args:
            programs: their texts.
            workers: how many at once; the CPUs of this process by default.
            progress: called with (programs done, programs).

        Returns:
            A result for each, in their order. A program depends on no other: each starts from the same warm
            interpreter, with the same random numbers and an empty /tmp.

        Raises:
            SandboxError: a worker cannot be started (any more).
        """
        n_workers = min(len(programs), workers if workers is not None else n_cores())
        if programs and n_workers < 1:
            raise InputError(f"Sandbox: workers is {workers}; it must be 1 at least.")
        limits = self._limits()
        with (
            tempfile.TemporaryDirectory(prefix="qads-sandbox-") as folder,
            ThreadPoolExecutor(max(n_workers, 1), thread_name_prefix="sandbox") as threads,
            Crew(lambda warm: Worker(limits, self.packages, folder, warm=warm), programs, self.packages) as crew,
        ):
            for _ in range(n_workers):
                threads.submit(crew.work)
            return crew.collect(progress)

    def versions(self) -> dict[str, str]:
        """What a result may depend on besides the settings: for a manifest."""
        walls = {"bubblewrap": bubblewrap_version(isolation.bubblewrap())} if self.isolation == "bubblewrap" else {}
        return {"python": platform.python_version(), **walls, **isolation.package_versions(self.packages)}

    def _limits(self) -> Limits:
        return Limits(
            isolated=self.isolation == "bubblewrap",
            seconds=self.seconds,
            memory=self.memory_mb << 20,
            scratch=self.scratch_mb << 20,
            output_chars=self.output_chars,
            processes=self.processes,
        )

"""A sandbox for the tests; where there can be none they are skipped with the reason, but never where it is required."""

from __future__ import annotations

import os

import pytest

from qads import Sandbox, SandboxError

REQUIRED = bool(os.environ.get("CI") or os.environ.get("QADS_REQUIRE_SANDBOX"))


@pytest.fixture(scope="session")
def walls() -> None:
    """Isolation works here."""
    try:
        Sandbox()
    except SandboxError as error:
        if REQUIRED:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sandbox(walls: None) -> Sandbox:
    """Short of time and memory, so that reaching a limit is quick."""
    return Sandbox(seconds=1, memory_mb=200, packages=("numpy",))

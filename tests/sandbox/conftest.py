"""A sandbox for the tests."""

from __future__ import annotations

import pytest

from qads import Sandbox


@pytest.fixture(scope="session")
def sandbox(walls: None) -> Sandbox:
    """Short of time and memory, so that reaching a limit is quick."""
    return Sandbox(seconds=1, memory_mb=200, packages=("numpy",))

"""What a process has to compute with, wherever it runs."""

from __future__ import annotations

import os

import pytest

from qads import Sandbox
from qads.machine import is_first_process, n_cores, n_processes


def test_cores_are_counted_where_a_system_has_no_affinities(monkeypatch: pytest.MonkeyPatch):
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # As on macOS.
    assert n_cores() == os.cpu_count()
    (found,) = Sandbox(isolation="none", packages=())(["print(6 * 7)"])
    assert found.answer == "42"


def test_a_process_that_nobody_launched_is_the_first_and_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (is_first_process(), n_processes()) == (True, 1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (is_first_process(), n_processes()) == (False, 2)

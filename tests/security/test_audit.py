"""What `make check` makes of the answers about known vulnerabilities."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLEAN = {"name": "sound", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "local", "version": "1.0", "skip_reason": "Dependency not found on the index"}
HOLE = {"name": "holed", "version": "2.0", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}]}


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", Path(__file__).parents[2] / ".ci" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_vulnerability_that_nobody_accepted_fails_the_check(audit: ModuleType):
    said, code = audit.verdict([CLEAN, HOLE])
    assert code == 1 and said[-1] == "holed 2.0: PYSEC-1, mended in 2.1."


def test_one_that_was_accepted_by_any_of_its_names_does_not(audit: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-1": "the function is never called"})
    assert audit.verdict([CLEAN, HOLE]) == (["2 packages looked up, 1 vulnerabilities, 1 of them accepted."], 0)


def test_what_could_not_be_looked_up_is_said_and_no_failure(audit: ModuleType):
    found: list[dict[str, Any]] = [UNKNOWN]
    assert audit.verdict(found)[0][0].startswith("NOT DONE") and audit.verdict(found)[1] == 0
    assert "nothing is known of local." in audit.verdict([CLEAN, UNKNOWN])[0]

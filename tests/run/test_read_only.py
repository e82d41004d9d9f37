"""A machine where nothing but the run's own directory may be written: no home, no caches, no folder of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qads.config import load_config
from qads.run import run_pipeline
from run.tiny import settings, written

WALLS = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


@pytest.fixture
def bubblewrap() -> str:
    """The program that makes everything read-only."""
    found = shutil.which("bwrap")
    if found is None:
        pytest.skip("bubblewrap is not installed")
    tried = subprocess.run([found, *WALLS, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"bubblewrap cannot be used here: {tried.stderr.strip()}")
    return found


@pytest.mark.long
@pytest.mark.slow
def test_a_run_needs_no_home_and_no_cache(bubblewrap: str, model: Path, pool_file: Path, tmp_path: Path):
    file, out = tmp_path / "run.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(settings(model, pool_file)))
    out.mkdir()
    done = subprocess.run(
        [
            bubblewrap, *WALLS, "--bind", str(out), str(out), "--setenv", "HOME", "/nonexistent",
            "--setenv", "TMPDIR", str(out), "--unsetenv", "NUMBA_CACHE_DIR", "--unsetenv", "HF_HOME",
            sys.executable, "-m", "qads", "run", str(file), "--out", str(out / "run"),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_pipeline(load_config(file), tmp_path / "run")
    found, expected = written(out / "run"), written(tmp_path / "run")
    assert {name: found.get(name) for name in expected} == expected

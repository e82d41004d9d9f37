"""Commands that write on a disk that is full: told, with the exit code of bad input, and nothing under a final name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.conftest import Call, Called
from run.tiny import rows, write_rows
from run.trials import grow, small_disk_or_skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 16 kB."""
    with small_disk_or_skip(tmp_path / "disk", 16_384) as folder:
        yield folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A pool of 400 rows with long texts."""
    made = [row | {"solution": f"{row['solution']} {row['problem'] * 9}"} for row in rows(400)]
    return write_rows(tmp_path / "large.jsonl", made)


def files(disk: Path) -> list[str]:
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file())


def assert_told(found: Called) -> None:
    assert found.code == 2
    assert "No space left on device" in found.err and "Make room there" in found.err
    assert "Traceback" not in found.err


def test_check_leaves_no_half_of_what_it_was_to_write(qads: Call, disk: Path, large: Path, tmp_path: Path):
    exam = write_rows(tmp_path / "exam.jsonl", rows(400)[:300])
    check = ["check", large, "--against", exam]
    assert_told(qads(*check, "--out", disk / "matches.jsonl"))
    assert_told(qads(*check, "--write-clean", disk / "clean.jsonl"))
    assert files(disk) == []
    grow(disk, 4_000_000)
    assert qads(*check, "--out", disk / "matches.jsonl").code == 1, "findings, as without a full disk"
    assert files(disk) == ["matches.jsonl"]


def test_mix_leaves_no_folder(qads: Call, disk: Path, large: Path, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"parts": {"all": {"pool": str(large), "license": "mit"}}}))
    mix = ["mix", recipe, "-o", disk / "out"]
    assert_told(qads(*mix))
    assert files(disk) == []
    grow(disk, 4_000_000)
    assert qads(*mix).code == 0
    assert json.loads((disk / "out" / "manifest.json").read_text())["mixtures"]["default"]["rows"] == 400


def test_analyze_leaves_no_page_and_goes_on_once_there_is_room(qads: Call, disk: Path, pool: Path, tiny: list[str]):
    analyze = ["analyze", pool, "--no-quality", "--out", disk / "out", *tiny[:6]]
    said = qads(*analyze)
    assert_told(said)
    assert not [name for name in files(disk) if name.startswith("out/analysis") or name.endswith(".partial")]
    grow(disk, 16_000_000)
    assert qads(*analyze).code == 0
    assert "out/analysis.html" in files(disk)

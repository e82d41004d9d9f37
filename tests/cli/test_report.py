"""`qads report` with one run and with several."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.conftest import Call, parsed
from run.tiny import settings


@pytest.fixture
def runs(qads: Call, model: Path, pool: Path, tmp_path: Path) -> tuple[Path, Path]:
    """K-center and random rows of one pool, without quality."""
    made: list[Path] = []
    for kind in ("kcenter", "random"):
        config = settings(model, pool, quality=None, selection={"kind": kind}, report={"projection": None})
        (tmp_path / f"{kind}.yaml").write_text(yaml.safe_dump(config))
        assert qads("run", tmp_path / f"{kind}.yaml", "--out", tmp_path / kind).code == 0
        made.append(tmp_path / kind)
    return made[0], made[1]


def test_several_runs_are_set_side_by_side(qads: Call, runs: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    said = qads("report", *runs, "-o", page)
    assert said.code == 0, said.err
    assert "What the runs chose" in said.out and "kcenter, random" in said.out and "selection.kind" in said.out
    assert "Next: qads explain" in said.out and page.read_text().startswith("<!doctype html>")
    found = parsed(qads("report", *runs, "-o", page, "--json").out)
    assert [run["name"] for run in found["runs"]] == ["kcenter", "random"] and found["page"] == str(page)


def test_what_cannot_be_reported_is_said(qads: Call, runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert (qads("report", *runs).code, qads("report", *runs, "-o", tmp_path / "page.txt").code) == (2, 2)
    assert qads("report", runs[0], tmp_path, "-o", tmp_path / "p.html").code == 2
    assert not (tmp_path / "p.html").exists()


def test_the_page_of_one_run_goes_where_it_is_asked_for(qads: Call, runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "one.html"
    assert parsed(qads("report", runs[0], "-o", copy, "--json").out) == {"page": str(copy)}
    assert copy.read_bytes() == (runs[0] / "report" / "report.html").read_bytes()

"""What the documentation shows, runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qads.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PYTHON = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("block", PYTHON)
def test_every_python_block_runs(block: str, tmp_path: Path):
    subprocess.run([sys.executable, "-W", "error::SyntaxWarning", "-c", block], check=True, cwd=tmp_path)


def test_the_example_script_runs():
    found = subprocess.run(
        [sys.executable, ROOT / "examples" / "quickstart.py"], capture_output=True, text=True, check=True
    )
    assert "30 of 300 rows" in found.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_that_is_shown_exists_with_its_options():
    helps: dict[str, str] = {}
    shown = [line for page in PAGES for line in re.findall(r"^\$? ?(qads [a-z].*)$", page.read_text(), re.MULTILINE)]
    assert shown
    for line in shown:
        command = line.split()[1]
        if command not in helps:
            result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
            assert result.exit_code == 0, line
            helps[command] = result.output
        for option in re.findall(r"(?<!\S)--[a-z-]+", line):
            assert option in helps[command], f"{line}: {option}"


def test_every_example_configuration_is_read():
    import yaml

    import qads

    for path in (ROOT / "examples").glob("*.yaml"):
        keys = yaml.safe_load(path.read_text())
        if "arms" in keys:
            assert qads.load_experiment(path).budgets
            continue
        assert qads.load_recipe(path).parts if "parts" in keys else qads.load_config(path).budget
    blocks = [b for page in PAGES for b in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    assert blocks
    for block in blocks:
        found = yaml.safe_load(block)
        if "arms" in found:
            assert qads.load_experiment(found).arms
            continue
        assert qads.load_recipe(found).parts if "parts" in found else qads.load_config(found).pool.sources


def test_the_project_speaks_of_itself_alone():
    # A path of somebody's machine in a committed file is a mistake; this one is looked for by its shape.
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(r"(?<![\w.])/(?:home|Users|root)/[a-z]")
    for name in tracked.stdout.split():
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".yaml", ".txt", ".html")
            and path.exists()
            and name != "tests/test_docs.py"
        ):
            assert not home.search(path.read_text()), name
    assert os.path.exists(ROOT / "LICENSE")

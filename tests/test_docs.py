"""What the documentation shows, runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import qads
from drawings import DRAWINGS
from names_page import GROUPS
from pages import generated_pages
from qads.cli import app
from settings_page import field_docstrings, sections_of, settings_page

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCKS = {
    f"{page.stem}-{number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
}
RUNNER = """
import contextlib, pathlib, runpy, sys, traceback

folder = pathlib.Path(sys.argv[1])
for file in sorted(folder.glob("*.py")):
    place = folder / file.stem
    place.mkdir()
    for known in [each for each in sys.modules if each.partition(".")[0] == "qads"]:
        del sys.modules[known]
    with contextlib.chdir(place):
        try:
            runpy.run_path(str(file), run_name="__main__")
            file.with_suffix(".ended").write_text("well")
        except BaseException:
            file.with_suffix(".ended").write_text(traceback.format_exc())
"""
"""Each block with qads anew, in a folder of its own; all in one process, since opening torch takes longer than most."""


def lacking(block: str) -> str:
    """A package that the block needs and that is not installed; nothing where there is none."""
    for package, sign in (("trl", "import trl|from trl"), ("ray", "cluster=")):
        if re.search(sign, block) and importlib.util.find_spec(package) is None:
            return package
    return ""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How every block ended."""
    folder = tmp_path_factory.mktemp("blocks")
    for name, block in BLOCKS.items():
        if not lacking(block):
            (folder / f"{name}.py").write_text(block)
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c", RUNNER, str(folder)]
    subprocess.run(command, check=True)
    return {path.stem: path.read_text() for path in folder.glob("*.ended")}


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_every_python_block_runs(name: str, ended: dict[str, str]):
    if package := lacking(BLOCKS[name]):
        pytest.skip(f"{package} is not installed")
    assert ended[name] == "well", ended[name]


def test_every_public_name_has_one_place_in_the_reference():
    placed = [name for _, names in GROUPS.values() for name in names]
    assert sorted(placed) == sorted(qads.__all__)
    pages = generated_pages()
    shown = {line.rpartition(".")[2] for text in pages.values() for line in text.splitlines() if line[:4] == "::: "}
    assert shown == set(qads.__all__)
    assert [name for name in qads.__all__ if not (getattr(qads, name).__doc__ or "").strip()] == []


def test_the_reference_has_every_setting_and_every_command():
    pages = generated_pages()
    settings = pages["reference/configuration.md"]
    for section in sections_of(qads.RunConfig):
        assert all(f"| `{name}` |" in settings for name in field_docstrings(section.cls) if name != "kind")
    for anchor in re.findall(r"\]\(#([\w-]+)\)", settings):
        assert f"{{ #{anchor} }}" in settings
    for command in app.registered_commands:
        assert f"## `qads {command.name or command.callback.__name__}`" in pages["reference/commands.md"]


def test_a_setting_without_a_docstring_is_an_error():
    from dataclasses import dataclass

    @dataclass
    class Bare:
        rows: int = 0

    with pytest.raises(ValueError, match=r"Bare\.rows"):
        settings_page(Bare, "title", "introduction")


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_what_its_program_draws(name: str):
    assert (ROOT / "docs" / "drawings" / name).read_text() == DRAWINGS[name]()


@pytest.mark.long
@pytest.mark.slow
def test_the_example_script_runs():
    found = subprocess.run(
        [sys.executable, ROOT / "examples" / "quickstart.py"], capture_output=True, text=True, check=True
    )
    assert "20 of 200 rows" in found.stdout


def test_the_notebook_has_its_outputs():
    text = (ROOT / "examples" / "walkthrough.ipynb").read_text()
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert {output["output_type"] for output in outputs} == {"display_data", "stream"}
    assert not re.search(r"/(home|root|Users|tmp)/", text)
    assert len(text) < 400_000


@pytest.mark.long
@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path):
    pytest.importorskip("nbclient", reason="the extra 'docs' is not installed")
    made = tmp_path / "made.ipynb"
    subprocess.run([sys.executable, ROOT / "examples" / "run_notebook.py", made], check=True, capture_output=True)
    assert made.stat().st_size > 100_000


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
    made = {(ROOT / "docs" / path).resolve() for path in generated_pages()}  # Pages of the site alone.
    targets = {link: (page.parent / link).resolve() for link in links}
    assert [link for link, target in targets.items() if not target.exists() and target not in made] == []


def test_every_test_that_the_threat_model_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 30
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []


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

    for path in (*(ROOT / "examples").glob("*.yaml"), ROOT / "experiments" / "scores_full.yaml"):
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


def test_the_picture_of_the_report_is_as_wide_as_a_desk_and_small():
    picture = (ROOT / "docs" / "drawings" / "report.png").read_bytes()
    assert "docs/drawings/report.png" in (ROOT / "README.md").read_text()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and int.from_bytes(picture[16:20]) == 1440
    assert len(picture) < 250_000

"""Imports go down the layers only, and nothing heavy loads before it is needed."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "qads"
LAYERS = [
    {"__main__"},
    {"cli"},
    {"report"},
    {"compare"},
    {"run"},
    {"config"},
    {"clean", "embed", "quality", "selection", "mixture", "train", "evaluate", "analyze"},
    {"models", "datasets", "cluster", "sandbox", "demo"},
    {"kernels", "prompts", "answers", "amounts", "settings", "stopping", "storage", "machine"},
    {"pool"},
    {"problems"},
    {"characters", "choices"},
    {"errors"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "transformers", "sentence_transformers", "trl", "ray", "datasets"}
MAY_LOAD_HEAVY = {
    "models/gguf.py",
    "models/opening.py",
    "models/quiet.py",
    "models/shape.py",
    "models/sources.py",
    "embed.py",
    *(f"kernels/{path.name}" for path in (SOURCE / "kernels").glob("*.py") if path.name != "distance.py"),
    "train/isolation.py",
    "train/attention.py",
    "train/loop.py",
    "run/speed.py",
}


@functools.cache
def modules() -> list[tuple[str, str, ast.Module]]:
    found = [(path.relative_to(SOURCE), ast.parse(path.read_text())) for path in sorted(SOURCE.rglob("*.py"))]
    return [(str(relative), relative.parts[0].removesuffix(".py"), tree) for relative, tree in found]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute, so that this test can read them"
        return [node.module or ""]
    return []


def test_every_module_has_a_layer():
    assert {part for _, part, _ in modules()} - {"__init__"} <= set(LEVEL)


def test_imports_go_down_only():
    wrong = [
        f"{file}: {part} imports {name}"
        for file, part, tree in modules()
        if part != "__init__"
        for node in ast.walk(tree)
        for name in imported(node)
        if name.startswith("qads.") and (other := name.split(".")[1]) != part and LEVEL[other] <= LEVEL[part]
    ]
    assert wrong == []


def test_heavy_libraries_load_at_the_top_of_few_modules():
    wrong = [
        f"{file}: {name}"
        for file, _, tree in modules()
        if file not in MAY_LOAD_HEAVY
        for node in tree.body
        for name in imported(node)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_ray_is_imported_in_one_place_and_when_it_is_used():
    where = {file for file, _, tree in modules() for node in ast.walk(tree) for name in imported(node) if name == "ray"}
    assert where == {"cluster/connection.py"}


@pytest.mark.parametrize(
    "code",
    [
        "import qads",
        "import qads; qads.load_pool; qads.Pool; qads.KCenterGreedy; qads.check_pool",
        "from qads.cli import app; from typer.testing import CliRunner; CliRunner().invoke(app, ['--help'])",
        "from qads.cli import app; from typer.testing import CliRunner; CliRunner().invoke(app, ['select', '--help'])",
    ],
)
def test_light_uses_load_no_heavy_library(code: str):
    probe = f"{code}\nimport sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.strip().splitlines()[-1] == "[]"


def test_a_pool_is_checked_without_a_heavy_library(tmp_path: Path):
    for name, problem in (("pool", "1 + 1"), ("exam", "What is left of seven pears when three are eaten?")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"problem": "{problem}", "solution": "2"}}\n')
    code = (
        "from qads.cli import app; from typer.testing import CliRunner\n"
        "found = CliRunner().invoke(app, ['check', 'pool.jsonl', '--against', 'exam.jsonl'])\n"
        f"import sys; print(found.exit_code, sorted({HEAVY!r} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout == "0 []\n"


def test_a_configuration_is_read_without_what_only_some_stages_need():
    late = {"sentence_transformers", "transformers.modeling_utils", "sklearn", "scipy.stats"}
    probe = f"import qads.run\nimport sys; print(sorted({late!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


ANEW = """
import importlib, sys
for name in sys.argv[1:]:
    for known in [each for each in sys.modules if each.partition(".")[0] == "qads"]:
        del sys.modules[known]
    importlib.import_module(name)
"""


def test_importing_a_module_by_itself_works():
    # A cycle shows only when one starts at the wrong end.
    names = [
        "qads." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file, part, _ in modules()
        if part not in ("__init__", "__main__")
    ]
    subprocess.run([sys.executable, "-c", ANEW, *names[:: max(1, len(names) // 12)]], check=True)

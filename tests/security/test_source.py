"""What the program itself never does, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "qads"
SENT = "cluster/session.py"
"""Packs what driver and workers of one run send each other; no file and no stranger's message is unpacked."""
GUEST = "sandbox/guest/program.py"
"""Runs programs, within the walls."""


def calls() -> Iterator[tuple[str, str, dict[str, ast.expr]]]:
    """File, dotted name and keywords of every call."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield (
                    path.relative_to(SOURCE).as_posix(),
                    ast.unparse(node.func),
                    {k.arg or "**": k.value for k in node.keywords},
                )


CALLS = list(calls())


def test_nothing_is_unpickled_but_what_driver_and_workers_send():
    for path in SOURCE.rglob("*.py"):
        if path == SOURCE / SENT:
            continue
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        }
        assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, path
    assert {file for file, name, _ in CALLS if name == "unpacked"} == {
        SENT, "cluster/processes.py", "cluster/worker.py", "cluster/ray_workers.py",
    }  # fmt: skip
    assert [call for call in CALLS if call[1] in ("torch.load", "torch.save", "pd.read_pickle", "np.frompyfunc")] == []
    assert [
        call for call in CALLS if "allow_pickle" in call[2] and ast.unparse(call[2]["allow_pickle"]) != "False"
    ] == []
    assert [
        call for call in CALLS if "weights_only" in call[2] and ast.unparse(call[2]["weights_only"]) != "True"
    ] == []


def test_no_text_is_run_but_by_the_program_within_the_walls():
    assert {file for file, name, _ in CALLS if name in ("eval", "exec", "compile", "builtins.exec")} <= {GUEST}


def test_no_shell_is_started():
    assert [call for call in CALLS if call[1] in ("os.system", "os.popen", "subprocess.getoutput")] == []
    assert [call for call in CALLS if "shell" in call[2]] == []


def test_archives_are_not_unpacked():
    assert [call for call in CALLS if call[1].endswith((".extractall", ".extract", "unpack_archive"))] == []


def test_files_for_a_while_have_names_that_nobody_can_foresee():
    assert [call for call in CALLS if call[1].endswith(("mktemp", "tempnam", "tmpnam"))] == []


@pytest.mark.parametrize("name", ["trust_remote_code"])
def test_code_of_a_model_is_run_by_settings_alone(name: str):
    written = [ast.unparse(keywords[name]) for _, _, keywords in CALLS if name in keywords]
    assert written and "True" not in written

"""`qads compare` as it is called."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.conftest import Call, parsed
from compare.tiny_experiment import make_files


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    files = make_files(folder)
    settings = files.settings(seeds=[0, 1], evaluate={"sets": list(files.sets), "generate": False, "dtype": "float32"})
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_an_experiment_goes_on_from_start_to_start_and_ends_with_a_page_and_json(
    qads: Call, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dry = qads("compare", file, "--out", out, "--dry-run")
    assert dry.code == 0 and "6 cells" in dry.out and "Left to do: about" in dry.out
    assert isinstance(parsed(qads("compare", file, "--out", out, "--dry-run", "--json", "-").out)["shared"], dict)
    assert not out.exists()
    first = qads("compare", file, "--out", out, "--max-cells", 3)
    assert first.code == 0, first.err
    assert "3 of 6 cells are done." in first.out and "one seed: no claim" in first.out
    state = qads("status", out)
    assert "3 of 6 cells are done, 3 left." in state.out and "No process is using it." in state.out
    assert parsed(qads("status", out, "--json").out)["cells_done"] == 3
    assert f"Next: qads compare {out / 'experiment.json'} --out {out}" in first.out + state.out
    left = qads("compare", out / "experiment.json", "--out", out, "--dry-run", "--json", tmp_path / "left.json")
    assert len(parsed((tmp_path / "left.json").read_text())["cells"]) == 6
    assert "times by 3 trainings that are done" in left.out and "exact" in left.out
    whole = qads("compare", file, "--out", out, "--json", tmp_path / "found.json")
    assert "All 6 cells are done." in whole.out and "Page: " in whole.out
    assert (out / "report" / "experiment.html").is_file()
    found = parsed((tmp_path / "found.json").read_text())
    assert found == parsed((out / "report" / "results.json").read_text())
    assert found == parsed(qads("compare", file, "--out", out, "--json", "-").out)
    assert {row["arm"] for row in found["results"]} == {"random", "qads", "like-qads"}


@pytest.mark.usefixtures("walls")
def test_leave_to_run_programs_is_given_anew_at_every_start(qads: Call, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ("evaluate.method=pot", "evaluate.generate=true", "train.suffix=instructions")
    words = (*(word for each in settings for word in ("--set", each)), "--max-cells", 0)
    begun = qads("compare", file, "--out", out, *words, "--allow-code-execution")
    assert begun.code == 0, begun.err
    state = qads("status", out)
    for said in (begun.out, state.out):
        assert f"qads compare {out / 'experiment.json'} --out {out} --allow-code-execution" in said
    again = qads("compare", out / "experiment.json", "--out", out)
    assert again.code == 2 and "--allow-code-execution" in again.err
    asking = yaml.safe_load(file.read_text()) | {"execution": {"device": "cpu", "allow_code_execution": True}}
    (other := tmp_path / "asking.yaml").write_text(yaml.safe_dump(asking))
    refused = qads("compare", other, "--out", tmp_path / "other", *words)
    assert refused.code == 2 and "execution.allow_code_execution lets programs" in refused.err


def test_that_programs_run_without_walls_is_said_anew_too(qads: Call, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ("evaluate.method=pot", "evaluate.generate=true", "train.suffix=instructions", "evaluate.isolation=none")
    words = (*(word for each in settings for word in ("--set", each)), "--max-cells", 0)
    assert qads("compare", file, "--out", out, *words, "--allow-code-execution").code == 0
    assert "evaluate.isolation" not in qads("status", out).out, "a directory may be somebody else's"
    again = qads("compare", out / "experiment.json", "--out", out, "--allow-code-execution")
    assert again.code == 2 and "without walls" in again.err and "--set evaluate.isolation=none" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "arm"), "expected PART=VALUE"),
        (("--only", "arm=quads"), "--only arm=quads: there are"),
        (("--set", "arms.qads.selecton.kind=random"), "arms.qads.selecton: unknown key"),
        (("--redo", "mixture"), "--redo mixture: an experiment has the stages"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_block(
    qads: Call, file: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    called = qads("compare", file, "--out", tmp_path / "out", *words)
    assert called.code == 2 and message in called.err.replace("\n", " ")
    assert not (tmp_path / "out").exists()

"""`qads status` knows every kind of directory, and one directory holds one kind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cli.conftest import Call, parsed
from compare.tiny_experiment import make_files
from run.tiny import rows, settings, write_rows


def words_of_training(model: Path, file: Path, out: Path, *, steps: int = 2) -> list[str]:
    """A training of so many steps with a checkpoint after each."""
    return [
        "train", str(file), "--model", str(model), "--steps", str(steps), "-o", str(out), "--device", "cpu",
        "--set", "train.batch_size=2", "--set", "train.dtype=float32", "--set", "train.checkpoints.steps=1",
    ]  # fmt: skip


def words_of_evaluation(model: Path, file: Path, out: Path) -> list[str]:
    return ["evaluate", str(model), "-s", f"exam={file}", "-o", str(out), "--no-generate", "--set", "dtype=float32"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", rows(7))


def test_a_training_and_an_evaluation_tell_how_far_they_are(qads: Call, model: Path, file: Path, tmp_path: Path):
    trained, measured = tmp_path / "trained", tmp_path / "measured"
    assert qads(*words_of_training(model, file, trained)).code == 0
    said = qads("status", trained)
    assert said.code == 0 and "training  done   steps" in said.out and "Next: qads evaluate" in said.out
    found = parsed(qads("status", trained, "--json").out)
    assert (found["kind"], found["state"], found["done"], found["of"]) == ("training", "done", 2, 2)
    assert found["running"] is None and Path(found["model"]).is_dir()
    assert not (trained / ".progress").exists()
    assert qads(*words_of_evaluation(model, file, measured)).code == 0
    found = parsed(qads("status", measured, "--json").out)
    assert (found["kind"], found["state"], found["unit"], found["done"]) == ("evaluation", "done", "items", 7)


@pytest.mark.long
@pytest.mark.slow
def test_a_training_that_works_or_was_killed_says_its_step(qads: Call, model: Path, file: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "qads", *words_of_training(model, file, out, steps=20_000)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
        while process.poll() is None and not (out / ".progress").exists():
            time.sleep(0.05)
        alive = parsed(qads("status", out, "--json").out)
        process.kill()
    assert (alive["running"], alive["state"], alive["of"]) == (str(process.pid), "partial", 20_000)
    dead = qads("status", out)
    assert "No process is using it." in dead.out and "the command that began it goes on" in dead.out
    found = parsed(qads("status", out, "--json").out)
    assert found["running"] is None and 0 < found["done"] < 20_000 and found["parts"] > 0


@pytest.mark.slow
def test_a_directory_of_one_kind_is_refused_to_the_others_by_name(
    qads: Call, model: Path, file: Path, pool: Path, tmp_path: Path
):
    files = make_files(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings(model, pool, quality=None)))
    select = {"train": None, "evaluate": None, "arms": {"random": {"selection": {"kind": "random"}}}, "tokens_of": None}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(files.settings(**select)))
    commands = {
        "training": lambda out: words_of_training(model, file, out),
        "evaluation": lambda out: words_of_evaluation(model, file, out),
        "run": lambda out: ["run", str(tmp_path / "run.yaml"), "--out", str(out)],
        "experiment": lambda out: ["compare", str(tmp_path / "e.yaml"), "--out", str(out)],
    }
    for kind, words in commands.items():
        out = tmp_path / kind
        made = qads(*words(out))
        assert made.code == 0, made.err
        before = sorted(out.rglob("*"))
        for other, others in commands.items():
            refused = qads(*others(out))
            if other == kind:
                assert refused.code == 0, refused.err
            else:
                assert refused.code == 2 and f"is the directory of a{'n' * (kind[0] == 'e')} {kind}" in refused.err
        assert {path for path in before if path.is_file()} <= set(out.rglob("*"))
        assert parsed(qads("status", out, "--json").out)["kind"] == kind


def test_leave_to_run_programs_is_kept_in_no_run_and_part_of_the_command_that_goes_on(
    qads: Call, model: Path, file: Path, pool: Path, tmp_path: Path
):
    asked = {"model": str(model), "sets": [f"exam={file}"], "method": "pot", "dtype": "float32"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings(model, pool, quality=None, evaluate=asked)))
    out = tmp_path / "out"
    refused = qads("run", tmp_path / "run.yaml", "--out", out)
    assert refused.code == 2 and "--allow-code-execution" in refused.err and not out.exists()
    begun = qads("run", tmp_path / "run.yaml", "--out", out, "--until", "pool", "--allow-code-execution")
    assert begun.code == 0, begun.err
    assert parsed((out / "config.json").read_text())["execution"]["allow_code_execution"] is False
    go_on = f"Next: qads run {out / 'config.json'} --out {out} --allow-code-execution"
    assert go_on in begun.out and go_on in qads("status", out).out
    assert qads("run", out / "config.json", "--out", out, "--allow-code-execution", "--until", "pool").code == 0

"""Every command: what it prints, what it exits with, what it leaves alone."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from cli.conftest import Call, parsed
from qads.cli import app
from qads.compare import Experiment
from qads.config import EvaluateConfig, RunConfig, TrainConfig
from qads.errors import RunError
from qads.mixture.recipe import Recipe
from qads.run import RunDirectory
from qads.settings import read_settings
from run.tiny import settings, write_rows

COMMANDS = [
    "demo",
    "select",
    "mix",
    "run",
    "embed",
    "score",
    "fit-scorer",
    "predict",
    "validate-scorer",
    "analyze",
    "check",
    "train",
    "evaluate",
    "compare",
    "status",
    "report",
    "explain",
]
ANSI = re.compile(r"\x1b")


def plain_help(*words: str) -> str:
    found = CliRunner().invoke(app, [*words, "--help"])
    assert found.exit_code == 0
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", found.output).split())


@pytest.fixture
def config(model: Path, pool: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    whole = settings(model, pool)
    whole["quality"]["sample"] = 12
    path.write_text(yaml.safe_dump(whole))
    return path


def test_help_lists_every_command():
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)
    assert all(re.search(rf"\b{name}\b", plain_help()) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_its_parser_takes(name: str, monkeypatch: pytest.MonkeyPatch):
    text = plain_help(name)
    example = text.partition("Example: qads ")[2].split()
    assert example[0] == name
    command = next(c for c in app.registered_commands if (c.name or c.callback.__name__) == name)
    called: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "callback", _recorder(command.callback, called))
    found = CliRunner().invoke(app, example)
    assert (found.exit_code, len(called)) == (0, 1), found.output


def _recorder(callback: Any, called: list[dict[str, Any]]) -> Any:
    @functools.wraps(callback)
    def record(**values: Any) -> None:
        called.append(values)

    return record


def test_options_that_take_many_values_leave_the_pool_alone(monkeypatch: pytest.MonkeyPatch):
    command = next(c for c in app.registered_commands if c.callback.__name__ == "check")
    called: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "callback", _recorder(command.callback, called))
    CliRunner().invoke(app, ["check", "a", "b", "--against", "c", "d", "-", "--show", "3"])
    CliRunner().invoke(app, ["check", "--against=c", "a", "b"])
    CliRunner().invoke(app, ["check", "--against", "c", "--show", "3", "a", "--against", "d"])
    assert [(c["pool"], c["against"], c["show"]) for c in called] == [
        (["a", "b"], ["c", "d", "-"], 3),
        (["a", "b"], ["c"], 5),
        (["a"], ["c", "d"], 3),
    ]


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_an_unknown_option_is_exit_code_2(qads: Call, name: str):
    found = qads(*filter(None, [name]), "--no-such-option")
    assert (found.code, found.out) == (2, "")
    assert "No such option" in found.err


def test_run_computes_reports_and_stops_where_it_is_told(qads: Call, config: Path, tmp_path: Path):
    part = qads("run", config, "--out", tmp_path / "run", "--until", "embed")
    assert part.code == 0, part.err
    assert not (tmp_path / "run" / "report").exists()
    whole = qads("run", config, "--out", tmp_path / "run")
    assert whole.code == 0, whole.err
    assert (tmp_path / "run" / "report" / "report.html").exists()
    assert "Selected rows:" in whole.out
    assert re.search(r"s0 +10 +\d", whole.out)
    assert not ANSI.search(whole.out + whole.err + part.out + part.err)


def test_run_puts_its_directory_under_runs_by_the_name_of_the_configuration(
    qads: Call, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert qads("run", config, "--until", "pool").code == 0
    assert (tmp_path / "runs" / "mine" / "pool" / "manifest.json").exists()


@pytest.mark.parametrize("command", ["run", "select", "embed", "score"])
def test_json_is_one_object_on_standard_output(
    qads: Call, config: Path, pool: Path, tiny: list[str], tmp_path: Path, command: str
):
    run, out = tmp_path / "run", tmp_path / "out.jsonl"
    words = {
        "run": ["run", config, "--out", run],
        "select": ["select", pool, "-b", "5", "-o", out, "--run-dir", run, *tiny],
        "embed": ["embed", pool, "--out", run, *tiny],
        "score": ["score", pool, "--out", run, *tiny],
    }[command]
    found = qads(*words, "--json")
    assert (found.code, found.err) == (0, "")
    said = parsed(found.out)
    assert said["directory"] == str(run)
    assert said["stages"]["embed"]["rows"] == 30
    assert said.get("out") == (str(out) if command == "select" else None)
    assert parsed(qads("status", run, "--json").out)["stages"][0] == {
        "name": "pool", "state": "done", "rows": 30, "seconds": said["stages"]["pool"]["seconds"], "shards": 0,
    }  # fmt: skip


def test_a_demo_runs_the_whole_pipeline_on_what_it_made(qads: Call, tiny: list[str], tmp_path: Path):
    command = ["demo", "--rows", "60", "--budget", "12", "--out", tmp_path / "demo", *tiny[:-4]]
    found = qads(*command)
    assert found.code == 0, found.err
    for said in ("Chosen by source", "Chosen by planted flaw", "coverage radius", "mean quality", "Report:"):
        assert said in found.out
    assert (tmp_path / "demo" / "report" / "report.html").exists()
    again = qads(*command, "--json")
    assert (again.code, again.err) == (0, "")
    said = parsed(again.out)
    assert said["qads"]["n_rows"] == 12
    assert sum(said["qads"]["counts"].values()) == 12
    assert len(said["random"]) == 5


def test_a_demo_without_quality_leaves_it_out_of_the_table(qads: Call, tiny: list[str], tmp_path: Path):
    found = qads("demo", "--rows", "60", "--out", tmp_path / "demo", *tiny[:6], "--set", "quality=null")
    assert found.code == 0, found.err
    assert "coverage radius" in found.out
    assert "mean quality" not in found.out


def test_a_demo_with_a_wrong_setting_leaves_nothing(qads: Call, tmp_path: Path):
    assert qads("demo", "--budget", "ten", "--out", tmp_path / "demo").code == 2
    assert not (tmp_path / "demo").exists()


def test_a_demo_writes_over_no_file_of_the_user(qads: Call, tiny: list[str], tmp_path: Path):
    command = ["demo", "--rows", "60", "--out", tmp_path, "--set", "quality=null", *tiny[:6]]
    theirs = [tmp_path / "pool.jsonl", tmp_path / "anchors.jsonl", tmp_path / "input" / "anchors.jsonl"]
    theirs[2].parent.mkdir()
    for path in theirs:
        path.write_text("mine")
    refused = qads(*command)
    assert refused.code == 2
    assert "input/anchors.jsonl: is there with other rows than the demo's" in refused.err
    assert [path.read_text() for path in theirs] == ["mine"] * 3
    theirs.pop().unlink()
    assert qads(*command).code == 0
    assert [path.read_text() for path in theirs] == ["mine"] * 2


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", ["run", "select", "score"])
def test_a_dry_run_shows_what_would_be_done_and_writes_nothing(
    qads: Call, config: Path, pool: Path, tiny: list[str], tmp_path: Path, command: str, as_json: bool
):
    before = sorted(tmp_path.rglob("*"))
    words = {
        "run": ["run", config, "--out", tmp_path / "run"],
        "select": ["select", pool, "-b", "20%", "-o", tmp_path / "out.jsonl", *tiny],
        "score": ["score", pool, "--out", tmp_path / "run", *tiny],
    }[command]
    found = qads(*words, "--dry-run", *(["--json"] if as_json else []))
    assert found.code == 0, found.err
    assert sorted(tmp_path.rglob("*")) == before
    if not as_json:
        assert re.search(r"stage +status +rows +model tokens +TFLOP +these are +seconds", found.out)
        assert re.search(r"influence +to do +12 +[\d,]+ +[\d.e-]+", found.out)
        assert "of model time is left to do" in found.out
        return
    stages = {stage["name"]: stage for stage in parsed(found.out)["stages"]}
    scored = ["pool", "embed", "anchors", "influence", "scorer", "quality"]
    after = ["select", "mixture", "coverage", "projection", "report"]
    assert list(stages) == (scored if command == "score" else scored + after)
    assert {stage["status"] for stage in stages.values()} == {"to do"}
    assert command == "score" or stages["select"]["rows"] == 6
    for name in ("embed", "influence", "scorer", "quality"):
        assert stages[name]["tokens"] > 100
        assert stages[name]["seconds"] > 0


def test_a_dry_run_ends_where_the_command_does(qads: Call, config: Path, tmp_path: Path):
    run = ("run", str(config), "--out", str(tmp_path / "out"), "--dry-run", "--json")
    stages = [stage["name"] for stage in parsed(qads(*run, "--until", "embed").out)["stages"]]
    assert stages[-1] == "embed" and "select" not in stages
    for name in ("embedding", "report"):  # The page is made by the command, and is no stage to stop after.
        for words in (run, run[:-2]):
            refused = qads(*words, "--until", name)
            assert refused.code == 2 and f"unknown stage '{name}'; this run has pool," in refused.err


def test_the_version_is_told(qads: Call):
    assert qads("--version").out.strip() == f"qads {importlib.metadata.version('qads')}"


def test_a_dry_run_tells_done_from_drifted(qads: Call, config: Path, tmp_path: Path):
    run = ["run", config, "--out", tmp_path / "run"]
    assert qads(*run).code == 0

    def status(*words: str) -> dict[str, str]:
        return {s["name"]: s["status"] for s in parsed(qads(*run, "--dry-run", "--json", *words).out)["stages"]}

    assert set(status().values()) == {"done"}
    changed = status("--set", "selection.alpha=0.5")
    assert [name for name, found in changed.items() if found == "drifted"] == ["select", "mixture", "coverage"]
    assert changed["quality"] == "done"


def test_the_estimated_rows_are_the_rows_of_the_run(qads: Call, config: Path, tmp_path: Path):
    run = ["run", config, "--out", tmp_path / "run"]
    estimated = {s["name"]: s["rows"] for s in parsed(qads(*run, "--dry-run", "--json").out)["stages"]}
    manifests = parsed(qads(*run, "--json").out)["stages"]
    assert {name: manifest["rows"] for name, manifest in manifests.items()} == {
        name: n for name, n in estimated.items() if name not in ("coverage", "projection", "report")
    }


def test_text_of_a_pool_can_neither_mark_up_nor_steer_the_terminal(qads: Call, tmp_path: Path):
    evil = "[bold]Bold[/bold] [/nothing] :warning: \x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnol back\\"
    made = [
        {"id": f"[i]{n}\x1b[0m", "source": f"[red]{evil}", "problem": evil, "solution": "So be it."} for n in range(2)
    ]
    found = qads("check", write_rows(tmp_path / "pool.jsonl", made))
    assert found.code == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", found.out)
    assert (
        "[bold]Bold[/bold] [/nothing] :warning: \\x1b[31mred\\x1b]0;title\\x07 \\x9b2J \\u202egnol back\\" in found.out
    )
    assert "[i]0\\x1b[0m" in found.out


def test_an_error_is_inert_too(qads: Call):
    found = qads("check", "no\x1b[2Jthing[red].jsonl")
    assert found.code == 2
    assert "\x1b" not in found.err
    assert "no\\x1b[2Jthing[red].jsonl" in found.err


def test_status_of_what_is_no_run_is_2(qads: Call, tmp_path: Path):
    found = qads("status", tmp_path)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error: {tmp_path}: is not a run directory")


def test_status_shows_what_is_done_and_what_is_begun(qads: Call, config: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert qads("run", config, "--out", run, "--until", "anchors").code == 0
    (run / "influence" / "shards").mkdir(parents=True)
    (run / "influence" / "shards" / "00000.parquet").write_bytes(b"")
    found = qads("status", run)
    assert found.code == 0
    assert re.search(r"embed +done +30", found.out)
    assert re.search(r"influence +partial +– +– +1", found.out)
    assert re.search(r"select +to do", found.out)
    assert "No process is using it." in found.out


def test_report_of_an_unfinished_run_is_2(qads: Call, config: Path, tmp_path: Path):
    assert qads("run", config, "--out", tmp_path / "run", "--until", "pool").code == 0
    found = qads("report", tmp_path / "run")
    assert found.code == 2
    assert found.err.startswith("error: ")


def test_an_error_shows_its_origin_with_debug_only(qads: Call, tmp_path: Path):
    plain = qads("status", tmp_path)
    assert plain.err.count("\n") == 1
    with pytest.raises(RunError):
        qads("status", tmp_path, "--debug")


def test_what_nobody_expected_is_70_and_one_block(qads: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("by\x1b[2J zero")

    command = next(c for c in app.registered_commands if c.callback.__name__ == "status")
    monkeypatch.setattr(command, "callback", functools.wraps(command.callback)(fail))
    found = qads("status", tmp_path)
    assert (found.code, found.out) == (70, "")
    assert found.err == (
        "error: unexpected ZeroDivisionError: by\\x1b[2J zero; run again with --debug for the traceback\n"
    )
    with pytest.raises(ZeroDivisionError):
        qads("status", tmp_path, "--debug")


def test_a_report_is_not_written_while_a_run_is_in_the_directory(qads: Call, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with RunDirectory(tmp_path).lock():
        found = qads("report", tmp_path)
    assert found.code == 2
    assert "another run is using this directory" in found.err


def test_a_report_of_what_is_no_run_writes_nothing(qads: Call, tmp_path: Path):
    for place in (tmp_path, tmp_path / "nothing"):
        found = qads("report", place)
        assert (found.code, "is not a run directory" in found.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "option"), [("check", "against"), ("select", "anchors"), ("score", "anchors")])
def test_the_help_of_options_that_take_many_values_says_that_the_pool_comes_first(name: str, option: str):
    shown = " ".join(plain_help(name).replace("│", " ").split())
    assert "after pool" in shown.partition(f"--{option}")[2].partition(" --")[0].lower()


LEAST = {"pool": {"sources": "pool.jsonl"}, "budget": 10}
SET_BY = {"mix": (Recipe, {"parts": {"a": {"pool": "a.jsonl"}}}), "train": (TrainConfig, {"sources": "a.jsonl"}),
          "compare": (Experiment, {"pool": LEAST["pool"], "arms": {"random": {}}, "budgets": 10, "train": {}}),
          "evaluate": (EvaluateConfig, {"sets": "a.jsonl"})}  # fmt: skip
"""What a command sets other than a run's configuration."""


def test_every_command_has_an_example_of_what_can_be_set_that_it_takes():
    examples = {
        name: re.findall(r": ([\w.]+=\S+)\. Repeatable", option.help or "")
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        for option in command.params
        if "--set" in option.opts
    }
    assert len(examples) >= 12
    for name, (example,) in examples.items():
        root, given = SET_BY.get(name, (RunConfig, LEAST))
        read_settings(root, given, [example])


def test_a_failure_of_the_system_is_a_readable_block_too(qads: Call, config: Path, tmp_path: Path):
    assert qads("run", config, "--out", tmp_path / "run", "--until", "pool").code == 0
    (tmp_path / "run" / "config.json").unlink()
    (tmp_path / "run" / "config.json").mkdir()
    found = qads("run", config, "--out", tmp_path / "run", "--until", "pool")
    assert found.code == 2
    assert "error: " in found.err
    assert "Is a directory" in found.err

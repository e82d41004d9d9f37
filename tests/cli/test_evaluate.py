"""`qads evaluate`, and evaluation as the last stage of a run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.conftest import Call, parsed
from run.tiny import rows, write_rows


@pytest.fixture
def exam(tmp_path: Path) -> str:
    return f"exam={write_rows(tmp_path / 'exam.jsonl', rows(7, seed=5, prefix='e'))}"


def test_a_model_is_measured_and_a_second_start_takes_what_is_there(qads: Call, model: Path, exam: str, tmp_path: Path):
    words = ("evaluate", model, "--sets", exam, "-o", tmp_path / "out", "--max-new-tokens", 4, "--set", "dtype=float32")
    first = qads(*words)
    assert first.code == 0 and "answer_log_likelihood" in first.out and "accuracy" in first.out
    assert "Next: qads compare EXPERIMENT.yaml" in first.out
    items = tmp_path / "out" / "evaluate" / "items.parquet"
    made = items.stat().st_mtime_ns
    again = qads(*words)
    assert again.code == 0 and again.out == first.out and "done before" in again.err
    assert items.stat().st_mtime_ns == made and pq.read_table(items).num_rows == 14
    assert qads(*words, "--limit", 3).code == 2 and qads(*words, "--limit", 3, "--redo", "evaluate").code == 0


def test_json_has_every_number_with_its_interval(qads: Call, model: Path, exam: str, tmp_path: Path):
    found = qads("evaluate", model, "-s", exam, "-o", tmp_path / "out", "--no-generate", "--limit", 5, "--json")
    (line,) = parsed(found.out)["summary"]
    assert line["n"] == 5 and line["low"] < line["value"] < line["high"] < 0
    assert parsed(found.out)["manifest"]["items_beyond_limit"] == {"exam": 2}


def test_programs_need_leave(qads: Call, model: Path, exam: str, tmp_path: Path):
    found = qads("evaluate", model, "--sets", exam, "-o", tmp_path / "out", "--method", "pot")
    assert found.code == 2 and "--allow-code-execution" in found.err and not (tmp_path / "out").exists()


def test_settings_of_execution_are_taken_and_slips_refused(qads: Call, model: Path, exam: str, tmp_path: Path):
    words = ("evaluate", model, "--sets", exam, "-o", tmp_path / "out", "--no-generate", "--json", "--set")
    found = qads(*words, "execution.max_tokens_per_batch=64")
    assert parsed(found.out)["manifest"]["execution"]["max_tokens_per_batch"] == 64
    slip = qads(*words, "execution.max_token=64")
    assert slip.code == 2 and "did you mean 'max_tokens_per_batch'" in slip.err


def test_a_dry_run_says_what_it_would_come_to_and_writes_nothing(qads: Call, model: Path, exam: str, tmp_path: Path):
    found = qads("evaluate", model, "--sets", exam, "-o", tmp_path / "out", "--dry-run")
    assert found.code == 0 and "evaluate" in found.out and "14" in found.out and not (tmp_path / "out").exists()


def test_a_run_measures_in_the_end(qads: Call, model: Path, pool: Path, tiny: list[str], exam: str, tmp_path: Path):
    config, out = tmp_path / "run.yaml", tmp_path / "run"
    config.write_text(f"pool: {{sources: {pool}}}\nbudget: 5\n")
    settings = [
        *tiny, "--set", f"evaluate.sets=[{exam}]", "--set", "evaluate.max_new_tokens=3", "--set", "evaluate.dtype=float32",
    ]  # fmt: skip
    dry = qads("run", config, "-o", out, *settings, "--dry-run", "--json")
    (planned,) = [stage for stage in parsed(dry.out)["stages"] if stage["name"] == "evaluate"]
    assert planned["rows"] == 14
    found = qads("run", config, "-o", out, *settings, "--json")
    assert found.code == 0, found.err
    assert parsed(found.out)["stages"]["evaluate"]["measured"]["accuracy"] == {"exam": 7}
    (stage,) = [each for each in parsed(qads("status", out, "--json").out)["stages"] if each["name"] == "evaluate"]
    assert stage["state"] == "done"
    assert qads("run", config, "-o", out, *settings, "--set", "evaluate.limit=3").code == 2


def test_a_set_on_which_nothing_can_be_measured_is_refused(qads: Call, model: Path, tmp_path: Path):
    only = write_rows(tmp_path / "only.jsonl", [{"id": "a", "problem": "How many?"}])
    found = qads("evaluate", model, "--sets", f"only={only}", "-o", tmp_path / "out")
    assert found.code == 2 and "nothing can be measured on only" in found.err


def test_what_is_found_does_not_go_into_the_models_own_folder(qads: Call, model: Path, exam: str):
    found = qads("evaluate", model, "--sets", exam, "-o", model / "measured", "--no-generate")
    assert found.code == 2 and "which would be another model then" in found.err
    assert not (model / "measured").exists()


@pytest.mark.parametrize("read", ["--sets", "--shots-from"])
def test_a_file_in_the_folder_that_is_filled_is_refused(qads: Call, model: Path, exam: str, tmp_path: Path, read: str):
    out = tmp_path / "out"
    (out / "evaluate").mkdir(parents=True)
    inside = write_rows(out / "evaluate" / "mine.jsonl", rows(3))
    words = ["--sets", inside] if read == "--sets" else ["--sets", exam, "--shots", 1, "--shots-from", inside]
    found = qads("evaluate", model, *words, "-o", out)
    assert found.code == 2 and "which is written as a whole" in found.err
    assert [path.name for path in (out / "evaluate").iterdir()] == ["mine.jsonl"]


def test_a_row_that_is_no_item_is_told_with_its_reason(qads: Call, model: Path, tmp_path: Path):
    bad = write_rows(tmp_path / "exam.jsonl", [*rows(3), {"id": "nul", "problem": "1\x00+1?", "answer": "2"}])
    found = qads("evaluate", model, "-s", f"exam={bad}", "-o", tmp_path / "out", "--no-generate")
    assert found.code == 0, found.err
    assert "Left out: 1 rows that are no items (1 × " in found.out and "NUL" in found.out

"""Files that went bad in a thousand ways are read, refused or set aside; nothing else happens.

A case is known by its number: `fuzzing.corpus.cases` makes it anew. The long form is `python tests/soak/mutations.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fuzzing.attempts import call, n_rows
from fuzzing.batches import attempt, damaged_configs, damaged_files
from fuzzing.corpus import FORMATS, cases, invented_records, real_records

EXAMPLES = Path(__file__).parents[2] / "examples"


def config_texts(pool: str = "pool.jsonl") -> list[bytes]:
    """Configurations, recipes and experiments: the examples, on a file that is there."""
    texts = [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))]
    least = f"pool: {{sources: [{pool}]}}\nbudget: [1, 2]\nquality: null\nselection:\n  kind: kcenter\n  alpha: 0.5\nseed: 3\n"
    recipe = f"parts:\n  one: {{pool: {pool}, take: 50%}}\n  two: &two {{pool: [{pool}], take: {{share: 30%}}, max_repeat: 9}}\nformat: messages\n"
    return [text.encode() for text in (*texts, least, recipe, least, recipe)]


def test_a_case_is_the_same_file_each_time_it_is_made():
    first, again = (list(cases(invented_records(), 60)) for _ in range(2))
    assert first == again and len({case.name for case in first}) == 60


@pytest.mark.parametrize("ending", FORMATS)
def test_rows_are_counted_by_other_programs(ending: str, tmp_path: Path):
    records = invented_records()[0]
    path = tmp_path / f"x{ending}"
    path.write_bytes(FORMATS[ending](records))
    assert n_rows(path) == len(records)


def test_damaged_files_are_read_refused_or_set_aside_with_a_reason(tmp_path: Path):
    assert attempt("readers", damaged_files(invented_records(), tmp_path, 150)) == []


def test_a_thousand_damaged_real_files_are_read_refused_or_set_aside(tmp_path: Path, test_data: Path):
    assert attempt("readers", damaged_files(real_records(test_data), tmp_path, 1000, seed=1)) == []


def test_commands_end_with_a_documented_code_and_no_traceback_on_damaged_files(tmp_path: Path):
    assert attempt("pools", damaged_files(invented_records(), tmp_path, 20, seed=2)) == []


def test_damaged_configurations_end_with_a_documented_code_and_no_traceback(tmp_path: Path):
    FORMATS[".jsonl"](invented_records()[0])
    (tmp_path / "pool.jsonl").write_bytes(FORMATS[".jsonl"](invented_records()[0]))
    assert attempt("configs", damaged_configs(config_texts(), tmp_path, 36)) == []


def test_a_hang_is_a_fault_with_a_name_and_the_files_after_it_are_read(tmp_path: Path):
    (tmp_path / "good.jsonl").write_text('{"question": "1+1?", "solution": "2"}\n')
    os.mkfifo(tmp_path / "hangs.jsonl")  # Nobody ever writes to it.
    faults = attempt("readers", [tmp_path / "hangs.jsonl", tmp_path / "good.jsonl"], seconds=5)
    assert faults[0].startswith("hangs.jsonl: ended the process") and "Timeout" in faults[0]


@pytest.mark.parametrize(
    "command", ["check", "select", "run", "mix", "explain", "status", "report", "compare", "score", "predict"]
)
def test_every_command_has_a_help_with_an_example(command: str):
    code, out, err = call(command, "--help")
    assert code == 0 and "Example:" in out and not err


def test_what_json_shows_is_inert_and_still_what_it_was(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"question": "1+1?", "solution": "2", "source": "s\x9b31m\u202e\u200b"}) + "\n")
    code, out, _ = call("mix", _recipe(path), "-o", tmp_path / "out", "--dry-run", "--json")
    assert code == 0 and all(c.isprintable() or c == "\n" for c in out)
    assert "s\x9b31m\u202e\u200b" in json.loads(out)["mixtures"]["default"]["parts"]["one"]["sources"]


def _recipe(path: Path) -> Path:
    recipe = path.with_name("recipe.yaml")
    recipe.write_text(json.dumps({"parts": {"one": {"pool": str(path)}}}))
    return recipe

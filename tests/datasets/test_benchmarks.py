"""Evaluation sets are called by name, and a word that is none is told with the nearest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qads.datasets.benchmarks import BENCHMARKS, load_evaluation
from qads.datasets.files import HUB
from qads.errors import PoolError


def write(path: Path, *problems: str, **more: str) -> Path:
    path.write_text("".join(json.dumps({"question": problem} | more) + "\n" for problem in problems))
    return path


def test_every_benchmark_has_a_place_on_the_hub_or_says_where_its_files_are():
    for benchmark in BENCHMARKS.values():
        assert bool(benchmark.locations) != bool(benchmark.files)
        for location in benchmark.locations:
            match = HUB.match(location)
            assert match is not None
            assert match["split"] in ("test", "validation")


def test_the_nine_benchmarks_of_the_paper_have_names():
    assert {"gsm8k", "math", "aqua", "numglue", "svamp", "mathematics", "simuleq", "sat-math", "mmlu-math"} <= set(
        BENCHMARKS
    )


def test_a_file_is_called_what_the_user_says(tmp_path: Path):
    path = write(tmp_path / "a=b.jsonl", "1+1?", source="own")
    assert load_evaluation([f"gsm8k={path}"]).sources == ["gsm8k"]
    assert load_evaluation([str(path)]).sources == ["own"]


def test_two_files_under_one_name_are_refused_and_one_file_twice_is_one(tmp_path: Path):
    one, other = write(tmp_path / "one.jsonl", "1+1?"), write(tmp_path / "other.jsonl", "2+2?")
    with pytest.raises(PoolError, match=r"a=.*other.jsonl: a set a is given already, by a=.*one.jsonl; both would be"):
        load_evaluation([f"a={one}", f"a={other}"])
    assert len(load_evaluation([f"a={one}", f"a={one}"])) == 1
    assert len(load_evaluation([f"a={tmp_path}/*.jsonl"])) == 2


@pytest.mark.parametrize("line", ['{"Frage": "1 + 1?", "Antwort": "2"}', '{"problem": '])
def test_what_cannot_be_read_is_told_with_what_can_be_done_about_it(line: str, tmp_path: Path):
    path = tmp_path / "odd.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(PoolError, match=r"odd\.jsonl:1: .* An evaluation set is read whole") as raised:
        load_evaluation([str(path)])
    assert "--column" not in str(raised.value) and "--on-bad-row" not in str(raised.value)


def test_ids_that_two_sets_share_have_the_name_of_the_set_before_them(tmp_path: Path):
    one, other = write(tmp_path / "one.jsonl", "1+1?", id="7"), write(tmp_path / "other.jsonl", "2+2?", id="7")
    assert load_evaluation([f"a={one}", f"b={other}"]).strings("id") == ["a/7", "b/7"]
    assert load_evaluation([f"a={one}"]).strings("id") == ["7"]


def test_ids_that_two_files_of_one_set_share_have_the_name_of_the_file_before_them(tmp_path: Path):
    folder = tmp_path / "exam"
    folder.mkdir()
    write(folder / "one.jsonl", "1+1?", id="7")
    write(folder / "other.jsonl", "2+2?", id="7")
    found = load_evaluation([f"a={folder}"])
    assert found.sources == ["a"]
    assert found.strings("id") == ["a/one/7", "a/other/7"]


def test_a_file_that_is_there_goes_before_a_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path / "gsm8k" / "mine.jsonl", "1+1?")
    assert load_evaluation(["gsm8k"]).sources == ["mine"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gsm-8k", "no benchmark of that name; did you mean gsm8k"),
        ("numglue", "NumGLUE is in no dataset of the hub .* Give the file: numglue=FILE"),
        ("nothing.jsonl", "nothing.jsonl: no such file"),
        ("exam=nothing.jsonl", "nothing.jsonl: no such file"),
    ],
)
def test_what_cannot_be_read_says_what_to_give(word: str, message: str):
    with pytest.raises(PoolError, match=message):
        load_evaluation([word])


def test_no_set_is_an_error():
    with pytest.raises(PoolError, match="no evaluation set"):
        load_evaluation([])


def test_asdiv_is_read_with_its_story(tmp_path: Path):
    path = write(
        tmp_path / "asdiv.jsonl", "How many are left?", body="Ann had 5 plums and ate 2.", formula="5-2=3", answer="3"
    )
    (row,) = load_evaluation([str(path)])
    assert (row.problem, row.answer) == ("Ann had 5 plums and ate 2. How many are left?", "3")

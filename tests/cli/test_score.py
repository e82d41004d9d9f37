"""How many anchors are enough, and scores of another run, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Call


def test_until_se_stops_scoring_and_says_in_a_sentence_what_came_of_it(
    qads: Call, tiny: list[str], pool: Path, tmp_path: Path
):
    words = ("score", pool, "--until-se", "0.5", "--out", tmp_path / "run", *tiny, "--set", "anchors.n=12")
    found = qads(*words)
    assert found.code == 0
    assert (
        "Anchors: 0 of 12 scored rows stopped before the last of 12 anchors (12 used), 12 with the last, 0 ran out"
        in found.out
    )
    manifest = json.loads((tmp_path / "run" / "influence" / "manifest.json").read_text())
    assert manifest["settings"]["quality"]["influence"]["stopping"] | {"se": 0.5} == {
        "kind": "standard-error", "se": 0.5, "start": 8, "panel": 8, "seed": 0,
    }  # fmt: skip


def test_rows_that_ran_out_of_anchors_are_counted(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    signed = ("--set", "quality.influence.aggregate=mean_gain")
    found = qads("score", pool, "--until-se", "1e-9", "--out", tmp_path / "run", *tiny, *signed)
    assert "12 ran out of anchors before the rule was met" in found.out


def test_select_takes_the_rules_too(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    found = qads("select", pool, "--budget", 3, "--until-rank-stable", "-o", tmp_path / "out.jsonl", *tiny)
    assert found.code == 0 and "Anchors: " in found.out


def test_another_run_is_taken_over_and_named(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    assert qads("score", pool, "--out", tmp_path / "one", *tiny).code == 0
    found = qads("score", pool, "--out", tmp_path / "two", "--reuse", tmp_path / "one", "--until-rank-stable", *tiny)
    assert f"Taken over: 36 pairs that were scored in {tmp_path / 'one'}." in found.out
    assert json.loads((tmp_path / "two" / "influence" / "manifest.json").read_text())["tokens"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until-se", "0.1", "--until-rank-stable"), "exclude each other"),
        (("--until-se", "0"), "--until-se 0: must be a number above 0"),
        (("--until-se", "nan"), "--until-se nan: must be a number above 0"),
        (("--reuse", "no-such-run"), "has no finished stage influence"),
    ],
)
def test_flags_that_make_no_sense_are_exit_code_2(qads: Call, pool: Path, tmp_path: Path, words: tuple, message: str):
    found = qads("score", pool, "--out", tmp_path / "run", *words)
    assert found.code == 2 and message in " ".join(found.err.split())
    assert not (tmp_path / "run").exists()


def test_no_quality_excludes_the_rules(qads: Call, pool: Path, tmp_path: Path):
    found = qads("select", pool, "-b", 3, "--no-quality", "--until-se", "0.1", "-o", tmp_path / "out.jsonl")
    assert found.code == 2 and "nothing is scored" in " ".join(found.err.split())


def test_style_is_taken_off_and_said(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    words = ("score", pool, "--style", "surface", "--out", tmp_path / "run", *tiny)
    found = qads(*words, "--set", "quality.style.n_clusters=2", "--set", "quality.style.min_mates=1")
    assert found.code == 0
    assert "Apart from style: quality is what a row gives beyond others of its look (2 styles)" in found.out
    assert json.loads((tmp_path / "run" / "quality" / "manifest.json").read_text())["style"]["by"] == "surface"


def test_no_quality_excludes_style(qads: Call, pool: Path, tmp_path: Path):
    found = qads("select", pool, "-b", 3, "--no-quality", "--style", "source", "-o", tmp_path / "out.jsonl")
    assert found.code == 2 and "nothing is scored" in " ".join(found.err.split())

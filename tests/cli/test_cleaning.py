"""The options that clean are settings of the section `clean`."""

from __future__ import annotations

import pytest
import typer

from qads.cli.cleaning import settings_from_flags
from qads.config import load_config
from qads.errors import ConfigError

BASE = {"pool": {"sources": "a.jsonl"}, "budget": 10}


def cleaned(*flags: object, base: dict[str, object] | None = None):
    return load_config(BASE | (base or {}), settings_from_flags(*flags)).clean  # type: ignore[arg-type]


def test_without_the_options_nothing_is_cleaned():
    assert cleaned(None, None, None) is None


def test_each_level_looks_for_what_the_one_before_does_and_more():
    exact, near, semantic = (cleaned(level, None, None).duplicates for level in ("exact", "near", "semantic"))
    assert (exact.near, exact.semantic) == (None, None)
    assert (near.near, near.semantic) == (0.8, None)
    assert semantic.near == 0.8 and 0 < semantic.semantic < 0.1


def test_an_evaluation_set_alone_looks_for_no_duplicates():
    for level in (None, "off"):
        found = cleaned(level, ["a set.jsonl", "b.jsonl"], None)
        assert found.duplicates is None and found.against == ("a set.jsonl", "b.jsonl")


@pytest.mark.parametrize(("given", "meant"), [("keep", "keep"), ("collapse", "collapse"), ("3", 3)])
def test_solutions_are_kept_collapsed_or_capped(given: str, meant: object):
    assert cleaned(None, None, given).duplicates.solutions == meant
    assert cleaned("exact", None, given).duplicates.near is None


def test_options_take_the_place_of_a_configuration():
    base = {"clean": {"duplicates": {"near": 0.9, "keep": "longest"}, "against": ["a.jsonl"]}}
    assert cleaned(None, ["b.jsonl"], "2", base=base).duplicates.keep == "longest"
    assert cleaned("near", None, None, base=base).duplicates.keep == "first"
    assert cleaned("off", None, None, base=base).duplicates is None


def test_what_excludes_each_other_is_refused():
    with pytest.raises(typer.BadParameter, match="--dedup off excludes --solutions"):
        settings_from_flags("off", None, "2")
    with pytest.raises(ConfigError, match="keep, collapse, or how many"):
        cleaned(None, None, "some")


@pytest.mark.parametrize("base", [{}, {"clean": {"duplicates": {"near": 0.9}}}, {"clean": {"against": []}}])
def test_dedup_off_cleans_nothing_where_nothing_else_was_asked_for(base: dict[str, object]):
    assert cleaned("off", None, None, base=base) is None


def test_dedup_off_takes_it_out_of_a_configuration():
    found = cleaned("off", ["exam.jsonl"], None, base={"clean": {"duplicates": {}}})
    assert found is not None and found.duplicates is None and found.against == ("exam.jsonl",)

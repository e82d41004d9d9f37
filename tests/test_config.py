"""A configuration is strict, and what it says about a mistake can be acted upon."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
import re
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.cluster import Execution
from qads.config import (
    AnchorsConfig,
    ConstraintsConfig,
    OutputConfig,
    PoolConfig,
    QualityConfig,
    QuotaConfig,
    RunConfig,
    SavedScorer,
    Tokens,
    load_config,
    parse_budget,
    parse_limit,
)
from qads.embed import LMEmbedder, SentenceEmbedder
from qads.errors import ConfigError, InputError
from qads.prompts import ChatTemplate, ExemplarTemplate
from qads.quality import AnswerLikelihoods, LabellingPlan, OneShotInfluence, Scorer, StyleControl
from qads.quality.scorers import Lora
from qads.run.measured import evaluated_model
from qads.selection import KCenterGreedy, Selector

LEAST: dict[str, Any] = {"pool": {"sources": "pool.jsonl"}, "budget": "10%"}
SECTIONS = [
    RunConfig, PoolConfig, ConstraintsConfig, QuotaConfig, AnchorsConfig, QualityConfig, OutputConfig, Execution, SentenceEmbedder, LMEmbedder,
    OneShotInfluence, AnswerLikelihoods, StyleControl, LabellingPlan, *get_args(Scorer), Lora, SavedScorer, *get_args(Selector), ExemplarTemplate,
    ChatTemplate,
]  # fmt: skip


def refusal(raw: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(raw, overrides)
    return str(caught.value)


def refused_file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_the_least_configuration_takes_every_default():
    config = load_config(LEAST)
    assert config == RunConfig(pool=PoolConfig(sources=("pool.jsonl",)), budget=0.1)
    assert config.selection == KCenterGreedy()
    assert config.quality == QualityConfig()


def test_no_file_gives_programs_leave_to_run_or_takes_their_walls_away(tmp_path: Path):
    """Files are passed on; what a model writes runs where somebody said so at the start."""
    least, path = "pool: {sources: pool.jsonl}\nbudget: 10%\n", tmp_path / "run.yaml"
    asked = {
        "execution.allow_code_execution=true": "execution: {allow_code_execution: true}\n",
        "evaluate.isolation=none": "evaluate: {sets: exam.jsonl, isolation: none}\n",
    }
    for said, text in asked.items():
        refused = refused_file(tmp_path, least + text)
        assert refused.startswith(f": {said.partition('=')[0]} lets programs that a model wrote run")
        assert refused.endswith(f"--set {said}")
    both = refused_file(tmp_path, least + "".join(asked.values()))
    assert all(f"--set {said}" in both for said in asked)
    for one, other in (list(asked), list(asked)[::-1]):
        with pytest.raises(ConfigError, match=f"--set {other}$"):
            load_config(path, [one])
    config = load_config(path, list(asked))
    assert config.execution.allow_code_execution
    assert config.evaluate and config.evaluate.isolation == "none"
    path.write_text(f"{least}execution: {{allow_code_execution: false}}\n")
    assert not load_config(path).execution.allow_code_execution
    misspelt = refused_file(tmp_path, f"{least}evaluate: {{sets: exam.jsonl, isolation: bubblewarp}}\n")
    assert "--set" not in misspelt and "bubblewrap" in misspelt


def test_one_source_as_text_is_a_list_of_one():
    several = load_config(LEAST | {"pool": {"sources": ["a", "b"]}, "anchors": {"sources": "c"}})
    assert several.pool.sources == ("a", "b")
    assert several.anchors.sources == ("c",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selction": {}}, "selction: unknown key; did you mean 'selection'?"),
        ({"selection": {"alpa": 1}}, "selection.alpa: unknown key; did you mean 'alpha'?"),
        ({"pool": {"sources": "a", "source": "b"}}, "pool.source: unknown key; did you mean 'sources'?"),
        ({"quality": {"smaple": 1}}, "quality.smaple: unknown key; did you mean 'sample'?"),
        ({"quality": {"influence": {"modle": "x"}}}, "quality.influence.modle: unknown key; did you mean 'model'?"),
        ({"quality": {"scorer": {"fold": 3}}}, "quality.scorer.fold: unknown key; did you mean 'folds'?"),
        (
            {"quality": {"influence": {"template": {"questio": "Q"}}}},
            "quality.influence.template.questio: unknown key; did you mean 'question'?",
        ),
        ({"embedding": {"kind": "lm", "max_len": 9}}, "embedding.max_len: unknown key; did you mean 'max_length'?"),
        ({"execution": {"devices": "cpu"}}, "execution.devices: unknown key; did you mean 'device'?"),
        ({"output": {"fmt": "jsonl"}}, "output.fmt: unknown key; did you mean 'format'?"),
        ({"anchors": {"k": 3}}, "anchors.k: unknown key; known: sources, columns, n, on_bad_row."),
        ({"selection": {"kind": "random", "alpha": 1}}, "selection.alpha: unknown key; known with kind random: kind, seed."),
        ({3: 4}, "3: unknown key; known: pool, budget,"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_at_every_level_and_the_nearest_known_one_named(change: dict[Any, Any], message: str):
    assert refusal(LEAST | change).startswith(message)


@pytest.mark.parametrize("cls", SECTIONS)
def test_every_section_refuses_keys_that_it_does_not_know(cls: type):
    assert cls.__pydantic_config__["extra"] == "forbid"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": {}}, "pool.sources: is missing; it must be given."),
        ({"pool": []}, "pool: must be a section: a mapping of settings, found []."),
        ({"pool": {"sources": 3}}, "pool.sources: must be a list, found 3."),
        ({"pool": {"sources": ["a", 3]}}, "pool.sources.1: must be a text, found 3."),
        ({"pool": {"sources": []}}, "pool.sources is []; it must name files"),
        ({"pool": {"sources": ""}}, "pool.sources is ['']; it must name files"),
        ({"pool": {"sources": "a", "columns": ["q"]}}, "pool.columns: must be a mapping of names to values, found ['q']."),
        ({"pool": {"sources": "a", "columns": {"problem": 3}}}, "pool.columns.problem: must be a text, found 3."),
        (
            {"pool": {"sources": "a", "kind": "cott"}},
            "pool.kind: 'cott' is none of cot, pot, general, answer-only; did you mean 'cot'?",
        ),
        ({"selection": "kcenter"}, "selection: must be a section: a mapping of settings, found 'kcenter'."),
        ({"selection": None}, "selection: must be a section: a mapping of settings, found nothing."),
        (
            {"selection": {"kind": "kcentre"}},
            "selection.kind: 'kcentre' is none of kcenter, random, top-quality, ",
        ),
        ({"selection": {"kind": 3}}, "selection.kind: '3' is none of kcenter, random, top-quality, "),
        ({"selection": {"alpha": "much"}}, "selection.alpha: must be a number, found 'much'."),
        ({"selection": {"alpha": -1}}, "selection: KCenterGreedy: alpha is -1.0; it must be a finite number ≥ 0."),
        ({"selection": {"alpha": True}}, "selection.alpha: true is not a value for it."),
        ({"quality": {"sample": "many"}}, "quality.sample: must be a whole number, found 'many'."),
        ({"quality": {"sample": 20.5}}, "quality.sample: must be a whole number, found 20.5."),
        ({"quality": {"sample": True}}, "quality.sample: true is not a value for it."),
        ({"quality": {"sample": 9}}, "quality.sample is 9; the scorer needs 10 scored rows at least."),
        ({"quality": {"influence": {"max_length": "long"}}}, "quality.influence.max_length: must be a whole number, found 'long'."),
        ({"anchors": {"n": 0}}, "anchors.n is 0; there must be one anchor at least."),
        ({"execution": {"device": 3}}, "execution.device: must be a text, found 3."),
        ({"execution": {"trust_remote_code": "maybe"}}, "execution.trust_remote_code: must be true or false, found 'maybe'."),
        ({"execution": {"max_tokens_per_batch": 0}}, "execution.max_tokens_per_batch is 0; it must be 1 at least."),
        ({"output": {"format": "csv"}}, "output.format: 'csv' is none of jsonl, parquet, alpaca, messages, sharegpt."),
        ({"seed": -1}, "seed is -1; it must be a whole number ≥ 0."),
        ({"pool": {"sources": "-"}, "anchors": {"sources": "-"}}, "pool.sources and anchors.sources both read standard input"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named_by_its_dotted_path(change: dict[str, Any], message: str):
    found = refusal(LEAST | change)
    assert found.startswith(message)
    assert not re.search("pydantic|Input should|instance of|http|tuple|dict", found)


def test_a_missing_section_is_an_error_that_names_it():
    assert refusal({"budget": 3}) == "pool: is missing; it must be given."
    assert refusal({"pool": {"sources": "a"}}) == "budget: is missing; it must be given."


def test_every_mistake_is_told_at_once():
    assert refusal(LEAST | {"sed": 1, "quality": {"sample": "x"}}).splitlines() == [
        "quality.sample: must be a whole number, found 'x'.",
        "sed: unknown key; did you mean 'seed'?",
    ]


def test_a_long_value_is_cut_in_the_message():
    assert len(refusal(LEAST | {"pool": {"sources": {"x": "y" * 1000}}})) < 150


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        ("10%", 0.1), ("14.3%", 0.143), ("7%", 0.07), ("100%", 1.0), (" 5 % ", 0.05), (0.1, 0.1), ("0.1", 0.1), (".5", 0.5),
        (1, 1), (1.0, 1.0), ("1000", 1000), (1000, 1000), ("1_000", 1000),
    ],
)  # fmt: skip
def test_a_budget_is_a_count_or_a_share(written: object, budget: float):
    found = parse_budget(written)
    assert (found, type(found)) == (budget, type(budget))


@pytest.mark.parametrize("written", ["1e9999999%", "1e999999999%", "nan%", "-1e9999999%", "1e9999999"])
def test_a_number_beyond_all_bounds_is_refused_in_words(written: str):
    with pytest.raises(ConfigError, match="count"):
        parse_budget(written)


@pytest.mark.parametrize(
    ("written", "n"),
    [
        ("2M tokens", 2_000_000), ("500k tokens", 500_000), ("2_000_000 tokens", 2_000_000), ("1.5m tokens", 1_500_000),
        ("3B Tokens", 3 * 10**9), ("1,000 tokens", 1000), ("1 token", 1), ("7tokens", 7), (" 2k-tokens ", 2000),
        ({"tokens": 9}, 9), (Tokens(4), 4),
    ],
)  # fmt: skip
def test_a_budget_may_be_tokens(written: object, n: int):
    assert parse_budget(written) == Tokens(n)
    assert load_config(LEAST | {"budget": written}).counts_tokens


def test_several_budgets_are_a_list_and_a_list_of_one_is_one():
    assert load_config(LEAST | {"budget": [1000, "500", "10%"]}).budgets == (1000, 500, 0.1)
    assert load_config(LEAST | {"budget": ["10%"]}) == load_config(LEAST)
    assert load_config(LEAST | {"budget": ["2k tokens", "1k tokens"]}).budgets == (Tokens(2000), Tokens(1000))


@pytest.mark.parametrize("budget", [6, [6, 0.5], "2M tokens", ["2k tokens", "1k tokens"]])
def test_a_configuration_survives_the_json_that_a_run_keeps(budget: object):
    config = load_config(
        LEAST | {"budget": budget, "constraints": {"quotas": {"source": {"a": {"at_most": 3}}}, "given": "x.jsonl"}}
    )
    assert load_config(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"quota": {}}, "constraints.quota: unknown key; did you mean 'quotas'?"),
        ({"quotas": {"source": {"a": {"atmost": 3}}}}, "constraints.quotas.source.a.atmost: unknown key; did you mean 'at_most'?"),
        ({"quotas": {"source": {"a": {}}}}, "constraints.quotas.source.a: a quota with no limit; give"),
        ({"quotas": {"source": {"a": 3}}}, "constraints.quotas.source.a: must be a section"),
        ({"quotas": {"source": {}}}, "constraints: quotas.source: is empty"),
        ({"quotas": {"level": {"a": {"at_most": 3}}}}, "constraints: quotas.level: is no column to group by"),
        ({"quotas": {"source": {"a": {"at_most": "150%"}}}}, "constraints.quotas.source.a.at_most: '150%' is no share of a budget"),
        ({"quotas": {"source": {"a": {"at_most": -1}}}}, "constraints.quotas.source.a.at_most: -1 is no number of rows"),
        ({"quotas": {"source": {"a": {"share": 0.3, "at_least": 1}}}}, "constraints.quotas.source.a: share says exactly"),
        ({"min_distance": -1}, "constraints: min_distance is -1.0; it must be"),
        ({"exclude": "-"}, "constraints: exclude, include and given are read from files"),
    ],
)  # fmt: skip
def test_a_constraint_that_cannot_be_meant_is_named_by_its_place(constraints: dict[str, Any], message: str):
    assert refusal(LEAST | {"constraints": constraints}).startswith(message)


@pytest.mark.parametrize(("written", "limit"), [("20%", 0.2), (0.5, 0.5), (100, 100), ("0", 0), ("100%", 1.0)])
def test_a_limit_is_a_count_or_a_share(written: object, limit: float):
    assert (parse_limit(written), type(parse_limit(written))) == (limit, type(limit))


def test_minima_and_shares_make_a_smaller_budget_another_selection():
    def closed(**quota: object) -> bool:
        return load_config(LEAST | {"constraints": {"quotas": {"kind": {"cot": quota}}}}).constraints.prefix_closed

    assert closed(at_most=5) and load_config(LEAST).constraints.prefix_closed
    assert not (closed(at_most="5%") or closed(at_least=5) or closed(share="5%"))


@pytest.mark.parametrize("section", ["pool", "anchors"])
def test_a_column_map_of_what_is_no_field_is_refused_before_anything_is_read(section: str):
    raw = LEAST | {section: {"sources": "pool.jsonl", "columns": {"prblem": "task"}}}
    assert f"{section}.columns: unknown field 'prblem'" in refusal(raw)


def test_everything_that_is_read_is_among_the_files():
    change = {
        "anchors": {"sources": "a.jsonl"}, "constraints": {"exclude": "x.txt"}, "clean": {"against": "exam=c.jsonl"},
        "evaluate": {"sets": "exam=e.jsonl", "shots": 1, "shots_from": "s.jsonl"},
    }  # fmt: skip
    read = ("pool.jsonl", "a.jsonl", "x.txt", "c.jsonl", "e.jsonl", "s.jsonl")
    assert load_config(LEAST | change).files == read


SAVED = {"kind": "saved", "path": "fitted"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": {"columns": {"problem": "task"}}}, "anchors.columns is of files of your own"),
        ({"quality": {"scorer": SAVED, "sample": 500}}, "quality.sample: quality.scorer was fitted before"),
        (
            {"quality": {"scorer": SAVED, "influence": {"stopping": {"kind": "rank-stable"}}}},
            "quality.influence.stopping: quality.scorer was fitted before",
        ),
        ({"quality": {"scorer": SAVED}, "anchors": {"sources": "a.jsonl"}}, "anchors.sources: quality.scorer was"),
    ],
)
def test_what_would_change_nothing_is_refused(change: dict[str, Any], message: str):
    assert refusal(LEAST | change).startswith(message)


def test_anchors_beside_a_saved_scorer_serve_a_selection_that_looks_for_what_is_near_them():
    change = {
        "quality": {"scorer": SAVED},
        "anchors": {"sources": "a.jsonl"},
        "selection": {"kind": "nearest-to-anchors"},
    }
    assert load_config(LEAST | change).uses_anchors


def test_a_model_to_evaluate_is_named_where_a_saved_scorer_scores_nothing():
    config = load_config(LEAST | {"quality": {"scorer": SAVED}, "evaluate": {"sets": "gsm8k"}})
    with pytest.raises(InputError, match=r"evaluate\.model is null, and nothing is trained or scored here"):
        evaluated_model(config)


def test_a_misspelt_kind_names_the_nearest_one():
    assert refusal(LEAST | {"selection": {"kind": "kcentre"}}).endswith("; did you mean 'kcenter'?")


@pytest.mark.parametrize("written", [0, -1, "-5", "0%", "150%", "-1%", 0.0, 1.5, "1e3", "nan", "inf", math.nan, "nan%"])
def test_a_budget_outside_its_range_is_refused_before_anything_runs(written: object):
    assert refusal(LEAST | {"budget": written}).startswith(f"budget: {written!r} is no ")


@pytest.mark.parametrize("written", ["ten", "", "%", "--5", "1,000", None, [], {}, "5 rows"])
def test_a_budget_that_is_no_number_is_refused(written: object):
    assert "is neither a count (1000) nor a fraction (0.1, 10%)" in refusal(LEAST | {"budget": written})


def test_a_budget_however_long_is_told_in_a_line():
    assert len(refusal(LEAST | {"budget": "3y " * 9000})) < 300


@given(st.integers(1, 9999))
def test_a_percentage_is_the_share_it_is_written_as(hundredths: int):
    assert parse_budget(f"{hundredths / 100}%") == float(f"{hundredths}e-4")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("selection.alpha=0.5", {"selection": {"alpha": 0.5}}),
        ("selection.kind=random", {"selection": {"kind": "random"}}),
        ("quality=null", {"quality": None}),
        ("budget=20%", {"budget": 0.2}),
        ("pool.sources=[a, b]", {"pool": {"sources": ["a", "b"]}}),
        ("quality.influence.template.question=Q=", {"quality": {"influence": {"template": {"question": "Q="}}}}),
        ("embedding={kind: lm, max_length: 9}", {"embedding": {"kind": "lm", "max_length": 9}}),
    ],
)
def test_a_setting_on_top_is_as_if_it_stood_in_the_file(override: str, expected: dict[str, Any]):
    assert load_config(LEAST, [override]) == load_config(LEAST | expected)


def test_the_last_setting_on_top_wins_and_the_source_stays_as_it_was():
    raw = LEAST | {"selection": {"alpha": 1.0}}
    assert load_config(raw, ["selection.alpha=2", "selection.alpha=3"]).selection == KCenterGreedy(alpha=3.0)
    assert raw["selection"] == {"alpha": 1.0}


@pytest.mark.parametrize("override", ["selection.alpha", "=3", ".alpha=1", "selection..alpha=1", ""])
def test_a_setting_on_top_without_path_or_value_is_refused(override: str):
    assert refusal(LEAST, override).startswith(f"--set {override}: expected PATH=VALUE")


def test_a_setting_on_top_of_what_is_no_section_is_refused():
    assert refusal(LEAST, "selection.alpha.x=1") == "selection.alpha: must be a number, found {'x': 1}."


def test_a_setting_on_top_that_is_no_yaml_is_refused_with_its_place():
    assert refusal(LEAST, "selection.alpha=[").startswith("--set selection.alpha=[, line 1, column 2: not valid YAML")


def test_a_yaml_file_is_read(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("# one run\npool: {sources: [a, b]}\nbudget: 10%\nselection: {alpha: 0.5}\nquality: null\n")
    config = load_config(path, ["seed=4"])
    assert (config.budget, config.selection, config.quality, config.seed) == (0.1, KCenterGreedy(alpha=0.5), None, 4)
    assert load_config(str(path), ["seed=4"]) == config


def test_sections_that_share_an_alias_stay_apart(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("pool: &files {sources: a}\nbudget: 3\nanchors: *files\n")
    config = load_config(path, ["anchors.sources=b"])
    assert (config.pool.sources, config.anchors.sources) == (("a",), ("b",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool: [a\nb: c", ", line 2, column 2: not valid YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("pool: {sources: a}\nbudget: 1\nbudget: 2\n", ", line 3, column 1: not valid YAML: the key 'budget' stands here a second"),
        ("pool: *missing", ", line 1, column 7: not valid YAML: found undefined alias"),
        ("pool: 2024-99-99", ": \npool: must be a section: a mapping of settings, found '2024-99-99'."),
        ("pool: {sources: a}\nbudget: 017", ", line 2, column 9: not valid YAML: 017 is 15 to YAML; write that, or quotes"),
        ("pool: {sources: a}\nbudget: 1:30", ", line 2, column 9: not valid YAML: 1:30 is 90 to YAML; write that, or quotes"),
        ("pool: {sources: !!set {a, b}}\nbudget: 3", ", line 1, column 17: not valid YAML: could not determine a constructor"),
        ("pool: {sources: !!binary aGk=}\nbudget: 3", ", line 1, column 17: not valid YAML: could not determine a constructor"),
        ("pool: " + "[" * 1500, ": is nested too deep to be read."),
        ("pool: {sources: " + "[" * 40 + "]" * 40 + "}\nbudget: 3", ": is nested more than 32 levels deep"),
        ('pool: {sources: "a\\0b"}\nbudget: 3', ": pool.sources: the text holds '\\x00', which no text here can have"),
        ('pool: {sources: ["a", "\\ud800"]}\nbudget: 3', ": pool.sources.1: the text holds '\\ud800', which no text here can"),
        ("pool: \x00", ": not valid YAML: unacceptable character"),
        ("- a\n- b\n", ": a mapping of pool, budget, clean, embedding, anchors, quality, selection, constraints, likelihoods, tokenizer, output, train, evaluate, report, execution, seed was expected at the top, found a list."),
        ("", ": a mapping of pool, budget,"),
        ("just words", ": a mapping of pool, budget,"),
        (b"pool: \xff", ": is not UTF-8 text (byte 6)."),
        ("pool: !!python/object/apply:os.getcwd []", ", line 1, column 7: not valid YAML: could not determine a constructor"),
        ("budget: 3\npool: &p {sources: a, columns: *p}", ""),
        ("pool: {sources: a}\nbudget: 3\nsed: 1", ": sed: unknown key; did you mean 'seed'?"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_serve_is_named_with_the_line(tmp_path: Path, text: str | bytes, message: str):
    assert refused_file(tmp_path, text).startswith(message)


BOMB = {
    "lists": ("a: &a [x, x, x, x, x, x, x, x]\n", "[{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]"),
    "mappings": ("a: &a {x: 1}\n", "{{k: {0}, l: {0}, m: {0}, n: {0}, o: {0}, p: {0}, q: {0}, r: {0}}}"),
    "merges": ("a: &a {x: 1}\n", "{{<<: [{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]}}"),
}


@pytest.mark.parametrize("sort", BOMB)
def test_aliases_that_stand_for_millions_of_values_are_refused_before_they_are_built(tmp_path: Path, sort: str):
    first, many = BOMB[sort]
    later = (f"{name}: &{name} {many.format('*' + before)}\n" for before, name in pairwise("abcdefghijklmn"))
    assert "holds more than 200,000 values, what aliases stand for counted" in refused_file(
        tmp_path, first + "".join(later)
    )


def test_of_many_mistakes_the_first_are_told_and_all_counted():
    found = refusal(LEAST | {f"key{n}": n for n in range(500)})
    assert found.endswith("… and 480 more mistakes.") and len(found.splitlines()) == 21


def test_a_date_is_the_text_that_it_looks_like(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("pool: {sources: 2024-01-01}\nbudget: 3\n")
    assert load_config(tmp_path / "run.yaml").pool.sources == ("2024-01-01",)


def test_a_setting_on_top_is_within_the_same_limits():
    assert "nested more than 32 levels" in refusal(LEAST, "a." * 3000 + "b=1")
    assert "nested too deep to be read" in refusal(LEAST, "a=" + "[" * 3000)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read: No such file or directory"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"quality": None, "selection": {"kind": "random", "seed": 3}, "budget": 7},
        {"embedding": {"kind": "lm", "max_length": 64}, "anchors": {"sources": ["x", "y"]}},
        {"quality": {"sample": 12, "influence": {"template": {"kind": "chat", "system": "Be brief."}}}},
        {"pool": {"sources": ["a", "b"], "columns": {"problem": "q"}, "kind": "cot", "on_bad_row": "skip"}},
    ],
)
def test_a_configuration_written_as_json_reads_back_as_itself(change: dict[str, Any]):
    config = load_config(LEAST | change)
    assert load_config(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("cls", SECTIONS)
def test_every_setting_has_a_docstring(cls: type):
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or "ClassVar" in ast.unparse(statement.annotation):
            continue
        name = ast.unparse(statement.target)
        said = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        assert said or name == "kind", f"{cls.__name__}.{name} has no docstring"


def test_nothing_in_a_configuration_names_a_place_that_is_written_to():
    # What a run writes lies in the directory that the caller gives. A setting that holds free text must be one
    # of those that are only read from, or text of a prompt.
    free = {
        f"{cls.__name__}.{field.name}"
        for cls in SECTIONS
        for field in dataclasses.fields(cls)
        if re.search(r"\b(str|Path|Sources)\b", str(field.type)) and not str(field.type).startswith("Literal")
    }
    assert free == {
        "PoolConfig.sources", "PoolConfig.columns", "AnchorsConfig.sources", "AnchorsConfig.columns", "Execution.device",
        "Execution.address",
        "SentenceEmbedder.model", "SentenceEmbedder.revision", "LMEmbedder.model", "LMEmbedder.revision",
        "OneShotInfluence.model", "OneShotInfluence.revision", "ExemplarTemplate.question", "ExemplarTemplate.answer",
        "ExemplarTemplate.separator", "ChatTemplate.system", "RunConfig.tokenizer", "ConstraintsConfig.quotas",
        "AnswerLikelihoods.model", "AnswerLikelihoods.revision", "ConstraintsConfig.exclude", "ConstraintsConfig.include", "ConstraintsConfig.given",
        "ProbeScorer.model", "ProbeScorer.revision", "LMScorer.model", "LMScorer.revision", "SavedScorer.path",
    }  # fmt: skip

"""The folder of a mixture opens in `datasets`, whatever the format, and the card says what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

import datasets
from mixture.files import make_run, records, write_sums
from qads import compose, load_recipe, write_mixture
from qads.datasets.handoff import HANDOFFS, dataset_features
from qads.errors import InputError
from qads.mixture import describe_mixture
from qads.mixture.recipe import Recipe
from qads.mixture.records import row_schema


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def opened(out: Path, *names: str) -> Any:
    return datasets.load_dataset(str(out), *names, split="train")


@pytest.mark.parametrize("file", ["jsonl", "parquet"])
@pytest.mark.parametrize("format", list(HANDOFFS))
def test_datasets_opens_the_folder_as_it_is(tmp_path: Path, format: Any, file: str):
    parts = {
        "drawn": {"pool": str(write_sums(tmp_path / "a.jsonl", 6, answer="x"))},
        "picked": {"selection": str(make_run(tmp_path / "run", 9, [3, 1]))},
    }
    out = write_mixture(compose({"parts": parts, "format": format, "file": file}), tmp_path / "out")
    rows = opened(out)
    assert [row | {"qads": json.loads(row["qads"])} for row in rows] == records(out / "data" / f"train.{file}")
    assert len(rows) == 8
    schema = row_schema(Recipe(parts=compose({"parts": parts}).recipe.parts, format=format))
    assert rows.features == datasets.Features.from_arrow_schema(schema)
    assert dataset_features(schema) == rows.features._to_yaml_list()


def test_every_format_has_the_problem_and_the_solution_in_its_place(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 1)
    user, assistant = {"role": "user", "content": "a: 0 + 1?"}, {"role": "assistant", "content": "It is 1."}
    expected: dict[str, dict[str, Any]] = {
        "messages": {"messages": [user, assistant]},
        "chat-prompt-completion": {"prompt": [user], "completion": [assistant]},
        "prompt-completion": {"prompt": "Question: a: 0 + 1?\nAnswer: ", "completion": "It is 1."},
        "alpaca": {"instruction": "a: 0 + 1?", "input": "", "output": "It is 1."},
        "sharegpt": {"conversations": [{"from": "human", "value": "a: 0 + 1?"}, {"from": "gpt", "value": "It is 1."}]},
    }  # fmt: skip
    assert set(expected) == set(HANDOFFS)
    for format, shape in expected.items():
        out = write_mixture(compose({"parts": {"x": {"pool": str(path)}}, "format": format}), tmp_path / "out")
        (row,) = records(out / "data" / "train.jsonl")
        assert {name: row[name] for name in shape} == shape
        assert set(row) == {*shape, "id", "source", "kind", "part", "qads"}


def test_earlier_turns_are_kept_or_the_format_is_refused(tmp_path: Path):
    context = [{"role": "system", "content": "Be brief."}, {"role": "tool", "content": "7"}]
    path = write_sums(tmp_path / "a.jsonl", 2, context=context)
    recipe: dict[str, Any] = {"parts": {"x": {"pool": str(path)}}}
    out = write_mixture(compose(recipe), tmp_path / "out")
    assert [turn["role"] for turn in records(out / "data" / "train.jsonl")[0]["messages"]] == [
        "system", "tool", "user", "assistant",
    ]  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["mixtures"]["default"]["not_alternating"] == 2
    with pytest.raises(InputError, match=r"format alpaca: row 'a-\d' has earlier turns, for which it has no place"):
        write_mixture(compose(recipe | {"format": "alpaca"}), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_reader_that_guesses_types_by_the_first_rows_reads_the_whole_file(tmp_path: Path):
    # More than the ten megabytes by which `datasets` guesses: none of them has a quality, the last rows have one.
    path = write_sums(tmp_path / "a.jsonl", 24_000, solution="word " * 100)
    run = make_run(tmp_path / "run", 9, [3, 1])
    parts = {"drawn": {"pool": str(path)}, "picked": {"selection": str(run)}}
    out = write_mixture(compose({"parts": parts, "shuffle": False}), tmp_path / "out")
    file = out / "data" / "train.jsonl"
    assert file.stat().st_size > 12_000_000
    rows = datasets.load_dataset("json", data_files=str(file), split="train")
    assert len(rows) == 24_002
    assert json.loads(rows[-1]["qads"])["quality"] == 0.5


def test_variants_are_configurations_of_one_dataset_and_prefixes_of_each_other(tmp_path: Path):
    run = make_run(tmp_path / "run", 40, list(range(20)))
    recipe = {
        "name": "family",
        "parts": {"selected": {"selection": str(run)}},
        "variants": {"small": {"selected": "5%"}, "large": {"selected": "50%"}, "middle": {"selected": 7}},
        "shuffle": False,
    }
    out = write_mixture(compose(recipe), tmp_path / "out")
    assert datasets.get_dataset_config_names(str(out)) == ["small", "large", "middle"]
    sizes = {name: len(opened(out, name)) for name in ("small", "large", "middle")}
    assert sizes == {"small": 2, "large": 20, "middle": 7}
    assert len(opened(out)) == 20  # The largest is the default.
    assert opened(out, "small")["id"] == opened(out, "middle")["id"][:2] == opened(out, "large")["id"][:2]
    assert list(json.loads((out / "dataset_info.json").read_text())) == [
        "family-small",
        "family-large",
        "family-middle",
    ]
    assert len(yaml.safe_load((out / "axolotl.yaml").read_text())["datasets"]) == 3


def test_no_variant_is_called_what_datasets_takes_for_the_default():
    recipe = {"parts": {"x": {"pool": "a.jsonl"}}, "variants": {"default": {"x": 2}, "small": {"x": 1}}}
    with pytest.raises(InputError, match=r"variants\.default: is what the mixture of no variant is called"):
        load_recipe(recipe)


def test_the_manifest_keeps_a_temperature_without_bound(tmp_path: Path):
    parts = {name: {"pool": str(write_sums(tmp_path / f"{name}.jsonl", 9))} for name in "ab"}
    for where in ("recipe", "part"):
        given = parts if where == "recipe" else {"a": parts["a"] | {"take": 3, "temperature": float("inf")}}
        whole = {"size": 6, "temperature": float("inf")} if where == "recipe" else {}
        mixture = compose({"parts": given} | whole)
        told = json.loads(json.dumps(describe_mixture(mixture), allow_nan=False))["recipe"]
        found = told if where == "recipe" else told["parts"]["a"]
        assert found["temperature"] == "inf"
        del told["tokenizer"]
        assert load_recipe(told | {"parts": given}).temperature == mixture.recipe.temperature


def test_the_card_has_the_header_of_the_hub_and_the_numbers(tmp_path: Path):
    parts = {
        "one": {"pool": str(write_sums(tmp_path / "a.jsonl", 30)), "license": "MIT"},
        "two": {"pool": str(write_sums(tmp_path / "b|<i>.jsonl", 10))},
    }
    out = write_mixture(compose({"parts": parts, "name": "sums", "language": "en"}), tmp_path / "out")
    card = DatasetCard.load(out / "README.md")
    header = card.data.to_dict()
    assert (header["license"], header["language"], header["pretty_name"]) == (["mit", "unknown"], ["en"], "sums")
    assert (header["size_categories"], header["task_categories"]) == (["n<1K"], ["text-generation"])
    assert header["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.jsonl"}]}
    ]
    assert "| one | a | 30 | 75.0% |" in card.text
    assert r"| two | b\|\<i\> | 10 | 25.0% |" in card.text  # Names of files are text, not markup.


@pytest.mark.parametrize(
    ("stated", "rows", "card", "expected"),
    [
        ("mit", {}, None, "mit"),
        ({"a": "cc-by-4.0"}, {}, "apache-2.0", "cc-by-4.0"),
        (None, {"license": "odc-by"}, "apache-2.0", "odc-by"),
        (None, {}, "apache-2.0", "apache-2.0"),
        (None, {}, "[mit, apache-2.0]", "apache-2.0 AND mit"),
        (None, {}, None, None),
        (None, {}, "{broken", None),
    ],
)
def test_a_licence_comes_from_recipe_rows_or_card(
    tmp_path: Path, stated: Any, rows: dict[str, Any], card: str | None, expected: str | None
):
    path = write_sums(tmp_path / "set" / "data" / "a.jsonl", 3, **rows)
    if card is not None:
        (tmp_path / "set" / "README.md").write_text(f"---\nlicense: {card}\n---\n\n# Sums\n")
    mixture = compose({"parts": {"x": {"pool": str(path), "license": stated}}})
    assert mixture.largest.parts["x"].sources["a"].license == expected


def test_a_licence_of_no_source_is_refused(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 3)
    with pytest.raises(InputError, match="license: no row has the source 'b'; there are a"):
        compose({"parts": {"x": {"pool": str(path), "license": {"b": "mit"}}}})


def test_a_mixture_carries_the_licences_of_a_mixture_on(tmp_path: Path):
    parts = {"x": {"pool": str(write_sums(tmp_path / "a.jsonl", 3)), "license": "mit"}}
    out = write_mixture(compose({"parts": parts}), tmp_path / "out")
    again = compose({"parts": {"y": {"pool": str(out / "data")}}})
    assert again.largest.parts["y"].sources["a"].license == "mit"

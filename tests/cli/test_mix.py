"""`qads mix` from a recipe to a folder, and the recipes of the examples on small files."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.conftest import Call
from mixture.files import make_run, records, tree, write_sums
from run.tiny import rows, write_rows

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sums(tmp_path / "data" / "a.jsonl", 30)
    write_sums(tmp_path / "data" / "b.jsonl", 20)
    make_run(tmp_path / "run", 40, [5, 1, 7, 2])
    settings = {
        "parts": {
            "all": {"pool": "data/a.jsonl", "license": "mit"},
            "some": {"pool": "data/b.jsonl", "take": "25%"},
            "picked": {"selection": "run"},
        }
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "recipe.yaml"


def test_a_recipe_becomes_a_folder_and_says_what_it_comes_to(qads: Call, recipe: Path):
    found = qads("mix", recipe, "-o", "out")
    assert found.code == 0, found.err
    assert "Mixture: 39 rows" in found.out
    lines = [line.split() for line in found.out.splitlines()]
    assert ["some", "0.25", "20", "5", "5", "12.8"] in lines
    assert len(records(Path("out/data/train.jsonl"))) == 39


def test_json_is_the_manifest_without_files(qads: Call, recipe: Path):
    found = json.loads(qads("mix", recipe, "-o", "out", "--json").out)
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert found["mixtures"]["default"]["rows"] == manifest["mixtures"]["default"]["rows"] == 39
    assert found["out"] == "out"


def test_no_name_of_a_stranger_makes_a_line_of_the_table(qads: Call, recipe: Path):
    write_sums(Path("data/a.jsonl"), 3, source="s\nMixture: 9 rows\x1b[31m")
    found = qads("mix", recipe, "-o", "out", "--dry-run")
    assert found.code == 0, found.err
    assert not any(line.startswith("Mixture: 9") for line in found.out.splitlines())
    assert r"s\nMixture: 9 rows\x1b[31m" in found.out


def test_a_dry_run_counts_and_writes_nothing(qads: Call, recipe: Path):
    before = tree(recipe.parent)
    found = qads("mix", recipe, "-o", "out", "--dry-run")
    assert found.code == 0, found.err
    assert "Mixture: 39 rows" in found.out and "nothing was written" in found.out
    assert tree(recipe.parent) == before


def test_settings_go_over_the_recipe(qads: Call, recipe: Path):
    found = qads("mix", recipe, "-o", "out", "--set", "parts.some.take=all", "--set", "format=alpaca", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["mixtures"]["default"]["rows"] == 54
    assert "instruction" in records(Path("out/data/train.jsonl"))[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("parts.some.tkae=1", "parts.some.tkae: unknown key; did you mean 'take'?"),
        ("parts.some.take=21", "parts.some: take 21 is 21 rows, and there are 20 rows"),
        ("formt=alpaca", "formt: unknown key; did you mean 'format'?"),
        ("suffix={pott: x}", "suffix"),
        ("parts.some.pool=nowhere", "nowhere: no such file or folder"),
        ("seed=-1", "seed is -1"),
    ],
)
def test_what_cannot_be_is_one_readable_error(qads: Call, recipe: Path, setting: str, message: str):
    found = qads("mix", recipe, "-o", "out", "--set", setting)
    assert (found.code, found.out) == (2, "")
    assert message in found.err and "Traceback" not in found.err
    assert not Path("out").exists()


def test_a_key_that_stands_twice_is_refused(qads: Call, recipe: Path):
    recipe.write_text(recipe.read_text() + "parts: {}\n")
    found = qads("mix", recipe, "-o", "out")
    assert found.code == 2 and "the key 'parts' stands here a second time" in found.err


def test_what_is_read_is_never_written_over(qads: Call, recipe: Path):
    before = tree(recipe.parent)
    for out in ("data", ".", "run"):
        assert qads("mix", recipe, "-o", out).code == 2
    assert tree(recipe.parent) == before


def test_tokens_are_counted_where_a_model_is_named(qads: Call, recipe: Path, model: Path):
    found = qads("mix", recipe, "-o", "out", "--set", f"tokenizer={model}", "--json")
    assert found.code == 0, found.err
    whole = json.loads(found.out)["mixtures"]["default"]
    assert whole["tokens"] == sum(part["tokens"] for part in whole["parts"].values()) > 39 * 10
    assert str(model) not in Path("out/manifest.json").read_text()


def test_takes_shares_and_caps_in_tokens_are_kept_to(qads: Call, recipe: Path, model: Path):
    def parts(**settings: str) -> dict[str, Any]:
        flags = [word for name, value in settings.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]
        found = qads("mix", recipe, "-o", "out", "--json", "--set", f"tokenizer={model}", *flags)
        assert found.code == 0, found.err
        return json.loads(found.out)["mixtures"]["default"]["parts"]

    whole = parts()
    each = whole["some"]["tokens"] / whole["some"]["rows"]
    assert 200 - 2 * each < parts(parts__some__take="200 tokens")["some"]["tokens"] <= 200
    capped = parts(parts__some__take="all", parts__some__repeat="3", parts__some__cap="1k tokens")["some"]
    assert 1000 - 2 * each < capped["tokens"] <= 1000 and capped["rows"] > 20
    shared = parts(unit="tokens", parts__some__take="{share: 20%}", parts__some__max_repeat="5")
    total = sum(part["tokens"] for part in shared.values())
    assert 0.2 * total - 2 * each < shared["some"]["tokens"] <= 0.2 * total + each
    found = qads("mix", recipe, "-o", "out", "--set", f"tokenizer={model}", "--set", "parts.some.take=5k tokens")
    assert found.code == 2 and "parts.some: take is 5000 tokens, but there are" in found.err


def test_the_examples_run_on_small_files(qads: Call, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for place, made in (
        ("data/general/chat.jsonl", rows(60)),
        ("data/reasoning/sums.jsonl", [row | {"source": "sums"} for row in rows(12, seed=1, prefix="m")]),
        ("data/target/gsm8k_and_math_dev.jsonl", rows(3, seed=2, prefix="t")),
    ):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        write_rows(Path(place), made)
        Path(f"{place}.gz").write_bytes(gzip.compress(Path(place).read_bytes()))
    Path("data/general/chat.jsonl").unlink()
    settings = [setting for setting in tiny[1::2] if not setting.startswith("anchors.n")]
    flags = [word for setting in settings for word in ("--set", setting)]
    found = qads("run", "examples/select.yaml", *flags)
    assert found.code == 0, found.err
    found = qads("mix", "examples/openmathmix.yaml", "-o", "openmathmix", "--json")
    assert found.code == 0, found.err
    parts = json.loads(found.out)["mixtures"]["default"]["parts"]
    assert {name: part["rows"] for name, part in parts.items()} == {"reasoning": 12, "general": 6}
    found = qads("mix", "examples/efficient.yaml", "-o", "efficient", "--json")
    assert found.code == 0, found.err
    ratios = {name: mixture["rows"] for name, mixture in json.loads(found.out)["mixtures"].items()}
    assert ratios == {"ratio-1": 1, "ratio-5": 3, "ratio-10": 6, "ratio-20": 12, "ratio-50": 30}
    picks = {
        name: {row["qads"]["step"] for row in records(Path(f"efficient/data/{name}/train.jsonl"))} for name in ratios
    }
    assert picks == {name: set(range(n)) for name, n in ratios.items()}


def test_a_fraction_of_a_cleaned_run_is_one_of_the_pool_that_was_left(
    qads: Call, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    made = rows(30)
    write_rows(Path("pool.jsonl"), [*made, *(row | {"id": f"again{at}"} for at, row in enumerate(made[:10]))])
    chosen = ["-b", "50%", "-o", "picked.jsonl", "--no-quality", *tiny[:6], "--set", "clean.duplicates.near=null"]
    found = qads("select", "pool.jsonl", *chosen)
    assert found.code == 0, found.err
    Path("recipe.yaml").write_text("parts: {picked: {selection: picked.jsonl.qads, take: 10%}}")
    found = qads("mix", "recipe.yaml", "-o", "out", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["mixtures"]["default"]["rows"] == 3  # Of 30, not of 40.

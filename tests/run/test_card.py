"""The rows that a run chose are a dataset with a card."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

import datasets
from qads.config import load_config
from qads.run import run_pipeline
from run.tiny import make_model, rows, settings, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = rows(30)
    for row in made[:10]:
        row |= {"source": "evil | <b>x</b>", "license": "mit"}
    model = make_model(tmp_path / "model")
    config = settings(model, write_rows(tmp_path / "pool.jsonl", made), quality=None, budget=[6, 12])
    return run_pipeline(load_config(config), tmp_path / "run").directory / "mixture"


def test_the_card_names_sources_with_their_shares_and_licences_and_no_place(folder: Path):
    text = (folder / "README.md").read_text()
    card = DatasetCard(text)
    assert sorted(card.data.license) == ["mit", "unknown"] and card.data.size_categories == ["n<1K"]
    assert [each["config_name"] for each in card.data.to_dict()["configs"]] == ["default", "train-6"]
    assert "12 of 30 rows" in text and "| 10 |" in text and str(folder.parent) not in text
    assert "<b>" not in text and "evil \\| \\<b\\>" in text


def test_datasets_opens_the_folder_of_a_run(folder: Path, tmp_path: Path):
    found = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.num_rows == 12
    smaller = datasets.load_dataset(str(folder), "train-6", split="train", cache_dir=str(tmp_path / "cache"))
    assert smaller["id"] == found["id"][:6]

"""A tiny model with a tokenizer that ends texts, and sets of a few items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from run.tiny import make_model, rows, write_rows


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_model(tmp_path_factory.mktemp("model") / "tiny")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token = "<s>"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def exam(tmp_path: Path) -> str:
    """Nine problems with worked solutions."""
    return f"exam={write_rows(tmp_path / 'exam.jsonl', rows(9))}"


@pytest.fixture
def quiz(tmp_path: Path) -> str:
    """Four multiple-choice problems without solutions."""
    made = [
        {
            "id": f"q{n}", "problem": f"What is {n} + 2? Answer Choices: (A) {n + 1} (B) {n + 2} (C) {n + 3}",
            "solution": "", "answer": "B",
        }
        for n in range(4)
    ]  # fmt: skip
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return f"quiz={path}"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

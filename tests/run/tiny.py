"""A model of random weights and pools of a few rows: what a pipeline needs to go round in a second."""

from __future__ import annotations

import json
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from qads.config import RunConfig
from qads.quality.scorers import reading
from qads.run import run_pipeline
from qads.selection import keeping

WORDS = "apple pear plum book coin stone river train garden ladder candle button".split()


def make_model(folder: Path, *, max_length: int = 1024) -> Path:
    """A Llama of a few thousand weights with a byte-level tokenizer, as safetensors."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([" ".join(WORDS)] * 8, vocab_size=320, special_tokens=["<s>"], show_progress=False)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, bos_token="<s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=max_length, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def rows(n: int, *, seed: int = 0, prefix: str = "r") -> list[dict[str, Any]]:
    """`n` worked solutions, no two alike."""
    draw = random.Random(seed)
    made = []
    for number in range(n):
        a, b, thing = draw.randint(2, 99), draw.randint(2, 99), draw.choice(WORDS)
        made.append(
            {
                "id": f"{prefix}{number}",
                "source": f"s{number % 3}",
                "problem": f"Number {number}: {a} {thing}s and {b} more make how many?",
                "solution": f"Add {a} and {b}. {a} + {b} = {a + b}.",
                "answer": str(a + b),
                "kind": "cot",
            }
        )
    return made


def write_rows(path: Path, made: list[dict[str, Any]]) -> Path:
    """The rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def settings(model: Path, pool: Path, **changes: Any) -> dict[str, Any]:
    """A whole configuration around the tiny model."""
    whole: dict[str, Any] = {
        "pool": {"sources": str(pool)},
        "budget": 6,
        "embedding": {"kind": "lm", "model": str(model), "dtype": "float32"},
        "anchors": {"n": 3},
        "quality": {"sample": 20, "influence": {"model": str(model), "dtype": "float32"}},
        "execution": {"device": "cpu"},
    }
    return whole | changes


class Heard:
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.reused: list[str] = []

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Counts from 1."""
        assert 1 <= number <= n_stages

    def progress(self, done: int, total: int) -> None:
        """Never goes over the total."""
        assert total == -1 or 0 <= done <= total

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """Remembers which it was."""
        (self.reused if reused else self.computed).append(name)


def run(config: RunConfig, directory: Path, **options: Any) -> Heard:
    """Run the pipeline, and tell what was computed and what was used again."""
    heard = Heard()
    run_pipeline(config, directory, observer=heard, **options)
    return heard


@dataclass
class StopAt:
    """An observer that stops its own process, as SIGSTOP does, when a stage has come so far."""

    stage: str
    at: int | str
    """Rows done, or ``started`` or ``finished``."""
    now: str = ""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Stops there if it is told to."""
        self.now = name
        self._stop_if(name, "started")

    def progress(self, done: int, total: int) -> None:
        """Stops there if it is told to."""
        self._stop_if(self.now, done)

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """Stops there if it is told to."""
        self._stop_if(name, "finished")

    def _stop_if(self, stage: str, at: int | str) -> None:
        if (stage, at) == (self.stage, self.at):
            os.kill(os.getpid(), signal.SIGSTOP)


class LongSelection(StopAt):
    """An observer that lets a selection count as long, and stops its process at a pick."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Before anything is picked."""
        keeping._WORTH_KEEPING, keeping._EVERY = 0, 50
        super().stage_started(name, number, n_stages)


@dataclass
class ShortReadings(StopAt):
    """An observer that lets a probe read a few rows at a time, and stops its process once so many are read."""

    n_rows: int = 0
    """Rows that are to be read: rounds tell of those that they score, too."""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Before anything is read."""
        reading._ROWS_PER_SHARD = 4
        super().stage_started(name, number, n_stages)

    def progress(self, done: int, total: int) -> None:
        """Stops there if it is told to."""
        if total == self.n_rows:
            super().progress(done, total)


def written(directory: Path) -> dict[str, bytes]:
    """All files of a run, but for the manifests (they hold seconds) and the lock."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", ".lock")
    }


def run_in_process(config: RunConfig, directory: Path, observer: StopAt | None) -> None:
    """What a process of its own does in the tests of survival."""
    torch.set_num_threads(1)
    run_pipeline(config, directory, observer=observer)

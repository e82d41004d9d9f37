"""One run of a simulated pool, as `million.py` starts it in a process of its own: pool, tiny model, stages, memory.

The texts are invented and drawn from a seed; every hundredth row is a copy of an earlier one word for word, and every
hundredth but one differs from an earlier one in one word, so that cleaning has something to find.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qads.cli.running import write_run_report
from qads.config import RunConfig, load_config
from qads.run import run_pipeline

_SOURCES = ("algebra", "prices", "travel", "cooking", "gardens")
_SYLLABLES = (
    "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra ri ro".split()
)
WORDS = [first + second + third for first in _SYLLABLES for second in _SYLLABLES[::3] for third in ("n", "s", "r")]
"""Invented words, so that no two rows are alike by accident."""


def make_row(number: int) -> dict[str, Any]:
    """Row `number` of every pool, whatever its size."""
    if number >= 200 and number % 100 == 0:
        return make_row(number - 199) | {"id": f"r{number}"}  # word for word
    near = number >= 200 and number % 100 == 1
    draw = random.Random(number - 198 if near else number)
    words = draw.choices(WORDS, k=14)
    a, b = draw.randint(2, 9999), draw.randint(2, 9999)
    source = _SOURCES[draw.randrange(len(_SOURCES))]
    if near:
        words[5] = "changed"
    return {
        "id": f"r{number}",
        "source": source,
        "problem": f"{' '.join(words)}: {a} and {b} more make how many?",
        "solution": f"First {' '.join(words[:8])}. Add {a} and {b}. {a} + {b} = {a + b}.",
        "answer": str(a + b),
    }


def write_pool(path: Path, n_rows: int) -> None:
    """The pool as JSON Lines, a row at a time."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            file.write(json.dumps(make_row(number)) + "\n")
    partial.replace(path)


def make_model(folder: Path, *, hidden: int) -> None:
    """A Llama of two layers and random weights, with a byte-level tokenizer of its own."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = ByteLevelBPETokenizer()
    texts = (row[name] for row in map(make_row, range(2000)) for name in ("problem", "solution"))
    tokenizer.train_from_iterator(texts, vocab_size=4096, special_tokens=["<s>"], show_progress=False)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=4096, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, bos_token="<s>").save_pretrained(folder)


def configuration(model: Path, pool: Path, budget: str) -> RunConfig:
    """Every stage that needs no trained model: clean, embed, anchors, influence, scorer, quality, select, mixture."""
    return load_config(
        {
            "pool": {"sources": str(pool)},
            "budget": budget,
            "clean": {"duplicates": {}},
            "embedding": {"kind": "lm", "model": str(model), "dtype": "float32", "max_length": 256},
            "anchors": {"n": 16},
            "quality": {"sample": 256, "influence": {"model": str(model), "dtype": "float32"}},
            "execution": {"device": "cpu"},
        }
    )


class Watch:
    """Hears a run, and writes seconds and greatest resident memory of every stage that it computes."""

    def __init__(self, log: Path, kill_at: str | None) -> None:
        self.log, self.kill_at = log, kill_at
        self.now, self.since = "", time.monotonic()

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """The memory is counted anew."""
        self.now, self.since = name, time.monotonic()
        _forget_peak()

    def progress(self, done: int, total: int) -> None:
        """Kills its own process half-way through the stage that it is told to."""
        if self.now == self.kill_at and total > 0 and done * 2 >= total:
            self.write({"killed": self.now, "done": done, "total": total})
            os.kill(os.getpid(), signal.SIGKILL)

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """What it took, or that it was there."""
        facts = {"reused": True} if reused else {"seconds": time.monotonic() - self.since, **_memory()}
        self.write({"stage": name, "rows": manifest.get("rows"), **facts})

    def write(self, facts: dict[str, Any]) -> None:
        """A line of JSON, on disk before the next."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from what is resident now.


def _memory() -> dict[str, int]:
    """Greatest resident memory since it was forgotten, and what is anonymous of it now, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    kilobytes = {name: int(value.split()[0]) for name, _, value in pairs if value.endswith("kB")}
    return {"peak_bytes": 1024 * kilobytes["VmHWM"], "anonymous_bytes": 1024 * kilobytes["RssAnon"]}


def main() -> None:
    """Prepare, or run all stages and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--budget", default="10%")
    parser.add_argument("--kill-at")
    parser.add_argument("--until")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    model, pool = folder / "model", folder / "pool.jsonl"
    if not (model / "tokenizer.json").exists():
        make_model(model, hidden=options.hidden)
    if not pool.exists():
        write_pool(pool, options.rows)
    watch = Watch(folder / "stages.jsonl", options.kill_at)
    config = configuration(model, pool, options.budget)
    run_pipeline(config, folder / "run", until=options.until, observer=watch)
    if options.until is None:
        watch.stage_started("page", 0, 0)
        page = write_run_report(folder / "run", observer=None)
        watch.stage_finished("page", {"rows": page.stat().st_size}, reused=False)


if __name__ == "__main__":
    sys.exit(main())

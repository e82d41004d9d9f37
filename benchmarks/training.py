"""Tokens a processor second in full fine-tuning, by precision and by how rows share a pass; beside TRL as it comes.

    QADS_TEST_DATA=../shared/data python benchmarks/training.py --rounds 3

All variants take the same steps on the same rows (half GSM8K, half MATH), one after the other in every round, so that
what else the machine does falls on all of them; the first step of each sets things up and is not counted. Seconds are
those of the process on all its threads together, so that other work on the machine counts little. Tokens are those of
the texts, padding not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qads
from qads.models import open_causal_lm

REFERENCE = "TRL as it comes, bfloat16 mixed"
VARIANTS: dict[str, dict[str, Any]] = {
    "packed, bfloat16 mixed": {},
    "packed, bfloat16 mixed, 512 tokens a pass": {"pass": 512},
    "padded by length, bfloat16 mixed": {"packing": False},
    "packed, bfloat16 weights": {"master_weights": False},
    "packed, float32": {"dtype": "float32"},
    "padded by length, float32": {"packing": False, "dtype": "float32"},
    "packed, bfloat16 mixed, gradient checkpointing": {"gradient_checkpointing": True},
    "packed, adapter on bfloat16": {"lora": qads.Lora()},
}


def rows_of(folder: Path, n: int) -> qads.Pool:
    """Rows from all over two sources."""
    pools = [qads.load_pool(folder / "pool" / f"{name}.jsonl.gz") for name in ("gsm8k_train", "math_train")]
    spread = [pool.take([i * len(pool) // (n // 2) for i in range(n // 2)]) for pool in pools]
    return qads.Pool.from_rows(row for pool in spread for row in pool)


def ours(settings: dict[str, Any], pool: qads.Pool, batch_size: int, steps: int) -> list[float]:
    """Tokens a processor second of every step but the first."""
    settings = dict(settings)
    execution = qads.Execution(device="cpu", max_tokens_per_batch=settings.pop("pass", 2048))
    method = qads.FineTuning(**{"dtype": "bfloat16"} | settings, steps=steps, batch_size=batch_size, merge=False)
    ends = [0.0] * steps
    with tempfile.TemporaryDirectory() as out:
        trained = method(
            pool, out, execution=execution, on_step=lambda step: ends.__setitem__(step.step - 1, time.process_time())
        )
    tokens = [step.tokens for step in trained.losses]
    return [(b - a) / (end - start) for a, b, start, end in zip(tokens, tokens[1:], ends, ends[1:], strict=False)]


def trl(pool: qads.Pool, batch_size: int, steps: int) -> list[float]:
    """The same rows by `SFTTrainer` with its own collator, order of rows and head: 8 rows a pass, padded."""
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from datasets import Dataset

    class Clock(TrainerCallback):
        ends: list[float] = []  # noqa: RUF012

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.process_time())

    lm = open_causal_lm("smollm2-135m", device="cpu", dtype="float32")
    lm.model.requires_grad_(True)
    plan = qads.FineTuning(steps=steps, batch_size=batch_size).plan(pool)
    order = [row for step in plan.schedule.steps for row in step]
    texts = [plan.texts.texts[row] for row in order]
    data = Dataset.from_dict(
        {
            "input_ids": [list(text.ids) for text in texts],
            "labels": [[*[-100] * text.answer_start, *text.ids[text.answer_start :]] for text in texts],
        }
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        settings = SFTConfig(
            output_dir=out, max_steps=steps, per_device_train_batch_size=min(8, batch_size), use_cpu=True, bf16=True,
            gradient_accumulation_steps=max(1, batch_size // 8), gradient_checkpointing=False,
            report_to="none", logging_strategy="no",
            save_strategy="no", disable_tqdm=True, train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip
        trainer = SFTTrainer(
            model=lm.model, args=settings, train_dataset=data, processing_class=lm.tokenizer, callbacks=[clock]
        )
        trainer._send_telemetry = lambda: None
        trainer.train()
    totals = plan.schedule.totals(plan.texts.lengths)
    return [n / (end - start) for n, start, end in zip(totals[1:], clock.ends, clock.ends[1:], strict=False)]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="Names of variants.")
    asked = parser.parse_args()
    pool = rows_of(Path(os.environ["QADS_TEST_DATA"]), asked.rows)
    runs: dict[str, Callable[[], list[float]]] = {REFERENCE: lambda: trl(pool, asked.batch_size, asked.steps)}
    for name, settings in VARIANTS.items():
        if not asked.only or name in asked.only:
            runs[name] = lambda settings=settings: ours(settings, pool, asked.batch_size, asked.steps)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(asked.rounds):
        for name, run in runs.items():
            rates[name].append(statistics.median(run()))
            print(f"round {number + 1}: {name}: {rates[name][-1]:.0f} tokens a processor second", flush=True)
    print(f"\n| variant | tokens a processor second, median of {asked.rounds} | ratio to TRL (lowest to highest) |")
    print("|---|---|---|")
    for name, found in rates.items():
        ratios = [mine / base for mine, base in zip(found, rates[REFERENCE], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {statistics.median(found):.0f} | {spread} |")


if __name__ == "__main__":
    main()

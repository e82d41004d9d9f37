"""Fine-tuning a causal language model to say one token behind a text, by TRL's `SFTTrainer`; LoRA by PEFT.

Nothing of it is pickled: no checkpoint is written, and what was learnt is kept as the files that `save_pretrained`
writes, safetensors and JSON. The trainer comes with the extra `train` and is imported when it is used.
"""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.datasets import atomic_path
from qads.errors import CorruptError
from qads.models import ADAPTER, KEPT, CausalLM, Lora, seeded, stable_bytes
from qads.pool import Progress

__all__ = ["Tuning", "read_files", "texts_at_once", "write_files"]

_IGNORED = -100
"""What torch's cross-entropy leaves out."""
_WARMUP = 0.1
_PASS = 1024
"""Tokens of one pass forth and back, unless a text is longer."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a model is fine-tuned."""

    lora: Lora | None
    """None trains all weights."""
    epochs: int
    learning_rate: float
    """At the end of a warm-up over the first tenth of the steps; it falls linearly to 0."""
    batch_size: int
    """Texts in a step of the optimiser (AdamW); how many of them share a pass changes nothing but rounding."""
    seed: int

    def __call__(
        self, lm: CausalLM, texts: Sequence[Sequence[int]], *, name: str, dtype: str, progress: Progress | None = None
    ) -> dict[str, bytes]:
        """Train on the last token of every text; the model that was given is used up.

        Args:
            lm: the model, in `dtype` for an adapter, and in float32 to train all its weights.
            texts: tokens of the texts.
            name: of the model, as its user gave it.
            dtype: precision of the model that will be used.
            progress: called with (texts trained on, texts in all epochs).

        Returns:
            Files that hold what was learnt: the adapter, or the model with its tokenizer.
        """
        import torch
        from transformers import PrinterCallback

        with tempfile.TemporaryDirectory() as scratch, seeded(self.seed):
            trainer = self._trainer(lm, texts, dtype=dtype, scratch=scratch)
            trainer.remove_callback(PrinterCallback)
            if progress is not None:
                trainer.add_callback(_told(progress, len(texts) * self.epochs))
            trainer.train()
            kept = Path(scratch) / "kept"
            if self.lora is None:
                trainer.model.to(getattr(torch, dtype))
                lm.tokenizer.save_pretrained(kept)
            trainer.model.save_pretrained(kept)
            del trainer
            gc.collect()  # It refers to itself, and would keep the model's memory while the next one opens.
            return {path.name: stable_bytes(path, name) for path in sorted(kept.iterdir()) if path.suffix in KEPT}

    def _trainer(self, lm: CausalLM, texts: Sequence[Sequence[int]], *, dtype: str, scratch: str) -> Any:
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

        from datasets import Dataset

        class Trainer(SFTTrainer):
            def _send_telemetry(self) -> None:
                """Nobody is told that somebody fits a scorer."""

        lm.model.requires_grad_(self.lora is None)
        mixed = self.lora is None and dtype == "bfloat16"
        settings = self._settings(lm, [len(text) for text in texts], mixed=mixed, scratch=scratch)
        rows = Dataset.from_dict({
            "input_ids": [list(text) for text in texts],
            "labels": [[*[_IGNORED] * (len(text) - 1), text[-1]] for text in texts],
        })  # fmt: skip
        adapter = None if self.lora is None else self.lora.config()
        settings._n_gpu = 1  # The trainer would spread the model over all that it sees, or refuse to.
        return Trainer(
            model=lm.model, args=settings, train_dataset=rows, processing_class=lm.tokenizer, peft_config=adapter,
            data_collator=DataCollatorForLanguageModeling(pad_token_id=0),  # Masked: no tokenizer needs one for it.
        )  # fmt: skip

    def _settings(self, lm: CausalLM, lengths: Sequence[int], *, mixed: bool, scratch: str) -> Any:
        from trl.trainer.sft_config import SFTConfig

        steps = self.epochs * math.ceil(len(lengths) / self.batch_size)
        at_once = texts_at_once(self.batch_size, max(lengths))
        return SFTConfig(
            output_dir=scratch, seed=self.seed, use_cpu=lm.device.type == "cpu",
            num_train_epochs=self.epochs, learning_rate=self.learning_rate, warmup_steps=math.ceil(_WARMUP * steps),
            lr_scheduler_type="linear", per_device_train_batch_size=at_once,
            gradient_accumulation_steps=self.batch_size // at_once,
            gradient_checkpointing=False, bf16=mixed, max_length=None,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},  # Tokens are given as they will be read, and stay so.
        )  # fmt: skip


def texts_at_once(batch_size: int, longest: int) -> int:
    """Texts that share a pass: a divisor of the batch, so that short ones run together and long ones without padding.

    >>> texts_at_once(8, 30), texts_at_once(8, 300), texts_at_once(8, 3000), texts_at_once(7, 300)
    (8, 2, 1, 1)
    """
    return max(n for n in range(1, batch_size + 1) if batch_size % n == 0 and (n == 1 or n * longest <= _PASS))


def write_files(folder: Path, lora: Lora | None, files: Mapping[str, bytes]) -> Path:
    """Write what was learnt into a folder of a scorer, in place of what was there; gives where it is."""
    where = folder / _place(lora)
    where.mkdir(parents=True, exist_ok=True)
    for stale in where.iterdir():
        if stale.suffix in KEPT and stale.name not in files:
            stale.unlink()
    for name, content in files.items():
        with atomic_path(where / name) as temporary:
            temporary.write_bytes(content)
    return where


def read_files(folder: Path, lora: Lora | None) -> dict[str, bytes]:
    """What `write_files` wrote; files of other kinds are not looked at.

    Raises:
        CorruptError: it is not there.
    """
    where = folder / _place(lora)
    found = sorted(where.iterdir()) if where.is_dir() else []
    files = {path.name: path.read_bytes() for path in found if path.suffix in KEPT and path.is_file()}
    needed = "config.json" if lora is None else ADAPTER
    if needed not in files:
        raise CorruptError(f"{where}: {needed} of a fitted scorer is not there. Fit it again.")
    return files


def _place(lora: Lora | None) -> str:
    return "model" if lora is None else "adapter"


def _told(progress: Progress, n_texts: int) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(round(n_texts * state.global_step / state.max_steps), n_texts)

    return Told()

"""Fine-tuning a causal language model to say one token behind a text, by TRL's `SFTTrainer`; LoRA by PEFT.

Nothing of it is pickled: no checkpoint is written, and what was learnt is kept as the files that `save_pretrained`
writes, safetensors and JSON. The trainer comes with the extra `train` and is imported when it is used.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import math
import random
import tempfile
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qads.errors import CorruptError, InputError
from qads.models import CausalLM
from qads.pool import Progress

__all__ = ["ADAPTER", "Lora", "Tuning", "check_extra", "read_files", "texts_at_once", "with_adapter", "write_files"]

ADAPTER = "adapter_model.safetensors"
"""The file of an adapter's weights, as PEFT names it."""
_IGNORED = -100
"""What torch's cross-entropy leaves out."""
_KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Files that make a model and its tokenizer; the rest are cards and settings of the trainer."""
_WARMUP = 0.1
_PASS = 1024
"""Tokens of one pass forth and back, unless a text is longer."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685) of every linear layer but the head."""

    rank: int = 16
    """Of the product of two matrices that is added to a layer's weights."""
    alpha: int = 32
    """The adapter counts alpha / rank times."""
    dropout: float = 0.0
    """Share of the adapter's inputs left out while it is trained."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if (found := getattr(self, name)) < 1:
                raise InputError(f"lora: {name} is {found}; it must be 1 at least.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"lora: dropout is {self.dropout:g}; it must be 0 or more, and below 1.")

    def config(self) -> Any:
        """As PEFT takes it."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules="all-linear",
            task_type="CAUSAL_LM",
        )  # fmt: skip


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

        with tempfile.TemporaryDirectory() as scratch, _as_libraries_need(self.seed):
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
            return {path.name: _stable_bytes(path, name) for path in sorted(kept.iterdir()) if path.suffix in _KEPT}

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


def check_extra(*needed: str) -> None:
    """Refuse to go on without libraries of the extra.

    Raises:
        InputError: one is missing; says how to install it.
    """
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise InputError(f"LMScorer: {' and '.join(missing)} not installed; it needs pip install 'qads[train]'.")


def with_adapter(lm: CausalLM, lora: Lora, adapter: bytes) -> CausalLM:
    """The model with an adapter that `Tuning` learnt, added to its weights: it then runs as fast as without.

    Raises:
        InputError: PEFT is not installed.
        CorruptError: the adapter is damaged, or of another model.
    """
    check_extra("peft")
    from peft import get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load

    try:
        with _as_libraries_need(0):  # It starts from random weights, which are then replaced.
            adapted = get_peft_model(lm.model, lora.config())
            found = set_peft_model_state_dict(adapted, load(adapter))
            merged = adapted.merge_and_unload()
    except Exception as error:  # A damaged file raises what safetensors, PEFT and torch each thought of.
        raise CorruptError(f"LMScorer: its adapter cannot be read ({error}). Fit it again.") from error
    if strange := [*found.unexpected_keys, *(key for key in found.missing_keys if "lora_" in key)]:
        raise CorruptError(f"LMScorer: its adapter is of another model (first difference: {strange[0]}).")
    return dataclasses.replace(lm, model=merged.eval().requires_grad_(False))


def write_files(folder: Path, lora: Lora | None, files: Mapping[str, bytes]) -> Path:
    """Write what was learnt into a folder of a scorer, in place of what was there; gives where it is."""
    where = folder / _place(lora)
    where.mkdir(parents=True, exist_ok=True)
    for stale in where.iterdir():
        if stale.suffix in _KEPT and stale.name not in files:
            stale.unlink()
    for name, content in files.items():
        (where / name).write_bytes(content)
    return where


def read_files(folder: Path, lora: Lora | None) -> dict[str, bytes]:
    """What `write_files` wrote; files of other kinds are not looked at.

    Raises:
        CorruptError: it is not there.
    """
    where = folder / _place(lora)
    found = sorted(where.iterdir()) if where.is_dir() else []
    files = {path.name: path.read_bytes() for path in found if path.suffix in _KEPT and path.is_file()}
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


def _stable_bytes(path: Path, name: str) -> bytes:
    """The file; where it describes an adapter, without folders of this machine and the order of a set."""
    if path.name != "adapter_config.json":
        return path.read_bytes()
    found = json.loads(path.read_text(encoding="utf-8"))
    found |= {"base_model_name_or_path": name, "target_modules": sorted(found["target_modules"])}
    return (json.dumps(found, indent=2, sort_keys=True) + "\n").encode()


@contextmanager
def _as_libraries_need(seed: int) -> Generator[None]:
    """Global generators are seeded, and afterwards as they were; warnings of names that will change are not shown."""
    import torch
    from transformers import set_seed

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        set_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002

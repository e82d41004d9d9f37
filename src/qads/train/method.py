"""Fine-tuning a causal language model on rows: the loss is that of their solutions alone.

    loss of a step   −(1/T) Σ log p(t | what is before it)     over the T answer tokens of the step's rows
    update           AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), the learning rate warmed up and then falling

The texts are those that scoring and evaluation see (`models.training_text`), their tokens those that a token budget
counts (`models.training_tokens`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qads.choices import check_choices
from qads.cluster import Execution
from qads.errors import InputError
from qads.machine import is_first_process, n_processes
from qads.models import (
    CausalLM,
    Dtype,
    Lora,
    Tokenizer,
    check_extra,
    check_quantization,
    find_model,
    open_causal_lm,
    open_tokenizer,
    resolve_device,
    seeded,
)
from qads.pool import Kind, Pool, Progress, to_json
from qads.prompts import ExemplarTemplate, Template, named_instructions, with_suffixes
from qads.train.accounts import OnStep, Trained, TrainingPlan
from qads.train.checkpoints import Checkpoints
from qads.train.schedule import make_schedule
from qads.train.texts import TooLongRow, fit_rows

__all__ = ["Checkpointing", "FineTuning"]

_EPOCHS = 3.0
_ON_CUDA = 8192
"""Tokens of a pass on CUDA unless said otherwise; not measured."""


@dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """What a killed training goes on from; nothing of it changes the result."""

    minutes: float | None = 10.0
    """Time between checkpoints; null goes by steps alone."""
    steps: int | None = None
    """Steps between checkpoints; null goes by time alone."""
    limit: int = 2
    """How many are kept, the newest: should one be damaged, the one before serves."""
    keep: bool = False
    """Whether they stay when the training has ended."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes >= 0:
            raise InputError(f"checkpoints.minutes is {self.minutes:g}; it must be 0 (after every step) or more.")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"checkpoints.steps is {self.steps}; it must be 1 at least.")
        if self.limit < 1:
            raise InputError(f"checkpoints.limit is {self.limit}; it must be 1 at least.")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Fine-tuning on the solutions of rows, by TRL's `SFTTrainer` and PEFT.

    One machine, one number of threads and one seed give the same weights. It needs ``pip install 'qads[train]'``.

    >>> FineTuning(steps=10).batch_size
    16
    """

    model: str = "smollm2-135m"
    """Alias, folder, GGUF file, or hub id."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision that the model computes in; ``auto`` is bfloat16 where the processor has it, else float32."""
    master_weights: bool = True
    """Whether weights that are all trained, and their AdamW states, are kept in float32 and computed with in `dtype`
    (mixed precision). False keeps them in `dtype` itself: half the memory, but in bfloat16 a change below 1/256 of a
    weight is lost, which at small learning rates is most of them. The weights are saved as they were kept."""
    template: Annotated[Template, Field(discriminator="kind")] = field(default_factory=ExemplarTemplate)
    """How a row becomes text; take that of scoring and evaluation."""
    suffix: Annotated[dict[Kind, str], BeforeValidator(named_instructions)] = field(default_factory=dict[Kind, str])
    """Kind -> text put after its problems, unless they end with it; ``instructions`` for those by which an evaluation
    asks for a program."""
    lora: Lora | None = None
    """Adapter that is trained instead of all weights."""
    merge: bool = True
    """Whether the adapter is added to the weights when it is trained, as a model of its own beside the adapter."""
    quantize: Literal["nf4"] | None = None
    """Keep the weights under the adapter in 4 bits (QLoRA, Dettmers et al. 2023, arXiv:2305.14314); CUDA only."""
    epochs: float | None = None
    """How often every row is trained on; 3 where no budget is given. Excludes `steps` and `tokens`."""
    steps: int | None = None
    """Steps of the optimiser, whatever the number of rows."""
    tokens: int | None = None
    """Tokens at most, those of the prompts included: training ends before the first row that would exceed them."""
    batch_size: int = 16
    """Rows in a step, whatever fits at once (`execution.max_tokens_per_batch` are the tokens of a pass)."""
    batch_tokens: int | None = None
    """Tokens of a step, as near as whole rows come, in the place of `batch_size`: trainings on as many tokens then have
    as many steps, whatever the lengths of their rows, unless a row is longer than a step."""
    learning_rate: float = 2e-5
    """Highest, after the warm-up."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls to 0 at the end."""
    warmup: float = 0.03
    """Share of the steps in which it rises from 0, rounded down: a short training has none, since the first of these
    steps learns nothing."""
    weight_decay: float = 0.0
    """Of AdamW, on matrices; not on biases and norms."""
    max_grad_norm: float = 1.0
    """A longer gradient is shortened to this length."""
    packing: bool = True
    """Whether rows lie one behind the other in a pass, with attention that ends at a row's own beginning, instead of
    padded to the longest. A model that lets rows see each other is refused."""
    max_length: int | None = None
    """Tokens of a text at most; null takes the model's context."""
    too_long: TooLongRow = "error"
    """What a longer row does: ``error``, ``drop``, or ``cut`` (its end goes)."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back instead of keeping them: less memory, a third more time."""
    checkpoints: Checkpointing = field(default_factory=Checkpointing)
    """What a killed training goes on from."""
    seed: int = 0
    """Of the order of rows, new adapters and dropout."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if len(given := [n for n in ("epochs", "steps", "tokens") if getattr(self, n) is not None]) > 1:
            raise InputError(f"train: {' and '.join(given)} exclude each other; give one budget.")
        for name, least in (
            ("steps", 1), ("tokens", 1), ("batch_size", 1), ("batch_tokens", 1), ("max_length", 2), ("seed", 0),
        ):  # fmt: skip
            if (found := getattr(self, name)) is not None and found < least:
                raise InputError(f"train.{name} is {found}; it must be {least} at least.")
        if self.seed >= 2**32:
            raise InputError(f"train.seed is {self.seed}; it must be below 2³².")
        for name in ("epochs", "learning_rate", "max_grad_norm"):
            if (found := getattr(self, name)) is not None and not 0 < found < math.inf:
                raise InputError(f"train.{name} is {found:g}; it must be a number above 0.")
        if not 0 <= self.warmup < 1:
            raise InputError(f"train.warmup is {self.warmup:g}; it is a share of the steps: 0 or more, and below 1.")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"train.weight_decay is {self.weight_decay:g}; it must be a number of 0 or more.")
        if self.dtype == "float16":
            raise InputError("train.dtype is float16, whose small gradients vanish; take bfloat16 or float32.")
        if self.quantize is not None and self.lora is None:
            raise InputError("train.quantize keeps weights in 4 bits, which cannot be trained; give an adapter (lora).")

    def __call__(
        self,
        rows: Pool,
        out: str | Path,
        *,
        execution: Execution | None = None,
        resume: bool = True,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
    ) -> Trained:
        """Train, and leave the model in a folder.

        Args:
            rows: what is trained on.
            out: folder that gets `model/` (and `adapter/`), `losses.jsonl`, `left_out.jsonl`, while it trains
                `checkpoints/`.
            execution: device, and tokens of a pass.
            resume: go on from the last whole checkpoint in `out`; False starts anew.
            progress: called with (steps done, steps in all).
            on_step: hears of every step.

        Raises:
            InputError: the extra is not installed, or the settings cannot be carried out here.
            TooLongError: a row does not fit, and that is an error.
            ModelError: the model cannot be opened, or lets packed rows see each other; or the loss is no number.
            RunError: `out` holds checkpoints of another training.
        """
        execution, out = execution or Execution(), Path(out)
        self.check(execution)
        from qads.train.loop import Training, run_training
        from qads.train.result import write_result

        lm = self._open(execution)
        plan, n_parameters = self._plan(lm, rows), lm.n_parameters
        identity = to_json({"method": self.identity(execution), "texts": plan.texts.sha256}, sort_keys=True)
        saved = Checkpoints(
            out / "checkpoints", hashlib.sha256(identity.encode()).hexdigest(), self.checkpoints.limit
        )  # fmt: skip
        writes = is_first_process()
        if not resume and writes:
            saved.remove()
        training = Training(
            method=self, lm=lm, plan=plan, out=out, checkpoints=saved, pass_size=self._pass_size(execution),
            mixed=self._mixed(execution), on_cpu=resolve_device(execution.device).type == "cpu", progress=progress,
            on_step=on_step,
        )  # fmt: skip
        with seeded(self.seed):
            loop, done = run_training(training)
            folder = write_result(loop, training, execution)
        if writes and not self.checkpoints.keep:
            saved.remove()
        return plan.trained(folder, done, n_parameters)

    def plan(self, rows: Pool, *, execution: Execution | None = None) -> TrainingPlan:
        """What a training on these rows would come to; opens the tokenizer, and no weights.

        Raises:
            InputError: the settings cannot be carried out here.
            TooLongError: a row does not fit, and that is an error.
        """
        execution = execution or Execution()
        self._check_device(execution)
        return self._plan(
            open_tokenizer(self.model, revision=self.revision, trust_remote_code=execution.trust_remote_code), rows
        )

    @property
    def n_epochs(self) -> float:
        """How often every row is trained on, unless the budget is one of steps or tokens."""
        return _EPOCHS if self.epochs is None else self.epochs

    def step_tokens(self, mean: float) -> float:
        """Tokens of a step, of rows that have so many on average."""
        return self.batch_size * mean if self.batch_tokens is None else self.batch_tokens

    def check(self, execution: Execution) -> None:
        """Find now what would stop the training once it begins.

        Raises:
            InputError: the extra is not installed, or the device cannot be trained on.
            ModelError: the model is not there.
        """
        check_extra("train", "trl", "peft")
        self._check_device(execution)
        find_model(self.model, revision=self.revision)

    def identity(self, execution: Execution) -> dict[str, Any]:
        """Everything that changes the result: the settings, with what `model` and `dtype` stand for here."""
        found = dataclasses.asdict(self) | {
            "model": find_model(self.model, revision=self.revision).identity,
            "dtype": execution.precision(self.dtype),
        }
        del found["checkpoints"], found["revision"], found["batch_size" if self.batch_tokens else "batch_tokens"]
        if not self.suffix:
            del found["suffix"]
        return json.loads(to_json(found))

    def _plan(self, opened: CausalLM | Tokenizer, rows: Pool) -> TrainingPlan:
        max_length = min(self.max_length or opened.max_length, opened.max_length)
        texts = fit_rows(
            opened.tokenizer, self.template.renderer(opened.render_chat), self.asked(rows), max_length=max_length,
            too_long=self.too_long,
        )  # fmt: skip
        epochs = None if self.steps is not None or self.tokens is not None else self.n_epochs
        schedule = make_schedule(
            texts.lengths, batch_size=self.batch_size, batch_tokens=self.batch_tokens, seed=self.seed, epochs=epochs,
            steps=self.steps, tokens=self.tokens,
        )  # fmt: skip
        return TrainingPlan(texts, schedule, opened.shape, trains_adapter=self.lora is not None)

    def asked(self, rows: Pool) -> Pool:
        """The rows, with what asks for their kind of solution after their problems."""
        return Pool(with_suffixes(rows.table, self.suffix)[0], rejected=rows.rejected) if self.suffix else rows

    def _open(self, execution: Execution) -> CausalLM:
        """The model in the precision that it is trained in; of several processes each puts it where it trains."""
        dtype = "float32" if self.lora is None and self.master_weights else execution.precision(self.dtype)
        device = "cpu" if n_processes() > 1 and self.quantize is None else execution.device
        return open_causal_lm(
            self.model, device=device, dtype=dtype, revision=self.revision,
            trust_remote_code=execution.trust_remote_code, quantize=self.quantize,
        )  # fmt: skip

    def _mixed(self, execution: Execution) -> bool:
        """Whether float32 weights are computed with in bfloat16."""
        keeps_float32 = self.lora is None and self.master_weights
        return keeps_float32 and execution.precision(self.dtype) == "bfloat16"

    def _pass_size(self, execution: Execution) -> int:
        return execution.pass_size(resolve_device(execution.device).type) or _ON_CUDA

    def _check_device(self, execution: Execution) -> None:
        device = resolve_device(execution.device)
        if self.quantize is not None:
            check_quantization(self.model, device)
        if device.index:
            raise InputError(
                f"execution.device is {device}; the trainer takes the first GPU that it sees. Choose by "
                f"CUDA_VISIBLE_DEVICES={device.index} instead."
            )

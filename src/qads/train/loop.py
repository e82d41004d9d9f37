"""The training loop: TRL's `SFTTrainer`, with our steps, our passes, and checkpoints that hold no pickles.

The trainer sees one long epoch whose batches are the steps of the schedule. It brings what a trainer is hard to write
for: mixed precision, PEFT, gradient checkpointing, several processes through accelerate, the head in tiles on GPUs.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from datasets import Dataset
from qads.errors import ModelError
from qads.models import CausalLM, TrainingText
from qads.pool import Progress
from qads.stopping import Stopped, deferred
from qads.storage import storing
from qads.train.accounts import Done, OnStep, StepLog, TrainingPlan
from qads.train.attention import rows_apart
from qads.train.checkpoints import Checkpoint, Checkpoints
from qads.train.schedule import share_out

if TYPE_CHECKING:
    from qads.train.method import FineTuning

__all__ = ["Loop", "Training", "run_training"]

logger = logging.getLogger(__name__)

_IGNORED = -100
"""What cross-entropy leaves out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Training:
    """All that a training needs."""

    method: FineTuning
    lm: CausalLM
    plan: TrainingPlan
    out: Path
    checkpoints: Checkpoints
    pass_size: int
    """Tokens of a pass."""
    mixed: bool
    """Whether float32 weights are computed with in bfloat16."""
    on_cpu: bool
    """Whether it trains on a CPU, wherever the weights are before it begins."""
    progress: Progress | None = None
    on_step: OnStep | None = None


def run_training(training: Training) -> tuple[Loop, Done]:
    """Train from the last checkpoint on, or from the beginning."""
    texts, packing = training.plan.texts.texts, training.method.packing
    with rows_apart(training.lm, texts, on_cpu=training.on_cpu) if packing else nullcontext():
        training.lm.model.requires_grad_(training.method.lora is None)
        loop = Loop(training)
        loop.accelerator.wait_for_everyone()
        last = training.checkpoints.last()
        loop.begin(last)
        with deferred() as loop.asked_to_stop:
            loop.train(resume_from_checkpoint=None if last is None else str(last.folder))
        loop.accelerator.wait_for_everyone()
        return loop, Done(loop.losses, loop.seconds)


class Loop(SFTTrainer):
    """Goes through the steps of a schedule."""

    model: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(self, training: Training) -> None:
        method, lm = training.method, training.lm
        self.training = training
        self.asked_to_stop: Callable[[], bool] = lambda: False
        """Whether the process is to end, with a checkpoint of what was learnt so far."""
        self._last: Checkpoint | None = None
        self._started = self._saved = time.monotonic()
        arguments = _arguments(training)
        first = training.plan.texts.texts[0]
        super().__init__(
            model=lm.model, args=arguments, processing_class=lm.tokenizer,
            # The rows come by `get_train_dataloader`; the trainer insists on seeing one.
            train_dataset=Dataset.from_dict({"input_ids": [list(first.ids)], "labels": [_labels(first)]}),
            peft_config=None if method.lora is None else method.lora.config(),
            # Masked: no tokenizer needs a token of its own for padding.
            data_collator=DataCollatorForLanguageModeling(pad_token_id=0),
        )  # fmt: skip
        self._collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=method.packing)
        self._totals = _running(training.plan.schedule.totals(training.plan.texts.lengths))
        self._answers = training.plan.schedule.totals(training.plan.texts.n_answers)
        inner: Any = self.model.get_base_model() if method.lora is not None else self.model
        self._keeps = "logits_to_keep" in inspect.signature(type(inner).forward).parameters
        self.remove_callback(PrinterCallback)
        self.add_callback(_Watch(self))

    @property
    def losses(self) -> tuple[StepLog, ...]:
        """Every step so far, those before a kill included."""
        logged = [entry for entry in self.state.log_history if "loss" in entry]
        return tuple(self.step_log(int(entry["step"]), entry) for entry in logged)

    @property
    def seconds(self) -> float:
        """Of training so far, those before a kill included."""
        return time.monotonic() - self._started + (self._last.seconds if self._last else 0.0)

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are split over processes."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def begin(self, last: Checkpoint | None) -> None:
        """Say where it goes on from."""
        self._last = last
        self._started = self._saved = time.monotonic()
        if last is not None:
            logger.info("training goes on from step %d", last.step)

    def step_log(self, step: int, logged: Mapping[str, float]) -> StepLog:
        """What the trainer logged of a step."""
        return StepLog(
            step, float(logged["loss"]), float(logged["learning_rate"]), float(logged["grad_norm"]),
            self._totals[step - 1],
        )  # fmt: skip

    # ---- steps and passes ----

    def get_train_dataloader(self) -> Any:
        """A batch is a step: the passes of this process."""
        return torch.utils.data.DataLoader(
            _Steps(self.training, self.args.process_index, self.args.world_size), batch_size=1, shuffle=False,
            collate_fn=self._passes_of_step,
        )  # fmt: skip

    def _passes_of_step(self, steps: list[list[list[TrainingText]]]) -> dict[str, Any]:
        return {"passes": [self._collate([_example(text) for text in texts]) for texts in steps[0]]}

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The gradient of a step, pass by pass; processes exchange theirs with the last one."""
        step, passes = self.state.global_step, inputs["passes"]
        exchange: Any = self.accelerator.gradient_state
        # Dropout depends on the step and not on what ran before it, so that no state of a generator has to be kept.
        torch.manual_seed(hash((self.args.seed, step, self.args.process_index)) % 2**63)
        n_answers = torch.tensor(self._answers[step], device=self.args.device)
        losses: list[torch.Tensor] = []
        for number, each in enumerate(passes, 1):
            is_last = number == len(passes)
            exchange._set_sync_gradients(is_last)
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, each, n_answers))
        return torch.stack(losses).sum()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Negative log-likelihood of the answer tokens, as a share of the step's mean.

        Where TRL's tiled head has no kernel it computes all positions; the model's own computes those asked for.
        """
        if not self._keeps or self.aux_loss_enabled or self.args.device.type == "cuda":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        asked = (labels != _IGNORED).any(0).nonzero().flatten()
        logits = model(**inputs, use_cache=False, logits_to_keep=asked).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, asked].flatten(), ignore_index=_IGNORED, reduction="sum"
        )
        return loss / num_items_in_batch * self.accelerator.num_processes  # Of which gradients are averaged.

    # ---- checkpoints ----

    def is_due(self) -> bool:
        """Whether a checkpoint is to be kept after this step."""
        settings, step = self.training.method.checkpoints, self.state.global_step
        if step >= self.state.max_steps:
            return False
        if settings.steps is not None and step % settings.steps == 0:
            return True
        return settings.minutes is not None and time.monotonic() - self._saved >= 60 * settings.minutes

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Weights that are trained, and the states of their optimiser."""
        self._saved = time.monotonic()
        if not self.args.should_save:
            return
        weights = {name: each.detach().cpu() for name, each in self._trained_parameters()}
        states = {
            f"{name}/{key}": torch.as_tensor(value).detach().cpu()
            for name, each in self._trained_parameters()
            for key, value in self._optimizer_states[each].items()
        }
        self.training.checkpoints.save(
            self.state.global_step, {"weights": weights, "optimizer": states},
            scheduler=_plain(self.lr_scheduler.state_dict()), trainer=_trainer_state(self.state), seconds=self.seconds,
        )  # fmt: skip

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert self._last is not None
        kept = self._last.tensors("weights")
        with torch.no_grad():
            for name, parameter in self._trained_parameters():
                parameter.copy_(kept[name])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._last is None:
            return
        kept = self._last.tensors("optimizer")
        by_name: dict[str, dict[str, torch.Tensor]] = {}
        for key, value in kept.items():
            name, _, entry = key.rpartition("/")
            by_name.setdefault(name, {})[entry] = value
        for name, parameter in self._trained_parameters():
            self._optimizer_states[parameter] = {
                entry: value if entry == "step" else value.to(parameter.device)
                for entry, value in by_name[name].items()
            }
        self.lr_scheduler.load_state_dict(self._last.scheduler)
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Every step draws by its own number."""

    @property
    def _optimizer_states(self) -> Any:
        return self.optimizer.optimizer.state if hasattr(self.optimizer, "optimizer") else self.optimizer.state

    def _trained_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, each) for name, each in self.model.named_parameters() if each.requires_grad)

    def _send_telemetry(self) -> None:
        """Nobody is told that somebody trains."""


class _Watch(TrainerCallback):
    """Writes the losses down, says how far it is, and asks for checkpoints."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._training = loop, loop.training

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What was logged after the checkpoint that it goes on from is logged anew."""
        if state.is_world_process_zero:
            self._training.out.mkdir(parents=True, exist_ok=True)
            losses = self._training.out / "losses.jsonl"
            with storing(losses):
                losses.unlink(missing_ok=True)  # It may be a link, which would be written through.
                losses.write_text("".join(_line(step) for step in self._loop.losses), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A step has ended."""
        if "loss" not in logs:
            return
        step = self._loop.step_log(state.global_step, logs)
        if not math.isfinite(step.loss) or not math.isfinite(step.grad_norm):
            raise ModelError(
                f"train: at step {step.step} the loss is {step.loss:g} and the gradient's length {step.grad_norm:g}; "
                "the training has come apart. Lower learning_rate, or raise warmup; float32 is steadier than bfloat16."
            )
        if not state.is_world_process_zero:
            return
        losses = self._training.out / "losses.jsonl"
        with storing(losses), losses.open("a", encoding="utf-8") as file:
            file.write(_line(step))
        if self._training.on_step is not None:
            self._training.on_step(step)
        if self._training.progress is not None:
            self._training.progress(step.step, state.max_steps)
        if self._loop.asked_to_stop() and not self._loop.is_sharded:
            control.should_save = True  # Asked since the step ended; what is due is saved after this.

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Whether a checkpoint is due; where weights are split over processes none is kept."""
        asked = self._loop.asked_to_stop()
        if asked and self._loop.is_sharded:
            raise Stopped
        control.should_save = (asked or self._loop.is_due()) and not self._loop.is_sharded

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """With the checkpoint on the disk, the process may end."""
        if self._loop.asked_to_stop():
            raise Stopped


class _Steps(torch.utils.data.Dataset[list[list[TrainingText]]]):
    """The passes of one process in every step."""

    def __init__(self, training: Training, process: int, n_processes: int) -> None:
        self._training, self._process, self._n_processes = training, process, n_processes
        self._lengths = training.plan.texts.lengths

    def __len__(self) -> int:
        return self._training.plan.n_steps

    def __getitem__(self, step: int) -> list[list[TrainingText]]:
        plan = self._training.plan
        shares = share_out(
            plan.schedule.steps[step], self._lengths, n_processes=self._n_processes,
            pass_size=self._training.pass_size, packed=self._training.method.packing,
        )  # fmt: skip
        # A pass without rows runs two tokens of which nothing is learnt, so that all processes do as many.
        nothing = TrainingText(plan.texts.texts[0].ids[:2], 2)
        return [[plan.texts.texts[row] for row in rows] or [nothing] for rows in shares[self._process]]


def _arguments(training: Training) -> Any:
    method, n_steps = training.method, training.plan.n_steps
    arguments: Any = SFTConfig(
        output_dir=str(training.out / "checkpoints"), seed=method.seed, use_cpu=training.on_cpu,
        num_train_epochs=1, per_device_train_batch_size=1, gradient_accumulation_steps=1,
        learning_rate=method.learning_rate, warmup_steps=math.floor(method.warmup * n_steps),
        lr_scheduler_type=method.scheduler, weight_decay=method.weight_decay, max_grad_norm=method.max_grad_norm,
        gradient_checkpointing=method.gradient_checkpointing, bf16=training.mixed, max_length=None,
        save_strategy="no", logging_strategy="steps", logging_steps=1, logging_nan_inf_filter=False, report_to="none",
        disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True}, ddp_find_unused_parameters=False,
    )  # fmt: skip
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # One process trains on one of them; a launcher starts one for each.
    return arguments


def _labels(text: TrainingText) -> list[int]:
    return [*[_IGNORED] * text.answer_start, *text.ids[text.answer_start :]]


def _example(text: TrainingText) -> dict[str, list[int]]:
    return {"input_ids": list(text.ids), "labels": _labels(text)}


def _line(step: StepLog) -> str:
    return json.dumps(step.__dict__) + "\n"


def _running(amounts: Sequence[int]) -> list[int]:
    total, sums = 0, list[int]()
    for amount in amounts:
        total += amount
        sums.append(total)
    return sums


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a scheduler's state; its functions are made anew."""
    return {key: value for key, value in state.items() if key != "lr_lambdas"} | {
        "lr_lambdas": [None] * len(state.get("lr_lambdas", ()))
    }


def _trainer_state(state: Any) -> str:
    return json.dumps(vars(state) | {"stateful_callbacks": {}, "trial_params": None}, sort_keys=True, default=str)

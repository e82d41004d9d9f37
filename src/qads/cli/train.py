"""Fine-tune a model on files, a mixture, or what a run has selected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qads.cli.options import AsJson, Columns, Device, OnBadRow, Redo, columns_from_flags, set_option
from qads.cli.running import make_terminal
from qads.machine import is_first_process

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.config import TrainConfig
    from qads.run import Manifest

__all__ = ["train"]

# Commands import what they need: `qads --help` has to answer at once.


def train(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES...", help="Files, globs, hf://owner/name, the folder of a mixture, or a run."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory; OUT/train/model opens as any model.")],
    model: Annotated[str | None, typer.Option(help="Causal model: alias, folder, GGUF file or hub id.")] = None,
    lora: Annotated[
        bool | None, typer.Option("--lora/--full", help="Train an adapter, or all weights (the default).")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="How often every row is trained on; 3 without a budget.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimiser instead of epochs.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens at most, those of the prompts included.")] = None,
    template: Annotated[
        Literal["exemplar", "chat"] | None, typer.Option(help="How a row becomes text; as in scoring and evaluation.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Published settings: qads-paper. Others go over it.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of rows.")] = None,
    column: Columns = None,
    on_bad_row: OnBadRow = "error",
    device: Device = None,
    settings: Annotated[list[str] | None, set_option("train.learning_rate=1e-5")] = None,
    redo: Redo = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show tokens, steps and time; train nothing.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fine-tune a model on the solutions of rows; a killed training goes on by the same command."""
    flags: dict[str, Any] = {
        "model": model, "epochs": epochs, "steps": steps, "tokens": tokens, "seed": seed,
        "template": None if template is None else {"kind": template},
    }  # fmt: skip
    config = _config(
        files, preset, {name: value for name, value in flags.items() if value is not None}, lora,
        more={"columns": columns_from_flags(column), "on_bad_row": on_bad_row}
        | ({"execution": {"device": device}} if device else {}),
        settings=settings or [],
    )  # fmt: skip
    if set(redo or ()) - {"train"}:
        raise typer.BadParameter(f"--redo {', '.join(redo or ())}: the only stage here is train")
    terminal = make_terminal(as_json or not is_first_process())
    if dry_run:
        _show_estimate(config, terminal)
        return
    manifest, reused = _train(config, out, terminal, redo=bool(redo))
    if not is_first_process():
        return
    if as_json:
        terminal.emit({"directory": str(out), "reused": reused, "train": manifest})
        return
    _show(manifest, out, terminal, reused=reused)


def _config(
    files: list[str], preset: str | None, flags: dict[str, Any], lora: bool | None, *, more: dict[str, Any],
    settings: list[str],
) -> TrainConfig:  # fmt: skip
    """The configuration that options stand for: the preset, then the options, then `--set`."""
    from qads.config import TrainConfig
    from qads.settings import read_settings
    from qads.train import PRESETS

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"--preset {preset}: known: {', '.join(PRESETS)}")
    how = dict(PRESETS[preset]) if preset else {}
    if {"epochs", "steps", "tokens"} & set(flags):
        how.pop("epochs", None)  # A budget that is given goes over that of the preset.
    if lora is not None:
        how["lora"] = {} if lora else None
    return read_settings(TrainConfig, {"sources": tuple(files), "train": how | flags, **more}, settings)


def _train(config: TrainConfig, out: Path, terminal: Terminal, *, redo: bool) -> tuple[Manifest, bool]:
    from qads.run import train_files
    from qads.train import StepLog, TrainingPlan

    with terminal.running() as display:
        display.stage_started("reading", 1, 2)

        def started(n_rows: int, n_steps: int) -> None:
            display.stage_started("training", 2, 2)
            display.progress(0, n_steps)

        def on_step(step: StepLog, plan: TrainingPlan) -> None:
            display.note(f"loss {step.loss:.3f}, rate {step.learning_rate:.2g}")
            display.progress(step.step, plan.n_steps)

        return train_files(config, out, redo=redo, started=started, on_step=on_step)


def _show_estimate(config: TrainConfig, terminal: Terminal) -> None:
    from qads.run import estimate_training

    found = estimate_training(config)
    if terminal.as_json:
        terminal.emit(found)
        return
    flops, seconds = found["flops"], found["seconds"]
    row = (
        found["rows"], found["rows_trained"], found["tokens"], found["answer_tokens"], found["steps"],
        None if flops is None else flops / 1e12, seconds,
    )  # fmt: skip
    columns = ("rows", "rows trained", "tokens", "of answers", "steps", "TFLOP", "seconds, about")
    terminal.table("Dry run: nothing is trained", columns, [row])
    if found["affected_rows"]:
        terminal.line(f"{found['affected_rows']} rows are too long: train.too_long is {config.train.too_long}.")
    if found["rows_unseen"]:
        terminal.line(
            f"{found['rows_unseen']:,} rows are never trained on: the budget of the training ends before them."
        )
    if seconds is None:
        terminal.line("Time is unknown: what share of its peak training reaches on this device was never measured.")
    terminal.line("Next: the same command without --dry-run")


def _show(manifest: Manifest, out: Path, terminal: Terminal, *, reused: bool) -> None:
    losses = manifest["losses"]
    columns = ("rows trained", "tokens", "of answers", "steps", "TFLOP", "seconds", "first loss", "last loss")
    flops = manifest["flops"]
    row = (
        manifest["rows"], manifest["tokens"], manifest["answer_tokens"], manifest["steps"],
        None if flops is None else flops / 1e12, manifest["train_seconds"], losses[0], losses[-1],
    )  # fmt: skip
    terminal.table(f"Training {out / 'train'}" + (": complete, reused" if reused else ""), columns, [row])
    for what, n in manifest["affected_rows"].items():
        terminal.line(f"Too long: {n} rows {what}; {out / 'train' / 'left_out.jsonl'} lists them.")
    if n := manifest["rejected"]:
        terminal.line(f"Set aside: {n} lines that could not be read.")
    model = out / "train" / manifest["model"]
    terminal.line(f"Model: {model}")
    terminal.next_command("evaluate", model, "--sets", "gsm8k", "-o", "measured")

"""What a training leaves: a folder that opens as any model, the adapter beside it, and the rows that were left out."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qads.cluster import Execution
from qads.datasets import atomic_path
from qads.errors import StorageError
from qads.models import (
    ADAPTER,
    ADAPTER_BASE,
    ADAPTER_CONFIG,
    KEPT,
    open_causal_lm,
    quiet_loading,
    stable_bytes,
    with_adapter,
)
from qads.pool import to_json
from qads.storage import flush, storing

if TYPE_CHECKING:
    from qads.train.loop import Loop, Training

__all__ = ["write_result"]


def write_result(loop: Loop, training: Training, execution: Execution) -> Path:
    """Write `left_out.jsonl` and the model; gives the folder that opens as the trained model.

    Of several processes all must call it, and the first one writes.
    """
    out, method = training.out, training.method
    writes, trusts_code = bool(loop.accelerator.is_main_process), execution.trust_remote_code
    model = loop.accelerator.unwrap_model(loop.model)
    state = loop.accelerator.get_state_dict(loop.model_wrapped) if loop.is_sharded else None
    if not writes:
        loop.accelerator.wait_for_everyone()
        return out / ("model" if method.lora is None or method.merge else "adapter")
    lines = (to_json(dataclasses.asdict(row)) + "\n" for row in training.plan.texts.affected)
    _write(out / "left_out.jsonl", "".join(lines))
    if method.lora is None:
        with _whole(out / "model", code=trusts_code) as folder:
            model.save_pretrained(folder, state_dict=state)
            training.lm.tokenizer.save_pretrained(folder)
        loop.accelerator.wait_for_everyone()
        return out / "model"
    with _whole(out / "adapter", code=trusts_code) as folder:
        _write_adapter(model, state, training, folder)
    loop.accelerator.wait_for_everyone()
    if method.merge:
        loop.model = loop.model_wrapped = None
        gc.collect()
        with _whole(out / "model", code=trusts_code) as folder:
            _write_merged(training, out / "adapter", folder, execution)
        return out / "model"
    return out / "adapter"


def _write_adapter(model: Any, state: Any, training: Training, folder: Path) -> None:
    """The adapter as PEFT keeps it, and on what it was learnt."""
    method, source = training.method, training.lm.source
    model.save_pretrained(folder, state_dict=state)
    training.lm.tokenizer.save_pretrained(folder)
    # A folder is known by its place, since a relative path means another one elsewhere.
    name = os.path.abspath(method.model) if Path(method.model).exists() else method.model
    config = folder / ADAPTER_CONFIG
    config.write_bytes(stable_bytes(config, name))
    base = {"model": name, "revision": method.revision, "identity": source.identity}
    _write(folder / ADAPTER_BASE, json.dumps(base, indent=2) + "\n")


def _write_merged(training: Training, adapter: Path, folder: Path, execution: Execution) -> None:
    """The model with the adapter added to its weights, which are opened again: those of 4 bits could not take it."""
    method = training.method
    assert method.lora is not None
    dtype: Any = execution.precision(method.dtype)
    lm = open_causal_lm(
        method.model, device="cpu", dtype=dtype, revision=method.revision,
        trust_remote_code=execution.trust_remote_code,
    )  # fmt: skip
    merged = with_adapter(lm, method.lora.config, (adapter / ADAPTER).read_bytes(), who="train")
    merged.model.save_pretrained(folder)
    training.lm.tokenizer.save_pretrained(folder)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _whole(folder: Path, *, code: bool) -> Generator[Path]:
    """A folder that gets its name when the block ends without an error, in place of what was there.

    Only files that make a model or a tokenizer stay: no cards, no pickled settings; and where `code` that comes with
    a model may be run, that code, without which the model could not be opened.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with storing(folder, partial), quiet_loading():
            partial.mkdir(parents=True)
            yield partial
    except StorageError:
        shutil.rmtree(partial, ignore_errors=True)  # It takes room, and is of no use.
        raise
    _drop_the_rest(partial, (*KEPT, ".py") if code else KEPT)
    with storing(folder, partial):
        for path in (*partial.rglob("*"), partial):
            flush(path)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        flush(folder.parent)


def _drop_the_rest(folder: Path, kept: tuple[str, ...]) -> None:
    """Remove files with other endings than are kept, then folders that hold nothing.

    A tokenizer with several chat templates keeps all but one in a folder of their own.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # What is in a folder comes before it.
        if path.is_dir():
            with suppress(OSError):  # Something is in it.
                path.rmdir()
        elif path.suffix not in kept:
            path.unlink()

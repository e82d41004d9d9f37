"""Checkpoints of a training that was begun: tensors as safetensors, the rest as JSON, nothing pickled.

A checkpoint is a folder that gets its name when all of it is on the disk; `whole.json` has the SHA-256 of its files and
says which training it belongs to. One that is damaged is passed over for the one before it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.errors import RunError, StorageError
from qads.models.sources import file_digest
from qads.storage import flush, storing

__all__ = ["Checkpoint", "Checkpoints"]

logger = logging.getLogger(__name__)

_WHOLE = "whole.json"
_STATE = "trainer_state.json"
"""As transformers names it: its trainer reads it from a checkpoint by itself."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole one."""

    folder: Path
    step: int
    """Steps of the optimiser that were done."""
    seconds: float
    """Of training until then."""

    def tensors(self, name: str) -> dict[str, Any]:
        """Tensors that were kept under this name, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.folder / f"{name}.safetensors")

    @property
    def scheduler(self) -> dict[str, Any]:
        """State of the scheduler of the learning rate."""
        return json.loads((self.folder / "scheduler.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training."""

    folder: Path
    identity: str
    """Of the training: settings, model and texts. A checkpoint of another is not used."""
    keep: int
    """How many, the newest."""

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Any]],
        *,
        scheduler: Mapping[str, Any],
        trainer: str,
        seconds: float,
    ) -> None:
        """Keep a checkpoint; those before the last `keep` go, and those of later steps, which were damaged.

        Args:
            step: steps that were done.
            tensors: name -> tensors, each a file.
            scheduler: state of the scheduler of the learning rate.
            trainer: state of the trainer, as JSON.
            seconds: of training until now.
        """
        from safetensors.torch import save_file

        final = self.folder / f"step-{step:08d}"
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with storing(final, partial):
                partial.mkdir(parents=True)
                for name, content in tensors.items():
                    contiguous = {key: tensor.contiguous() for key, tensor in content.items()}
                    save_file(contiguous, partial / f"{name}.safetensors")
                (partial / "scheduler.json").write_text(json.dumps(scheduler), encoding="utf-8")
                (partial / _STATE).write_text(trainer, encoding="utf-8")
                files = {path.name: file_digest(path).hex() for path in sorted(partial.iterdir())}
                whole = {"identity": self.identity, "step": step, "seconds": seconds, "files": files}
                (partial / _WHOLE).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
                for path in (*partial.iterdir(), partial):
                    flush(path)
        except StorageError:
            shutil.rmtree(partial, ignore_errors=True)  # It takes room, and is of no use.
            raise
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        flush(self.folder)
        folders = self._folders()
        kept = [folder for folder in folders if folder <= final][-self.keep :]
        for folder in folders:
            if folder not in kept:
                shutil.rmtree(folder)

    def last(self) -> Checkpoint | None:
        """The newest whole one; None where there is none.

        Raises:
            RunError: there are some, and they are of another training.
        """
        for folder in reversed(self._folders()):
            try:
                whole = json.loads((folder / _WHOLE).read_text(encoding="utf-8"))
                found = {name: file_digest(folder / name).hex() for name in whole["files"]}
                checkpoint = Checkpoint(folder, int(whole["step"]), float(whole["seconds"]))
                identity, is_whole = whole["identity"], found == whole["files"]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                identity, is_whole, checkpoint = None, False, None
            if not is_whole or checkpoint is None:
                logger.warning("%s is damaged; training goes on from an earlier checkpoint", folder)
            elif identity != self.identity:
                raise RunError(
                    f"{folder}: is a checkpoint of another training: settings, model or rows were others. Go on with "
                    "those, start anew (resume=False), or train into another folder."
                )
            else:
                return checkpoint
        return None

    def remove(self) -> None:
        """Throw all of them away, and what a killed process had begun to write; other files stay."""
        for folder in (*self._folders(), *self.folder.glob(".step-*.partial")):
            shutil.rmtree(folder)
        with suppress(OSError):  # Files of another are in it, or it is not there.
            self.folder.rmdir()

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

"""Safetensors copies of GGUF models in the user's cache, made once."""

from __future__ import annotations

import glob
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import torch
import transformers
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file

from qads.models.quiet import quiet_loading
from qads.models.sources import file_digest
from qads.storage import storing

__all__ = ["converted_gguf", "converted_gguf_tokenizer"]

logger = logging.getLogger(__name__)

_WHOLE = "whole.json"
"""SHA-256 of every file of a copy."""


def converted_gguf(path: Path) -> str:
    """A safetensors copy of a GGUF model, with its tokenizer.

    transformers dequantises GGUF on every start, which takes many times as long as reading the copy. The copy is
    float32, so that it holds exactly the dequantised values.
    """
    return str(_made_once(_copy_of(path), lambda folder: _convert_gguf(path, folder)))


def converted_gguf_tokenizer(path: Path) -> str:
    """A copy of a GGUF model's tokenizer and configuration; the whole copy where there is one already."""
    whole = _copy_of(path)
    if _is_whole(whole):
        return str(whole)
    return str(_made_once(whole.with_name(f"{whole.name}-tokenizer"), lambda folder: _convert_tokenizer(path, folder)))


def _copy_of(path: Path) -> Path:
    cache = Path(os.environ.get("QADS_CACHE") or platformdirs.user_cache_dir("qads")) / "models"
    return cache / f"{path.stem}-{file_digest(path).hex()[:16]}-v2"


def _made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made under another name and then renamed where it is not there yet, or not whole any more."""
    if _is_whole(folder):
        return folder
    with storing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    try:
        if _is_whole(folder):
            return folder
        for begun in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
            shutil.rmtree(begun, ignore_errors=True)  # Of a process that was killed; it is as large as the model.
        with storing(folder):
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with storing(folder, temporary):
                make(temporary)
                (temporary / _WHOLE).write_text(json.dumps(_digests(temporary), indent=2) + "\n", encoding="utf-8")
                if folder.exists():
                    logger.warning("%s is damaged or of an earlier version, and is made again", folder)
                    shutil.rmtree(folder)
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        lock.release()
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether the files of a copy are what they were when it was made."""
    try:
        stated = json.loads((folder / _WHOLE).read_text(encoding="utf-8"))
        return stated == _digests(folder)
    except (OSError, ValueError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files but the one that states them; a tokenizer may have a folder for its chat templates."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: file_digest(path).hex() for name, path in found.items() if name != _WHOLE}


def _convert_gguf(path: Path, folder: Path) -> None:
    with quiet_loading():
        tokenizer = transformers.AutoTokenizer.from_pretrained(**_where(path))
        model = transformers.AutoModelForCausalLM.from_pretrained(**_where(path), dtype=torch.float32)
    tokenizer.save_pretrained(folder)
    # A model from GGUF refuses save_pretrained: it still counts as quantised. Its config and tensors are plain.
    _write_config(model.config, folder, architectures=[type(model).__name__])
    tied = set[str](getattr(model, "_tied_weights_keys", None) or () if model.config.tie_word_embeddings else ())
    tensors = {name: t.detach().contiguous() for name, t in model.state_dict().items() if name not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with safe_open(folder / "model.safetensors", framework="pt") as written:
        assert len(list(written.keys())) == len(tensors)


def _convert_tokenizer(path: Path, folder: Path) -> None:
    with quiet_loading():
        tokenizer = transformers.AutoTokenizer.from_pretrained(**_where(path))
        config = transformers.AutoConfig.from_pretrained(**_where(path))
    tokenizer.save_pretrained(folder)
    _write_config(config, folder)


def _where(path: Path) -> dict[str, Any]:
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def _write_config(config: Any, folder: Path, **more: Any) -> None:
    plain = config.to_dict()
    plain.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(plain | more, indent=2, default=str) + "\n")

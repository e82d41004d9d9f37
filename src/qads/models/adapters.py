"""Low-rank adapters: their settings, their files, and adding one to a model's weights. PEFT is imported when used.

An adapter is kept as PEFT writes it, safetensors and JSON, with `base.json` beside it: the model that it was learnt
on, by name and by content.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qads.errors import CorruptError, InputError
from qads.models.seeding import seeded

if TYPE_CHECKING:
    from qads.models.opening import CausalLM

__all__ = ["ADAPTER", "KEPT", "Lora", "check_extra", "stable_bytes", "with_adapter"]

ADAPTER = "adapter_model.safetensors"
"""The file of an adapter's weights, as PEFT names it."""
KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of files that make a model and its tokenizer; the rest are cards and settings of a trainer."""


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


def check_extra(who: str, *needed: str) -> None:
    """Refuse to go on without libraries of the extra.

    Raises:
        InputError: one is missing; says how to install it.
    """
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise InputError(f"{who}: {' and '.join(missing)} not installed; it needs pip install 'qads[train]'.")


def with_adapter(lm: CausalLM, config: Callable[[], Any], adapter: bytes, *, who: str) -> CausalLM:
    """The model with an adapter added to its weights: it then runs as fast as without.

    Args:
        lm: the model that it was learnt on; used up.
        config: gives the settings of the adapter, as PEFT takes them.
        adapter: its weights, as safetensors.
        who: whose adapter it is, for messages.

    Raises:
        InputError: PEFT is not installed.
        CorruptError: the adapter is damaged, or of another model.
    """
    check_extra(who, "peft")
    from peft import get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load

    try:
        with seeded(0):  # It starts from random weights, which are then replaced.
            adapted = get_peft_model(lm.model, config())
            found = set_peft_model_state_dict(adapted, load(adapter))
            merged = adapted.merge_and_unload()
    except Exception as error:  # A damaged file raises what safetensors, PEFT and torch each thought of.
        raise CorruptError(f"{who}: its adapter cannot be read ({error}). Fit it again.") from error
    if strange := [*found.unexpected_keys, *(key for key in found.missing_keys if "lora_" in key)]:
        raise CorruptError(f"{who}: its adapter is of another model (first difference: {strange[0]}).")
    return dataclasses.replace(lm, model=merged.eval().requires_grad_(False))


def stable_bytes(path: Path, base: str) -> bytes:
    """The file; where it describes an adapter, without folders of this machine and the order of a set."""
    if path.name != "adapter_config.json":
        return path.read_bytes()
    found = json.loads(path.read_text(encoding="utf-8"))
    found |= {"base_model_name_or_path": base, "target_modules": sorted(found["target_modules"])}
    return (json.dumps(found, indent=2, sort_keys=True) + "\n").encode()

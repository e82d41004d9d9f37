"""A model whose own code asks for more memory than there is when a pass is large."""

from __future__ import annotations

import json
from pathlib import Path

from run.tiny import make_model

_CODE = """
import torch
from transformers import LlamaForCausalLM, LlamaModel


class HungryModel(LlamaModel):
    def forward(self, input_ids=None, **kwargs):
        if input_ids.numel() > {most}:
            torch.empty(2**55, dtype=torch.uint8)  # More than a machine has: the system's own refusal.
        return super().forward(input_ids=input_ids, **kwargs)


class HungryForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = HungryModel(config)
"""


def make_hungry_model(folder: Path, *, most: int) -> Path:
    """The tiny model with code of its own, which can compute so many tokens in a pass."""
    make_model(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "hungry.HungryForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "hungry.py").write_text(_CODE.format(most=most))
    return folder

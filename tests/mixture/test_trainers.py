"""Trainers read what a mixture hands to them: TRL really trains, LLaMA-Factory and axolotl where they are installed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mixture.files import write_sums
from qads import compose, write_mixture
from qads.datasets.handoff import HANDOFFS
from run.tiny import make_model

CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}</s>{% endgeneration %}"
    "{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def made(tmp_path: Path, format: str, file: str = "jsonl") -> Path:
    recipe = {"parts": {"x": {"pool": str(write_sums(tmp_path / "a.jsonl", 8))}}, "format": format, "file": file}
    return write_mixture(compose(recipe), tmp_path / "out")


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # These packages pin others, and fail to load in many ways beside ours.
        pytest.skip(f"{name} is not installed here ({type(error).__name__}: {error})")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Of TRL, about itself.
@pytest.mark.parametrize("file", ["jsonl", "parquet"])
@pytest.mark.parametrize("format", ["messages", "chat-prompt-completion", "prompt-completion"])
def test_trl_trains_two_steps_on_the_folder(tmp_path: Path, model: Path, format: str, file: str):
    pytest.importorskip("trl", reason="the extra 'train' is not installed")
    import torch
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    import datasets

    out = made(tmp_path, format, file)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template, tokenizer.eos_token = CHAT, "<s>"
    tokenizer.pad_token = "<s>"
    rows = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    settings = SFTConfig(
        output_dir=str(tmp_path / "trained"), max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2,
        logging_steps=1, report_to="none", use_cpu=True, bf16=False, max_length=256, save_strategy="no",
        assistant_only_loss=format == "messages", disable_tqdm=True,
    )  # fmt: skip
    trainer = SFTTrainer(model=str(model), args=settings, train_dataset=rows, processing_class=tokenizer)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    batch = next(iter(trainer.get_train_dataloader()))
    learnt = [[int(t) for t in row if t >= 0] for row in batch["labels"]]
    assert all(tokenizer.decode(tokens).lstrip().startswith("It is ") for tokens in learnt)  # The solution alone.
    trainer.train()
    assert trainer.state.global_step == 2
    assert all(entry["loss"] > 0 for entry in trainer.state.log_history if "loss" in entry)
    after = dict(trainer.model.named_parameters())
    assert any(not torch.equal(weight, after[name]) for name, weight in before.items())


@pytest.mark.parametrize("format", [name for name, handoff in HANDOFFS.items() if handoff.llamafactory])
@pytest.mark.parametrize("file", ["jsonl", "parquet"])
def test_llamafactory_reads_the_entry_and_aligns_the_rows(tmp_path: Path, format: str, file: str):
    parser, converter = installed("llamafactory.data.parser"), installed("llamafactory.data.converter")
    import datasets

    out = made(tmp_path, format, file)
    (attributes,) = parser.get_dataset_list(["mixture"], str(out))
    kind = "parquet" if file == "parquet" else "json"
    path = str(out / attributes.dataset_name)
    rows = datasets.load_dataset(kind, data_files=path, split=attributes.split, cache_dir=str(tmp_path / "cache"))
    align = converter.get_dataset_converter(attributes.formatting, attributes, SimpleNamespace(media_dir=str(out)))
    for row in rows:
        number = int(row["id"].split("-")[1])
        found = align(row)
        (question,), (answer,) = found["_prompt"], found["_response"]
        assert question["role"] == "user" and f"a: {number} + 1?" in question["content"]
        assert answer == {"role": "assistant", "content": f"It is {number + 1}."}


@pytest.mark.parametrize("format", [name for name, handoff in HANDOFFS.items() if handoff.axolotl])
def test_axolotl_takes_the_snippet(tmp_path: Path, format: str):
    schemas = installed("axolotl.utils.schemas.datasets")
    out = made(tmp_path, format)
    (entry,) = yaml.safe_load((out / "axolotl.yaml").read_text())["datasets"]
    checked = schemas.SFTDataset(**entry)
    stated = {name: value for name, value in checked.model_dump(exclude_none=True).items() if name in entry}
    assert json.loads(json.dumps(stated)) == entry


@pytest.mark.parametrize("format", [name for name, handoff in HANDOFFS.items() if handoff.axolotl])
def test_axolotl_loads_the_rows_by_the_snippet(tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch):
    shared = installed("axolotl.utils.data.shared")
    out = made(tmp_path, format)
    (entry,) = yaml.safe_load((out / "axolotl.yaml").read_text())["datasets"]
    monkeypatch.chdir(out)
    rows = shared.load_dataset_with_config(installed("axolotl.utils.dict").DictDefault(entry), use_auth_token=False)
    assert len(rows) == 8


def test_a_format_that_a_trainer_does_not_know_has_no_entry_for_it(tmp_path: Path):
    out = made(tmp_path, "chat-prompt-completion")
    assert not (out / "dataset_info.json").exists()
    assert not (out / "axolotl.yaml").exists()

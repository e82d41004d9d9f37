"""Fine-tuning: what is trained on, that it learns it, that it is the same again, and after a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import qads
from cluster.hungry import make_hungry_model
from qads.cluster import Execution
from qads.errors import InputError, ModelError, RunError, TooLongError
from qads.models import Lora, open_causal_lm, open_tokenizer, training_tokens
from qads.train import Checkpointing, FineTuning
from qads.train.result import _whole
from train.conftest import CPU

peft = pytest.importorskip("peft", reason="the extra 'train' is not installed")
pytest.importorskip("trl", reason="the extra 'train' is not installed")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def losses(trained: qads.Trained) -> list[float]:
    return [step.loss for step in trained.losses]


@pytest.fixture(scope="module")
def undisturbed(brief: dict[str, Any], pool: qads.Pool, tmp_path_factory: pytest.TempPathFactory) -> qads.Trained:
    return FineTuning(**brief)(pool, tmp_path_factory.mktemp("undisturbed"), execution=CPU)


def test_the_first_loss_is_the_mean_over_the_answer_tokens_of_the_step(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained
):
    lm = open_causal_lm(brief["model"], device="cpu", dtype="float32")
    plan = FineTuning(**brief).plan(pool, execution=CPU)
    total, n = 0.0, 0
    for row in plan.schedule.steps[0]:
        text = plan.texts.texts[row]
        ids = torch.tensor([text.ids])
        log_probs = lm.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        total, n = total - float(log_probs[text.answer_start - 1 :].sum()), n + text.n_answer
    assert undisturbed.losses[0].loss == pytest.approx(total / n, abs=1e-5)


def test_what_asks_for_a_program_stands_after_the_problems_of_programs_alone(brief: dict[str, Any], model: str):
    ask = " Let's write a program."
    rows = [
        qads.Row(id=kind + end, source="s", problem="2 + 2?" + end, solution="4", kind=kind)
        for kind in ("cot", "pot")
        for end in ("", ask)
    ]
    tokenizer = open_tokenizer(model).tokenizer
    found = FineTuning(**brief, suffix={"pot": ask}).plan(qads.Pool.from_rows(rows), execution=CPU)
    texts = [tokenizer.decode(text.ids[: text.answer_start]) for text in found.texts.texts]
    assert [ask in text for text in texts] == [False, True, True, True]
    assert texts[2] == texts[3] == texts[1]
    plain, asked = (FineTuning(**brief, suffix=suffix).identity(CPU) for suffix in ({}, {"pot": ask}))
    assert "suffix" not in plain and asked == plain | {"suffix": {"pot": ask}}


def test_tokens_are_those_that_a_token_budget_counts(brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained):
    opened = open_tokenizer(brief["model"])
    counted = training_tokens(opened.tokenizer, qads.ExemplarTemplate().renderer(opened.render_chat), pool)
    assert undisturbed.n_tokens == 2 * counted.sum() == undisturbed.losses[-1].tokens
    assert undisturbed.n_rows == 2 * len(pool)


def test_it_learns_and_opens_as_any_model(undisturbed: qads.Trained):
    assert losses(undisturbed)[-1] < losses(undisturbed)[0] - 0.3
    opened = open_causal_lm(str(undisturbed.folder), device="cpu")
    assert opened.n_parameters == 41_120
    assert not list(undisturbed.folder.parent.rglob("*.bin"))
    assert not (undisturbed.folder.parent / "checkpoints").exists()


def test_a_short_training_learns_from_its_first_step(brief: dict[str, Any], undisturbed: qads.Trained):
    assert undisturbed.losses[0].learning_rate == pytest.approx(brief["learning_rate"], rel=0.2)
    assert losses(undisturbed)[1] != losses(undisturbed)[0]


def test_again_it_is_the_same_to_the_byte(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path
):
    again = FineTuning(**brief)(pool, tmp_path, execution=CPU)
    assert losses(again) == losses(undisturbed)
    for path in undisturbed.folder.iterdir():
        assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_link_in_the_place_of_the_losses_is_replaced_and_not_followed(
    brief: dict[str, Any], pool: qads.Pool, tmp_path: Path
):
    out, victim = tmp_path / "out", tmp_path / "victim.txt"
    out.mkdir()
    victim.write_text("not ours")
    (out / "losses.jsonl").symlink_to(victim)
    FineTuning(**brief)(pool, out, execution=CPU)
    assert victim.read_text() == "not ours" and not (out / "losses.jsonl").is_symlink()
    assert len(read_lines(out / "losses.jsonl")) == 5


@pytest.mark.parametrize(
    "changes",
    [{"packing": False}, {"gradient_checkpointing": True}],
    ids=["padded", "gradient checkpointing"],
)
def test_how_a_step_is_computed_changes_rounding_only(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path, changes: dict[str, Any]
):
    found = FineTuning(**brief | changes)(pool, tmp_path, execution=CPU)
    np.testing.assert_allclose(losses(found), losses(undisturbed), atol=1e-5)


def test_the_size_of_a_pass_changes_rounding_only(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path
):
    found = FineTuning(**brief)(pool, tmp_path, execution=Execution(device="cpu", max_tokens_per_batch=1000))
    np.testing.assert_allclose(losses(found), losses(undisturbed), atol=1e-5)


def test_trls_own_head_gives_the_same_loss(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import inspect

    signature = inspect.signature
    from transformers import LlamaForCausalLM

    def without_keeping(function: Any) -> Any:
        found = signature(function)
        if function is not LlamaForCausalLM.forward:
            return found
        return found.replace(parameters=[p for p in found.parameters.values() if p.name != "logits_to_keep"])

    monkeypatch.setattr("qads.train.loop.inspect.signature", without_keeping)
    found = FineTuning(**brief)(pool, tmp_path, execution=CPU)
    np.testing.assert_allclose(losses(found), losses(undisturbed), atol=1e-4)


def test_mixed_precision_stays_near_and_keeps_float32(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path
):
    found = FineTuning(**brief | {"dtype": "bfloat16"})(pool, tmp_path, execution=CPU)
    np.testing.assert_allclose(losses(found), losses(undisturbed), atol=0.02)
    assert {each.dtype for each in load_file(found.folder / "model.safetensors").values()} == {torch.float32}


def test_weights_kept_in_bfloat16_lose_small_changes(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    small = brief | {"dtype": "bfloat16", "learning_rate": 1e-6, "master_weights": False}
    found = FineTuning(**small)(pool, tmp_path, execution=CPU)
    before = open_causal_lm(brief["model"], device="cpu", dtype="bfloat16").model.state_dict()
    after = load_file(found.folder / "model.safetensors")
    same = [float((before[name] == each).float().mean()) for name, each in after.items() if each.dim() == 2]
    assert np.mean(same) > 0.9


def test_an_adapter_opens_merged_and_alone_as_the_same_model(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    found = FineTuning(**brief | {"lora": Lora(rank=4)})(pool, tmp_path, execution=CPU)
    assert losses(found)[-1] < losses(found)[0]
    merged = open_causal_lm(str(found.folder), device="cpu", dtype="float32")
    adapted = open_causal_lm(str(tmp_path / "adapter"), device="cpu", dtype="float32")
    assert merged.model.state_dict().keys() == adapted.model.state_dict().keys()
    for name, each in merged.model.state_dict().items():
        assert torch.equal(each, adapted.model.state_dict()[name])
    assert adapted.source.identity.endswith(open_causal_lm(brief["model"], device="cpu").source.identity)
    assert open_tokenizer(str(tmp_path / "adapter")).max_length == adapted.max_length
    assert found.flops is not None
    assert found.flops * 3 == 2 * (FineTuning(**brief).plan(pool, execution=CPU).flops or 0)


@pytest.mark.parametrize("lora", [None, Lora(rank=4)], ids=["full", "adapter"])
def test_a_tokenizer_with_several_chat_templates_keeps_them_all(
    brief: dict[str, Any], pool: qads.Pool, lora: Lora | None, tmp_path: Path
):
    shutil.copytree(brief["model"], tmp_path / "chatty")
    tokenizer = AutoTokenizer.from_pretrained(brief["model"])
    tokenizer.chat_template = {
        name: f"{{% for m in messages %}}{name}: {{{{ m['content'] }}}} {{% endfor %}}"
        for name in ("default", "tool_use")
    }
    tokenizer.save_pretrained(tmp_path / "chatty")
    settings = brief | {"model": str(tmp_path / "chatty"), "lora": lora, "epochs": 1}
    found = FineTuning(**settings)(pool, tmp_path / "out", execution=CPU)
    for folder in {found.folder, *(tmp_path / "out").glob("adapter")}:
        assert open_tokenizer(str(folder)).tokenizer.chat_template == tokenizer.chat_template


@pytest.mark.parametrize("lora", [None, Lora(rank=4)], ids=["full", "adapter"])
def test_a_model_with_code_of_its_own_is_left_with_it_and_opens(
    brief: dict[str, Any], pool: qads.Pool, lora: Lora | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # The code is imported from there.
    shutil.copytree(make_hungry_model(tmp_path / "own", most=10**6), tmp_path / "known")
    AutoTokenizer.from_pretrained(brief["model"]).save_pretrained(tmp_path / "known")
    settings = brief | {"model": str(tmp_path / "known"), "lora": lora, "epochs": 1}
    found = FineTuning(**settings)(pool, tmp_path / "out", execution=replace(CPU, trust_remote_code=True))
    opened = open_causal_lm(str(found.folder), device="cpu", trust_remote_code=True)
    assert type(opened.model).__name__ == "HungryForCausalLM"


def test_no_code_of_a_model_is_kept_that_may_not_run(tmp_path: Path):
    with _whole(tmp_path / "model", code=False) as folder:
        (folder / "notes").mkdir()
        for name in ("config.json", "own.py", "README.md", "notes/README.md"):
            (folder / name).write_text("")
    assert [path.name for path in (tmp_path / "model").rglob("*")] == ["config.json"]


def test_an_adapter_whose_model_has_changed_is_refused(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    import shutil

    base = tmp_path / "base"
    shutil.copytree(brief["model"], base)
    method = FineTuning(**brief | {"model": str(base), "lora": Lora(rank=2), "merge": False})
    found = method(pool, tmp_path / "out", execution=CPU)
    assert found.folder.name == "adapter"
    weights = load_file(base / "model.safetensors")
    save_file({name: each + 1 for name, each in weights.items()}, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="was learnt on"):
        open_causal_lm(str(found.folder), device="cpu")


def killed(out: Path, settings: dict[str, Any], at: int) -> None:
    """Run a training in a process that the system kills right after a step."""
    script = Path(__file__).parent / "killed.py"
    ended = subprocess.run(
        [sys.executable, str(script), str(out), json.dumps(settings), str(at)], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lora", "dtype"),
    [
        pytest.param(None, "float32", id="full"),
        pytest.param(None, "bfloat16", id="full in bfloat16", marks=pytest.mark.long),
        pytest.param({"rank": 4, "dropout": 0.1}, "float32", id="adapter with dropout"),
    ],
)
def test_killed_and_started_again_it_ends_as_undisturbed(
    brief: dict[str, Any], pool: qads.Pool, tmp_path: Path, lora: dict[str, Any] | None, dtype: str
):
    method = FineTuning(**brief | {"dtype": dtype, "lora": lora and Lora(**lora)})
    whole = method(pool, tmp_path / "whole", execution=CPU)
    out = tmp_path / "out"
    # The checkpoint of step 4 is not kept any more, that of step 3 is.
    killed(out, brief | {"dtype": dtype, "lora": lora, "checkpoints": {"steps": 1, "minutes": None}}, 4)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]
    again = method(pool, out, execution=CPU)
    np.testing.assert_allclose(losses(again), losses(whole), atol=1e-6, rtol=0)
    assert [entry["step"] for entry in read_lines(out / "losses.jsonl")] == list(range(1, 6))
    before, after = (load_file(each.folder / "model.safetensors") for each in (whole, again))
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)


def interrupt_at(at: int) -> Any:
    def watch(step: qads.StepLog) -> None:
        if step.step == at:
            raise KeyboardInterrupt

    return watch


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    method = FineTuning(**brief, checkpoints=Checkpointing(steps=1))
    with pytest.raises(KeyboardInterrupt):
        method(pool, tmp_path, execution=CPU, on_step=interrupt_at(4))
    damaged = tmp_path / "checkpoints" / "step-00000003" / "optimizer.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    again = method(pool, tmp_path, execution=CPU)
    assert "step-00000003 is damaged" in caplog.text
    np.testing.assert_allclose(losses(again), losses(undisturbed), atol=1e-6, rtol=0)


def test_damaged_checkpoints_do_not_push_new_ones_out(
    brief: dict[str, Any], pool: qads.Pool, undisturbed: qads.Trained, tmp_path: Path
):
    method = FineTuning(**brief, checkpoints=Checkpointing(steps=1, limit=1))
    with pytest.raises(KeyboardInterrupt):
        method(pool, tmp_path, execution=CPU, on_step=interrupt_at(4))
    (tmp_path / "checkpoints" / "step-00000003" / "whole.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        method(pool, tmp_path, execution=CPU, on_step=interrupt_at(3))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    again = method(pool, tmp_path, execution=CPU)
    np.testing.assert_allclose(losses(again), losses(undisturbed), atol=1e-6, rtol=0)


def test_no_rows_are_no_training(brief: dict[str, Any], pool: qads.Pool):
    with pytest.raises(InputError, match="train: there are no rows to train on"):
        FineTuning(**brief).plan(pool.take([]))


def test_checkpoints_of_another_training_are_refused_unless_it_starts_anew(
    brief: dict[str, Any], pool: qads.Pool, tmp_path: Path
):
    with pytest.raises(KeyboardInterrupt):
        FineTuning(**brief, checkpoints=Checkpointing(steps=1))(
            pool, tmp_path, execution=CPU, on_step=interrupt_at(3)
        )  # fmt: skip
    other = FineTuning(**brief | {"seed": 1})
    with pytest.raises(RunError, match="of another training"):
        other(pool, tmp_path, execution=CPU)
    assert len(other(pool, tmp_path, execution=CPU, resume=False).losses) == 5


def test_nothing_pickled_is_kept_or_read(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    method = FineTuning(**brief, checkpoints=Checkpointing(steps=2, keep=True))
    method(pool, tmp_path, execution=CPU)
    endings = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert endings == {".safetensors", ".json", ".jsonl"}


def test_rows_that_do_not_fit_stop_it_go_or_lose_their_end(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    lengths = FineTuning(**brief).plan(pool, execution=CPU).texts.lengths
    limit = max(lengths) - 1
    long = [pool[i].id for i, n in enumerate(lengths) if n > limit]
    with pytest.raises(TooLongError, match=rf"{len(long)} of 14 rows do not fit {limit} tokens"):
        FineTuning(**brief, max_length=limit).plan(pool, execution=CPU)
    dropped = FineTuning(**brief, max_length=limit, too_long="drop")(pool, tmp_path / "drop", execution=CPU)
    assert [row.id for row in dropped.affected] == long
    assert dropped.n_rows == 2 * (14 - len(long))
    listed = read_lines(tmp_path / "drop" / "left_out.jsonl")
    assert [(row["id"], row["what"]) for row in listed] == [(name, "dropped") for name in long]
    cut = FineTuning(**brief, max_length=limit, too_long="cut").plan(pool, execution=CPU)
    assert max(cut.texts.lengths) == limit
    assert {row.what for row in cut.texts.affected} == {"cut"}


def test_a_training_that_comes_apart_says_so(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    with pytest.raises(ModelError, match="the training has come apart"):
        FineTuning(**brief | {"learning_rate": 1e30})(pool, tmp_path, execution=CPU)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 1, "steps": 3}, "epochs and steps exclude each other"),
        ({"quantize": "nf4"}, "give an adapter"),
        ({"dtype": "float16"}, "small gradients vanish"),
        ({"warmup": 1.0}, "share of the steps"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        FineTuning(**settings)


def test_four_bits_are_refused_by_name_without_cuda(brief: dict[str, Any], pool: qads.Pool, tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(ModelError, match="quantize nf4 needs CUDA, and the device is cpu"):
        FineTuning(**brief, lora=Lora(), quantize="nf4")(pool, tmp_path, execution=CPU)

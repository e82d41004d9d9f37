"""Engines account for every token that they let a model see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from kernels.architectures import PADDED
from qads.cluster import Execution, MemoryShards
from qads.kernels.cost import Cost, call_cost, model_shape
from qads.kernels.likelihood import TokenTarget
from qads.models import open_causal_lm, open_tokenizer
from qads.pool import Pool, Row
from qads.quality import CompletionsEngine, LocalEngine, OneShotInfluence, SGLangEngine, UntilRankStable
from qads.quality.engines import _LocalModel
from quality.serving import serving
from run.tiny import make_model, rows

PREFIXES = [(5, 9, 11), (), (7,) * 30]
TARGETS = [TokenTarget(tuple(range(3, 15)), 4, 10), TokenTarget(tuple(range(20, 50)), 12, 30)]
WANTED = np.array([[True, True], [False, True], [False, False]])
SERVED = {"completions": CompletionsEngine, "sglang": SGLangEngine}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def pool(n: int, prefix: str = "r") -> Pool:
    return Pool.from_rows([Row(**row) for row in rows(n, prefix=prefix, seed=ord(prefix))])


def opened(model: Path, **execution: Any) -> Any:
    how = Execution(device="cpu", **execution)
    return LocalEngine().open(str(model), revision=None, dtype="float32", execution=how)


def test_a_model_here_runs_a_prefix_once_and_says_how_busy_it_was(model: Path):
    with opened(model) as engine:
        _, cost = engine.score(PREFIXES, TARGETS, WANTED)
    assert (cost.tokens, cost.answer_tokens, cost.extra_tokens) == (3 + 12 + 30 + 30, 6 + 18 + 18, 0)
    assert cost.max_tokens_per_batch == (2048,)
    assert cost.seconds > 0 and cost.flops is not None and cost.capacity is not None
    assert cost.utilisation == pytest.approx(cost.flops / (cost.matmul_peak or 0) / cost.seconds)


def test_padding_is_counted_apart(model: Path, tmp_path: Path):
    config = PADDED["bloom, ALiBi"]()
    config.vocab_size = 320
    config.pad_token_id = config.bos_token_id = config.eos_token_id = 0
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "bloom")
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "bloom")
    with opened(tmp_path / "bloom") as engine:
        _, cost = engine.score(PREFIXES, TARGETS, WANTED)
    assert (cost.tokens, cost.extra_tokens) == (3 + 12 + 30 + 30, 30 - 12)


def test_the_shape_is_the_same_before_the_weights_are_read_and_after(model: Path):
    for name in (str(model), "smollm2-135m"):
        before = open_tokenizer(name).shape
        assert before is not None and before == open_causal_lm(name, device="cpu", dtype="float32").shape


def test_the_size_of_a_pass_is_what_was_set_or_what_suits_the_device(model: Path):
    with opened(model, max_tokens_per_batch=77) as engine:
        assert engine.score(PREFIXES, TARGETS, WANTED)[1].max_tokens_per_batch == (77,)
    assert Execution().pass_size("cpu") == Execution().pass_size("mps") == 2048
    assert Execution().pass_size("cuda") is None
    assert Execution(max_tokens_per_batch=77).pass_size("cuda") == 77


def test_where_nobody_knows_the_size_of_a_pass_it_is_found_by_trying_and_logged(
    model: Path, caplog: pytest.LogCaptureFixture
):
    lm = open_causal_lm(str(model), device="cpu", dtype="float32")
    with caplog.at_level("INFO", "qads.quality.engines"), _LocalModel(lm, None) as engine:
        _, cost = engine.score(PREFIXES, TARGETS, WANTED)
    (found,) = cost.max_tokens_per_batch
    assert found.bit_count() == 1 and f"passes of {found} tokens" in caplog.text


@pytest.mark.parametrize("kind", SERVED)
@pytest.mark.parametrize("generates", [False, True])
def test_a_server_is_charged_for_the_tokens_that_are_sent_and_read(kind: str, generates: bool, model: Path):
    def log_probs(ids: Any) -> list[float]:
        return [-1.0] * (len(ids) - 1)

    tokenizer = open_tokenizer(str(model)).tokenizer
    with serving(kind, log_probs, lambda token: tokenizer.decode([token]), str(model)) as server:
        if generates:
            server.refuses = lambda content: None if _generated(content) else "generate one token at least"
        engine = SERVED[kind](url=server.url, api_key_variable="")
        with engine.open(str(model), revision=None, dtype="auto", execution=Execution()) as found:
            n_probes = len(server.requests)
            _, cost = found.score(PREFIXES, TARGETS, WANTED)
        sent = [text for _, _, content in server.requests[n_probes:] for text in _texts(content)]
    ends = 10, 30
    assert sorted(map(len, sent)) == sorted([3 + ends[0], 3 + ends[1], ends[1]])
    read = sum(map(len, sent)) - (3 if kind == "sglang" else 0)  # SGLang finds the prefix in its cache once.
    assert (cost.tokens, cost.answer_tokens) == (read, 6 + 18 + 18)
    assert cost.extra_tokens == (3 if generates else 0)
    assert cost.seconds > 0 and cost.flops and cost.matmul_peak is None and cost.utilisation is None


def _generated(content: dict[str, Any]) -> int:
    return content["max_tokens"] if "max_tokens" in content else content["sampling_params"]["max_new_tokens"]


def _texts(content: dict[str, Any]) -> list[list[int]]:
    found = content.get("prompt") or content["input_ids"]
    return found if isinstance(found[0], list) else [found]


def test_a_server_of_an_unknown_model_is_charged_for_tokens_alone(model: Path, tmp_path: Path):
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path)
    assert open_tokenizer(str(tmp_path)).shape is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert open_tokenizer(str(tmp_path)).shape is None


def test_the_head_of_a_server_that_gives_all_log_probabilities_runs_on_all_tokens(model: Path):
    shape = model_shape(transformers.AutoModelForCausalLM.from_pretrained(model))
    assert shape is not None
    one = TokenTarget(tuple(range(10)), 5, 10)
    here, there = (
        call_cost(shape, engine.cost_rule, [0], [one], np.ones((1, 1), bool))
        for engine in (LocalEngine, CompletionsEngine)
    )
    assert here.tokens == there.tokens and here.flops is not None and there.flops is not None
    assert there.flops - here.flops == 2 * shape.head * 5


@pytest.mark.parametrize("stopping", [{}, {"stopping": UntilRankStable(start=3)}])
def test_a_resumed_run_ends_with_the_same_account(model: Path, stopping: dict[str, Any]):
    method = OneShotInfluence(model=str(model), dtype="float32", **stopping)
    candidates, anchors, how = pool(20), pool(7, "a"), Execution(device="cpu")
    whole, half = MemoryShards(), MemoryShards()
    expected = method(candidates, anchors, execution=how, shards=whole).cost
    half.tables = {index: table for index, table in whole.tables.items() if index % 2}
    again = method(candidates, anchors, execution=how, shards=half).cost
    assert (again.tokens, again.answer_tokens, again.flops) == (expected.tokens, expected.answer_tokens, expected.flops)
    kept = sum((Cost.from_json(table.schema.metadata[b"cost"]) for table in whole.tables.values()), Cost())
    assert kept == expected and expected.seconds > 0


def test_scores_that_are_taken_over_cost_nothing(model: Path):
    method, how = OneShotInfluence(model=str(model), dtype="float32"), Execution(device="cpu")
    candidates, anchors = pool(9), pool(4, "a")
    first = method(candidates, anchors, execution=how)
    assert method(candidates, anchors, known=first, execution=how).cost == Cost()
    assert first.n_tokens == first.cost.tokens > 0

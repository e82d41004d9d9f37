"""What a model is trained on is what it is scored on, and what a token budget counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BambaConfig, BambaForCausalLM, LlamaForCausalLM, MambaConfig, MambaForCausalLM

import qads
from qads.errors import ModelError
from qads.models import (
    CausalLM,
    Tokenizer,
    open_causal_lm,
    open_tokenizer,
    token_target,
    training_text,
    training_tokens,
)
from qads.prompts import Template
from qads.train.isolation import check_packing

ROWS = [
    qads.Row(id="a", source="s", problem="How many legs have 3 dogs?", solution="Each has 4.\nSo it is 12."),
    qads.Row(id="b", source="s", problem="Name a colour", solution="  Blue", context=(
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"},
    )),
    qads.Row(id="c", source="s", problem="Say nothing", solution=" "),
]  # fmt: skip


@pytest.fixture(scope="module")
def opened() -> Tokenizer:
    try:
        return open_tokenizer("smollm2-135m")
    except ModelError as error:
        pytest.skip(f"smollm2-135m is not here: {error}")


@pytest.mark.parametrize("template", [qads.ExemplarTemplate(), qads.ChatTemplate()], ids=["exemplar", "chat"])
def test_a_text_is_what_is_scored_and_then_the_end(opened: Tokenizer, template: Template):
    renderer = template.renderer(opened.render_chat)
    for row in ROWS:
        text = training_text(opened.tokenizer, renderer, row)
        scored = token_target(opened.tokenizer, renderer.target(row))
        first = len(text.ids) - text.n_answer
        assert text.ids[first : first + scored.n_answer] == scored.ids[scored.answer_start : scored.answer_end]
        ends = [i for i in text.ids[first:] if i == opened.tokenizer.eos_token_id]
        assert len(ends) == 1, "the end of the text is learnt, once"


@pytest.mark.parametrize("template", [qads.ExemplarTemplate(), qads.ChatTemplate()], ids=["exemplar", "chat"])
def test_counted_tokens_are_the_lengths_of_the_texts(opened: Tokenizer, template: Template):
    renderer = template.renderer(opened.render_chat)
    counted = training_tokens(opened.tokenizer, renderer, qads.Pool.from_rows(ROWS))
    assert counted.tolist() == [len(training_text(opened.tokenizer, renderer, row).ids) for row in ROWS]


def test_a_tokenizer_without_an_end_adds_none(model: str):
    tokenizer = open_tokenizer(model).tokenizer
    renderer = qads.ExemplarTemplate().renderer(None)
    with_end = training_text(tokenizer, renderer, ROWS[0])
    tokenizer.eos_token = None
    assert training_text(tokenizer, renderer, ROWS[0]).ids == with_end.ids[:-1]


class Blind(LlamaForCausalLM):
    """Does not look at positions, and so takes two rows for one."""

    def forward(self, *args: Any, position_ids: Any = None, **more: Any) -> Any:
        return super().forward(*args, **more)


def opened_model(model: str, of: torch.nn.Module) -> CausalLM:
    whole = open_causal_lm(model, device="cpu", dtype="float32")
    return CausalLM(of, whole.tokenizer, whole.source)


def texts(model: str):
    tokenizer, renderer = open_tokenizer(model).tokenizer, qads.ExemplarTemplate().renderer(None)
    return [training_text(tokenizer, renderer, row) for row in ROWS]


def test_rows_in_one_pass_do_not_see_each_other_or_are_refused(model: str):
    check_packing(open_causal_lm(model, device="cpu", dtype="float32"), texts(model))
    with pytest.raises(ModelError, match="lets rows that share a pass see each other"):
        check_packing(opened_model(model, Blind.from_pretrained(model).eval()), texts(model))


def test_a_model_of_attention_and_states_is_refused_however_much_attention_alone_would_move(model: str):
    torch.manual_seed(0)
    config = BambaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, mamba_n_heads=8, mamba_d_head=16, mamba_d_state=16, mamba_n_groups=1,
        attn_layer_indices=[0, 1, 3], pad_token_id=0,
    )  # fmt: skip
    hybrid = BambaForCausalLM(config).eval()
    with torch.no_grad():
        for weights in (each for each in hybrid.parameters() if each.dim() >= 2):
            weights.mul_(8)
    with pytest.raises(ModelError, match="Set packing: false"):
        check_packing(opened_model(model, hybrid), texts(model))


def test_a_model_that_carries_a_state_along_is_refused(model: str):
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=8, pad_token_id=0)
    with pytest.raises(ModelError, match="Set packing: false"):
        check_packing(opened_model(model, MambaForCausalLM(config).eval()), texts(model))

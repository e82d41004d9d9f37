"""Engines on a server give the scores of the model, or an error that says why not."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tokenizers
import torch
import transformers

import qads
from qads.cluster import Execution
from qads.errors import EngineError, InputError, ModelError
from qads.kernels.likelihood import TokenTarget
from qads.models import open_causal_lm, open_tokenizer
from qads.quality.engines import CompletionsEngine, LocalEngine, SGLangEngine, check_engine_dtype
from qads.quality.transport import Connection, read_key
from qads.run.directory import StagePlan
from qads.run.plan import plan_stages
from quality.serving import Fault, LogProbs, Scorer, hangs, resets, says, serving, unpacks_without_end
from short_model import short_model

KINDS = ("completions", "sglang")
KEY = "sk-secret-0123456789"
QUESTIONS = [
    ("Question: 3 + 3?\nAnswer:", " 6", ""),
    ("Half of 18 is what?", " It is 18 / 2 = 9.", "\n\nAnd what comes after changes nothing."),
    ("Name a colour:", " blue, as the sky is", ""),
]
EXAMPLES = ["", "Question: 2 + 2?\nAnswer: 4\n\n", "Eine Äpfelkiste 🙂\n\n", "A sky is blue. " * 3]
Ids = Callable[[str], tuple[int, ...]]


def tokenised(ids: Ids) -> tuple[list[tuple[int, ...]], list[TokenTarget]]:
    def target(*parts: str) -> TokenTarget:
        before, answer, after = map(ids, parts)
        return TokenTarget((*before, *answer, *after), len(before), len(before) + len(answer))

    return [ids(text) for text in EXAMPLES], [target(*parts) for parts in QUESTIONS]


PREFIXES, TARGETS = tokenised(lambda text: tuple(text.encode()))


def arithmetic(tokens: Sequence[int]) -> list[float]:
    """Log-probabilities that depend on all tokens before, and need no model."""
    total, found = tokens[0], []
    for token in tokens[1:]:
        found.append(-((total * 31 + token) % 97 + 1) / 20)
        total += token
    return found


def expected(log_probs: LogProbs, prefixes: Any = PREFIXES, targets: Any = TARGETS) -> np.ndarray:
    """The definition, pair by pair."""
    scores = np.empty((len(prefixes), len(targets)))
    for i, prefix in enumerate(prefixes):
        for j, each in enumerate(targets):
            first = len(prefix) + each.answer_start
            found = log_probs((*prefix, *each.ids))[first - 1 :]
            scores[i, j] = np.mean(found[: each.answer_end - each.answer_start])
    return scores


class Real(NamedTuple):
    """The real model by plain forward passes, texts of its tokenizer, and their scores."""

    log_probs: LogProbs
    word: Callable[[int], str]
    prefixes: list[tuple[int, ...]]
    targets: list[TokenTarget]
    scores: np.ndarray


@pytest.fixture(scope="module")
def real() -> Real:
    lm = open_causal_lm(short_model(), dtype="float32", device="cpu")

    @functools.cache
    def forward(tokens: tuple[int, ...]) -> list[float]:
        with torch.inference_mode():
            logits = lm.model(torch.tensor([tokens])).logits[0, :-1]
        return torch.log_softmax(logits, -1)[range(len(tokens) - 1), list(tokens[1:])].tolist()

    def log_probs(tokens: Sequence[int]) -> list[float]:
        return forward(tuple(tokens))

    texts = tokenised(lambda text: tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"]))
    return Real(log_probs, lambda token: lm.tokenizer.decode([token]), *texts, expected(log_probs, *texts))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of single bytes and nothing else, which opens quickly."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bytewise = tokenizers.Tokenizer(tokenizers.models.BPE({c: n for n, c in enumerate(alphabet)}, []))
    bytewise.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = tokenizers.decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tiny")
    transformers.PreTrainedTokenizerFast(tokenizer_object=bytewise).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096}))
    return folder


@pytest.fixture
def word(tiny: Path) -> Callable[[int], str]:
    tokenizer = open_tokenizer(str(tiny)).tokenizer
    return lambda token: tokenizer.decode([token])


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tiny: Path, word: Callable[[int], str]) -> Iterator[Scorer]:
    with serving(request.param, arithmetic, word, str(tiny)) as scorer:
        yield scorer


@contextlib.contextmanager
def opened(server: Scorer, **execution: Any) -> Iterator[Any]:
    engine = {"completions": CompletionsEngine, "sglang": SGLangEngine}[server.kind](
        url=server.url, api_key_variable="QADS_TEST_KEY"
    )
    how = Execution(**{"retries": 2, "timeout": 60.0} | execution)
    with engine.open(server.model, revision=None, dtype="auto", execution=how) as found:
        yield found


def scored(engine: Any) -> np.ndarray:
    return engine.score(PREFIXES, TARGETS, np.ones((len(PREFIXES), len(TARGETS)), np.bool_))[0]


# ---------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_a_served_model_are_those_of_the_model_here(kind: str, real: Real):
    with serving(kind, real.log_probs, real.word, short_model()) as server, opened(server, concurrency=2) as engine:
        np.testing.assert_allclose(engine.score(real.prefixes, real.targets, None)[0], real.scores, atol=1e-4)


def test_scores_of_the_local_engine_are_those_of_plain_forward_passes(real: Real):
    how = Execution(device="cpu")
    with LocalEngine().open(short_model(), revision=None, dtype="float32", execution=how) as engine:
        np.testing.assert_allclose(engine.score(real.prefixes, real.targets, None)[0], real.scores, atol=1e-4)
        assert engine.tokenizer.is_fast and engine.max_length == 8192 and engine.render_chat


def test_pairs_that_are_not_wanted_are_not_sent(server: Scorer):
    wanted = np.zeros((len(PREFIXES), len(TARGETS)), np.bool_)
    wanted[1, 2] = wanted[3, 0] = wanted[3, 1] = True
    with opened(server) as engine:
        server.requests.clear()
        found, _ = engine.score(PREFIXES, TARGETS, wanted)
    np.testing.assert_array_equal(~np.isnan(found), wanted)
    np.testing.assert_allclose(found[wanted], expected(arithmetic)[wanted])
    assert sum(len(texts(content)) for _, _, content in server.requests) == 3


def texts(content: dict[str, Any]) -> list[list[int]]:
    sent = content["prompt"] if "prompt" in content else content["input_ids"]
    return sent if isinstance(sent[0], list) else [sent]


def test_scores_do_not_depend_on_concurrency_or_order(server: Scorer):
    with opened(server, concurrency=1) as engine:
        one = scored(engine)
    with opened(server, concurrency=16) as engine:
        many = scored(engine)
        back, _ = engine.score(PREFIXES[::-1], TARGETS[::-1], None)
    np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(one, back[::-1, ::-1])
    np.testing.assert_allclose(one, expected(arithmetic))


def test_many_targets_go_into_few_requests_and_none_after_its_answer(server: Scorer):
    with opened(server) as engine:
        server.requests.clear()
        engine.score(PREFIXES[1:2], TARGETS * 10, None)
    assert len(server.requests) <= 5
    longest = max(len(PREFIXES[1]) + each.answer_end for each in TARGETS)
    assert max(len(text) for _, _, content in server.requests for text in texts(content)) == longest


def test_sglang_sees_a_prefix_once_before_its_other_targets_and_gives_nothing_of_it(tiny: Path, word):
    with serving("sglang", arithmetic, word, str(tiny)) as server, opened(server, concurrency=8) as engine:
        server.requests.clear()
        server.finished.clear()
        seen: dict[tuple[int, ...], int] = {}
        early = []

        def look(exchange: Any) -> None:
            content = server.requests[-1][2]
            for ids, start in zip(content["input_ids"], content["logprob_start_len"], strict=True):
                prefix = next(p for p in PREFIXES[:0:-1] if tuple(ids[: len(p)]) == p)
                assert start >= len(prefix)
                if prefix not in seen:
                    seen[prefix] = len(server.requests)
                    assert len(content["input_ids"]) == 1
                elif seen[prefix] not in server.finished:
                    early.append(prefix)

        server.always = look
        server.lock = contextlib.nullcontext()  # type: ignore[assignment]
        engine.score(PREFIXES[1:], TARGETS * 4, None)
    assert set(seen) == set(PREFIXES[1:]) and early == []


def test_an_engine_works_inside_a_running_event_loop(server: Scorer):
    async def notebook() -> np.ndarray:
        with opened(server) as engine:
            return scored(engine)

    np.testing.assert_allclose(asyncio.run(notebook()), expected(arithmetic))


# ---------------------------------------------------------------------------------------------------------
# What a server may refuse, and what it must be able to do
# ---------------------------------------------------------------------------------------------------------


def n_generated(content: dict[str, Any]) -> int:
    return content.get("max_tokens", content.get("sampling_params", {}).get("max_new_tokens"))


@pytest.mark.parametrize(
    "refuses",
    [
        lambda content: "max_tokens must be at least 1" if n_generated(content) == 0 else None,
        lambda content: "one prompt only" if len(texts(content)) > 1 else None,
        lambda content: "no" if n_generated(content) == 0 or len(texts(content)) > 1 else None,
    ],
    ids=["no generation", "several texts", "either"],
)
def test_what_a_server_refuses_is_found_out_and_done_otherwise(server: Scorer, refuses):
    server.refuses = refuses
    with opened(server) as engine:
        np.testing.assert_allclose(scored(engine), expected(arithmetic))


def without_echo(answer: dict[str, Any]) -> dict[str, Any]:
    for choice in answer["choices"]:
        choice["logprobs"]["token_logprobs"] = [-0.5]
    return answer


def without_logprobs(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "choices": [{**choice, "logprobs": None} for choice in answer["choices"]]}


@pytest.mark.parametrize(
    ("change", "refuses", "message"),
    [
        (without_echo, None, r"gave 1 log-probabilities for a text of \d+ tokens"),
        (without_logprobs, None, r"gave 0 log-probabilities for a text of \d+ tokens"),
        (None, lambda _: "Only no echo is supported", "400 Bad Request.*Only no echo is supported"),
        (lambda _: {"object": "text_completion"}, None, "another shape: choices: Field required"),
        (lambda _: ["hello"], None, "another shape"),
    ],
)
def test_a_server_that_cannot_score_is_known_at_opening(tiny: Path, change, refuses, message: str):
    with serving("completions", arithmetic, str, str(tiny)) as server:
        server.change = change or server.change
        server.refuses = refuses or server.refuses
        with pytest.raises(EngineError, match=message) as caught, opened(server):
            pass
    assert server.url in str(caught.value)


def test_a_server_to_which_our_tokens_are_other_words_is_refused(server: Scorer):
    word = server.word
    server.word = lambda token: word(token + 1)
    with pytest.raises(EngineError, match=r"reads the tokens of 'heskyisblue.*serves another model than "):
        with opened(server):
            pass


def test_a_server_may_write_tokens_as_ids(server: Scorer):
    server.word = lambda token: f"token_id:{token}"
    with opened(server) as engine:
        np.testing.assert_allclose(scored(engine), expected(arithmetic))


def test_the_context_is_the_smaller_of_model_and_server(server: Scorer, caplog):
    server.models = [{"id": "other", "max_model_len": 99}, {"id": server.model, "max_model_len": 512}]
    with opened(server) as engine:
        assert engine.max_length == 511
    assert f"sees 512 tokens where {server.model} sees 4096" in caplog.text
    server.models = [{"id": server.model}, "nonsense"]  # type: ignore[list-item]
    with opened(server) as engine:
        assert engine.max_length == 4096


@pytest.mark.parametrize("kind", [CompletionsEngine, SGLangEngine])
def test_a_model_that_is_not_served_is_an_error_that_names_those_that_are(kind, tiny: Path):
    with serving("sglang", arithmetic, str, str(tiny)) as server:
        server.models = [{"id": "one"}, {"id": "two"}]
        url = server.url + ("/v1" if kind is CompletionsEngine else "")
        engine = kind(url=url, served_model="three")
        server.kind = engine.kind
        with pytest.raises(EngineError, match=r"serves one, two, but engine\.served_model is 'three'"):
            engine.open(str(tiny), revision=None, dtype="auto", execution=Execution())
    assert server.requests == []


# ---------------------------------------------------------------------------------------------------------
# Faults that pass, and faults that do not
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        [says(429, {"error": "slow down"}, Retry_After="0")],
        [says(429, "", Retry_After=formatdate(time.time() - 60, usegmt=True))],
        [says(429, "", Retry_After="soon")],
        [says(429, "", Retry_After="Mon, 01 Jan 99999999999999999999 00:00:00 GMT")],
        [says(200, '{"choices": [{"index": 0, "logp')],
        [says(503, "<html>busy</html>"), says(502, "")],
        [says(408), says(500, "CUDA error")],
        [resets],
    ],
    ids=["429 seconds", "429 date", "429 unreadable", "429 no date", "cut short", "503 502", "408 500", "reset"],
)
def test_a_fault_that_passes_changes_nothing(server: Scorer, faults: list[Fault]):
    with opened(server, concurrency=1) as engine:
        server.faults = list(faults)
        np.testing.assert_allclose(scored(engine), expected(arithmetic))
    assert server.faults == []


def test_a_request_that_hangs_is_sent_again(server: Scorer):
    with opened(server, timeout=2.0, retries=5) as engine:
        server.faults = [hangs]
        np.testing.assert_allclose(scored(engine), expected(arithmetic))


def test_the_wait_is_the_one_that_the_server_asks_for(server: Scorer, caplog):
    caplog.set_level(logging.INFO, "qads")
    with opened(server) as engine:
        server.faults = [says(503, "", Retry_After="1")]
        scored(engine)
        assert "answered 503 Service Unavailable. Again in 1.0 s (1 of 2)." in caplog.text
        server.faults = [says(429, "", Retry_After="86400")]
        with pytest.raises(EngineError, match="asks to come back in 86400 s"):
            engine.score(PREFIXES[:1], TARGETS[:1], None)
        server.faults = [says(429, "", Retry_After=formatdate(time.time() + 86400, usegmt=True))]
        with pytest.raises(EngineError, match=r"asks to come back in 86[0-9]{3} s"):
            engine.score(PREFIXES[:1], TARGETS[:1], None)


@pytest.mark.parametrize("asked", ["0", formatdate(time.time() - 60, usegmt=True)], ids=["0", "past"])
def test_a_server_that_asks_for_no_wait_does_not_wear_out_all_tries_at_once(server: Scorer, caplog, asked: str):
    caplog.set_level(logging.INFO, "qads")
    with opened(server, concurrency=1) as engine:
        server.faults = [says(429, "", Retry_After=asked), says(429, "", Retry_After=asked)]
        engine.score(PREFIXES[:1], TARGETS[:1], None)
    waits = [float(found) for found in re.findall(r"Again in ([0-9.]+) s", caplog.text)]
    assert len(waits) == 2 and waits[0] >= 0.2 and waits[1] >= 0.5


def test_a_fault_that_stays_is_an_error_with_address_status_and_beginning_of_the_answer(server: Scorer):
    with opened(server, retries=1) as engine:
        server.requests.clear()
        server.always = says(503, "<html>\x1b[31m" + "x" * 500)
        with pytest.raises(EngineError, match=r"503 Service Unavailable.*Tried 2 times") as caught:
            engine.score(PREFIXES[:1], TARGETS[:1], None)
    message = str(caught.value)
    assert server.url in message and "x" * 150 in message and "x" * 201 not in message and "\x1b" not in message
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_a_refusal_is_not_repeated(server: Scorer, status: int):
    with opened(server) as engine:
        server.requests.clear()
        server.always = says(status, {"error": "context length exceeded"})
        with pytest.raises(EngineError, match=f"answered {status} .*context length exceeded"):
            engine.score(PREFIXES[:1], TARGETS[:1], None)
        assert len(server.requests) == 1


def test_a_page_where_an_answer_should_be_is_an_error(server: Scorer):
    with opened(server) as engine:
        server.always = says(200, "<!doctype html><title>Sign in</title>")
        with pytest.raises(EngineError, match="no JSON: '<!doctype html><title>Sign in"):
            scored(engine)


def test_an_answer_that_unpacks_without_end_is_an_error(server: Scorer):
    with opened(server) as engine:
        server.always = unpacks_without_end
        with pytest.raises(EngineError, match="with more than 256 MiB, unpacked"):
            engine.score(PREFIXES[:1], TARGETS[:1], None)


def test_a_server_that_is_not_there_is_an_error(tiny: Path):
    with serving("completions", arithmetic, str, str(tiny)) as gone:
        url = gone.url
    engine = CompletionsEngine(url=url)
    with pytest.raises(EngineError, match=r"cannot be reached .*Tried 1 times"):
        engine.open(str(tiny), revision=None, dtype="auto", execution=Execution(retries=0))


def numbers(answer: Any) -> list[Any]:
    """The log-probabilities of an answer's first text, to be distorted in place."""
    if isinstance(answer, dict):
        return answer["choices"][0]["logprobs"]["token_logprobs"]
    return answer[0]["meta_info"]["input_token_logprobs"]


def put(value: Any) -> Callable[[Any], Any]:
    def change(answer: Any) -> Any:
        found = numbers(answer)
        found[-1] = (value, *found[-1][1:]) if isinstance(answer, list) else value
        return answer

    return change


def cut(answer: Any) -> Any:
    del numbers(answer)[1:]
    return answer


def doubled(answer: Any) -> Any:
    found = numbers(answer)
    found.extend(found * 9)
    return answer


def lost(answer: Any) -> Any:
    return answer[1:] if isinstance(answer, list) else {**answer, "choices": answer["choices"][1:]}


def twice(answer: Any) -> Any:
    return answer * 2 if isinstance(answer, list) else {**answer, "choices": answer["choices"] * 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(None), "gave null as the log-probability of scored token"),
        (put(float("nan")), "gave nan as"),
        (put(float("-inf")), "gave -inf as"),
        (put(-9999.0), "gave -9999 as"),
        (put(0.5), "gave 0.5 as"),
        (put("much"), "another shape"),
        (cut, r"gave 1 log-probabilities"),
        (doubled, r"gave \d+ log-probabilities"),
        (lost, r"answered with (choices|\d+ results).*where \d+ texts were sent"),
        (twice, r"answered with (choices|\d+ results).*where \d+ texts were sent"),
        (lambda _: None, "another shape"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_is_an_error(server: Scorer, change, message: str):
    with opened(server) as engine:
        server.change = change
        with pytest.raises(EngineError, match=message) as caught:
            scored(engine)
    assert server.url in str(caught.value)


def test_sglang_log_probabilities_of_other_tokens_are_an_error(tiny: Path, word):
    with serving("sglang", arithmetic, word, str(tiny)) as server, opened(server) as engine:

        def shifted(answer: Any) -> Any:
            found = numbers(answer)
            found[-1] = (found[-1][0], found[-1][1] + 1, None)
            return answer

        server.change = shifted
        with pytest.raises(EngineError, match="log-probabilities of the tokens"):
            scored(engine)


def test_an_interruption_ends_the_waiting_at_once(server: Scorer):
    def interrupts(exchange: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        hangs(exchange)

    with opened(server, concurrency=1) as engine:
        server.faults = [interrupts]
        server.always = hangs
        with pytest.raises(KeyboardInterrupt):
            scored(engine)
    assert not server.released.is_set() and len(server.finished) < len(server.requests), "it still hangs"


# ---------------------------------------------------------------------------------------------------------
# Keys and addresses
# ---------------------------------------------------------------------------------------------------------


def test_the_key_goes_to_the_server_and_nowhere_else(server: Scorer, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("QADS_TEST_KEY", f" {KEY}\n")
    with opened(server) as engine:
        scored(engine)
        assert all(headers["Authorization"] == f"Bearer {KEY}" for _, headers, _ in server.requests)
        server.always = says(401, {"error": f"Incorrect API key provided: {KEY}"})
        with pytest.raises(EngineError, match=r"provided: \[key\].*engine.api_key_variable") as caught:
            engine.score(PREFIXES[:1], TARGETS[:1], None)
    assert KEY not in str(caught.value) and KEY not in caplog.text
    monkeypatch.delenv("QADS_TEST_KEY")
    server.always = None
    with opened(server):
        assert "Authorization" not in server.requests[-1][1]


def test_no_part_of_the_key_is_shown_of_an_answer_in_another_shape(server: Scorer, monkeypatch):
    monkeypatch.setenv("QADS_TEST_KEY", KEY)
    with opened(server) as engine:
        for room in range(40, 90, 5):
            server.always = says(200, {"error": "x" * room + KEY})
            with pytest.raises(EngineError, match="another shape") as caught:
                engine.score(PREFIXES[:1], TARGETS[:1], None)
            assert KEY[:4] not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks9://user:hunter2@127.0.0.1:1"),
        ("HTTPS_PROXY", "nonsense://user:hunter2@x"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_proxy_or_certificate_of_the_environment_that_cannot_be_used_is_an_error_of_ours(
    name: str, value: str, monkeypatch
):
    monkeypatch.setenv(name, value)
    with pytest.raises(EngineError, match=f"https://192.0.2.1/v1: cannot be reached as.*{name}") as caught:
        Connection("https://192.0.2.1/v1", None, Execution())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server: Scorer, status: int, monkeypatch):
    monkeypatch.setenv("QADS_TEST_KEY", KEY)
    with serving(server.kind, arithmetic, server.word, server.model) as other, opened(server) as engine:
        elsewhere = other.url.replace("127.0.0.1", "user:pass@localhost") + "/completions"
        server.always = says(status, "", Location=elsewhere)
        with pytest.raises(EngineError, match="redirects to 'http://localhost:") as caught:
            scored(engine)
    assert other.requests == [] and "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/v1", "must begin with http"),
        ("host:8000/v1", "must begin with http"),
        ("http://", "must begin with http"),
        ("", "must begin with http"),
        ("http://host:99999999/v1", "no address"),
        ("http://user:hunter2@host/v1", "name or password for host"),
        ("http:user:hunter2@host", "name or password"),
        ("https://host/v1?key=hunter2", "followed by"),
        ("ftp://host/v1#hunter2", "followed by"),
    ],
)
@pytest.mark.parametrize("kind", [CompletionsEngine, SGLangEngine])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(kind, url: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        kind(url=url)
    assert "hunter2" not in str(caught.value)


def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(monkeypatch):
    with pytest.raises(InputError, match="name of an environment variable") as caught:
        CompletionsEngine(url="http://127.0.0.1/v1", api_key_variable=KEY)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("QADS_TEST_KEY", f"{KEY} and more")
    with pytest.raises(EngineError, match="QADS_TEST_KEY: holds spaces") as broken:
        read_key("QADS_TEST_KEY")
    assert KEY not in str(broken.value) and read_key("") is None


@pytest.mark.parametrize(
    ("url", "key", "warned"),
    [
        ("http://192.0.2.1/v1", KEY, True),
        ("http://192.0.2.1/v1", None, False),
        ("https://192.0.2.1/v1", KEY, False),
        ("http://127.0.0.1/v1", KEY, False),
        ("http://[::1]/v1", KEY, False),
        ("http://localhost/v1", KEY, False),
        ("http://localhost.example.org/v1", KEY, True),
    ],
)
def test_a_key_over_an_open_network_is_warned_of(url: str, key: str | None, warned: bool, caplog):
    Connection(url, key, Execution()).close()
    assert ("unencrypted" in caplog.text) == warned and KEY not in caplog.text


# ---------------------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CompletionsEngine, SGLangEngine])
def test_what_identifies_a_result_is_model_and_interface_and_not_the_place(kind):
    how: dict[str, Any] = {"revision": None, "dtype": "auto", "execution": Execution(device="cpu")}
    here = kind(url="http://127.0.0.1:1/v1").identity("smollm2-135m", **how)
    there = kind(url="https://there.example/v1", api_key_variable="").identity("smollm2-135m", **how)
    other = kind(url="http://127.0.0.1:1/v1", served_model="other").identity("smollm2-135m", **how)
    local = LocalEngine().identity("smollm2-135m", **how)
    assert here == there != other and here["dtype"] == "served" and local["dtype"] in ("float32", "bfloat16")
    assert "sha256:" in here["model"] and here["model"] != local["model"]
    assert set(here) == set(local) and "127.0.0.1" not in repr(here)


def test_a_run_can_go_on_with_another_server_of_the_same_model(tmp_path: Path, tiny: Path):
    (tmp_path / "pool.jsonl").write_text('{"problem": "1 + 1?", "solution": "2"}\n')

    def plan(**engine: str) -> StagePlan:
        config = qads.load_config(
            {
                "pool": {"sources": [str(tmp_path / "pool.jsonl")]},
                "budget": 1,
                "quality": {
                    "influence": {"model": str(tiny), "engine": {"kind": "sglang", **engine}},
                    "scorer": {"kind": "retrieval"},
                },
            }
        )
        return plan_stages(config, config.pool.sources, (), until="influence")["influence"]

    here = plan(url="http://127.0.0.1:1")
    assert here.fingerprint == plan(url="https://there.example", api_key_variable="OTHER").fingerprint
    assert here.fingerprint != plan(url="http://127.0.0.1:1", served_model="other").fingerprint
    assert "127.0.0.1" not in repr(here) and here.execution == {"device": "served"}
    assert here.settings["quality"]["influence"]["dtype"] == "served"


def test_influence_of_a_served_model_is_that_of_the_model_here(real: Real):
    rows = [qads.Row(id=str(n), source="s", problem=f"{n} + {n}?", solution=f" It is {2 * n}.") for n in range(4)]
    candidates, anchors = qads.Pool.from_rows(rows[:2]), qads.Pool.from_rows(rows[2:])
    here = qads.OneShotInfluence(model=short_model(), dtype="float32")(
        candidates, anchors, execution=Execution(device="cpu")
    )
    with serving("sglang", real.log_probs, real.word, short_model()) as server:
        engine = SGLangEngine(url=server.url, api_key_variable="")
        there = qads.OneShotInfluence(model=short_model(), engine=engine)(candidates, anchors)
    np.testing.assert_allclose(there.one_shot, here.one_shot, atol=1e-4)
    np.testing.assert_allclose(there.zero_shot, here.zero_shot, atol=1e-4)


def test_a_precision_is_no_setting_of_a_served_model():
    engine = CompletionsEngine(url="http://127.0.0.1:1/v1")
    for refused in (
        lambda: check_engine_dtype(engine, "bfloat16"),
        lambda: engine.identity("smollm2-135m", revision=None, dtype="bfloat16", execution=Execution()),
        lambda: engine.open("smollm2-135m", revision=None, dtype="bfloat16", execution=Execution()),
    ):
        with pytest.raises(InputError, match="dtype is 'bfloat16', but the engine is a server"):
            refused()
    check_engine_dtype(engine, "auto")
    check_engine_dtype(LocalEngine(), "bfloat16")


def test_a_model_without_a_tokenizer_is_refused_before_anything_is_sent(server: Scorer):
    engine = CompletionsEngine(url=server.url)
    with pytest.raises(ModelError, match="no such file"):
        engine.open("./nowhere", revision=None, dtype="auto", execution=Execution())
    assert server.requests == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "execution.concurrency is 0"),
        ({"timeout": 0.0}, "execution.timeout is 0"),
        ({"timeout": float("inf")}, "execution.timeout is inf"),
        ({"retries": -1}, "execution.retries is -1"),
    ],
)
def test_impossible_numbers_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Execution(**settings)

"""How servers are asked for the log-probabilities of a text, and how they answer: requests and answers, no network.

    CompletionsDialect   `/completions` of OpenAI's interface with `echo`, as vLLM serves it
    SGLangDialect        `/generate` of SGLang, which gives log-probabilities from a stated token on

An answer is foreign: its shape, its counts and every number are checked, and a `Misfit` says what was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

__all__ = ["CompletionsDialect", "Dialect", "Form", "Misfit", "SGLangDialect", "ScoredText", "Scores"]

_ROUNDING = 1e-6
"""How far above 0 rounding may lift a log-probability."""
_LOWEST = -9999.0
"""What vLLM writes for −∞, which JSON cannot hold."""


class Misfit(ValueError):
    """An answer is not what was asked for; `found` is what stood there, whole: it may hold the key."""

    def __init__(self, what: str, found: str = "") -> None:
        super().__init__(what)
        self.found = found


@dataclass(frozen=True)
class Form:
    """What a server lets one ask; it is tried out."""

    n_prompts: int
    """Texts in a request; 1 sends a text by itself, not as a list of one."""
    n_generated: int
    """Tokens to generate: 0 where the server allows it, else 1, which is thrown away."""


@dataclass(frozen=True)
class ScoredText:
    """A text of which the tokens from `start` ≥ 1 on are scored."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Scores:
    """What a server said of the scored tokens of a text."""

    log_probs: tuple[float, ...]
    """Nats, one for each."""
    words: tuple[str, ...] | None = None
    """The server's writing of each, where it gave one."""


@dataclass(frozen=True)
class _LogProbs:
    token_logprobs: list[float | None]
    tokens: list[str] | None = None


@dataclass(frozen=True)
class _Choice:
    index: int
    logprobs: _LogProbs | None = None


@dataclass(frozen=True)
class _Completion:
    choices: list[_Choice]


@dataclass(frozen=True)
class CompletionsDialect:
    """Completions that repeat the prompt. The first token of a text has no log-probability (null)."""

    model: str
    """Name of the model on the server."""
    path: str = "/completions"
    """Where it scores."""
    models_path: str = "/models"
    """Where it lists its models."""
    hint: str = "Check engine.url, which ends before /completions (http://host:8000/v1), and engine.served_model."
    """What to look at where there is nothing at an address."""
    shares_prefix: bool = False
    """Whether it computes a prefix once, if it has seen it before."""

    def request(self, texts: Sequence[ScoredText], form: Form, *, words: bool = False) -> dict[str, Any]:
        """What to send; the words come unasked."""
        prompts = [list(text.ids) for text in texts]
        return {
            "model": self.model,
            "prompt": prompts if form.n_prompts > 1 else prompts[0],
            "max_tokens": form.n_generated,
            "echo": True,
            "logprobs": 1,  # Some servers take 0 for "none".
            "temperature": 1.0,  # Any other would change the log-probabilities of a server that scales them.
        }

    def read(self, answer: Any, texts: Sequence[ScoredText], form: Form) -> list[Scores]:
        """The scores in the order of the texts."""
        choices = sorted(_validated(_COMPLETION, answer).choices, key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(len(texts))):
            found = [choice.index for choice in choices]
            raise Misfit(f"answered with choices {found[:20]} where {len(texts)} texts were sent.")
        return [self._scores(choice.logprobs, text, form) for choice, text in zip(choices, texts, strict=True)]

    def _scores(self, found: _LogProbs | None, text: ScoredText, form: Form) -> Scores:
        expected, n_found = len(text.ids), len(found.token_logprobs) if found else 0
        if found is None or not expected <= n_found <= expected + form.n_generated:
            raise Misfit(
                f"gave {n_found} log-probabilities for a text of {expected} tokens"
                f"{' and 1 generated' if form.n_generated else ''}; it must give one for each (echo with logprobs)."
            )
        scored = slice(text.start, expected)
        words = tuple(found.tokens[scored]) if found.tokens and len(found.tokens) == n_found else None
        return Scores(_checked(found.token_logprobs[scored]), words)


@dataclass(frozen=True)
class _MetaInfo:
    input_token_logprobs: list[tuple[float | None, int, str | None]] | None = None


@dataclass(frozen=True)
class _Generation:
    meta_info: _MetaInfo


@dataclass(frozen=True)
class SGLangDialect:
    """Generation that gives log-probabilities of the input from a token on, with the ids of the tokens.

    The entry of that first token is null, since what comes before it is taken from the cache; so one token more is
    asked for. Only what lies before it can come from the cache.
    """

    path: str = "/generate"
    models_path: str = "/v1/models"
    hint: str = "Check engine.url, which ends before /generate and has no /v1 (http://host:30000)."
    shares_prefix: bool = True

    def request(self, texts: Sequence[ScoredText], form: Form, *, words: bool = False) -> dict[str, Any]:
        """What to send; with the words of the tokens if asked."""
        ids, starts = [list(text.ids) for text in texts], [text.start - 1 for text in texts]
        return {
            "input_ids": ids if form.n_prompts > 1 else ids[0],
            "logprob_start_len": starts if form.n_prompts > 1 else starts[0],
            "return_logprob": True,
            "return_text_in_logprobs": words,
            "sampling_params": {"max_new_tokens": form.n_generated, "temperature": 1.0},
        }

    def read(self, answer: Any, texts: Sequence[ScoredText], form: Form) -> list[Scores]:
        """The scores in the order of the texts."""
        found = _validated(_GENERATIONS, answer if isinstance(answer, list) else [answer])
        if len(found) != len(texts):
            raise Misfit(f"answered with {len(found)} results where {len(texts)} texts were sent.")
        return [self._scores(each.meta_info, text) for each, text in zip(found, texts, strict=True)]

    def _scores(self, found: _MetaInfo, text: ScoredText) -> Scores:
        expected = text.ids[text.start :]
        entries = found.input_token_logprobs or []
        if not len(expected) <= len(entries) <= len(text.ids):
            raise Misfit(
                f"gave {len(entries)} log-probabilities (input_token_logprobs) where {len(expected)} tokens of "
                f"{len(text.ids)} are scored."
            )
        log_probs, ids, words = zip(*entries[len(entries) - len(expected) :], strict=True)
        if ids != expected:
            raise Misfit(
                f"gave log-probabilities of the tokens {list(ids[:8])}… where {list(expected[:8])}… were sent."
            )
        return Scores(_checked(log_probs), None if None in words else words)


Dialect = CompletionsDialect | SGLangDialect
"""Every dialect: `path`, `models_path`, `hint`, `shares_prefix`, `request` and `read`."""
_COMPLETION, _GENERATIONS = TypeAdapter(_Completion), TypeAdapter(list[_Generation])


def _validated(adapter: TypeAdapter[Any], answer: Any) -> Any:
    try:
        return adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise Misfit(f"answered in another shape: {where}: {first['msg']}", str(first["input"])) from None


def _checked(values: Sequence[float | None]) -> tuple[float, ...]:
    """The values, each of which must be a log-probability."""
    checked = tuple(float("nan") if value is None else value for value in values)
    for position, value in enumerate(checked):
        if not (math.isfinite(value) and _LOWEST < value <= _ROUNDING):
            found = "null" if values[position] is None else f"{value:g}"
            raise Misfit(
                f"gave {found} as the log-probability of scored token {position + 1} of {len(values)}; "
                "it must be a finite number, 0 at most."
            )
    return checked

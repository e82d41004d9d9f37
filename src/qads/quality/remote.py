"""Engines on a server: settings of a server that gives the log-probabilities of the texts that it is sent.

Texts travel as token ids of the model's own tokenizer, so that none is tokenised twice. Where a server runs and which
variable holds its key change no result; which model it serves does, and in which precision is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from qads.cluster import Execution
from qads.errors import InputError
from qads.kernels.cost import CostRule
from qads.models import Dtype, find_tokenizer, open_tokenizer
from qads.quality.dialects import CompletionsDialect, Dialect, SGLangDialect
from qads.quality.served import ServedModel
from qads.quality.transport import Connection, check_key_variable, check_url, read_key

__all__ = ["CompletionsEngine", "SGLangEngine", "check_served_dtype"]


@dataclass(frozen=True, kw_only=True)
class CompletionsEngine:
    """A server with the completions of OpenAI's interface that gives log-probabilities of the prompt, as vLLM does."""

    kind: Literal["completions"] = "completions"
    """Name in a configuration."""
    url: str
    """Address before ``/completions``, such as ``http://127.0.0.1:8000/v1``."""
    served_model: str | None = None
    """Name of the model on the server; None takes `OneShotInfluence.model`."""
    api_key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, which is sent if it is set; empty sends none."""

    cost_rule: ClassVar[CostRule] = CostRule(shares_prefix=False, ends_with_answer=True, head_everywhere=True)
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_url(self.url)
        check_key_variable(self.api_key_variable)

    def open(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> ServedModel:
        """Connect, and see whether the server can score.

        Args:
            model: gives the tokenizer, and the name to ask for where `served_model` does not.
            revision: branch, tag or commit of a hub id.
            dtype: ``auto``; the precision is chosen where the server is started.
            execution: requests at once, seconds for each, repetitions.

        Raises:
            InputError: a precision is asked for.
            ModelError: the tokenizer cannot be opened.
            EngineError: the server cannot be reached or cannot score.
        """
        dialect = CompletionsDialect(self.served_model or model)
        return _open(self, dialect, model, revision, dtype, execution)

    def spread(self, execution: Execution) -> Execution:
        """Who asks it: this process, which has `concurrency` requests under way; more of them would ask for no more."""
        return execution.here()

    def identity(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> dict[str, Any]:
        """What of it makes the result: tokenizer, served model and interface."""
        return _identity(self, model, revision, dtype)


@dataclass(frozen=True, kw_only=True)
class SGLangEngine:
    """A server of SGLang with its own interface, which computes a prefix once for all targets after it."""

    kind: Literal["sglang"] = "sglang"
    """Name in a configuration."""
    url: str
    """Address before ``/generate``, such as ``http://127.0.0.1:30000``."""
    served_model: str | None = None
    """Name that the server must list; None takes the one model that it serves, known as `OneShotInfluence.model`."""
    api_key_variable: str = "SGLANG_API_KEY"
    """Environment variable that holds the key, which is sent if it is set; empty sends none."""

    cost_rule: ClassVar[CostRule] = CostRule(shares_prefix=True, ends_with_answer=True)
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_url(self.url)
        check_key_variable(self.api_key_variable)

    def open(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> ServedModel:
        """Connect, and see whether the server can score; arguments and errors as for `CompletionsEngine.open`."""
        return _open(self, SGLangDialect(), model, revision, dtype, execution)

    def spread(self, execution: Execution) -> Execution:
        """Who asks it: this process, which has `concurrency` requests under way; more of them would ask for no more."""
        return execution.here()

    def identity(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> dict[str, Any]:
        """What of it makes the result: tokenizer, served model and interface."""
        return _identity(self, model, revision, dtype)


def check_served_dtype(dtype: Dtype) -> None:
    """Refuse a precision that only the server could choose.

    Raises:
        InputError: it is another than ``auto``.
    """
    if dtype != "auto":
        raise InputError(
            f"dtype is {dtype!r}, but the engine is a server, which has a precision already. Leave dtype at auto, and "
            "choose the precision where the server is started (vLLM, SGLang: --dtype)."
        )


def _open(
    engine: CompletionsEngine | SGLangEngine,
    dialect: Dialect,
    model: str,
    revision: str | None,
    dtype: Dtype,
    execution: Execution,
) -> ServedModel:
    check_served_dtype(dtype)
    tokenizer = open_tokenizer(model, revision=revision, trust_remote_code=execution.trust_remote_code)
    connection = Connection(engine.url, read_key(engine.api_key_variable), execution, hint=dialect.hint)
    try:
        return ServedModel(connection, dialect, tokenizer, engine.served_model, execution.concurrency, engine.cost_rule)
    except BaseException:
        connection.close()
        raise


def _identity(
    engine: CompletionsEngine | SGLangEngine, model: str, revision: str | None, dtype: Dtype
) -> dict[str, Any]:
    check_served_dtype(dtype)
    # Neither url nor variable: the same model on another machine or behind another key gives the same scores.
    return {
        "model": f"tokenizer {find_tokenizer(model, revision=revision).identity}",
        "dtype": "served",
        "engine": {"kind": engine.kind, "served_model": engine.served_model or model},
    }

"""Where the model runs that scores: here, or on a server.

An engine is a method's setting like any other; opened, it scores targets after prefixes. A new one is a class with
`open` and `identity`, and a name in the union.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float

from qads.cluster import Execution
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.models import CausalLM, Dtype, find_model, open_causal_lm, resolve_dtype
from qads.pool import Turn
from qads.quality.remote import CompletionsEngine, SGLangEngine, check_served_dtype

__all__ = ["CompletionsEngine", "Engine", "LocalEngine", "OpenEngine", "SGLangEngine", "check_engine_dtype"]

logger = logging.getLogger(__name__)


class OpenEngine(Protocol):
    """A model ready to score; a context manager, closed after use."""

    @property
    def tokenizer(self) -> Any:
        """The fast tokenizer of the model."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens that can be seen at once."""
        ...

    @property
    def render_chat(self) -> Callable[[Iterable[Turn]], str] | None:
        """Renders a conversation with the model's chat template; None where it has none."""
        ...

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> Float[np.ndarray, "n m"]:
        """Mean log-probability, in nats a token, of every target's answer after every prefix; NaN where not wanted."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """The model runs in this process; a prefix is computed once for all targets after it."""

    kind: Literal["local"] = "local"
    """Name in a configuration."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def open(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> OpenEngine:
        """Open the model.

        Args:
            model: alias, folder, GGUF file or hub id.
            revision: branch, tag or commit of a hub id.
            dtype: precision of the body of the model.
            execution: device and batch size.

        Raises:
            ModelError: it cannot be opened, or its architecture cannot score.
        """
        lm = open_causal_lm(
            model, device=execution.device, dtype=dtype, revision=revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        return _LocalModel(lm, execution.max_tokens_per_batch)

    def identity(self, model: str, *, revision: str | None, dtype: Dtype, device: str) -> dict[str, Any]:
        """What of it makes the result: weights and precision."""
        return {
            "model": find_model(model, revision=revision).identity,
            "dtype": resolve_dtype(dtype, device),
            "engine": {"kind": self.kind},
        }


Engine = LocalEngine | CompletionsEngine | SGLangEngine
"""Every engine; a configuration picks one by `kind`."""


def check_engine_dtype(engine: Engine, dtype: Dtype) -> None:
    """Refuse a precision that the engine cannot give.

    Raises:
        InputError: it is another than ``auto``, and the engine is a server.
    """
    if not isinstance(engine, LocalEngine):
        check_served_dtype(dtype)


class _LocalModel:
    """A model in this process."""

    def __init__(self, lm: CausalLM, max_tokens_per_batch: int) -> None:
        self.tokenizer: Any = lm.tokenizer
        self.max_length = lm.max_length
        self.render_chat = lm.render_chat
        self._likelihood = AnswerLikelihood(lm.model, max_tokens_per_batch=max_tokens_per_batch, notify=logger.warning)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> Float[np.ndarray, "n m"]:
        return self._likelihood(prefixes, targets, wanted)

    def close(self) -> None:
        pass

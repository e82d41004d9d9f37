"""Where the model runs that scores: here, or on a server.

An engine is a method's setting like any other; opened, it scores targets after prefixes, and says what that cost. A new
one is a class with `open`, `identity` and `cost_rule`, and a name in the union.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float

from qads.cluster import Execution
from qads.kernels.cost import Cost, CostRule, call_cost
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.kernels.pass_size import find_pass_size, pass_speed
from qads.kernels.peak import matmul_peak
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
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        """Mean log-probability, in nats a token, of every target's answer after every prefix; NaN where not wanted.

        Returns:
            The scores, and what they cost.
        """
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

    cost_rule: ClassVar[CostRule] = CostRule(shares_prefix=True)
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
        return _LocalModel(lm, execution.pass_size(lm.device.type))

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
    """A model in this process.

    Args:
        lm: the model.
        pass_size: tokens in a forward pass; None finds them by trying.
    """

    def __init__(self, lm: CausalLM, pass_size: int | None) -> None:
        self.tokenizer: Any = lm.tokenizer
        self.max_length = lm.max_length
        self.render_chat = lm.render_chat
        self._shape = lm.shape
        self._likelihood = AnswerLikelihood(
            lm.model, max_tokens_per_batch=pass_size or _tried_pass_size(lm), notify=logger.warning
        )
        self._peak = matmul_peak(lm.device, lm.model.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        if wanted is None:
            wanted = np.ones((len(prefixes), len(targets)), np.bool_)
        started, padding = time.perf_counter(), self._likelihood.n_padding
        scores = self._likelihood(prefixes, targets, wanted)
        seconds = time.perf_counter() - started
        spent = Cost(
            extra_tokens=self._likelihood.n_padding - padding,
            seconds=seconds,
            capacity=self._peak * seconds,
            max_tokens_per_batch=(self._likelihood.max_tokens_per_batch,),
        )
        return scores, spent + call_cost(
            self._shape, LocalEngine.cost_rule, [len(prefix) for prefix in prefixes], targets, wanted
        )

    def close(self) -> None:
        pass


def _tried_pass_size(lm: CausalLM) -> int:
    """The tokens of a pass from which on more gain no speed, or do not fit."""
    found = find_pass_size(lambda size: pass_speed(lm.model, size, max_length=lm.max_length))
    logger.info("%s on %s: passes of %d tokens", lm.source.name, lm.device, found)
    return found

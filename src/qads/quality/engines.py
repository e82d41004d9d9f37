"""Where the model runs that scores: here, or on a server.

An engine is a method's setting like any other; opened, it scores targets after prefixes, and says what that cost. A new
one is a class with `open`, `identity` and `cost_rule`, and a name in the union.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from qads.cluster import Execution
from qads.errors import ModelError
from qads.kernels.arithmetic import float32_arithmetic
from qads.kernels.cost import Cost, CostRule
from qads.kernels.likelihood import AnswerLikelihood, TokenTarget
from qads.kernels.pass_size import find_pass_size, pass_speed
from qads.kernels.peak import matmul_peak
from qads.models import CausalLM, Dtype, find_model, open_causal_lm
from qads.quality.opened import OpenEngine
from qads.quality.remote import CompletionsEngine, SGLangEngine, check_served_dtype

__all__ = ["CompletionsEngine", "Engine", "LocalEngine", "OpenEngine", "SGLangEngine", "check_engine_dtype"]

logger = logging.getLogger(__name__)


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
            model, device=execution.device, dtype=execution.precision(dtype), revision=revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        return _LocalModel(lm, execution.pass_size(lm.device.type))

    def spread(self, execution: Execution) -> Execution:
        """Who asks it: every worker opens the model."""
        return execution

    def identity(self, model: str, *, revision: str | None, dtype: Dtype, execution: Execution) -> dict[str, Any]:
        """What of it makes the result: weights and precision."""
        return {
            "model": find_model(model, revision=revision).identity,
            "dtype": execution.precision(dtype),
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


class _LocalModel(OpenEngine):
    """A model in this process.

    Args:
        lm: the model.
        pass_size: tokens in a forward pass; None finds them by trying.
    """

    def __init__(self, lm: CausalLM, pass_size: int | None) -> None:
        super().__init__(lm, LocalEngine.cost_rule)
        self._name, self._model = lm.source.name, lm.model
        self._n_embedded = int(lm.model.get_input_embeddings().weight.shape[0])
        self._likelihood = AnswerLikelihood(
            lm.model, max_tokens_per_batch=pass_size or _tried_pass_size(lm), notify=logger.warning
        )
        self._peak = matmul_peak(lm.device, lm.model.dtype)

    def precisely(self) -> AbstractContextManager[None]:
        """In float32 arithmetic, whatever the weights are."""
        return float32_arithmetic(self._model)

    def _scores(
        self, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], wanted: Bool[np.ndarray, "n m"]
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        self._check_tokens([*prefixes, *(target.ids for target in targets)])
        started, padding = time.perf_counter(), self._likelihood.n_padding
        scores = self._likelihood(prefixes, targets, wanted)
        seconds = time.perf_counter() - started
        return scores, Cost(
            extra_tokens=self._likelihood.n_padding - padding,
            seconds=seconds,
            capacity=self._peak * seconds,
            max_tokens_per_batch=(self._likelihood.max_tokens_per_batch,),
        )

    def _check_tokens(self, texts: Sequence[Sequence[int]]) -> None:
        """Refuse tokens that were added to the tokenizer and not to the model."""
        highest = max((max(ids) for ids in texts if len(ids)), default=0)
        if highest >= self._n_embedded:
            raise ModelError(
                f"{self._name}: its tokenizer makes the token {self.tokenizer.convert_ids_to_tokens(highest)!r} "
                f"({highest}), but the model knows {self._n_embedded} tokens, counted from 0. Give the tokenizer that "
                "belongs to the model; or, if the token stands in a chat template, use template {kind: exemplar}."
            )


def _tried_pass_size(lm: CausalLM) -> int:
    """The tokens of a pass from which on more gain no speed, or do not fit."""
    found = find_pass_size(lambda size: pass_speed(lm.model, size, max_length=lm.max_length))
    logger.info("%s on %s: passes of %d tokens", lm.source.name, lm.device, found)
    return found

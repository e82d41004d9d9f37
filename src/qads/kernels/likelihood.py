"""Log-likelihood of answers after prefixes that many answers share: the cost of one-shot influence.

Every prefix (header, or header and example) runs once and all its targets after it in the same pass, packed without
padding (`packed.py`, `attention.py`); a model whose attention cannot be exchanged shares the prefix's cache between
padded batches (`padded.py`). The vocabulary head runs on answer positions only, block by block (`head.py`). What is
known of an architecture is measured when it is opened, not assumed. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from qads.errors import ModelError
from qads.kernels.head import AnswerHead
from qads.kernels.lanes import cut_streams, run_lanes
from qads.kernels.memory import PassLimits, is_out_of_memory
from qads.kernels.packed import PackedBody
from qads.kernels.padded import PaddedBody
from qads.kernels.target import AnswerStates, Body, TokenTarget

__all__ = ["AnswerLikelihood", "TokenTarget"]

_REFUSALS = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What models raise that are run in a way they do not know."""


class AnswerLikelihood:
    """Scores targets after prefixes with one causal language model.

    Args:
        model: a causal LM of transformers, in evaluation mode.
        max_tokens_per_batch: tokens in one forward pass; a longer text goes alone.
        notify: is told what the user should know: another way was taken, memory ran out.

    Raises:
        RuntimeError: memory does not suffice to try the model with a few tokens.
        ModelError: neither way gives what a plain forward pass of this architecture gives.
    """

    def __init__(self, model: Any, *, max_tokens_per_batch: int, notify: Callable[[str], None] | None = None) -> None:
        self._model = model
        self._notify = notify or (lambda _: None)
        self._limits = PassLimits(model, max_tokens=max_tokens_per_batch, notify=notify)
        self._head = AnswerHead(model)
        self._body = self._choose_body()
        if not self.is_packed:
            self._limits.most_lanes = 1

    @property
    def is_packed(self) -> bool:
        """Whether targets run packed, without padding."""
        return isinstance(self._body, PackedBody)

    @property
    def _runs_lanes(self) -> bool:
        return self.is_packed and self._model.device.type == "cpu"

    @property
    def max_tokens_per_batch(self) -> int:
        """Tokens in one forward pass; smaller than at first once memory ran out."""
        return self._limits.max_tokens

    @property
    def n_padding(self) -> int:
        """Padding that has gone through the model so far, at opening too."""
        return self._body.n_padding if isinstance(self._body, PaddedBody) else 0

    def __call__(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> Float[np.ndarray, "n m"]:
        """Mean log-probability, in nats a token, of every target's answer after every prefix.

        Args:
            prefixes: token ids that the targets follow; may be empty.
            targets: token ids and which of them are scored.
            wanted: the pairs to score; all of them by default.

        Returns:
            The scores; NaN where a pair was not wanted. Neither the order nor the company of a pair changes its
            score beyond floating-point rounding.

        Raises:
            ModelError: memory does not suffice for a single text, or the model gives what is no number.
        """
        left = np.ones((len(prefixes), len(targets)), bool) if wanted is None else wanted.copy()
        # The caller's order of targets shall not decide which of them share a pass.
        order = np.array(sorted(range(len(targets)), key=lambda j: (len(targets[j].ids), targets[j].ids)), np.int64)
        scores, left = np.full(left.shape, np.nan), left[:, order]
        arranged = [targets[j] for j in order]
        asked = np.empty_like(left)
        asked[:, order] = left
        with self._body.installed():
            while left.any():
                try:
                    run_lanes(self._jobs(prefixes, arranged, left, scores, order), most=self._limits.most_lanes)
                    continue
                except (RuntimeError, MemoryError) as error:
                    self._limits.lower(error)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()  # Only now that the error is gone is the memory of its pass free.
        self._check_finite(scores[asked])
        return scores

    def _jobs(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        left: Bool[np.ndarray, "n m"],
        scores: Float[np.ndarray, "n m"],
        order: Int[np.ndarray, " m"],
    ) -> list[Callable[[], Iterator[None]]]:
        """What is left, in parts that need nothing of each other; each fills its scores and crosses them off.

        On a CPU every part runs on a lane of its own; elsewhere one part keeps the passes as full as can be.
        """

        def job(rows: list[int]) -> Iterator[None]:
            wanted = np.zeros_like(left)
            wanted[rows] = left[rows]
            for found in self._body.states(prefixes, targets, wanted, self._limits.max_tokens):
                i, j = np.array(found.pairs).T
                scores[i, order[j]] = self._mean_log_probs(found)
                left[i, j] = False
                yield

        lengths = np.array([len(t.ids) for t in targets], np.int64)
        n_tokens = (left * lengths).sum(axis=1) + left.any(axis=1) * np.array([len(p) for p in prefixes], np.int64)
        streams = (
            cut_streams(n_tokens, self._limits.max_tokens) if self._runs_lanes else [np.flatnonzero(n_tokens).tolist()]
        )
        return [partial(job, rows) for rows in streams]

    @torch.inference_mode()
    def _mean_log_probs(self, found: AnswerStates) -> Float[np.ndarray, " p"]:
        log_probs = self._head.log_probs(found.states, found.tokens).cpu().double()
        return np.array([part.mean().item() for part in log_probs.split(found.counts)])

    def _check_finite(self, scores: Float[np.ndarray, " p"]) -> None:
        lost = scores[~np.isfinite(scores)]
        if len(lost):
            raise ModelError(
                f"{self._model.config.model_type}: gives {lost[0]:g} where a log-probability should be, for "
                f"{len(lost)} of {len(scores)} texts. Its numbers overflow in "
                f"{str(self._model.dtype).removeprefix('torch.')}, or its weights are damaged. Set dtype to float32 or "
                "bfloat16; if that does not help, get the model again."
            )

    def _choose_body(self) -> Body:
        kind = self._model.config.model_type
        reasons: list[str] = []
        for way in (PackedBody, PaddedBody):
            try:
                body = way(self._model)
                expected, found = self._compare(body)
            except _REFUSALS as error:
                if is_out_of_memory(error):
                    raise  # Says nothing about the architecture.
                reasons.append(str(error))
                continue
            self._check_finite(np.array([expected]))
            tolerance = 1e-3 if self._model.dtype == torch.float32 else 0.2
            if abs(found - expected) <= tolerance * max(1.0, abs(expected) / 10):
                if reasons:
                    self._notify(f"{kind} is scored in padded batches, which takes longer: {reasons[0]}")
                return body
            reasons.append(f"it gives {found:.4f} nats a token where a plain forward pass gives {expected:.4f}")
        raise ModelError(
            f"{kind}: this architecture cannot score answers after a shared prefix. Packed: {reasons[0]}. "
            f"With a shared cache: {reasons[1]}."
        )

    @torch.inference_mode()
    def _compare(self, body: Body) -> tuple[float, float]:
        """What a plain forward pass gives for a few tokens, and of several scores of the same the farthest from it."""
        ids = [(17 * i + 3) % self._head.n_tokens for i in range(12)]
        logits = self._model(torch.tensor([ids], device=self._model.device)).logits[0].float()
        plain = torch.log_softmax(logits, -1)[range(5, 11), ids[6:12]].mean().item()
        target = TokenTarget(tuple(ids[4:]), 2, 8)
        with body.installed():
            # The third comes in a second pass.
            states = body.states([ids[:4]], [target] * 3, np.ones((1, 3), bool), 20)
            several = [score for found in states for score in self._mean_log_probs(found)]
        return plain, max(several, key=lambda score: abs(score - plain))

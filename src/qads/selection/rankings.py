"""Rankings by one number a row: length, perplexity, instruction-following difficulty.

    longest       lengths                                            Zhao et al. 2024, arXiv:2402.04833
    perplexity    exp(−l_i), l_i: likelihood of the solution         Marion et al. 2023, arXiv:2309.04564
    ifd           IFD_i = ppl(solution | problem) / ppl(solution)    Li et al. 2023, arXiv:2308.12032 ("Cherry")

Departures. Marion et al. rank whole pretraining documents under a model of their own domain; here the text is the
solution, given its problem or alone, under any model. Li et al. first train the model briefly on some of the rows;
here it is used as it is, as their later work (arXiv:2402.00530) finds enough. Their code stops at a count that was
made for one data set; here the budget is the budget.

Rows that no model could score (NaN) and rows with IFD ≥ 1, whose problem makes the solution less likely, are left out;
their number is logged, and said in `Selection.stopped` where the selection runs short by it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float

from qads.choices import check_choices
from qads.errors import InputError
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import unread
from qads.selection.needs import checked_lengths, checked_likelihoods
from qads.selection.ranked import checked_inputs, descending, first_rows

__all__ = ["IFDRanking", "LongestResponse", "PerplexityRanking"]

logger = logging.getLogger(__name__)

Part = Literal["low", "middle", "high"]
Text = Literal["solution given problem", "solution"]


@dataclass(frozen=True, kw_only=True)
class LongestResponse:
    """The rows with the longest solutions; ties go to the lowest row.

    A baseline that is hard to beat on instruction data: the 1,000 longest responses of Alpaca train a better model
    than 1,000 chosen by hand or by a strong judge (Zhao et al. 2024, arXiv:2402.04833).

    >>> import qads
    >>> qads.LongestResponse()([[0.0]] * 3, budget=2, lengths=[5, 9, 7]).indices.tolist()
    [1, 2]
    """

    kind: Literal["longest"] = "longest"
    """Name of the method in a configuration."""

    needs: ClassVar[tuple[str, ...]] = ("lengths",)
    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its length.

        Args:
            embeddings: float array-like [n, d]; it only says how many rows there are.
            quality: one number a row [n]; passed on.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called when it is done.
            constraints: quotas, rows in and out.
            lengths: one number a row [n], in any unit: tokens or characters of the solution.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = checked_inputs(
            unread(embeddings, method="LongestResponse"), quality, budget, constraints, method="LongestResponse"
        )
        length = checked_lengths(lengths, len(inputs.x), method="LongestResponse")
        return first_rows(descending(length), length, inputs, kind=self.kind, progress=progress)


@dataclass(frozen=True, kw_only=True)
class PerplexityRanking:
    """Rows of low, middling or high perplexity.

    The paper finds the middle of the ranking best for pretraining; the best part for fine-tuning is an open question.

    >>> import qads
    >>> scores = [[-1.0, -2.0], [-3.0, -3.0], [-2.0, -2.5]]
    >>> qads.PerplexityRanking(part="high")([[0.0]] * 3, budget=2, likelihoods=scores).indices.tolist()
    [1, 2]
    """

    kind: Literal["perplexity"] = "perplexity"
    """Name of the method in a configuration."""
    part: Part = "middle"
    """Which rows: the lowest, those whose rank is nearest to the median rank, or the highest."""
    text: Text = "solution given problem"
    """Whose perplexity."""

    needs: ClassVar[tuple[str, ...]] = ("likelihoods",)
    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        likelihoods: npt.ArrayLike | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its perplexity.

        Args:
            embeddings: float array-like [n, d]; it only says how many rows there are.
            quality: one number a row [n]; passed on.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called when it is done.
            constraints: quotas, rows in and out.
            likelihoods: mean log-probabilities in nats a token [n, 2]; NaN for a row that could not be scored.

        Returns:
            The selection; shorter than the budget only where too few rows were scored.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = checked_inputs(
            unread(embeddings, method="PerplexityRanking"), quality, budget, constraints, method="PerplexityRanking"
        )
        scores = checked_likelihoods(likelihoods, len(inputs.x), method="PerplexityRanking")
        log_perplexity = -scores[:, get_args(Text).index(self.text)]
        scored = ~np.isnan(log_perplexity)
        left_out = _left_out({"could not be scored": ~scored}, method="PerplexityRanking")
        with np.errstate(over="ignore"):
            gains = np.exp(log_perplexity)
        return first_rows(
            descending(self._key(log_perplexity, scored), scored),
            gains,
            inputs,
            kind=self.kind,
            progress=progress,
            left_out=left_out,
        )

    def _key(self, log_perplexity: Float[np.ndarray, " n"], scored: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What is highest for the rows to take; anything for rows that were not scored."""
        if self.part != "middle":
            return log_perplexity if self.part == "high" else -log_perplexity
        rows = descending(-log_perplexity, scored)
        key = np.empty(len(log_perplexity))
        key[rows] = -np.abs(np.arange(len(rows)) - (len(rows) - 1) / 2)
        return key


@dataclass(frozen=True, kw_only=True)
class IFDRanking:
    """The rows whose problem helps least with the solution, but helps: highest IFD below 1.

    IFD_i = ppl(solution | problem) / ppl(solution) = exp(l_i(alone) − l_i(given problem)).

    >>> import qads
    >>> scores = [[-1.0, -2.0], [-3.0, -2.0], [-1.5, -2.0]]
    >>> qads.IFDRanking()([[0.0]] * 3, budget=2, likelihoods=scores).indices.tolist()
    [2, 0]
    """

    kind: Literal["ifd"] = "ifd"
    """Name of the method in a configuration."""

    needs: ClassVar[tuple[str, ...]] = ("likelihoods",)
    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        likelihoods: npt.ArrayLike | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its IFD.

        Args:
            embeddings: float array-like [n, d]; it only says how many rows there are.
            quality: one number a row [n]; passed on.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called when it is done.
            constraints: quotas, rows in and out.
            likelihoods: mean log-probabilities in nats a token [n, 2]; NaN for a row that could not be scored.

        Returns:
            The selection; shorter than the budget only where too few rows have an IFD below 1.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = checked_inputs(
            unread(embeddings, method="IFDRanking"), quality, budget, constraints, method="IFDRanking"
        )
        scores = checked_likelihoods(likelihoods, len(inputs.x), method="IFDRanking")
        log_ifd = scores[:, 1] - scores[:, 0]
        left_out = _left_out(
            {"have an IFD of 1 or more": log_ifd >= 0, "could not be scored": np.isnan(log_ifd)}, method="IFDRanking"
        )
        with np.errstate(over="ignore"):
            gains = np.exp(log_ifd)
        return first_rows(
            descending(log_ifd, log_ifd < 0), gains, inputs, kind=self.kind, progress=progress, left_out=left_out
        )


def _left_out(reasons: Mapping[str, Bool[np.ndarray, " n"]], *, method: str) -> str:
    """How many rows are left out and why, which is logged too.

    Raises:
        InputError: it is all of them.
    """
    n_rows = len(next(iter(reasons.values())))
    counts = {reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()}
    said = ", ".join(f"{count} of {n_rows} rows {reason}" for reason, count in counts.items())
    if sum(counts.values()) == n_rows:
        raise InputError(
            f"{method}: no row is left to select: {said}. Check the likelihoods, or the model they are of."
        )
    if counts:
        logger.info("%s: %s and are left out", method, said)
    return said

"""How likely a model finds every row's own solution: given its problem, and alone.

    l_i(given problem) = mean_t log p(solution_t | header, problem, solution_<t)
    l_i(alone)         = mean_t log p(solution_t | header, solution_<t)              nats a token

Perplexity is exp(−l), and instruction-following difficulty exp(l(alone) − l(given problem)): `selection/rankings.py`
ranks by both. Problem and solution are rendered as an anchor is (`prompts.py`), so the first number is the zero-shot
score that the row would have as an anchor, though in the precision of the model throughout, so that what rounding does
to both numbers is alike. The solution alone is the *same tokens* behind the header, so that the two
differ by the problem and nothing else; tokenised anew, a solution may begin with another token.

A solution's first token must be predicted from something. Where there is no header, since the tokenizer has no BOS
token and the template writes nothing before the first turn, it is left out of both means.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import Field

from qads.choices import check_choices
from qads.cluster import Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.errors import InputError, TooLongError
from qads.kernels.target import TokenTarget
from qads.models import Dtype, header_ids, token_target
from qads.pool import Pool, Progress, Row, to_json
from qads.prompts import ExemplarTemplate, Renderer, Template
from qads.quality.engines import Engine, LocalEngine, OpenEngine, check_engine_dtype

__all__ = ["AnswerLikelihoods"]

logger = logging.getLogger(__name__)

_ROWS_PER_SHARD = 256


@dataclass(frozen=True, kw_only=True)
class AnswerLikelihoods:
    """Mean log-probability of every row's solution, given its problem and alone.

    Costs the tokens of problem and solution, and of the solution once more, through the model a row.
    """

    kind: Literal["likelihoods"] = "likelihoods"
    """Name of the method in a configuration."""
    model: str = "smollm2-135m"
    """Alias, folder, GGUF file or hub id of a causal language model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model; sums over the vocabulary are float32 always. A served model has its own: ``auto``."""
    engine: Annotated[Engine, Field(discriminator="kind")] = field(default_factory=LocalEngine)
    """Where the model runs: in this process, or on a server."""
    template: Annotated[Template, Field(discriminator="kind")] = field(default_factory=ExemplarTemplate)
    """How a row becomes text."""
    too_long: Literal["error", "drop"] = "drop"
    """When a row exceeds the context: stop, or leave its numbers NaN and say how many there are."""
    max_length: int | None = None
    """Context in tokens; None takes the model's."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_length is not None and self.max_length < 2:
            raise InputError(f"AnswerLikelihoods: max_length is {self.max_length}; a row needs 2 tokens at least.")
        check_engine_dtype(self.engine, self.dtype)

    def identity(self, execution: Execution | None = None) -> dict[str, Any]:
        """What makes its numbers, beside the texts: weights, precision, engine and template."""
        how = execution or Execution()
        found = self.engine.identity(self.model, revision=self.revision, dtype=self.dtype, execution=how)
        code = {"trust_remote_code": True} if how.trust_remote_code else {}
        return json.loads(to_json(found | {"template": dataclasses.asdict(self.template)} | code))

    def __call__(
        self,
        pool: Pool,
        *,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "n 2"]:
        """Score every row.

        Args:
            pool: the rows.
            execution: device, batch size, and who computes.
            shards: where finished shards are kept, so that a killed run goes on; memory by default.
            progress: called with (rows done, rows).

        Returns:
            Mean log-probabilities in nats a token: of the solution given the problem, and of the solution alone. NaN
            for rows that cannot be scored; how many and why is logged.

        Raises:
            TooLongError: rows exceed the context and `too_long` is ``"error"``.
            ModelError: the model cannot be opened or its chat template cannot be used.
            EngineError: a server that scores fails; finished shards are kept.
        """
        execution, store = execution or Execution(), shards or MemoryShards()
        grid = Grid(n_rows=len(pool), rows_per_shard=_ROWS_PER_SHARD)
        with workers(lambda: self, self.engine.spread(execution)) as crew:
            map_shards(crew, pool.slice, grid, store=store, size=pool.n_bytes, progress=progress)
        found = pa.concat_tables(list(grid.finished(store)) or [_table([], [])])
        assert len(found) == len(pool), f"likelihoods of {len(found)} rows for {len(pool)}"
        reasons = Counter(reason for reason in found["left_out"].to_pylist() if reason)
        for reason, count in reasons.items():
            logger.warning("AnswerLikelihoods: %d of %d rows have no likelihood: %s", count, len(pool), reason)
        return np.column_stack([found[name].to_numpy() for name in ("given_problem", "alone")]).astype(np.float64)

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The model, open: rows -> a table of likelihoods."""
        with self.engine.open(self.model, revision=self.revision, dtype=self.dtype, execution=execution) as engine:
            yield _Scorer.prepare(self, engine).score


@dataclass(frozen=True)
class _Scorer:
    """The opened model, and how rows become its tokens."""

    engine: OpenEngine
    renderer: Renderer
    header: tuple[int, ...]
    max_length: int
    too_long: Literal["error", "drop"]

    @classmethod
    def prepare(cls, method: AnswerLikelihoods, engine: OpenEngine) -> _Scorer:
        length = method.max_length or engine.max_length
        if length > engine.max_length:
            raise InputError(
                f"AnswerLikelihoods: max_length is {length}, but {method.model} sees {engine.max_length} tokens at "
                "most."
            )
        renderer = method.template.renderer(engine.render_chat)
        return cls(engine, renderer, header_ids(engine.tokenizer, renderer), length, method.too_long)

    def score(self, pool: Pool) -> pa.Table:
        """The rows of a shard."""
        texts = [self._texts(row) for row in pool]
        pairs = [text for text in texts if not isinstance(text, str)]
        numbers = np.full((len(texts), 2), np.nan)
        if pairs:
            targets = [target for pair in pairs for target in pair]
            scores, _ = self.engine.score([self.header[:-1]], targets)
            numbers[[not isinstance(text, str) for text in texts]] = scores.reshape(-1, 2)
        return _table(numbers, [text if isinstance(text, str) else None for text in texts])

    def _texts(self, row: Row) -> tuple[TokenTarget, TokenTarget] | str:
        """Problem and solution, and the solution alone; or why there are none."""
        whole = token_target(self.engine.tokenizer, self.renderer.target(row))
        n_tokens = len(self.header) + len(whole.ids)
        if n_tokens > self.max_length:
            if self.too_long == "error":
                raise TooLongError(
                    f"AnswerLikelihoods: row {row.id!r} has {n_tokens} tokens where {self.max_length} fit; set "
                    "too_long to drop, which leaves such rows without a likelihood."
                )
            return f"longer than the context of {self.max_length} tokens"
        # The header's last token moves into the text, so that there is something to predict a solution's first from.
        before = self.header[-1:]
        solution = whole.ids[whole.answer_start : whole.answer_end]
        n_unscored = 0 if before else 1
        if len(solution) <= n_unscored:
            return "the solution has no token that can be predicted"
        start, end = (len(before) + place for place in (whole.answer_start, whole.answer_end))
        given_problem = TokenTarget((*before, *whole.ids), start + n_unscored, end)
        alone = TokenTarget((*before, *solution), 1, len(before) + len(solution))
        return given_problem, alone


def _table(numbers: Float[np.ndarray, "r 2"] | list[Any], left_out: list[str | None]) -> pa.Table:
    columns = np.asarray(numbers, np.float64).reshape(-1, 2)
    return pa.table(
        {
            "given_problem": columns[:, 0],
            "alone": columns[:, 1],
            "left_out": pa.array(left_out, pa.string()),
        }
    )

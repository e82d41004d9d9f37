"""Evaluation of a model: what is measured, how, and the work shard by shard."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BeforeValidator, Field

from qads.choices import check_choices
from qads.cluster import Crew, Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.datasets import load_pool
from qads.errors import InputError
from qads.evaluate.generating import Method, RunPrograms, Solver
from qads.evaluate.items import Item, Items, read_items
from qads.evaluate.lacking import lacks, refuse_empty, told_lacks
from qads.evaluate.likelihoods import LikelihoodScorer
from qads.evaluate.results import SCHEMA, EvaluationResult, as_table
from qads.models import CausalLM, Dtype, open_causal_lm
from qads.pool import Kind, Progress, Row
from qads.prompts import INSTRUCTIONS, ExemplarTemplate, Template

__all__ = ["Evaluation"]

logger = logging.getLogger(__name__)

_ITEMS_PER_SHARD = {"answer_log_likelihood": 128, "choice_likelihood": 64, "accuracy": 32}
"""Part of the result's identity: batches never cross a shard."""

Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures a model on evaluation sets.

    Three measures, each where a set allows it: `accuracy` of generated answers (pass@1, greedy), `choice_likelihood`
    (the likeliest option of a multiple choice is the right one), and `answer_log_likelihood` (mean log-likelihood of
    the reference solutions, nats a token), which moves where a small model's accuracy does not.
    """

    sets: Words
    """Names of benchmarks (``gsm8k``), files, or files under a name (``gsm8k=FILE``)."""
    generate: bool = True
    """Whether `accuracy` is measured."""
    likelihood: bool = True
    """Whether `answer_log_likelihood` is measured, on the sets that have solutions."""
    choice: Literal["generation", "likelihood", "both"] = "generation"
    """How multiple choice is answered."""
    method: Method = "cot"
    """How problems are answered: in words (``cot``), by programs (``pot``), or by programs and, where one gives no
    answer, in words (``pot-cot``). Programs run only where that is allowed."""
    max_new_tokens: int = 512
    """Tokens that a solution may have."""
    limit: int | None = None
    """Items of each set at most, drawn by a hash of ``seed`` and id; null takes all."""
    shots: int = 0
    """Worked examples before every problem."""
    shots_from: str | None = None
    """File that they are taken from, its first rows."""
    suffix: dict[Kind, str] = field(default_factory=lambda: dict(INSTRUCTIONS))
    """Kind -> text put after a problem to ask for that kind of solution; as in training."""
    template: Annotated[Template, Field(discriminator="kind")] = field(default_factory=ExemplarTemplate)
    """How a row becomes text; as the model was trained."""
    dtype: Dtype = "auto"
    """Precision of the weights; arithmetic of likelihoods is float32 always. ``auto`` keeps weights that are stored in
    float32, as after training them all: bfloat16 would round away much of what a short training has changed. Others
    are opened as elsewhere: bfloat16 where the processor has it, else float32."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    seed: int = 0
    """Of the draw of items."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.sets or not all(self.sets):
            raise InputError(f"evaluate.sets is {list(self.sets)}; it must name benchmarks, files, or NAME=FILE.")
        if "-" in self.sets:
            raise InputError("evaluate.sets are read from files, not from standard input.")
        for name, least in (("max_new_tokens", 1), ("limit", 1), ("shots", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"evaluate.{name} is {value}; it must be {least} at least.")
        if (self.shots > 0) != (self.shots_from is not None):
            raise InputError("evaluate.shots says how many examples are shown, shots_from the file; give both or none.")
        if not (self.generate or self.likelihood or self.choice != "generation"):
            raise InputError("evaluate: nothing is measured; let it generate, or measure likelihood or choice.")

    @property
    def runs_programs(self) -> bool:
        """Whether programs are run that the model wrote."""
        return self.generate and self.method != "cot"

    def __call__(
        self,
        model: str,
        *,
        execution: Execution | None = None,
        sandbox: RunPrograms | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> EvaluationResult:
        """Measure a model.

        Args:
            model: alias, folder, GGUF file or hub id.
            execution: device, batch size, and who computes.
            sandbox: runs programs (`qads.Sandbox`), where that is allowed.
            shards: where finished shards are kept, so that a killed evaluation goes on; memory by default.
            progress: called with (items done, items), all measures together.

        Raises:
            InputError: a set, the model or a setting cannot be used; a measure has none of the items of a set; programs
                would run and there is no sandbox; a library of the extra ``eval`` is missing.
        """
        self.check_possible(may_run_programs=sandbox is not None)
        execution, store = execution or Execution(), shards or MemoryShards()
        items = self.items()
        measured = self.measured(items)
        with workers(lambda: _Measuring(self, model, sandbox, self.examples()), execution) as crew:
            tables = _all_shards(crew, measured, store, progress)
        return EvaluationResult(pa.concat_tables([SCHEMA.empty_table(), *tables]), self._facts(items, measured))

    def check_possible(self, *, may_run_programs: bool) -> None:
        """Refuse before anything is opened what cannot be done.

        Raises:
            InputError: programs would run that nobody has allowed, or a library is missing.
        """
        if self.runs_programs and not may_run_programs:
            raise InputError(
                f"evaluate.method is {self.method!r}, which runs programs that the model writes. Allow that "
                "(--allow-code-execution; in Python: sandbox=qads.Sandbox()), or take method cot."
            )
        missing = [name for name in ("lm_eval", "math_verify") if importlib.util.find_spec(name) is None]
        if self.generate and missing:
            raise InputError(f"evaluating by generation needs {' and '.join(missing)}: pip install 'qads[eval]'")

    def items(self) -> Items:
        """Read the sets.

        Raises:
            PoolError: a set cannot be read.
            InputError: what is to be measured can be measured on none of the items of a set.
        """
        items = read_items(self.sets, limit=self.limit, seed=self.seed)
        refuse_empty(items, self.measured(items))
        return items

    def lacking(self, items: Items) -> list[str]:
        """Sentences, without their ends, on what is left out for what items lack."""
        return told_lacks(self._facts(items, self.measured(items)))

    def measured(self, items: Items) -> dict[str, list[Item]]:
        """Measure -> the items that it is made on."""
        found: dict[str, list[Item]] = {}
        if self.likelihood:
            found["answer_log_likelihood"] = [item for item in items.items if item.has_solution]
        if self.choice != "generation":
            found["choice_likelihood"] = [item for item in items.items if item.options]
        if self.generate:
            keep = self.choice != "likelihood"
            found["accuracy"] = [item for item in items.items if item.row.answer and (keep or not item.options)]
        return found

    def examples(self) -> tuple[Row, ...]:
        """The worked examples.

        Raises:
            PoolError: the file cannot be read.
            InputError: it holds fewer rows.
        """
        if self.shots_from is None:
            return ()
        pool = load_pool(self.shots_from)
        if len(pool) < self.shots:
            raise InputError(f"evaluate.shots is {self.shots}, but {self.shots_from} holds {len(pool)} rows.")
        return tuple(pool.take(range(self.shots)))

    def _facts(self, items: Items, measured: Mapping[str, Sequence[Item]]) -> dict[str, Any]:
        return {
            "items": items.sets,
            "items_beyond_limit": items.left_out,
            "items_rejected": sum(items.rejected.values()),
            "items_rejected_reasons": items.rejected,
            "measured": {measure: dict(Counter(item.set for item in part)) for measure, part in measured.items()},
            **lacks(items),
        }


def _all_shards(
    crew: Crew, measured: Mapping[str, Sequence[Item]], store: ShardStore, progress: Progress | None
) -> list[pa.Table]:
    total, done, index, grids = sum(map(len, measured.values())), 0, 0, list[Grid]()
    for measure, items in measured.items():
        size = _ITEMS_PER_SHARD[measure]
        grids.append(Grid(n_rows=len(items), rows_per_shard=size, first_index=index, of=f"{measure} of items"))
        index += map_shards(
            crew, partial(_part, measure, items), grids[-1], store=store,
            progress=partial(_advance, progress, done, total) if progress else None,
        )  # fmt: skip
        done += len(items)
    return [table for grid in grids for table in grid.finished(store)]


def _part(measure: str, items: Sequence[Item], rows: range) -> tuple[str, tuple[Item, ...]]:
    return measure, tuple(items[rows.start : rows.stop])


def _advance(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


@dataclass(frozen=True)
class _Measuring:
    """A model that is measured."""

    method: Evaluation
    model: str
    sandbox: RunPrograms | None
    examples: tuple[Row, ...]

    @contextmanager
    def open(self, execution: Execution, tell: Tell) -> Generator[Function]:
        """The model, to be opened by what needs it first: a measure with items -> a table of what was found."""
        opened = _Opened(self, execution, tell)
        functions: dict[str, Callable[[Sequence[Item]], list[dict[str, Any]]]] = {
            "answer_log_likelihood": lambda items: opened.scorer.solutions(items),
            "choice_likelihood": lambda items: opened.scorer.choices(items),
            "accuracy": lambda items: opened.solver(items, self.method.method),
        }
        yield lambda part: as_table(functions[part[0]](part[1]))


@dataclass
class _Opened:
    """The model and what works with it, each opened when it is first needed."""

    work: _Measuring
    execution: Execution
    tell: Tell
    """Hears, while items are answered, how many of the shard at hand have something written."""

    @cached_property
    def lm(self) -> CausalLM:
        return open_causal_lm(
            self.work.model, device=self.execution.device, dtype=self.execution.precision(self.work.method.dtype),
            revision=self.work.method.revision, trust_remote_code=self.execution.trust_remote_code,
            rounds=self.work.method.dtype != "auto",
        )  # fmt: skip

    @property
    def _pass_size(self) -> int:
        return self.execution.pass_size(self.lm.device.type) or 16_384

    @cached_property
    def scorer(self) -> LikelihoodScorer:
        return LikelihoodScorer(
            self.lm.model, self.lm.tokenizer, self.work.method.template.renderer(self.lm.render_chat),
            max_length=self.lm.max_length, max_tokens_per_batch=self._pass_size,
        )  # fmt: skip

    @cached_property
    def solver(self) -> Solver:
        from qads.evaluate.harness import Harness

        method, lm = self.work.method, self.lm
        room = lm.max_length - method.max_new_tokens
        if room < 1:
            raise InputError(
                f"evaluate.max_new_tokens is {method.max_new_tokens}, but {self.work.model} sees {lm.max_length} "
                "tokens, prompt included; give fewer."
            )
        harness = Harness(
            lm, stops=method.template.stops, max_new_tokens=method.max_new_tokens, max_tokens_per_batch=self._pass_size,
            written=self.tell,
        )  # fmt: skip
        return Solver(
            generate=harness, tokenizer=lm.tokenizer, renderer=method.template.renderer(lm.render_chat), room=room,
            suffixes=method.suffix, examples=self.work.examples, run_programs=self._sandbox(),
        )  # fmt: skip

    def _sandbox(self) -> RunPrograms | None:
        """What runs programs, made anew: its walls are tried where it runs them."""
        sandbox: Any = self.work.sandbox
        if not dataclasses.is_dataclass(sandbox) or isinstance(sandbox, type):
            return self.work.sandbox
        anew: Any = dataclasses.replace(sandbox)
        return anew

"""The harness as engine: EleutherAI's lm-evaluation-harness generates, with our task files and exactly our prompts.

What is extended, by its own extension points: a task is the file `tasks/qads.yaml` with the documents of the moment
(`custom_dataset`); the model is its `HFLM` around a model that is open already, whose tokenizer is asked for nothing
but the tokens that we computed, so that no BOS or other special token comes in twice and nothing is cut on the left
in silence. What a model wrote it hands back as text; how many tokens that was and how it ended is noted on the way.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lm_eval
from lm_eval.api import task
from lm_eval.tasks import TaskManager

from qads.errors import ModelError
from qads.kernels.memory import is_out_of_memory
from qads.models import CausalLM
from qads.models.quiet import quiet_loading

if TYPE_CHECKING:

    class HFLM:
        """What is used of the harness' class, whose decorator hides its type."""

        tokenizer: Any
        model: Any
        batch_size_per_gpu: int
        device: Any

        def __init__(self, **settings: Any) -> None: ...
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]: ...
        def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any: ...
else:
    from lm_eval.models.huggingface import HFLM

__all__ = ["TASKS", "Generation", "Harness"]

logger = logging.getLogger(__name__)

TASKS = Path(__file__).parent / "tasks"
"""Our task files; `lm_eval --include_path` takes the folder."""


@dataclass(frozen=True)
class Generation:
    """What a model wrote."""

    text: str
    n_tokens: int
    """Tokens that it wrote, up to its end-of-text token or the end of the batch."""
    is_truncated: bool
    """Whether it would have gone on: neither the end of the text nor a stop came."""


class Harness:
    """One open model, driven by the harness.

    Args:
        lm: the model; of its own settings of generation it keeps the special tokens alone.
        stops: texts before which a generation ends, beside the end of the text.
        max_new_tokens: tokens that it may write.
        max_tokens_per_batch: tokens, with those to be written, in one batch; a longer prompt goes alone. Where
            memory runs out, half as many from then on.
        written: called after every batch with how many of the prompts at hand were gone on from.
    """

    def __init__(
        self, lm: CausalLM, *, stops: Sequence[str], max_new_tokens: int, max_tokens_per_batch: int,
        written: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self._stops, self._max_new_tokens = list(stops), max_new_tokens
        with _quiet():
            self._model = _PromptedModel(lm, max_tokens_per_batch, written)
            self._tasks = TaskManager(include_path=str(TASKS), include_defaults=False)

    def __call__(self, prompts: Sequence[tuple[int, ...]]) -> list[Generation]:
        """Go on from prompts, greedily.

        Args:
            prompts: their tokens; with `max_new_tokens` they fit the model's context.

        Raises:
            ModelError: memory does not suffice for one prompt alone.
        """
        if not prompts:
            return []
        names = self._model.know(prompts)
        self._model.batch_size_per_gpu = self._model.n_at_once(max(map(len, prompts)) + self._max_new_tokens)
        with _quiet():
            tasks = self._task_of([{"id": str(i), "prompt": name} for i, name in enumerate(names)])
            found = lm_eval.evaluate(cast(Any, self._model), tasks, bootstrap_iters=0, log_samples=True)
        assert found is not None, "one process evaluates"
        (samples,) = cast(dict[str, Any], found)["samples"].values()
        texts = {sample["doc_id"]: sample["resps"][0][0] for sample in samples}
        return [self._model.generation(name, texts[i]) for i, name in enumerate(names)]

    def _task_of(self, documents: list[dict[str, Any]]) -> Any:
        import datasets

        test = datasets.Dataset.from_list(documents)
        settings = {
            "task": "qads",
            "custom_dataset": lambda **_: {"test": test},
            "generation_kwargs": {
                "until": self._stops,
                "max_gen_toks": self._max_new_tokens,
                "do_sample": False,
            },
        }
        return self._tasks.load([{"group": "evaluation", "task": [settings]}])


class _PromptedModel(HFLM):
    """An open model that is given tokens, not texts."""

    def __init__(self, lm: CausalLM, max_tokens: int, written: Callable[[int], None] | None) -> None:
        self._name, self._max_tokens, self._written = lm.source.name, max_tokens, written
        tokenizer, self._ends = _ending_tokenizer(lm)
        lm.model.generation_config = _plain_generation(lm.model.generation_config)
        super().__init__(
            pretrained=lm.model, tokenizer=tokenizer, max_length=lm.max_length, add_bos_token=False, batch_size=1
        )
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._ended: dict[str, tuple[int, bool]] = {}
        self._batch: list[str] = []

    def know(self, prompts: Sequence[tuple[int, ...]]) -> list[str]:
        """Names that stand for prompts from now on; those known before are forgotten."""
        names = [" ".join(map(str, prompt)) for prompt in prompts]
        self._prompts, self._ended = dict(zip(names, prompts, strict=True)), {}
        return names

    def n_at_once(self, length: int) -> int:
        """How many prompts go together where the longest has so many tokens when all is written."""
        return max(1, self._max_tokens // length)

    def generation(self, name: str, text: str) -> Generation:
        """What was written after a prompt."""
        return Generation(text, *self._ended[name])

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts that go on from the prompts."""
        return super().generate_until(requests, disable_tqdm=True)

    def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
        """The tokens of a prompt."""
        return list(self._prompts[string])

    def tok_batch_encode(self, strings: list[str], *_: Any, **__: Any) -> tuple[Any, Any]:
        """The tokens of prompts, padded on the left."""
        self._batch = list(strings)
        ids = [list(self._prompts[string]) for string in strings]
        padded = self.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        return padded["input_ids"], padded["attention_mask"]

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        """A batch, gone on from in parts where memory has run out."""
        mask, start = options.pop("attention_mask"), 0
        whole = context.new_full((len(context), max_length), self.tokenizer.pad_token_id)
        while start < len(context):
            rows = slice(start, start + self.n_at_once(max_length))
            written = self._tried(context[rows], max_length, stop, attention_mask=mask[rows], **options)
            if written is None:
                continue  # With fewer.
            whole[rows, : written.shape[1]] = written
            for name, row in zip(self._batch[rows], written[:, context.shape[1] :].tolist(), strict=True):
                self._ended[name] = self._end_of(row, stop)
            if self._written is not None:
                self._written(len(self._ended))
            start += len(written)
        return whole

    def _tried(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        """What is written after prompts; None where memory ran out."""
        try:
            return super()._model_generate(context, max_length, stop, **options)
        except (RuntimeError, MemoryError) as error:
            self._lower(len(context), max_length, error)
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()  # Only now that the error is gone is the memory of its pass free.
        return None

    def _lower(self, n_prompts: int, length: int, error: Exception) -> None:
        """Go on with half the prompts at once where memory ran out.

        Raises:
            ModelError: it was one prompt alone.
            Exception: any other error, as it came.
        """
        if not is_out_of_memory(error):
            raise error
        if n_prompts == 1:
            raise ModelError(
                f"{self._name}: memory does not suffice for one prompt alone, of {length} tokens with those to be "
                f"written ({error}). Set evaluate.max_new_tokens lower, or use a device with more memory."
            ) from error
        self._max_tokens = n_prompts // 2 * length
        logger.warning("out of memory: going on with max_tokens_per_batch = %d", self._max_tokens)

    def _end_of(self, tokens: list[int], stops: list[str]) -> tuple[int, bool]:
        """How many tokens were written, and whether the limit ended it; what came after a stop is not counted."""
        last = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        text = self.tokenizer.decode(tokens[:last], skip_special_tokens=True)
        cut = min((text.find(stop) for stop in stops if stop in text), default=-1)
        if cut >= 0:  # Others of the batch had not ended, so this one was gone on with.
            return len(self.tokenizer(text[:cut], add_special_tokens=False)["input_ids"]), False
        return (len(tokens), True) if last is None else (last + 1, False)


def _ending_tokenizer(lm: CausalLM) -> tuple[Any, set[int]]:
    """A copy of the tokenizer that pads with a token the model knows, and the tokens that end a text.

    Raises:
        ModelError: neither tokenizer nor model says what ends a text.
    """
    tokenizer, configured = copy.deepcopy(lm.tokenizer), lm.model.generation_config.eos_token_id
    ends: list[int] = configured if isinstance(configured, list) else [] if configured is None else [configured]
    if tokenizer.eos_token_id is None:
        if not ends:
            raise ModelError(
                f"{lm.source.name}: neither its tokenizer nor its configuration names the token that ends a text, so "
                "generation would never end; set eos_token in tokenizer_config.json, or measure likelihood alone "
                "(--no-generate)."
            )
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0])
    # What pads is masked, and what follows an end is thrown away; a token that was added would have no embedding.
    tokenizer.pad_token = tokenizer.eos_token
    end = cast(int, tokenizer.eos_token_id)
    return tokenizer, {end, *ends}


def _plain_generation(configured: Any) -> Any:
    """A model's settings of generation without any but its special tokens.

    `generate` takes from them what it is not told: a penalty for repetition or several beams, which are not greedy.
    """
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=configured.bos_token_id,
        eos_token_id=configured.eos_token_id,
        pad_token_id=configured.pad_token_id,
    )


@contextmanager
def _quiet() -> Generator[None]:
    """The harness tells every step, and warns of what we mean to do."""
    logger, bar = logging.getLogger("lm_eval"), task.tqdm
    level = logger.level
    logger.setLevel(logging.ERROR)
    task.tqdm = partial(bar, disable=True)
    try:
        with quiet_loading():
            yield
    finally:
        task.tqdm = bar
        logger.setLevel(level)

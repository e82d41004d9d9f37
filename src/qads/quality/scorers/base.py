"""What every fitted scorer is: it predicts rows, says what it was made for, and can be kept in a folder."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load_file, save_file

from qads.cluster import Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.datasets import atomic_path
from qads.errors import AlignmentError, CorruptError, InputError
from qads.kernels.cost import Cost
from qads.pool import Pool, Progress, to_json
from qads.prompts import Template
from qads.quality.oneshot import OneShotInfluence
from qads.quality.scorers.calibration import Calibration
from qads.quality.scorers.validation import OutOfFold

__all__ = [
    "FEWEST",
    "Difference",
    "FittedScorer",
    "Labelled",
    "MadeFor",
    "Prediction",
    "check_labels",
    "model_of_influence",
    "read_folder",
]

Difference = Literal["pool", "model", "template", "anchors", "embedding"]
"""What of a scorer's origin may be other than what it is used on, when the user says so."""
_ROWS_PER_SHARD = 512
FEWEST = 10
"""Rows that a scorer is fitted on, at least."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted quality of rows, on the scale of real quality; NaN for a row that could not be scored."""

    quality: Float[np.ndarray, " n"]
    """float32."""
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    """Interval that holds the real quality of 9 in 10 rows like those that were labelled; infinite with few labels."""
    reasons: Mapping[int, str] = field(default_factory=dict[int, str])
    """Position of every row without a number, and why."""
    cost: Cost = field(default_factory=Cost)
    """What the model took; nothing where none runs."""


@dataclass(frozen=True)
class MadeFor:
    """What a scorer was fitted on and with."""

    sources: tuple[str, ...]
    """Sources of the labelled rows."""
    pool: str | None = None
    """Fingerprint of the pool they were drawn from; None where only they were given."""
    anchors: str | None = None
    """Fingerprint of the anchors."""
    influence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What made the labels: weights, precision, template, aggregate."""
    embedding: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What made the embeddings."""
    embedder: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Its settings, to make those of other rows; not compared."""
    reader: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The model that reads the rows; empty where none does."""

    def check(self, now: MadeFor, allow: Collection[str] = ()) -> None:
        """Refuse to predict what this was not made for.

        Args:
            now: what it is used on; what is None or empty is not compared.
            allow: differences that are all right.

        Raises:
            InputError: names every difference.
        """
        found = [(what, line) for what, line in self._differences(now) if what not in allow]
        if found:
            kinds = list(dict.fromkeys(what for what, _ in found))
            lines = "\n".join(f"  {what}: {line}" for what, line in found)
            raise InputError(
                f"scorer: it was fitted for something else than what it is used on:\n{lines}\n"
                f"Fit one for this, or allow the difference: {' '.join(f'--allow-other {kind}' for kind in kinds)}"
            )

    def _differences(self, now: MadeFor) -> Iterator[tuple[Difference, str]]:
        strangers = [name for name in now.sources if name not in self.sources]
        new = f"; sources that it never saw: {', '.join(strangers)}" if strangers else ""
        if self.pool and now.pool and self.pool != now.pool:
            yield "pool", f"was {self.pool[:12]}, now {now.pool[:12]}{new}"
        elif new and not (self.pool and now.pool):
            yield "pool", new.removeprefix("; ")
        if self.anchors and now.anchors and self.anchors != now.anchors:
            yield "anchors", f"were {self.anchors[:12]}, now {now.anchors[:12]}"
        for name in ("influence", "embedding", "reader"):
            before, after = getattr(self, name), getattr(now, name)
            for key in dict.fromkeys([*before, *after]) if before and after else ():
                if before.get(key) != after.get(key):
                    what = "template" if key == "template" else "embedding" if name == "embedding" else "model"
                    yield what, f"{name} {key} was {_short(before.get(key))}, now {_short(after.get(key))}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows with a measured quality, and what fitting needs of them."""

    rows: Pool
    quality: Float[np.ndarray, " k"]
    embeddings: Float[np.ndarray, "k d"] | None
    groups: Int[np.ndarray, " k"]
    """Near duplicates have one number."""
    places: Int[np.ndarray, " k"]
    """Where they are among the candidates that were given."""
    judges: Bool[np.ndarray, " k"]
    """Which of them measure and calibrate the scorer: those that were drawn at random."""

    def take(self, rows: Int[np.ndarray, " r"]) -> Labelled:
        """Some of the rows."""
        vectors = None if self.embeddings is None else self.embeddings[rows]
        return Labelled(
            self.rows.take(rows), self.quality[rows], vectors, self.groups[rows], self.places[rows], self.judges[rows]
        )


def model_of_influence(
    influence: OneShotInfluence, *, named: str | None, template: Template | None, max_length: int | None
) -> dict[str, Any]:
    """What a scorer that reads rows with a model takes from the influence: all that makes its texts, or what it lacks.

    Args:
        influence: what defines quality.
        named: the model that the scorer names itself.
        template: its own template.
        max_length: its own context.
    """
    found: dict[str, Any] = {"template": template or influence.template}
    if named is None:
        found |= {"model": influence.model, "revision": influence.revision, "dtype": influence.dtype}
        found["max_length"] = max_length or influence.max_length
    return found


def check_labels(
    who: str,
    candidates: Pool,
    quality: Float[np.ndarray, " n"],
    *,
    embeddings: Float[np.ndarray, "n d"] | None,
    groups: Int[np.ndarray, " n"] | None,
    judges: Bool[np.ndarray, " n"] | None = None,
) -> Labelled:
    """The candidates that have a quality.

    Raises:
        AlignmentError: the lengths differ.
        InputError: fewer than 10 rows have a quality.
    """
    n = len(candidates)
    given = {"qualities": quality, "embeddings": embeddings, "groups": groups, "judges": judges}
    if wrong := {name: len(array) for name, array in given.items() if array is not None and len(array) != n}:
        told = ", ".join(f"{length} {name}" for name, length in wrong.items())
        raise AlignmentError(f"{who}: {n} candidates, but {told}; all must describe the same rows.")
    places = np.flatnonzero(np.isfinite(quality))
    if len(places) < FEWEST:
        lost = f" ({n - len(places)} more have no quality: no anchor could score them)" if n > len(places) else ""
        raise InputError(
            f"{who}: {len(places)} scored rows{lost}; it needs {FEWEST} at least. Raise quality.sample, or give "
            "anchors whose problems are not those of the pool."
        )
    if groups is None:
        groups = np.unique(np.array(candidates.problem_keys), return_inverse=True)[1].reshape(-1)
    return Labelled(
        candidates.take(places),
        np.asarray(quality, np.float64)[places],
        None if embeddings is None else np.asarray(embeddings)[places],
        np.asarray(groups, np.int64)[places],
        places,
        np.ones(len(places), np.bool_) if judges is None else np.asarray(judges, np.bool_)[places],
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedScorer(ABC):
    """A scorer that was fitted."""

    made_for: MadeFor
    calibration: Calibration
    n_labels: int
    """Rows that it was fitted on."""
    out_of_fold: OutOfFold | None = None
    """What it says of the labelled rows without having seen them; not kept in a folder."""
    curve: tuple[tuple[int, OutOfFold], ...] = ()
    """The same of models that were fitted on fewer labels, with their number; not kept either."""
    also: tuple[OutOfFold, ...] = ()
    """The same of models of the same kind that were fitted on other qualities of the rows; not kept either."""
    reading: Cost = field(default_factory=Cost)
    """What reading rows took as it is done to predict them; nothing where no model reads, or not known."""
    n_read: int = 0
    """How many they were."""
    fitting: Cost = field(default_factory=Cost)
    """What else the model took to be fitted."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def reads_embeddings(self) -> bool:
        """Whether rows need their vectors."""

    @property
    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Settings, and what was chosen, for people to read."""

    @abstractmethod
    def opened(self, execution: Execution) -> Callable[[Pool, Float[np.ndarray, "n d"] | None], Prediction]:
        """Ready to predict rows, its model open; raises what opening it raises."""

    @abstractmethod
    def reader_now(self, execution: Execution) -> dict[str, Any]:
        """The model that would read the rows here and now; empty where none does."""

    @abstractmethod
    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a folder keeps of it: numbers, and arrays."""

    def predict(
        self, pool: Pool, embeddings: Float[np.ndarray, "n d"] | None = None, **how: Any
    ) -> Float[np.ndarray, " n"]:
        """Predicted quality of every row, float32 [n]; as `prediction`, which says more."""
        return self.prediction(pool, embeddings, **how).quality

    def prediction(
        self,
        pool: Pool,
        embeddings: Float[np.ndarray, "n d"] | None = None,
        *,
        now: MadeFor | None = None,
        allow: Collection[str] = (),
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Predict every row, a shard at a time: memory does not grow with the pool.

        Args:
            pool: the rows.
            embeddings: their vectors, a memory map if they are many.
            now: what it is used on, if more is known than the sources of the pool.
            allow: differences from what it was made for that are all right, such as ``pool``.
            execution: device, batch size, and who computes.
            shards: where finished shards are kept, so that a killed run goes on; memory by default.
            progress: called with (rows done, rows).

        Raises:
            AlignmentError: embeddings are missing, or not of these rows.
            InputError: it was made for another pool, model or template.
            ModelError: its model cannot be opened.
        """
        execution = execution or Execution()
        self._check_embeddings(pool, embeddings)
        now = now or MadeFor(tuple(pool.sources))
        reader = self.reader_now(execution)  # Where no model reads, there is nothing to share out.
        self.made_for.check(dataclasses.replace(now, reader=reader), allow)

        def part(rows: range) -> _Part:
            vectors = None if embeddings is None else np.array(embeddings[rows.start : rows.stop])
            return _Part(pool.slice(rows), vectors)

        store, grid = shards or MemoryShards(), Grid(n_rows=len(pool), rows_per_shard=_ROWS_PER_SHARD)
        with workers(lambda: _Predicting(self), execution if reader else execution.here()) as crew:
            map_shards(crew, part, grid, store=store, size=pool.n_bytes, progress=progress)
        return _joined(list(grid.finished(store)), len(pool))

    def _check_embeddings(self, pool: Pool, embeddings: Float[np.ndarray, "n d"] | None) -> None:
        if not self.reads_embeddings:
            return
        if embeddings is None or len(embeddings) != len(pool):
            found = "no embeddings" if embeddings is None else f"{len(embeddings)} embeddings"
            raise AlignmentError(
                f"scorer: {found} for a pool of {len(pool)} rows; they must be of the same rows. In a run recompute "
                "them: qads run … --redo embed"
            )

    def save(self, folder: str | Path) -> None:
        """Keep it in a folder, as scorer.json and scorer.safetensors; `load_scorer` reads them."""
        numbers, arrays = self.contents()
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        whole = {
            "kind": self.kind, "labels": self.n_labels, "made_for": dataclasses.asdict(self.made_for),
            "calibration": self.calibration.to_json(), **numbers,
        }  # fmt: skip
        with atomic_path(path / "scorer.safetensors") as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        with atomic_path(path / "scorer.json") as temporary:
            temporary.write_text(to_json(whole) + "\n", encoding="utf-8")


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of a shard."""

    rows: Pool
    embeddings: Float[np.ndarray, "n d"] | None


@dataclass(frozen=True, eq=False)
class _Predicting:
    """A scorer at work."""

    scorer: FittedScorer

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The scorer, its model open: a part -> a table of predictions."""
        predict = self.scorer.opened(execution)
        yield lambda part: _shard(predict(part.rows, part.embeddings))


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers and arrays of a folder that `FittedScorer.save` wrote.

    Raises:
        InputError: there is no scorer.
        CorruptError: its files cannot be read.
    """
    if not (folder / "scorer.json").is_file():
        raise InputError(f"{folder}: holds no scorer (scorer.json is not there). Fit one: qads fit-scorer POOL --out …")
    try:
        numbers = json.loads((folder / "scorer.json").read_text(encoding="utf-8"))
        return numbers, load_file(folder / "scorer.safetensors")
    except Exception as error:  # JSON, UTF-8 and safetensors each raise their own.
        raise CorruptError(f"{folder}: its scorer cannot be read ({error}). Fit it again.") from error


def _shard(found: Prediction) -> pa.Table:
    reasons = [found.reasons.get(i) for i in range(len(found.quality))]
    columns = {name: getattr(found, name).astype(np.float32) for name in ("quality", "low", "high")}
    table = pa.table({**columns, "reason": pa.array(reasons, pa.string())})
    return table.replace_schema_metadata({"cost": found.cost.to_json()})


def _joined(shards: Sequence[pa.Table], n_rows: int) -> Prediction:
    if not shards:
        nothing = np.zeros(0, np.float32)
        return Prediction(nothing, nothing, nothing)
    whole = pa.concat_tables([shard.replace_schema_metadata(None) for shard in shards])
    assert len(whole) == n_rows, f"{len(whole)} predictions for {n_rows} rows"
    reasons = {i: reason for i, reason in enumerate(whole["reason"].to_pylist()) if reason is not None}
    cost = sum((Cost.from_json(shard.schema.metadata[b"cost"]) for shard in shards), Cost())
    quality, low, high = (whole[name].to_numpy() for name in ("quality", "low", "high"))
    return Prediction(quality, low, high, reasons, cost)

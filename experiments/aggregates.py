"""Which aggregate of an influence row best predicts how much training on the sample helps the anchors?

The real pool gives 13 candidates of each of its 16 sources and 64 anchors, half of them GSM8K and half MATH, with
problems of their own. On the first 32 anchors every candidate gets, in float32 and always from the same weights,

    effect   how much the mean loss a token of each anchor drops after k optimiser steps on this candidate alone
    dot      ⟨∇ loss(candidate), ∇ mean loss(anchors)⟩ at the first weights, for each source of anchors

and on all 64 its row of one-shot influence. The answer is the correlation of each aggregate with each of the measures.

    python experiments/aggregates.py effects --out experiments-out      # two hours on one core; a killed run goes on
    python experiments/aggregates.py matrix --out experiments-out       # likewise
    python experiments/aggregates.py table --out experiments-out --json experiments-out/aggregates.json

The data is read from the folder that `QADS_TEST_DATA` names, by default `../shared/data`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from aggregates_table import report
from jaxtyping import Float

import qads
from qads.datasets import atomic_path
from qads.models import CausalLM, find_model
from qads.prompts import ExemplarTemplate
from qads.quality.tokens import fit_texts
from qads.run.sealed import read_json, write_json
from qads.run.shards import DiskShards

MODEL = "smollm2-135m"
ANCHOR_SOURCES = ("gsm8k_train", "math_train")
N_ANCHORS = 64
N_EFFECT_ANCHORS = 32
CANDIDATES_PER_SOURCE = 13
LONGEST_EXAMPLE = 900
"""Tokens; longer rows are no candidates."""
TOKENS_PER_BATCH = 512
"""Padded tokens in one forward pass over anchors."""


@dataclass(frozen=True)
class Text:
    """A tokenised problem and solution; the tokens [start, end) are the solution."""

    ids: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the model is trained on one candidate."""

    optimizer: str = "adamw"
    """``adamw`` (no weight decay, torch's betas) or ``sgd`` (no momentum)."""
    lr: float = 1e-5
    steps: int = 2

    def start(self, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.lr)
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=0.0, fused=True)


@dataclass(frozen=True)
class Sample:
    """The rows of the experiment."""

    candidates: qads.Pool
    """Sources take turns, so that any beginning of the run is balanced."""
    anchors: qads.Pool
    """Sources take turns, so that every even beginning is balanced."""

    def settings(self, seed: int) -> dict[str, Any]:
        """What identifies the sample and the model; results of different ones must not be mixed."""
        return {
            "seed": seed,
            "model": find_model(MODEL).identity,
            "candidates": self.candidates.fingerprint,
            "anchors": self.anchors.fingerprint,
            "anchor_ids": self.anchors.strings("id")[:N_EFFECT_ANCHORS],
            "anchor_groups": self.anchors.strings("source")[:N_EFFECT_ANCHORS],
        }


def draw_sample(lm: CausalLM, seed: int) -> Sample:
    """Draw anchors, then candidates with other problems, from the real pool."""
    folder = Path(os.environ.get("QADS_TEST_DATA") or Path(__file__).resolve().parents[1] / "../shared/data") / "pool"
    pool = qads.load_pool(sorted(folder.glob("*.jsonl.gz")), on_bad_row="skip")
    rng = np.random.default_rng(seed)
    groups = pool.rows_by_source()
    taken: set[str] = set()
    anchors = [_draw_anchors(pool, groups[name], N_ANCHORS // 2, rng, taken) for name in ANCHOR_SOURCES]
    candidates = [_draw_candidates(pool, rows, lm, rng, taken) for rows in groups.values()]
    return Sample(pool.take(_in_turn(candidates)), pool.take(_in_turn(anchors)))


def _draw_candidates(
    pool: qads.Pool, rows: np.ndarray, lm: CausalLM, rng: np.random.Generator, taken: set[str]
) -> list[int]:
    """Rows of one source that are not too long, with problems that neither anchors nor other sources have."""
    renderer = ExemplarTemplate().renderer(None)

    def fits(row: int) -> bool:
        text = renderer.example(pool[row])
        return len(lm.tokenizer(text, verbose=False)["input_ids"]) <= LONGEST_EXAMPLE

    free = (row for row in rng.permutation(rows).tolist() if pool.problem_keys[row] not in taken)
    chosen = list(itertools.islice(filter(fits, free), CANDIDATES_PER_SOURCE))
    taken.update(pool.problem_keys[row] for row in chosen)
    return chosen


def _draw_anchors(
    pool: qads.Pool, rows: np.ndarray, n_rows: int, rng: np.random.Generator, taken: set[str]
) -> list[int]:
    """Rows of one source with distinct problems: the shorter half of those up to twice its median of characters.

    Scoring the anchors is most of the cost, and it is paid for every candidate.
    """
    texts = pool.take(rows)
    lengths = np.array([len(row.problem) + len(row.solution) for row in texts])
    limit = np.median(lengths[lengths <= 2 * np.median(lengths)])
    chosen: list[int] = []
    for i in rng.permutation(rows[lengths <= limit]).tolist():
        if len(chosen) < n_rows and pool.problem_keys[i] not in taken:
            chosen.append(i)
            taken.add(pool.problem_keys[i])
    return chosen


def _in_turn(groups: Sequence[Sequence[int]]) -> list[int]:
    return [row for turn in itertools.zip_longest(*groups) for row in turn if row is not None]


def tokenise(lm: CausalLM, rows: qads.Pool) -> list[Text]:
    """The rows as the zero-shot score sees them."""
    fitted = fit_texts(lm.tokenizer, ExemplarTemplate().renderer(None), rows.take([]), rows, lm.max_length, "error")
    shift = len(fitted.header)
    return [
        Text((*fitted.header, *t.ids), t.answer_start + shift, t.answer_end + shift) for t in fitted.targets if t
    ]  # fmt: skip


def answer_losses(model: Any, texts: Sequence[Text]) -> torch.Tensor:
    """Mean loss a token [b], float64, of every solution given its problem; the head runs on answer positions only.

    Texts are padded on the right and attention is causal, so padding reaches nothing that is scored.
    """
    ids = torch.zeros((len(texts), max(len(t.ids) for t in texts)), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    states = torch.cat([hidden[r, t.start - 1 : t.end - 1] for r, t in enumerate(texts)])
    tokens = torch.cat([ids[r, t.start : t.end] for r, t in enumerate(texts)])
    losses = torch.nn.functional.cross_entropy(model.get_output_embeddings()(states), tokens, reduction="none")
    return torch.stack([part.mean() for part in losses.double().split([t.end - t.start for t in texts])])


def batches(texts: Sequence[Text]) -> Iterator[list[int]]:
    """Positions of texts of near lengths together."""
    batch: list[int] = []
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i].ids)):
        if batch and (len(batch) + 1) * len(texts[batch[0]].ids) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(i)
    yield batch


class Bench:
    """A model that is trained on one candidate at a time and set back to its first weights exactly."""

    def __init__(self, model: Any, anchors: Sequence[Text], groups: Sequence[str]) -> None:
        self._model = model.requires_grad_(True)
        self._anchors = anchors
        self._parameters: list[torch.nn.Parameter] = list(model.parameters())
        self._first = [p.detach().clone() for p in self._parameters]
        names = list(dict.fromkeys(groups))
        members = [[a for a, group in zip(anchors, groups, strict=True) if group == name] for name in names]
        self._directions = [self._mean_gradient(texts) for texts in members]
        self.anchor_losses = self.losses()
        self.anchor_gram = [[_dot(a, b) for b in self._directions] for a in self._directions]

    @torch.inference_mode()
    def losses(self) -> Float[np.ndarray, " m"]:
        """Mean loss a token of every anchor under the present weights."""
        found = np.empty(len(self._anchors))
        for batch in batches(self._anchors):
            found[batch] = answer_losses(self._model, [self._anchors[i] for i in batch]).numpy()
        return found

    def measure(self, candidate: Text, training: Training) -> dict[str, Any]:
        """Train on the candidate, score the anchors, set the weights back.

        Returns:
            ``own_losses`` before each step, ``dots`` with the mean gradient of each group of anchors and
            ``gradient_norm`` at the first weights, and the ``effects`` [m], nats a token.
        """
        optimizer = training.start(self._parameters)
        own: list[float] = []
        record: dict[str, Any] = {}
        for step in range(training.steps):
            optimizer.zero_grad(set_to_none=True)
            loss = answer_losses(self._model, [candidate]).mean()
            loss.backward()
            own.append(loss.item())
            if step == 0:
                gradient = self._gradient()
                record["dots"] = [_dot(gradient, direction) for direction in self._directions]
                record["gradient_norm"] = _dot(gradient, gradient) ** 0.5
            optimizer.step()
        effects = self.anchor_losses - self.losses()
        self._restore()
        return {**record, "own_losses": own, "effects": effects.tolist()}

    def _mean_gradient(self, texts: Sequence[Text]) -> list[torch.Tensor]:
        for batch in batches(texts):
            (answer_losses(self._model, [texts[i] for i in batch]).sum() / len(texts)).backward()
        gradient = [g.clone() for g in self._gradient()]
        self._model.zero_grad(set_to_none=True)
        return gradient

    def _gradient(self) -> list[torch.Tensor]:
        return [p.grad for p in self._parameters if p.grad is not None]

    @torch.no_grad()
    def _restore(self) -> None:
        for parameter, value in zip(self._parameters, self._first, strict=True):
            parameter.copy_(value)


def _dot(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    return sum(torch.dot(x.flatten(), y.flatten()).item() for x, y in zip(a, b, strict=True))


class Records:
    """JSON Lines that are added one by one; the first says what the others belong to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]  # A killed run may leave half a line.
            if whole != content:
                os.truncate(path, len(whole))

    def read(self) -> list[dict[str, Any]]:
        """All records."""
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record; it is on the disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def run_effects(out: Path, seed: int, training: Training, limit: int | None) -> None:
    """Measure training effects and gradient products of the candidates that have none yet."""
    lm = qads.open_causal_lm(MODEL, dtype="float32", device="cpu")
    sample = draw_sample(lm, seed)
    texts, anchors = tokenise(lm, sample.candidates), tokenise(lm, sample.anchors)[:N_EFFECT_ANCHORS]
    settings = {**sample.settings(seed), **vars(training)}
    records = Records(effects_path(out, training.optimizer))
    known = records.read()
    if known and known[0]["settings"] != settings:
        raise SystemExit(f"{effects_path(out, training.optimizer)} was made with other settings; give another --out.")
    bench = Bench(lm.model, anchors, settings["anchor_groups"])
    if not known:
        start = {"settings": settings, "anchor_losses": bench.anchor_losses.tolist(), "anchor_gram": bench.anchor_gram}
        records.add({**start, "anchor_tokens": [len(t.ids) for t in anchors]})
    done = {record["id"] for record in known[1:]}
    for number, (row, text) in enumerate(list(zip(sample.candidates, texts, strict=True))[:limit], 1):
        if row.id in done:
            continue
        began = time.perf_counter()
        facts = {
            "id": row.id,
            "source": row.source,
            "n_tokens": len(text.ids),
            "n_answer_tokens": text.end - text.start,
        }
        found = bench.measure(text, training)
        seconds = time.perf_counter() - began
        records.add({**facts, **found, "seconds": seconds})
        print(f"{number}/{len(texts)} {row.id}: effect {np.mean(found['effects']):+.5f}, {seconds:.1f} s", flush=True)


def run_matrix(out: Path, seed: int, dtype: Any) -> None:
    """Score every candidate on every anchor; finished shards are kept."""
    sample = draw_sample(qads.open_causal_lm(MODEL, dtype=dtype, device="cpu"), seed)
    settings = {**sample.settings(seed), "dtype": dtype}
    folder = out / "matrix"
    known = read_json(folder / "settings.json")
    if known not in (None, settings):
        raise SystemExit(f"{folder} was made with other settings; give another --out.")
    write_json(folder / "settings.json", settings)

    def progress(done: int, total: int) -> None:
        print(f"{time.strftime('%H:%M:%S')} {done}/{total} candidates", flush=True)

    method = qads.OneShotInfluence(model=MODEL, dtype=dtype)
    influence = method(sample.candidates, sample.anchors, shards=DiskShards(folder), progress=progress)
    with atomic_path(influence_path(out)) as temporary:
        pq.write_table(influence.to_table(), temporary)


def effects_path(out: Path, optimizer: str) -> Path:
    """Where the effects of training with an optimiser are kept."""
    return out / f"effects-{optimizer}.jsonl"


def influence_path(out: Path) -> Path:
    """Where the influence is kept."""
    return out / "influence.parquet"


def main() -> None:
    """Run one part of the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    effects = commands.add_parser("effects", help="training effects and gradient products")
    effects.add_argument("--lr", type=float, default=Training.lr)
    effects.add_argument("--steps", type=int, default=Training.steps)
    effects.add_argument("--limit", type=int, help="measure the first candidates only")
    matrix = commands.add_parser("matrix", help="one-shot influence")
    matrix.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    table = commands.add_parser("table", help="correlations as Markdown")
    table.add_argument("--json", type=Path, help="where to write all figures")
    table.add_argument("--resamples", type=int, default=2000)
    for command in (effects, table):
        command.add_argument("--optimizer", choices=("adamw", "sgd"), default=Training.optimizer)
    for command in (effects, matrix, table):
        command.add_argument("--out", type=Path, default=Path("experiments-out"))
        command.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.command == "effects":
        training = Training(optimizer=given.optimizer, lr=given.lr, steps=given.steps)
        run_effects(given.out, given.seed, training, given.limit)
    elif given.command == "matrix":
        run_matrix(given.out, given.seed, given.dtype)
    else:
        records = Records(effects_path(given.out, given.optimizer)).read()
        influence = qads.Influence.from_table(pq.read_table(influence_path(given.out)))
        figures = report(records[0], records[1:], influence, n_resamples=given.resamples, seed=given.seed)
        if given.json:
            write_json(given.json, figures)


if __name__ == "__main__":
    main()

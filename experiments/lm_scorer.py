"""The fine-tuned scorer on the labels of a scored run: its agreement on rows held out, beside that of others.

Probe and retrieval are fitted on the rows that the language model was trained on, and asked for those held out from it.

    python experiments/lm_scorer.py RUN [--set epochs=2 --set learning_rate=0.0005 …] [--json FILE] [--save FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from pydantic import TypeAdapter

from qads import Pool
from qads.kernels.correlation import centred, pearson
from qads.quality.scorers import FittedLM, LMScorer, ProbeScorer, RetrievalScorer

BOOTSTRAPS = 2000


def read_labels(run: Path) -> tuple[Pool, np.ndarray, np.ndarray]:
    """Labelled rows of a run, their quality and their embeddings."""
    labels = pq.read_table(run / "quality" / "quality_real.parquet")
    table = pq.read_table(run / "pool" / "pool.parquet")
    place = {name: i for i, name in enumerate(table["id"].to_pylist())}
    rows = np.array([place[name] for name in labels["candidate"].to_pylist()])
    embeddings = np.load(run / "embed" / "embeddings.npy", mmap_mode="r")[rows]
    return Pool(table.take(rows)), labels["quality"].to_numpy(), embeddings


def agreement(said: np.ndarray, real: np.ndarray, codes: np.ndarray) -> dict[str, list[float] | None]:
    """Pearson, pooled and within sources, each with a 95% interval from rows drawn again; None where none varies."""
    rng, n = np.random.default_rng(0), len(real)

    def both(rows: np.ndarray) -> tuple[float, float]:
        a, b, c = said[rows], real[rows], codes[rows]
        apart = centred(a, c)
        within = pearson(apart, centred(b, c)) if np.abs(apart).max() > 1e-12 else float("nan")
        return pearson(a, b), within

    drawn = np.array([both(rng.integers(0, n, n)) for _ in range(BOOTSTRAPS)])
    found: dict[str, list[float] | None] = {}
    for name, value, values in zip(("pearson", "within"), both(np.arange(n)), drawn.T, strict=True):
        found[name] = [value, *np.nanquantile(values, [0.025, 0.975]).tolist()] if np.isfinite(value) else None
    return found


def others(pool: Pool, quality: np.ndarray, embeddings: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """What scorers say of the rows held out that were fitted on the others."""
    known, rows = np.where(held, np.nan, quality), np.flatnonzero(held)
    return {
        method.kind: method.fit(pool, known, embeddings=embeddings).predict(pool.take(rows), embeddings[rows])
        for method in (ProbeScorer(), RetrievalScorer())
    }


def measured(fitted: FittedLM, pool: Pool, quality: np.ndarray, embeddings: np.ndarray) -> dict[str, Any]:
    """The agreement of every scorer on the rows that the language model was not trained on."""
    assert fitted.out_of_fold is not None
    held = fitted.out_of_fold.fold >= 0
    said = {"lm": fitted.out_of_fold.predicted[held], "source mean": fitted.out_of_fold.source_mean[held]}
    said |= others(pool, quality, embeddings, held)
    codes = pool.source_codes[held]
    return {name: agreement(np.asarray(values, float), quality[held], codes) for name, values in said.items()}


def main() -> None:
    """Fit, measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--set", action="append", default=[], help="a setting of LMScorer, as YAML: epochs=2")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", type=Path, help="keep the fitted scorer in this folder")
    args = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, value in (each.split("=", 1) for each in args.set)}
    method = TypeAdapter(LMScorer).validate_python({"kind": "lm", **settings})
    pool, quality, embeddings = read_labels(args.run)
    started, cpu = time.perf_counter(), time.process_time()
    fitted = method.fit(pool, quality)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if args.save:
        fitted.save(args.save)
    found = {
        "settings": settings, "described": fitted.described, "seconds": seconds, "cpu_seconds": cpu,
        "tokens": fitted.fitting.tokens, "calibration": dataclasses.asdict(fitted.calibration),
        "agreement": measured(fitted, pool, quality, embeddings),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The analysis of sources as tables and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from qads.analyze import Interval, ModelFacts, SourceAnalysis, SourceFacts, SourceQuality
from qads.datasets import atomic_path
from qads.pool import to_json

__all__ = ["TABLE_FILES", "analysis_as_json", "analysis_as_table", "for_spreadsheets", "write_tables"]

TABLE_FILES = ("analysis.json", "sources.csv", "sources.parquet")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run as a formula by spreadsheets."""


def analysis_as_json(analysis: SourceAnalysis) -> dict[str, Any]:
    """Everything that was found, as plain values; NaN is left for the encoder to make null."""
    return {
        "rows": analysis.n_rows,
        "settings": dataclasses.asdict(analysis.settings),
        "models": [_model(model) for model in analysis.models],
        "agreements": [dataclasses.asdict(each) for each in analysis.agreements],
        "whole_pool_diversity": None if analysis.whole is None else dataclasses.asdict(analysis.whole),
        "sources": [_source(source, analysis) for source in analysis.sources],
    }


def analysis_as_table(analysis: SourceAnalysis) -> pa.Table:
    """One row a source; columns of quality carry the name of the model where there are several."""
    rows = [_flat(source, analysis) for source in analysis.sources]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows], from_pandas=True) for name in names})


def write_tables(analysis: SourceAnalysis, directory: Path) -> list[Path]:
    """Write `analysis.json`, `sources.csv` and `sources.parquet`, each whole or not at all."""
    paths = [directory / name for name in TABLE_FILES]
    table = analysis_as_table(analysis)
    with atomic_path(paths[0]) as temporary:
        temporary.write_text(to_json(analysis_as_json(analysis)) + "\n", encoding="utf-8")
    with atomic_path(paths[1]) as temporary:
        pa_csv.write_csv(for_spreadsheets(table), temporary)
    with atomic_path(paths[2]) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return paths


def _source(source: SourceFacts, analysis: SourceAnalysis) -> dict[str, Any]:
    plain = dataclasses.asdict(source)
    names = [model.name for model in analysis.models]
    plain["quality"] = dict(zip(names, plain["quality"], strict=True))
    return plain


def _model(model: ModelFacts) -> dict[str, Any]:
    plain = {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.name != "ranking"}
    better = None if model.ranking is None else model.ranking.better
    told_apart = [
        {"better": model.ranked[j], "worse": model.ranked[k]}
        for j in range(len(model.ranked) if better is not None else 0)
        for k in range(len(model.ranked))
        if better is not None and better[j, k]
    ]
    return plain | {"told_apart": told_apart}


def _flat(source: SourceFacts, analysis: SourceAnalysis) -> dict[str, Any]:
    row: dict[str, Any] = {"source": source.name, "rows": source.n_rows}
    row |= {f"rows {flag}": n for flag, n in source.flags.items()}
    row |= {f"kind {kind}": n for kind, n in source.kinds.items()}
    for name in ("tokens", "words", "steps", "equations"):
        if (spread := getattr(source, name)) is not None:
            row |= {f"{name} {part}": getattr(spread, part) for part in ("mean", "low", "median", "high", "total")}
    if source.diversity is not None:
        row["diversity rows"] = source.diversity.n_rows
        row |= _bounds("mean nearest distance", source.diversity.nearest)
        row |= _bounds("coverage radius", source.diversity.radius)
    several = len(analysis.models) > 1
    for model, quality in zip(analysis.models, source.quality, strict=True):
        if quality is not None:
            row |= {f"{name} ({model.name})" if several else name: value for name, value in _of_model(quality).items()}
    return row


def _of_model(quality: SourceQuality) -> dict[str, Any]:
    names = ("least", "lower quartile", "median", "upper quartile", "greatest")
    row: dict[str, Any] = {"rows scored": quality.n_scored, **_bounds("mean quality", quality.mean)}
    row |= {f"{name} quality": value for name, value in zip(names, quality.quartiles, strict=True)}
    row |= {"mean predicted quality": quality.predicted_mean, **_bounds("share in the top", quality.top_share)}
    if quality.marginal is not None:
        row |= _bounds("marginal value", quality.marginal)
    return row | {"rank": quality.rank, "best rank": quality.rank_low, "worst rank": quality.rank_high} | {
        "tier": quality.tier
    }  # fmt: skip


def _bounds(name: str, interval: Interval) -> Mapping[str, float]:
    return {name: interval.value, f"{name}, low": interval.low, f"{name}, high": interval.high}


def for_spreadsheets(table: pa.Table) -> pa.Table:
    """The table with every text that a spreadsheet would run as a formula behind an apostrophe."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = [
                "'" + text if text and text.startswith(_FORMULA_STARTS) else text for text in table[place].to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table

"""A mixture as a folder: files for trainers, what trainers need to know of them, a dataset card, a manifest.

Nothing in the folder depends on when, where or by whom it was made.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from qads.datasets import atomic_path, source_identity
from qads.datasets.handoff import axolotl_entry, llamafactory_entry
from qads.mixture.card import dataset_card
from qads.mixture.composing import Composition, Mixture
from qads.mixture.folder import MANIFEST, whole_folder
from qads.mixture.recipe import Recipe
from qads.mixture.records import read_records, row_schema
from qads.pool import Progress, to_json

__all__ = ["WrittenFile", "describe_mixture", "write_mixture"]


@dataclass(frozen=True)
class WrittenFile:
    """A file for trainers."""

    path: str
    """Within the folder."""
    rows: int
    bytes: int
    not_alternating: int
    """Conversations whose turns are not of user and assistant in turn; LLaMA-Factory leaves those out."""


def write_mixture(mixture: Mixture, out: str | Path, *, progress: Progress | None = None) -> Path:
    """Write a mixture: whole, or not at all.

    ``data/`` has the rows (of several variants a folder each), ``README.md`` is the dataset card by which
    ``datasets.load_dataset(out)`` opens the folder, ``dataset_info.json`` is for LLaMA-Factory, ``axolotl.yaml`` for
    axolotl, ``set_aside.jsonl`` lists the rows of the files that could not serve, ``manifest.json`` has all numbers and
    the SHA-256 of everything read and written.

    Args:
        mixture: what to write.
        out: folder; a mixture that is there is replaced.
        progress: called with (rows written, of these).

    Raises:
        RunError: the folder holds something else than a mixture, or is written to now.
        InputError: the format cannot carry a row.
    """
    recipe = mixture.recipe
    total, done = sum(map(len, mixture.compositions.values())), 0
    with whole_folder(Path(out)) as folder:
        files: dict[str, WrittenFile] = {}
        for name, composition in mixture.compositions.items():
            inner = "data" if name == "default" else f"data/{name}"
            files[name] = _write_rows(
                mixture, composition, folder, f"{inner}/train.{recipe.file}",
                (lambda n, before=done: progress(before + n, total)) if progress else None,
            )  # fmt: skip
            done += len(composition)
        _write_set_aside(mixture, folder / "set_aside.jsonl")
        _write_entries(recipe, files, folder)
        described = describe_mixture(mixture, files)
        _write_text(folder / "README.md", dataset_card(mixture, files, row_schema(recipe)))
        written = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
        described["files"] = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": source_identity(str(path))}
            for path in written
        }
        _write_text(folder / MANIFEST, json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    return Path(out)


def describe_mixture(mixture: Mixture, files: Mapping[str, WrittenFile] | None = None) -> dict[str, Any]:
    """What a manifest says: the recipe, inputs, counts; without a place or a time.

    Args:
        mixture: what to describe.
        files: the files for trainers by variant, once they are written.
    """
    recipe = dataclasses.asdict(mixture.recipe)
    for section in (recipe, *recipe["parts"].values()):
        if section["temperature"] == math.inf:
            section["temperature"] = "inf"  # Which JSON lacks, and a recipe reads.
    for name, part in mixture.parts.items():
        names = [file.name for file in part.inputs]
        recipe["parts"][name] |= {"selection": names} if part.is_selection else {"pool": names}
    recipe["tokenizer"] = mixture.tokenizer.identity if mixture.tokenizer else None
    return {
        "what": "qads mixture",
        "format": 1,
        "versions": _versions(mixture.recipe),
        "recipe": json.loads(to_json(recipe)),
        "inputs": {name: [dataclasses.asdict(f) for f in part.inputs] for name, part in mixture.parts.items()},
        "set_aside": {name: dict(Counter(row.reason for row in part.rejected)) for name, part in mixture.parts.items()},
        "suffixed": {name: int(part.suffixed.sum()) for name, part in mixture.parts.items()},
        "mixtures": {
            name: {
                "rows": len(composition),
                "tokens": composition.tokens,
                "characters": composition.characters,
                **({} if files is None else {"file": files[name].path, "not_alternating": files[name].not_alternating}),
                "parts": {part: dataclasses.asdict(found) for part, found in composition.parts.items()},
            }
            for name, composition in mixture.compositions.items()
        },
    }


def _versions(recipe: Recipe) -> dict[str, str]:
    """Versions of what decides the bytes."""
    packages = ["qads", *(["pyarrow"] if recipe.file == "parquet" else [])]
    packages += ["tokenizers", "transformers"] if recipe.tokenizer else []
    return {name: importlib.metadata.version(name) for name in packages}


def _write_rows(mixture: Mixture, composition: Composition, folder: Path, name: str, progress: Any) -> WrittenFile:
    path, schema = folder / name, row_schema(mixture.recipe)
    skipped = 0
    with atomic_path(path) as temporary:
        if mixture.recipe.file == "parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for records, odd in read_records(mixture, composition, progress):
                    writer.write_table(pa.Table.from_pylist(records, schema=schema))
                    skipped += odd
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                for records, odd in read_records(mixture, composition, progress):
                    file.writelines(f"{to_json(record)}\n" for record in records)
                    skipped += odd
    return WrittenFile(name, len(composition), path.stat().st_size, skipped)


def _write_set_aside(mixture: Mixture, path: Path) -> None:
    lines = [
        to_json({"part": name, "where": row.where, "reason": row.reason})
        for name, part in mixture.parts.items()
        for row in part.rejected
    ]
    _write_text(path, "".join(f"{line}\n" for line in lines))


def _write_entries(recipe: Recipe, files: Mapping[str, WrittenFile], folder: Path) -> None:
    """What LLaMA-Factory and axolotl need to know, where they know such a shape."""
    names = {variant: recipe.name if variant == "default" else f"{recipe.name}-{variant}" for variant in files}
    factory = {names[v]: entry for v, f in files.items() if (entry := llamafactory_entry(recipe.format, f.path))}
    if factory:
        _write_text(folder / "dataset_info.json", json.dumps(factory, indent=2, ensure_ascii=False) + "\n")
    entries = [entry for file in files.values() if (entry := axolotl_entry(recipe.format, file.path))]
    if entries:
        several = "one of these; each is a mixture of its own" if len(entries) > 1 else "the dataset"
        head = f"# For an axolotl configuration: {several}. Paths are seen from this folder.\n"
        _write_text(folder / "axolotl.yaml", head + yaml.safe_dump({"datasets": entries}, sort_keys=False))


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")

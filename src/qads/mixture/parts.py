"""The parts of a mixture as tables: rows of a pool, or of a selection in the order of its picks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from qads.datasets import expand_sources, load_pool, source_identity
from qads.errors import CorruptError, InputError, RunError
from qads.mixture.licenses import licenses_of
from qads.mixture.recipe import Part, Recipe
from qads.pool import Pool, Progress, RejectedRow, to_json
from qads.prompts import with_suffixes

__all__ = ["InputFile", "LoadedPart", "load_part"]


@dataclass(frozen=True)
class InputFile:
    """A file that was read: its name and content, not where it is."""

    name: str
    sha256: str
    """Of a hub dataset the commit."""


@dataclass(frozen=True, eq=False)
class LoadedPart:
    """One part, read."""

    name: str
    settings: Part
    table: pa.Table
    """Columns of a pool; the suffix is at the end of problems already."""
    suffixed: Bool[np.ndarray, " n"]
    """Rows whose problem was lengthened by a suffix."""
    quality: Float[np.ndarray, " n"]
    """NaN where it is not known."""
    steps: Int[np.ndarray, " n"]
    """Step at which the row was picked; −1 where it was drawn."""
    n_pool: int
    """Rows that a fraction is a fraction of."""
    inputs: tuple[InputFile, ...]
    licenses: Mapping[str, str | None]
    """Source -> licence; None where it is not known."""
    rejected: tuple[RejectedRow, ...] = ()
    """Rows of the files that were set aside; their places named as the inputs are."""

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def is_selection(self) -> bool:
        """Whether its rows come in the order of picks."""
        return self.settings.selection is not None


def load_part(name: str, settings: Part, recipe: Recipe, progress: Progress | None = None) -> LoadedPart:
    """Read one part.

    Raises:
        PoolError: a file is missing, or a row of it cannot be read.
        RunError: the run has no finished selection.
        CorruptError: a file of the run is not what its manifest says.
        InputError: a file is no selection.
    """
    if settings.selection is None:
        pool, inputs = _read_files(settings, settings.pool, progress)
        found = _Rows(pool, np.full(len(pool), np.nan), np.full(len(pool), -1, np.int64), len(pool), inputs)
    elif Path(os.path.expanduser(settings.selection)).is_dir():
        _refuse_settings_of_files(name, settings)
        found = _read_run(Path(os.path.expanduser(settings.selection)))
    else:
        found = _read_selected_file(settings, progress)
    files = settings.pool or ((settings.selection,) if settings.selection else ())
    licenses = licenses_of(found.pool, settings.license, files)
    table, suffixed = with_suffixes(found.pool.table, recipe.suffix)
    if not recipe.keep_meta and recipe.format != "alpaca":  # Its `input` is in `meta`.
        table = table.set_column(table.schema.get_field_index("meta"), "meta", pa.nulls(len(table), pa.large_string()))
    return LoadedPart(
        name, settings, table, suffixed, found.quality, found.steps, found.n_pool, found.inputs, licenses,
        found.pool.rejected,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Rows:
    pool: Pool
    quality: Float[np.ndarray, " n"]
    steps: Int[np.ndarray, " n"]
    n_pool: int
    inputs: tuple[InputFile, ...]


def _read_files(
    settings: Part, sources: Sequence[str], progress: Progress | None
) -> tuple[Pool, tuple[InputFile, ...]]:
    pool = load_pool(
        sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row, progress=progress
    )
    files = expand_sources(list(sources))
    inputs = tuple(InputFile(file.name, source_identity(file.location)) for file in files)
    rejected = tuple(
        replace(row, where=_named(row.where, files), reason=_named(row.reason, files)) for row in pool.rejected
    )
    return Pool(pool.table, rejected=rejected), inputs


def _named(text: str, files: Sequence[Any]) -> str:
    """A text in which files have their names, so that it is the same wherever they are."""
    for file in sorted(files, key=lambda f: -len(f.location)):
        text = text.replace(file.location, file.name)
    return text


def _read_selected_file(settings: Part, progress: Progress | None) -> _Rows:
    """The file of a selection: every row has its reason under ``qads``."""
    assert settings.selection is not None
    pool, inputs = _read_files(settings, [settings.selection], progress)
    quality, steps, metas = np.full(len(pool), np.nan), np.full(len(pool), -1, np.int64), list[str | None]()
    for row, text in enumerate(pool.table["meta"].to_pylist()):
        meta: dict[str, Any] = json.loads(text) if text else {}
        reason = meta.pop("qads", None)
        step, value = _step_and_quality(reason)
        if step is None:
            raise InputError(
                f"{settings.selection}: row {pool[row].id!r} has no step under 'qads', so this is no file of a "
                "selection. Name it under pool, with order: file if its order counts."
            )
        if not isinstance(value, int | float | None) or isinstance(value, bool):
            raise InputError(
                f"{settings.selection}: row {pool[row].id!r} has the quality {value!r} under 'qads'; it must be a "
                "number, or null where it is not known."
            )
        steps[row], quality[row] = step, np.nan if value is None else value
        metas.append(to_json(meta, sort_keys=True) if meta else None)
    table = pool.table.set_column(pool.table.schema.get_field_index("meta"), "meta", pa.array(metas, pa.large_string()))
    order = np.argsort(steps, kind="stable")
    chosen = Pool(table, rejected=pool.rejected).take(order)
    return _Rows(Pool(chosen.table, rejected=pool.rejected), quality[order], steps[order], len(pool), inputs)


def _step_and_quality(reason: object) -> tuple[int | None, object]:
    """What a row says of its pick; no step where it says none that can be."""
    told = cast(dict[str, Any], reason) if isinstance(reason, dict) else {}
    step = told.get("step")
    is_step = isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**63
    return step if is_step else None, told.get("quality")


def _refuse_settings_of_files(name: str, settings: Part) -> None:
    for setting, default in (("columns", {}), ("kind", None), ("on_bad_row", "error")):
        if getattr(settings, setting) != default:
            raise InputError(
                f"parts.{name}: {setting} is of files; {settings.selection} is a run, whose rows are read as the run "
                "has them. Leave it out."
            )


def _read_run(directory: Path) -> _Rows:
    """The selection of a run directory, in the order of its picks."""
    # The pool that the stages read; a `clean/` beside it may be what an earlier configuration left.
    embedded = directory / "embed" / "manifest.json"
    stage = "clean" if embedded.exists() and "clean" in _manifest(embedded).get("inputs", {}) else "pool"
    files = {
        name: directory / place / name for place, name in (("select", "selection.parquet"), (stage, "pool.parquet"))
    }
    inputs = tuple(InputFile(name, _checked(path, directory)) for name, path in files.items())
    picks = pq.read_table(files["selection.parquet"], columns=["id", "step", "quality"])
    pool = pq.read_table(files["pool.parquet"])
    rows = pc.call_function("index_in", [picks["id"].cast(pa.large_string())], pc.SetLookupOptions(pool["id"]))
    if rows.null_count:
        raise CorruptError(f"{directory}: selects rows that its pool does not have. Make it again: --redo select")
    quality = picks["quality"].cast(pa.float64()).to_numpy()
    steps = picks["step"].to_numpy().astype(np.int64)
    return _Rows(Pool(pool.take(rows)), quality, steps, pool.num_rows, inputs)


def _checked(path: Path, directory: Path) -> str:
    """SHA-256 of a file of a finished stage, which must be what the manifest says."""
    manifest = path.with_name("manifest.json")
    if not manifest.exists() or not path.exists():
        raise RunError(
            f"{directory}: is no run directory with a finished selection ({path.parent.name}/ is not complete). "
            "Finish it with the command that began it, or name a pool."
        )
    found = source_identity(str(path))
    stated = _manifest(manifest).get("files", {}).get(path.name, {}).get("sha256")
    if found != stated:
        raise CorruptError(f"{path}: has SHA-256 {found}, but the manifest says {stated}; the file was changed.")
    return found


def _manifest(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptError(f"{path}: not valid JSON ({error}); the file was changed or damaged.") from error
    if not isinstance(found, dict):
        raise CorruptError(f"{path}: found a {type(found).__name__} where a mapping was expected.")
    return cast(dict[str, Any], found)

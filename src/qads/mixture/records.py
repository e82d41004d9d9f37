"""The rows of a composition as records for trainers, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from qads.datasets.handoff import HANDOFFS, turns_alternate
from qads.errors import InputError
from qads.mixture.composing import Composition, Mixture
from qads.mixture.recipe import Recipe
from qads.pool import Pool, Progress, Row, to_json
from qads.prompts import ExemplarTemplate, Renderer

__all__ = ["read_records", "row_schema"]

_ROWS_AT_A_TIME = 4096
Record = dict[str, object]


def row_schema(recipe: Recipe) -> pa.Schema:
    """The columns of a file for trainers: those of the format, and where the row comes from."""
    names = ("id", "source", "kind", "part", "qads", *(("meta",) if recipe.keep_meta else ()))
    return pa.schema([*HANDOFFS[recipe.format].fields, *(pa.field(name, pa.string()) for name in names)])


def read_records(
    mixture: Mixture, composition: Composition, progress: Progress | None = None
) -> Iterator[tuple[list[Record], int]]:
    """Batches of records with the columns of `row_schema`, each with how many conversations do not alternate.

    Raises:
        InputError: the format has no place for the earlier turns of a row.
    """
    recipe, ids = mixture.recipe, mixture.ids(composition)
    handoff, renderer = HANDOFFS[recipe.format], _renderer(mixture)
    for start in range(0, len(composition), _ROWS_AT_A_TIME):
        rows = composition.rows[start : start + _ROWS_AT_A_TIME]
        table = mixture.table.take(pa.array(rows))
        batch = list(Pool(table.set_column(0, "id", ids.slice(start, len(rows)))))
        origins = _origins(mixture, composition, slice(start, start + len(rows)), table["id"].to_pylist())
        records: list[Record] = []
        for row, origin in zip(batch, origins, strict=True):
            if row.context and not handoff.carries_context:
                raise InputError(
                    f"format {recipe.format}: row {row.id!r} has earlier turns, for which it has no place. Take "
                    "messages, chat-prompt-completion or sharegpt."
                )
            record = handoff.shape(row, renderer) | _common(row, origin, recipe)
            records.append(record | ({"meta": to_json(dict(row.meta), sort_keys=True)} if recipe.keep_meta else {}))
        yield records, sum(not turns_alternate(row.context) for row in batch)
        if progress:
            progress(start + len(rows), len(composition))


def _origins(mixture: Mixture, composition: Composition, batch: slice, own_ids: list[str]) -> Iterator[Record]:
    """Where each row comes from; null what is not known of it."""
    rows, parts = composition.rows[batch], list(mixture.parts)
    columns = (mixture.part_codes[rows], mixture.quality[rows], mixture.steps[rows], composition.copies[batch])
    lengthened = mixture.suffixed[rows].tolist()
    for own, code, quality, step, copy, suffixed in zip(
        own_ids, *(column.tolist() for column in columns), lengthened, strict=True
    ):
        yield {
            "part": parts[code],
            "id": own,
            "quality": None if quality != quality else quality,
            "step": None if step < 0 else step,
            "copy": copy + 1,
            "suffixed": suffixed,
        }


def _common(row: Row, origin: Record, recipe: Recipe) -> Record:
    """The columns that every format has."""
    problem = row.problem.removesuffix(recipe.suffix[row.kind]) if origin.pop("suffixed") else None
    told = {"source": row.source, **origin, "answer": row.answer, "problem": problem}
    return {"id": row.id, "source": row.source, "kind": row.kind, "part": origin["part"], "qads": to_json(told)}


def _renderer(mixture: Mixture) -> Renderer:
    """Makes a text of a row, for the one format that is text."""
    if mixture.tokenizer is not None:
        return mixture.tokenizer.renderer
    template = mixture.recipe.template
    if isinstance(template, ExemplarTemplate):
        return template.renderer(None)
    if mixture.recipe.format == "prompt-completion":
        raise InputError("template chat renders with a model's chat template; name the model under tokenizer.")
    return ExemplarTemplate().renderer(None)

"""What came of training on the rows of a cell."""

from __future__ import annotations

import pyarrow as pa

from qads.compare.cells import GridContext
from qads.compare.grid import Cell
from qads.run import Manifest, StageDirectory

__all__ = ["CELL_STAGES", "cell_items", "cell_stages", "is_done", "train_manifest", "untrained_items"]

CELL_STAGES = ("select",)
"""Stages of a cell, in order."""


def cell_stages(context: GridContext, cell: Cell) -> dict[str, StageDirectory]:
    """The stages of a cell, in order."""
    return {"select": context.select_stage(cell)}


def is_done(context: GridContext, cell: Cell) -> bool:
    """Whether nothing is left to do."""
    return all(stage.manifest() is not None for stage in cell_stages(context, cell).values())


def train_manifest(context: GridContext, cell: Cell) -> Manifest | None:
    """What the training of a cell says; None where it is not finished."""
    return None


def cell_items(context: GridContext, cell: Cell) -> pa.Table | None:
    """A row an item and measure; None where the cell is not evaluated."""
    return None


def untrained_items(context: GridContext, model: str) -> pa.Table | None:
    """The same of the base model."""
    return None

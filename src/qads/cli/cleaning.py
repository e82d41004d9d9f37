"""What is cleaned, as options of the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

__all__ = ["Against", "Dedup", "Solutions", "settings_from_flags"]

_RADIUS = 0.02
"""Cosine distance that `--dedup semantic` stands for."""
_LEVELS: dict[str, dict[str, Any] | None] = {
    "exact": {"near": None},
    "near": {},
    "semantic": {"semantic": _RADIUS},
    "off": None,
}

Dedup = Annotated[
    Literal["exact", "near", "semantic", "off"] | None,
    typer.Option(
        help="Let rows go that repeat others: equal ones, near duplicates too, or also those whose embeddings nearly "
        "coincide. By default nothing is looked for."
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EVAL",
        help="Evaluation sets whose problems must be neither in the pool nor among the anchors: they go. After POOL.",
    ),
]
Solutions = Annotated[
    str | None,
    typer.Option(
        metavar="keep|collapse|K",
        help="Of a problem with several different solutions keep all, one, or the K most different. Implies "
        "--dedup near.",
    ),
]


def settings_from_flags(dedup: str | None, against: list[str] | None, solutions: str | None) -> list[str]:
    """The settings that the options stand for, as `--set` takes them."""
    found: list[str] = []
    if dedup is not None:
        found.append(f"clean.duplicates={json.dumps(_LEVELS[dedup])}")
    if against:
        found.append(f"clean.against={json.dumps(against)}")
    if solutions is not None:
        if dedup == "off":
            raise typer.BadParameter("--dedup off excludes --solutions: no repeated problems are looked for then")
        value = int(solutions) if solutions.isdecimal() else solutions
        found.append(f"clean.duplicates.solutions={json.dumps(value)}")
    return found

"""Constraints of a selection, as options of the command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["AtLeast", "AtMost", "Exclude", "Given", "Include", "MinDistance", "Share", "constraints_from_flags"]

_QUOTA = "COLUMN=VALUE:N"
AtMost = Annotated[
    list[str] | None,
    typer.Option(
        "--at-most",
        metavar=_QUOTA,
        help="Of one source, kind or meta.NAME select so many rows at most: source=gsm8k:20%, kind=pot:500; "
        "'source=*:20%' for each. Repeatable.",
    ),
]
AtLeast = Annotated[
    list[str] | None,
    typer.Option("--at-least", metavar=_QUOTA, help="So many at least: source=math:1000, kind=cot:50%. Repeatable."),
]
Share = Annotated[
    list[str] | None,
    typer.Option("--share", metavar=_QUOTA, help="Exactly this share of the budget: source=math:30%. Repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Never select these rows: ids, one a line, or samples. After POOL."),
]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Select these rows first; they count towards the budget. After POOL."),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE", help="What is trained on already: not selected again, and rows near it gain little. After POOL."
    ),
]
MinDistance = Annotated[
    float | None,
    typer.Option("--min-distance", metavar="D", help="No row nearer than this to one selected before it."),
]


def constraints_from_flags(
    *,
    at_most: list[str] | None,
    at_least: list[str] | None,
    share: list[str] | None,
    exclude: list[str] | None,
    include: list[str] | None,
    given: list[str] | None,
    min_distance: float | None,
) -> dict[str, Any]:
    """The section `constraints`; empty without any of the options."""
    quotas: dict[str, dict[str, dict[str, str]]] = {}
    for limit, texts in (("at_most", at_most), ("at_least", at_least), ("share", share)):
        for text in texts or []:
            column, value, amount = _parse_quota(f"--{limit.replace('_', '-')}", text)
            limits = quotas.setdefault(column, {}).setdefault(value, {})
            if limit in limits:
                raise typer.BadParameter(f"--{limit.replace('_', '-')} {text}: {column}={value} has one already")
            limits[limit] = amount
    found: dict[str, Any] = {
        "quotas": quotas, "exclude": exclude, "include": include, "given": given, "min_distance": min_distance,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _parse_quota(option: str, text: str) -> tuple[str, str, str]:
    """`source=gsm8k:20%` as column, value and amount; a value may hold colons and equals signs."""
    column, equals, rest = text.partition("=")
    value, colon, amount = rest.rpartition(":")
    if not (column and equals and value and colon and amount):
        raise typer.BadParameter(f"{option} {text}: expected {_QUOTA}, as in {option} source=gsm8k:20%")
    return column, value, amount

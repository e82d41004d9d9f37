"""What the command line says of a cleaned pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["cleaning_sentences"]

_WHY = {
    "contaminated": "problems of the evaluation",
    "exact": "equal to another row",
    "near": "near duplicates",
    "solution": "more solutions of a problem than wanted",
    "semantic": "embedded next to another row",
}


def cleaning_sentences(manifests: Mapping[str, Any], directory: Path) -> Iterator[str]:
    """How many rows went and why, or that nothing was looked for."""
    found = manifests.get("clean")
    if found is None:
        yield "Not cleaned: nothing looked for repeated rows or problems of the evaluation (--dedup, --against)."
        return
    where = directory / "clean"
    listed = ", ".join(
        f"{found['dropped'][reason]:,} {why}" for reason, why in _WHY.items() if reason in found["dropped"]
    )
    n = found["rows_before"] - found["rows"]
    yield f"Cleaned: {n:,} of {found['rows_before']:,} rows went{f' ({listed}); see {where}' if n else ''}."
    if found["problems_with_several_solutions"]:
        yield (
            f"Several solutions: {found['problems_with_several_solutions']:,} problems had them, "
            f"{found['rows_of_these']:,} rows in all (--solutions)."
        )
    for what, stage in (("rows", "clean"), ("anchors", "anchors")):
        if (contamination := manifests.get(stage, {}).get("contamination")) is not None:
            yield _contamination_sentence(contamination, what, directory / stage)
            if n := contamination["evaluation_rejected"]:
                yield f"Evaluation: {n:,} rows of its sets could not be read, and were not looked for among the {what}."


def _contamination_sentence(found: Mapping[str, Any], what: str, where: Path) -> str:
    sets = ", ".join(f"{sum(counts.values()):,} of {name}" for name, counts in found["rows_by_set"].items() if counts)
    if not found["rows"]:
        return f"Evaluation: no {what} hold problems of {', '.join(found['evaluation_rows'])}."
    done = "they went" if found["action"] == "remove" else "they stay, as asked"
    return (
        f"Evaluation: {found['rows']:,} {what} hold its problems ({sets}); {done}; see "
        f"{where / 'contaminated.parquet'}."
    )

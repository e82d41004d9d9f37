"""What the command line says of quality: what was measured, what predicted, and how well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["quality_sentences"]


def quality_sentences(manifests: Mapping[str, Any], directory: Path) -> Iterator[str]:
    """Rows with a real and with a predicted quality, and whether the predictions are to be believed."""
    fitted, quality = manifests.get("scorer"), manifests.get("quality")
    yield from _labelling_sentences(manifests.get("influence", {}))
    if quality is not None and quality["real"] == quality["rows"]:
        yield f"Quality: all {quality['real']:,} rows really scored."
    elif quality is not None and fitted is None:
        yield f"Quality: {quality['predicted']:,} rows predicted by a scorer fitted before; none really scored."
    elif quality is not None:
        yield f"Quality: {quality['real']:,} rows really scored, {quality['predicted']:,} predicted."
    if quality is not None and quality.get("style") is not None:
        yield from _style_sentences(quality["style"])
    if fitted is not None and fitted["scorer"] is not None:
        yield from _fidelity_sentences(fitted, directory)
    if quality is not None and quality["unscored"]:
        listed = ", ".join(f"{n:,} × {reason}" for reason, n in quality["unscored_reasons"].items())
        yield (
            f"No quality: {quality['unscored']:,} rows ({listed}), which are not selected; see "
            f"{directory / 'quality' / 'unscored.jsonl'}"
        )


def _style_sentences(style: Mapping[str, Any]) -> Iterator[str]:
    """What quality is apart from, and which rows had nothing to be compared with."""
    same = "source" if style["by"] == "source" else "look"
    yield (
        f"Apart from style: quality is what a row gives beyond others of its {same} ({len(style['rows'])} styles); "
        f"r = {_number(style['pearson_with_plain'])} with the plain quality."
    )
    if lost := style["without_mates"]:
        listed = ", ".join(f"{n:,} of {name}" for name, n in lost.items())
        yield f"Nothing to compare with: {sum(lost.values()):,} scored rows count as not scored ({listed})."


_ENDED = {
    "budget": "the budget was spent",
    "no improvement": "agreement within sources had stopped to rise",
    "no rows left": "every watched problem was labelled",
}


def _labelling_sentences(scored: Mapping[str, Any]) -> Iterator[str]:
    if "labelling" not in scored:
        return
    rounds = scored["labelling"]["rounds"]
    within = ", ".join(f"{each['n_labels']:,}: {_number(each['within_source'])}" for each in rounds)
    yield (
        f"Labels: {scored['rows']:,} in {len(rounds)} rounds, {scored['evenly_drawn']:,} of them drawn evenly; it "
        f"ended since {_ENDED[scored['labelling']['ended']]}. Labels and agreement within sources: {within}."
    )


def _fidelity_sentences(fitted: Mapping[str, Any], directory: Path) -> Iterator[str]:
    scorer, found = fitted["scorer"], fitted["fidelity"]
    yield f"Scorer: {scorer['kind']}, {scorer['chosen']}, fitted on {fitted['labels']:,} rows."
    if found is None:
        yield "How well it predicts was not measured: too few rows, or all of them near duplicates of each other."
        return
    within, ceiling = found["within_source"], found["ceiling_within"]
    above = within is not None and ceiling is not None and within > ceiling
    yield (
        f"Prediction against real, on rows that it did not see: r = {_number(found['pearson'])} "
        f"[{_number(found['pearson_low'])}, {_number(found['pearson_high'])}]; within sources {_number(within)} "
        f"[{_number(found['within_low'])}, {_number(found['within_high'])}]"
        f"{', where halves of the anchors agree to' if above else ' of at most'} {_number(ceiling)}; "
        f"a source's mean alone gives {_number(found['source_mean'])}."
    )
    yield f"{found['verdict']} All of it: qads validate-scorer {directory}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"

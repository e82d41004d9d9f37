"""The dataset card: a README with the YAML header that the hub and `datasets` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from qads.datasets.handoff import dataset_features
from qads.mixture.composing import Composition, Mixture

if TYPE_CHECKING:
    from qads.mixture.writing import WrittenFile

__all__ = ["dataset_card", "hub_license", "plain", "size_category"]

_HUB_LICENSES = frozenset(
    "apache-2.0 mit cc0-1.0 cc-by-4.0 cc-by-3.0 cc-by-2.0 cc-by-sa-4.0 cc-by-sa-3.0 cc-by-nc-4.0 cc-by-nc-3.0 "
    "cc-by-nc-sa-4.0 cc-by-nc-sa-3.0 cc-by-nd-4.0 cc-by-nc-nd-4.0 odc-by odbl pddl gpl-3.0 lgpl-3.0 bsd-3-clause "
    "bsd-2-clause openrail llama2 llama3 gemma unknown other".split()
)
"""Names that the hub knows; https://huggingface.co/docs/hub/repositories-licenses has them all."""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def dataset_card(mixture: Mixture, files: Mapping[str, WrittenFile], schema: pa.Schema) -> str:
    """The text of the README.

    Args:
        mixture: what it is about.
        files: the file of every variant.
        schema: columns of the files; they are declared, so that no reader has to guess types.
    """
    from huggingface_hub import DatasetCardData  # Takes a while to import.

    recipe, largest = mixture.recipe, mixture.largest
    licenses = sorted({hub_license(name) for name in _licenses(mixture)})
    header = DatasetCardData(
        language=list(recipe.language) or None,
        license=licenses[0] if len(licenses) == 1 else licenses,
        size_categories=[size_category(len(largest))],
        task_categories=["text-generation"],
        pretty_name=recipe.name,
        tags=["qads", "sft", *(["trl"] if recipe.format in ("messages", "chat-prompt-completion") else [])],
        configs=[
            {
                "config_name": name,
                **({"default": True} if name == largest.name and len(files) > 1 else {}),
                "data_files": [{"split": "train", "path": file.path}],
            }
            for name, file in files.items()
        ],
        dataset_info=[{"config_name": name, "features": dataset_features(schema)} for name in files],
    )
    return f"---\n{header.to_yaml(line_break=None)}\n---\n\n{_body(mixture, files)}"


def size_category(rows: int) -> str:
    """The hub's name for so many rows."""
    return next((name for limit, name in _SIZES if rows < limit), "10M<n<100M")


def _licenses(mixture: Mixture) -> set[str | None]:
    """The licences of all sources that have rows in a composition."""
    parts = (part for composition in mixture.compositions.values() for part in composition.parts.values())
    return {found.license for part in parts for found in part.sources.values()}


def hub_license(name: str | None) -> str:
    """The name by which the hub knows a licence."""
    known = (name or "unknown").strip().lower().replace(" ", "-")
    return known if known in _HUB_LICENSES else "other"


def _body(mixture: Mixture, files: Mapping[str, WrittenFile]) -> str:
    recipe = mixture.recipe
    lines = [f"# {plain(recipe.name)}", ""]
    lines += [
        f"A fine-tuning mixture composed by `qads`: rows in the format `{recipe.format}`, "
        f"{'shuffled' if recipe.shuffle else 'part after part'}, seed {recipe.seed}. `manifest.json` has the recipe, "
        "all counts, and the SHA-256 of every file that was read and written.",
        "",
    ]
    for name, composition in mixture.compositions.items():
        lines += _tables(composition, files[name].path, tokens=recipe.tokenizer is not None)
    lines += [
        "Columns beside those a trainer learns from: `id` (unique here), `source`, `kind` (cot, pot, general, "
        "answer-only), `part`, and `qads`, a JSON text with the row's own `id` in its source, `quality` and `step` of "
        "the selection, `copy` (1 for the first), `answer`, and `problem` where a suffix was put after it.",
        "",
        "Licences are carried over from the sources as they state them; `unknown` means that nothing stated one. Check "
        "them before you publish.",
        "",
        "```python",
        "import datasets",
        "",
        f'rows = datasets.load_dataset("PATH"{_config(mixture)}, split="train")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _config(mixture: Mixture) -> str:
    return f', "{mixture.largest.name}"' if len(mixture.compositions) > 1 else ""


def _tables(composition: Composition, path: str, *, tokens: bool) -> list[str]:
    unit = "tokens" if tokens else "characters"
    title = [] if composition.name == "default" else [f"## {composition.name}", ""]
    amount = composition.tokens if tokens else composition.characters
    rows: list[tuple[Any, ...]] = []
    for name, part in composition.parts.items():
        for source, found in part.sources.items():
            size = found.tokens if tokens else found.characters
            share = f"{found.rows / len(composition):.1%}"
            rows.append((name, source, found.rows, share, size, found.license or "unknown"))
    head = ("part", "source", "rows", "of all rows", unit, "licence")
    return [
        *title,
        f"`{path}`: {len(composition):,} rows, {amount:,} {unit}.",
        "",
        "| " + " | ".join(head) + " |",
        "|---|---|---:|---:|---:|---|",
        *("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows),
        "",
    ]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else plain(str(value))


def plain(text: str) -> str:
    """A name of somebody's file as text that Markdown and HTML leave as it is."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|~!$" else c for c in flat).replace("&", "&amp;")

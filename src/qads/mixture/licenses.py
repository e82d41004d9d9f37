"""Under which licence rows come: what the recipe, the rows, or a dataset card beside the files says."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow.compute as pc

from qads.datasets import expand_sources
from qads.datasets.files import HUB, SourceFile
from qads.datasets.storage import is_object
from qads.errors import InputError
from qads.pool import Pool

__all__ = ["licenses_of"]


def licenses_of(pool: Pool, stated: str | Mapping[str, str] | None, files: Sequence[str]) -> dict[str, str | None]:
    """The licence of every source of a pool; None where nothing says it.

    What the recipe states comes first, then a column ``license`` (or ``licence``) of the rows, then the card
    (``README.md`` with a YAML header, as the hub has them) in the folder of the file or the one above it.

    Args:
        pool: the rows, with the other columns of the files in `meta`.
        stated: one licence for all, or source -> licence.
        files: what was read.

    Raises:
        InputError: a source is named that the rows do not have.
    """
    if isinstance(stated, str):
        return dict.fromkeys(pool.sources, stated)
    named = dict(stated or {})
    if unknown := sorted(set(named) - set(pool.sources)):
        raise InputError(f"license: no row has the source {unknown[0]!r}; there are {', '.join(pool.sources[:8])}.")
    of_rows, of_files = _licenses_of_rows(pool), _licenses_of_files(files)
    shared = set(of_files.values())
    common = shared.pop() if len(shared) == 1 else None
    return {
        source: named.get(source) or of_rows.get(source) or of_files.get(source) or common for source in pool.sources
    }


def _licenses_of_rows(pool: Pool) -> dict[str, str]:
    """Source -> licences that its rows state, joined where they differ."""
    column = pool.table["meta"]
    has = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions('"licen[sc]e"'))
    rows = pool.table.select(["source", "meta"]).filter(has)
    found: dict[str, set[str]] = defaultdict(set)
    for source, text in zip(rows["source"].to_pylist(), rows["meta"].to_pylist(), strict=True):
        meta: dict[str, Any] = json.loads(text)
        if isinstance(value := meta.get("license", meta.get("licence")), str) and value:
            found[source].add(value)
    return {source: " AND ".join(sorted(values)) for source, values in found.items()}


def _licenses_of_files(sources: Sequence[str]) -> dict[str, str | None]:
    """Name of a file -> licence of the card beside it."""
    paths = [source for source in sources if not Path(os.path.expanduser(source)).joinpath("select").is_dir()]
    return {file.name: _license_of_card(file) for file in (expand_sources(paths) if paths else [])}


def _license_of_card(file: SourceFile) -> str | None:
    if is_object(file.location):
        return None  # Cards beside objects are not looked for; `license` of the part says it.
    if match := HUB.match(file.location):
        return _card_license(_hub_card(match["repo"], match["revision"]))
    folder = Path(file.location).absolute().parent
    cards = (place / "README.md" for place in (folder, folder.parent))
    return next((found for card in cards if card.is_file() and (found := _card_license(card))), None)


def _hub_card(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import hf_hub_download  # Only hub sources need it.

    try:
        return Path(hf_hub_download(repository, "README.md", repo_type="dataset", revision=revision))
    except Exception:  # No network, no card: the licence is not known then, and is said not to be.
        return None


def _card_license(card: Path | None) -> str | None:
    from huggingface_hub.repocard import metadata_load  # Takes a while to import.

    try:
        header = metadata_load(card) if card else None
    except Exception:  # A README of something else; its header is nobody's promise to us.
        return None
    value: Any = header.get("license") if header else None
    if isinstance(value, list) and value:
        return " AND ".join(sorted(str(each) for each in cast(list[Any], value)))
    return value if isinstance(value, str) and value else None

"""Compose a mixture by a recipe, show what it comes to, and write the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qads.cli.delivering import publish_folder
from qads.cli.terminal import Terminal
from qads.datasets import refuse_own_output
from qads.datasets.publishing import check_publishable
from qads.mixture import Composition, Mixture, Recipe, compose, describe_mixture, load_recipe, write_mixture
from qads.mixture.folder import check_replaceable

__all__ = ["mix_recipe"]


def mix_recipe(
    recipe_file: Path, location: str, terminal: Terminal, *, settings: Sequence[str] = (), dry_run: bool = False
) -> None:
    """Carry a recipe out.

    Args:
        recipe_file: YAML.
        location: folder to write, on the disk or of object storage.
        terminal: where to say what it came to.
        settings: ``a.b=c`` on top of the recipe.
        dry_run: whether to count only, and write nothing.

    Raises:
        InputError: the recipe cannot be carried out.
        RunError: the folder holds something else than a mixture.
    """
    recipe = load_recipe(recipe_file, settings)
    out, remote = Path(location), "://" in location
    if remote:
        check_publishable(location)
    else:
        refuse_own_output(_read_locations(recipe), [], folders=[out])
        refuse_own_output([str(recipe_file)], [], folders=[out])
        check_replaceable(out)
    with terminal.running() as display:
        display.stage_started("reading", 1, 1 if dry_run else 2)
        mixture = compose(recipe, progress=display.progress)
        if not dry_run:
            display.stage_started("writing", 2, 2)
            if remote:
                publish_folder(partial(write_mixture, mixture, progress=display.progress), location)
            else:
                write_mixture(mixture, out, progress=display.progress)
    if terminal.as_json:
        terminal.emit(describe_mixture(mixture) | {"out": None if dry_run else location})
        return
    _show(mixture, terminal)
    if dry_run:
        terminal.line("Dry run: nothing was written.")
        terminal.next_command("mix", recipe_file, "-o", location)
        return
    terminal.line(
        f"Mixture: {location}  (datasets.load_dataset opens it; README.md and manifest.json have the numbers)"
    )
    terminal.next_command("check", f"{location.rstrip('/')}/data", "--against", "EVAL")


def _read_locations(recipe: Recipe) -> list[str]:
    """What is read; of a run directory the folder stands for its files."""
    places = [place for part in recipe.parts.values() for place in (*part.pool, *filter(None, [part.selection]))]
    return [place for place in places if not (Path(os.path.expanduser(place)) / "select").is_dir()]


def _show(mixture: Mixture, terminal: Terminal) -> None:
    counted = mixture.tokenizer is not None
    unit = "tokens" if counted else "characters"
    for composition in mixture.compositions.values():
        name = "Mixture" if composition.name == "default" else f"Mixture {composition.name}"
        parts = [
            (name, part.take, part.available, part.distinct, part.rows, _percent(part.rows, composition))
            for name, part in composition.parts.items()
        ]
        size = f"{composition.tokens if counted else composition.characters:,} {unit}"
        columns = ("part", "take", "of rows", "distinct", "rows", "%")
        terminal.table(f"{name}: {len(composition):,} rows, {size}", columns, parts)
    sources = [
        (name, source, found.rows, found.tokens if counted else found.characters, found.license or "unknown")
        for name, part in mixture.largest.parts.items()
        for source, found in part.sources.items()
    ]
    terminal.table("Sources", ("part", "source", "rows", unit, "licence"), sources)
    for name, part in mixture.parts.items():
        if part.rejected:
            terminal.line(f"Set aside: {len(part.rejected)} rows of {name}; set_aside.jsonl lists them.")
    for name, found in mixture.largest.parts.items():
        if found.same_text:
            terminal.line(f"Left out: {found.same_text} rows of {name} that are word for word in an earlier part.")


def _percent(rows: int, composition: Composition) -> float:
    return round(100 * rows / len(composition), 1)

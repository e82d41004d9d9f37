"""Every page that is written from the program: path under `docs` -> Markdown."""

from __future__ import annotations

from commands_page import commands_page
from names_page import names_pages
from qads.compare import Experiment
from qads.config import RunConfig
from qads.mixture import Recipe
from settings_page import settings_page

__all__ = ["generated_pages"]

_CONFIGURATION = """
A configuration is YAML: a section is a mapping, and where several methods do the same thing `kind` picks one, as in
`selection: {kind: kcenter, alpha: 0.5}`. The same settings are fields of the classes in Python, and
`--set selection.alpha=0.5` on the command line. An unknown key is an error that names the nearest known one. Only
`pool.sources` and `budget` must be given. This page is written from the program at every build.
"""
_RECIPE = """
What `qads mix RECIPE.yaml` and `qads.load_recipe` read. This page is written from the program at every build.
"""
_EXPERIMENT = """
What `qads compare EXPERIMENT.yaml` and `qads.load_experiment` read. This page is written from the program at every
build.
"""


def generated_pages() -> dict[str, str]:
    """All of them.

    Raises:
        ValueError: a setting has no docstring, or a public name no place.
    """
    pages = {
        "reference/configuration.md": settings_page(RunConfig, "Configuration", _CONFIGURATION.strip()),
        "reference/recipe.md": settings_page(Recipe, "Recipe of a mixture", _RECIPE.strip()),
        "reference/experiment.md": settings_page(Experiment, "Experiment", _EXPERIMENT.strip()),
        "reference/commands.md": commands_page(),
    }
    return pages | {f"reference/api/{name}": text for name, text in names_pages()}

"""Mixtures: parts put together by a recipe, with the origin of every row, as a folder that trainers read."""

from __future__ import annotations

from qads.mixture.composing import Composition, Mixture, PartSummary, compose
from qads.mixture.recipe import Part, Recipe, Share, load_recipe
from qads.mixture.writing import describe_mixture, write_mixture

__all__ = [
    "Composition",
    "Mixture",
    "Part",
    "PartSummary",
    "Recipe",
    "Share",
    "compose",
    "describe_mixture",
    "load_recipe",
    "write_mixture",
]

"""What a model can do: accuracy of its answers, and how likely it finds the right ones, on evaluation sets."""

from __future__ import annotations

from qads.evaluate.items import Item, Items, read_items
from qads.evaluate.lacking import told_lacks
from qads.evaluate.method import Evaluation
from qads.evaluate.results import MEASURES, EvaluationResult, Measure, Summary, mean_interval

__all__ = [
    "MEASURES",
    "Evaluation",
    "EvaluationResult",
    "Item",
    "Items",
    "Measure",
    "Summary",
    "mean_interval",
    "read_items",
    "told_lacks",
]

"""What the command line says of quality and of what a selection is worth."""

from __future__ import annotations

from typing import Any

import pytest

from qads.cli.scored import worth_sentences

GROUP: dict[str, Any] = {
    "group": "gsm", "n_anchors": 8, "chosen": 0.0121, "pool": 0.0164, "low": -0.0062, "high": -0.0024, "best": "school",
    "best_quality": 0.0653,
}  # fmt: skip


def said(**changes: Any) -> list[str]:
    selected = {"sources": {"school": 3, "contest": 57}, "worth": [GROUP | changes]}
    return list(worth_sentences(selected))


def test_a_group_that_random_rows_would_serve_better_is_told_with_its_best_source():
    assert said() == [
        "Worse than random rows for gsm: on its 8 anchors the sources of the chosen rows have a mean quality of 0.012, "
        "those of all rows 0.016 (95% of the difference: -0.0062 to -0.0024). Best for it are rows of school (0.065), of "
        "which 3 were chosen; quotas set such shares: --share 'source=school:30%'"
    ]
    assert "of which 0 were chosen" in said(best="elsewhere")[0]


@pytest.mark.parametrize("changes", [{"high": 0.001}, {"n_anchors": 4}, {"low": None, "high": None}])
def test_what_may_be_chance_or_is_not_known_is_not_told(changes: dict[str, Any]):
    assert said(**changes) == []


@pytest.mark.parametrize("selected", [{}, {"worth": None}, {"worth": []}])
def test_a_run_without_groups_says_nothing(selected: dict[str, Any]):
    assert list(worth_sentences(selected)) == []

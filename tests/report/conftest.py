"""Finished runs over a small pool whose every text, name and label would like to act on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qads.config import load_config
from qads.demo import make_demo_anchors, make_demo_rows
from qads.run import run_pipeline
from report.chromium import Seen, open_chromium
from run.tiny import make_model

HOSTILE = (
    '<script>alert("1")</script><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m \u202egnp.exe \x07 '
    "{{ 7 * 191 }}{% raw %} </style></title></svg><a href='javascript:alert(3)'>x</a> \"' onload=\"alert(4)"
)
"""Markup, quotes that would end an attribute, terminal escapes, a bidirectional override, template syntax."""


FORMULAS = (
    r"Let $x^2 = \frac{25}{1}$ cost $5, then $\href{javascript:alert(6)}{x}$ and $\text{<img src=x onerror=alert(7)>}$ "
    r"and $\style{position:fixed}{y}$ and $" + "{" * 400 + r"$ and $$\begin{align*}a&=1\\b&=2\end{align*}$$."
)
"""Formulas that are some, and some that would be more."""


def hostile_rows() -> list[dict[str, Any]]:
    """Forty rows of the demo, eight of them with hostile content in every field that may hold any."""
    rows: list[dict[str, Any]] = [dict(row) for row in make_demo_rows(n_rows=40, seed=7)]
    for number, row in enumerate(rows[:8]):
        row |= {"id": f"{number} {HOSTILE}", "source": f"evil {HOSTILE}", "meta": {"flaw": f"flaw {HOSTILE}"}}
        row |= {
            "problem": f"{number} {HOSTILE} {row['problem']}",
            "solution": HOSTILE + row["solution"] + "end." * 200,
        }
    rows[8] |= {"problem": FORMULAS, "solution": "```python\nprint('<b>5</b>')\n```\nSo $x = 5$."}
    return rows


def make_run(directory: Path, *, quality: dict[str, Any] | None, selection: dict[str, Any]) -> Path:
    """A finished run over the hostile rows and two lines that are no rows."""
    bad = ["{not json <script>alert(5)</script>", json.dumps({"problem": "\x00", "solution": HOSTILE})]
    pool, anchors = directory / "pool.jsonl", directory / "anchors.jsonl"
    pool.write_text("\n".join([*map(json.dumps, hostile_rows()), *bad]))
    targets = [row | {"source": f"target {HOSTILE}"} for row in make_demo_anchors(n_anchors=3)]
    anchors.write_text("\n".join(map(json.dumps, targets)))
    config = load_config(
        {
            "pool": {"sources": str(pool), "on_bad_row": "skip"},
            "anchors": {"sources": str(anchors)},
            "budget": "30%",
            "quality": quality,
            "selection": selection,
        }
    )
    return run_pipeline(config, directory / "run").directory


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without quality, by K-center."""
    return make_run(tmp_path_factory.mktemp("plain"), quality=None, selection={"kind": "kcenter"})


@pytest.fixture(scope="session")
def random_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without quality and without distances."""
    return make_run(tmp_path_factory.mktemp("random"), quality=None, selection={"kind": "random"})


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With quality: 12 rows against 3 anchors."""
    directory = tmp_path_factory.mktemp("scored")
    influence = {"model": str(make_model(directory / "model", max_length=8192)), "dtype": "float32"}
    return make_run(directory, quality={"sample": 12, "influence": influence}, selection={"kind": "kcenter"})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as found:
        yield found


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> Iterator[Seen]:
    """The page of a module's `page_file`, drawn."""
    seen = Seen(browser, page_file)
    seen.drawn()
    yield seen
    seen.context.close()

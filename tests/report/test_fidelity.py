"""Laws of the page of a scorer: it says what was measured, and nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qads.quality import AnchorGroups
from qads.quality.anchor_groups import Cell
from qads.quality.fidelity import CurvePoint, FidelityReport, HeldOut, ScoringCost, fidelity
from qads.report import render_fidelity, write_fidelity
from report.conftest import HOSTILE
from report.parser import Page

NAMES = [f"evil {HOSTILE}", "plain", "few", *(f"source {number}" for number in range(16))]
N = 400


def make_rows(knows: float) -> HeldOut:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(NAMES), N)
    codes[codes == 2] = 1
    codes[:4] = 2
    of_source, of_row = 0.1 * codes, 0.05 * rng.standard_normal(N)
    predicted = of_source + knows * of_row + 0.02 * rng.standard_normal(N)
    predicted[5] = np.nan
    return HeldOut(
        id=tuple(f"{row} {HOSTILE}" for row in range(N)),
        source=tuple(NAMES[code] for code in codes),
        real=of_source + of_row,
        predicted=predicted,
        low=predicted - 0.1,
        high=predicted + 0.1,
        fold=np.arange(N) % 3,
        cluster=np.arange(N),
        source_mean=of_source,
        length=rng.integers(10, 5000, N),
    )


def make_report(rows: HeldOut, *, bare: bool) -> FidelityReport:
    if bare:
        return FidelityReport(scorer={"kind": "probe"}, fidelity=fidelity(rows, n_bootstraps=50))
    terms = rows.real[:, None] + 0.05 * np.random.default_rng(1).standard_normal((N, 6))
    found = fidelity(rows, terms=terms, n_bootstraps=50)
    pair = found.overall["pearson"], found.within_source["pearson"]
    cell, none = Cell(0.1, 0.01, 20), Cell(float("nan"), float("nan"), 0)
    groups = AnchorGroups((NAMES[0], "plain"), (f"gsm {HOSTILE}",), (6,), ((cell,), (none,)), (cell, none), (0.5,), 0.4)
    return FidelityReport(
        groups=groups,
        scorer={"kind": f"probe {HOSTILE}", "chosen": {"penalty": 10.0, HOSTILE: HOSTILE}},
        fidelity=found,
        curve=(CurvePoint(50, *pair), CurvePoint(100, *pair)),
        cost=ScoringCost(6, 3000.0, 1e12, 2.0, 200.0, float("nan"), 0.1),
        unscored={f"too long {HOSTILE}": 3, "own problem": 1},
    )


ROWS, USELESS = make_rows(1.0), make_rows(0.0)
BARE = replace(USELESS, id=None, low=None, high=None, length=None, source_mean=None)
PAGES = {
    "full": render_fidelity(make_report(ROWS, bare=False), ROWS, about="Rows of a test."),
    "bare": render_fidelity(make_report(BARE, bare=True), BARE, about=f"Rows {HOSTILE}."),
}


@pytest.fixture(params=list(PAGES))
def html(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]


def test_hostile_content_is_text_and_nothing_else(html: str):
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "iframe", "link", "object", "form"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcset", "xlink:href")}
    assert all(
        attributes == {"type": "checkbox", "id": "intervals", "class": "demand"} for attributes in page.all("input")
    )
    assert '<script>alert("1")</script>' in page.text
    assert {c for c in html if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"} == set()
    assert "1337" not in html


def test_links_stay_on_the_page_and_only_its_style_is_allowed(html: str):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert len(ids) == len(set(ids))
    assert links and {str(link) for link in links} <= {f"#{name}" for name in ids}
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_tables_and_pictures_can_be_heard(html: str):
    page = Page(html)
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for svg in page.all("svg"):
        named = str(svg.get("aria-labelledby", "")).split()
        assert svg.get("aria-hidden") == "true" or (named and set(named) <= ids)
    assert len(page.all("h1")) == 1
    assert all(label["for"] in ids for label in page.all("label"))


def test_rows_of_a_table_have_as_many_cells_as_its_head(html: str):
    for table in re.findall(r"<table.*?</table>", html, re.S):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.S)}
        assert len(widths) == 1, table[:300]


def test_everything_drawn_lies_in_its_picture(html: str):
    placed = re.findall(r'(?:x1|x2|y1|y2|cx|cy|x|y)="(-?[\d.]+)%"', html)
    assert placed and all(0 <= float(value) <= 100 for value in placed)
    for points in re.findall(r'points="([^"]*)"', html):
        assert all(0 <= float(value) <= 100 for pair in points.split() for value in pair.split(","))
    assert not {"nan", "None", "inf"} & set(re.findall(r"\w+", html.split("<main>")[1]))


def test_the_verdict_leads_and_useless_is_said_in_so_many_words():
    full, bare = PAGES["full"], PAGES["bare"]
    assert "Tells rows of a source apart" in full and "useless" not in full.casefold()
    assert "<h1>Useless within sources</h1>" in bare and "This scorer is useless" in bare


def test_every_row_is_drawn_once_in_each_of_the_two_planes():
    marks = re.findall(r"<(?:circle|rect) class=\"look-\w+\" (?:cx|x)=\"[\d.]+%\"[^>]*><title>", PAGES["full"])
    assert len(marks) == 2 * (N - 1)
    assert "1 more labelled row was only fitted on" in PAGES["full"]


def test_what_was_not_measured_is_said(html: str):
    assert ("Not measured." in html) == (html is PAGES["bare"])
    assert ("<p>Every row has one.</p>" in html) == (html is PAGES["bare"])
    assert ('id="groups"' in html) == (html is PAGES["full"])
    assert ('id="length"' in html) == (html is PAGES["full"])


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    report = make_report(ROWS, bare=False)
    first, second = (write_fidelity(tmp_path / name / "page.html", report, ROWS, about="Rows.") for name in "ab")
    assert first.read_bytes() == second.read_bytes()

"""Laws of the page and the tables of an analysis: they say what was found, and nothing in them can act."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from analyze.samples import make_pool, make_scores
from qads import AnalysisSettings, Pool, Row, SourceAnalysis, analyze_sources
from qads.report import analysis_as_json, analysis_findings, render_analysis, write_analysis
from report.conftest import HOSTILE
from report.parser import Page

SIZES = {"plain": 60, f"evil {HOSTILE}": 60, "=cmd|' /C calc'!A0": 40, "few": 3}
FAST = AnalysisSettings(draws=100, diversity_draws=2)


def hostile(pool: Pool) -> Pool:
    rows = [
        Row(id=f"{row.id} {HOSTILE}", source=row.source, problem=HOSTILE + row.problem, solution=row.solution + HOSTILE)
        for row in pool
    ]
    return Pool.from_rows(rows)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return hostile(make_pool(SIZES))


@pytest.fixture(scope="module")
def found(pool: Pool) -> SourceAnalysis:
    means = dict(zip(SIZES, (0.1, 0.3, 0.2, 0.2), strict=True))
    rng = np.random.default_rng(0)
    return analyze_sources(
        pool,
        embeddings=rng.normal(size=(len(pool), 4)),
        scores=[make_scores(pool, means), make_scores(pool, means, seed=1, model=f"model {HOSTILE}")],
        tokens=rng.integers(10, 99, len(pool)),
        flags={"repeated": rng.random(len(pool)) < 0.1, "contaminated": np.zeros(len(pool), bool)},
        settings=FAST,
    )


@pytest.fixture(scope="module")
def bare(pool: Pool) -> SourceAnalysis:
    return analyze_sources(pool, settings=FAST)


@pytest.fixture(scope="module", params=["found", "bare"])
def html(request: pytest.FixtureRequest, pool: Pool) -> str:
    return render_analysis(request.getfixturevalue(request.param), pool)


def test_hostile_content_is_text_and_nothing_else(html: str):
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "iframe", "link", "object", "form", "input"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcset", "xlink:href")}
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


def test_rows_of_a_table_have_as_many_cells_as_its_head(html: str):
    for table in re.findall(r"<table.*?</table>", html, re.S):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.S)}
        assert len(widths) == 1, table[:300]


def test_everything_drawn_lies_in_its_picture(html: str):
    placed = re.findall(r'(?:x1|x2|y1|y2|cx|cy)="(-?[\d.]+)%"', html)
    assert all(0 <= float(value) <= 100 for value in placed)
    assert "nan" not in html.replace("nan", "", 0).casefold().split("<main>")[1].split()


def test_without_quality_its_sections_are_left_out(bare: SourceAnalysis, pool: Pool):
    html = render_analysis(bare, pool)
    assert "Quality was not measured" in html
    assert not any(f'id="{name}"' in html for name in ("quality", "marginal", "models", "diversity", "examples"))


def test_the_findings_name_the_leader_and_those_not_told_from_it(found: SourceAnalysis):
    said = analysis_findings(found)
    assert said[0].startswith("m: evil ") and "has the highest mean quality" in said[0]
    assert any("too few scored rows for a rank: few." in sentence for sentence in said)
    assert any("within sources" in sentence for sentence in said)


def test_writing_twice_gives_the_same_bytes(found: SourceAnalysis, pool: Pool, tmp_path: Path):
    first = {path.name: path.read_bytes() for path in write_analysis(found, pool, tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in write_analysis(found, pool, tmp_path / "b")}
    assert first == second
    assert set(first) == {"analysis.html", "analysis.json", "sources.csv", "sources.parquet"}


def test_tables_say_what_was_found(found: SourceAnalysis, pool: Pool, tmp_path: Path):
    write_analysis(found, pool, tmp_path)
    table = pq.read_table(tmp_path / "sources.parquet").to_pylist()
    assert [row["source"] for row in table] == [source.name for source in found.sources]
    for row, source in zip(table, found.sources, strict=True):
        assert row["rows"] == source.n_rows and row["rows repeated"] == source.flags["repeated"]
        assert row["mean quality (m)"] == source.quality[0].mean.value
        assert row["best rank (m)"] == source.quality[0].rank_low
    with (tmp_path / "sources.csv").open(newline="") as file:
        cells = [row["source"] for row in csv.DictReader(file)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "'=cmd|' /C calc'!A0" in cells


def test_json_holds_numbers_that_json_has_and_the_pairs_told_apart(found: SourceAnalysis, pool: Pool, tmp_path: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    write_analysis(found, pool, tmp_path)
    read = json.loads((tmp_path / "analysis.json").read_text(), parse_constant=refuse)
    assert read["rows"] == len(pool) and len(read["sources"]) == len(SIZES)
    assert read["sources"][0]["quality"]["m"]["rank"] == 1
    pairs = read["models"][0]["told_apart"]
    assert {"better": found.sources[0].name, "worse": "plain"} in pairs
    assert len(pairs) == analysis_as_json(found)["models"][0]["told_apart"].__len__()

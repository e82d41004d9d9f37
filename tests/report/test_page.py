"""Laws of the page: it says what the facts say, and nothing in it can act."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import unicodedata
from pathlib import Path

import pytest

from qads.config import ReportConfig
from qads.report import write_report
from qads.report.facts import RunFacts, read_facts
from qads.report.numbers import digits_for
from qads.report.page import number, render
from report.parser import Page

RUNS = ("plain_run", "random_run", pytest.param("scored_run", marks=pytest.mark.slow))
WARNING = "Within sources the prediction tells next to nothing: read the ranking between sources, not inside them"


@pytest.fixture(scope="module", params=RUNS)
def html(request: pytest.FixtureRequest) -> str:
    return without_scripts(render(read_facts(request.getfixturevalue(request.param), label_key="flaw")))


@pytest.fixture(scope="module")
def scored(scored_run: Path) -> RunFacts:
    return read_facts(scored_run)


def without_scripts(html: str) -> str:
    """The page with its script elements empty; what they do is tested in a browser."""
    return re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", html, flags=re.DOTALL)


def words(html: str) -> str:
    return " ".join(Page(without_scripts(html)).text.split())


def test_hostile_content_is_text_and_nothing_else(html: str) -> None:
    page = Page(html)
    allowed = {
        "html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "a", "h1", "h2", "h3",
        "p", "b", "i", "br", "span", "small", "code", "bdi", "div", "ul", "ol", "li", "dl", "dt", "dd", "details",
        "summary", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "figure", "figcaption", "svg",
        "desc", "line", "rect", "circle", "path", "polyline", "polygon", "aside", "noscript", "form", "label", "select",
        "option", "input", "button", "script",
    }  # fmt: skip
    assert {tag for tag, _ in page.elements} <= allowed
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcset", "xlink:href")}
    assert '<script>alert("1")</script><img src=x onerror=alert(2)>' in page.text
    assert "<script>alert(5)</script>" in page.text


def test_links_lead_to_places_of_the_page_only(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert links and {str(link) for link in links} <= {f"#{name}" for name in ids}


def test_no_character_of_the_page_acts(html: str) -> None:
    acting = {c for c in html if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}
    assert acting == set()
    assert "⟨U+001B⟩[31mred" in html and "⟨U+202E⟩gnp.exe" in html and "⟨U+0007⟩" in html


def test_template_syntax_in_a_text_is_not_run(html: str) -> None:
    assert "{{ 7 * 191 }}{% raw %}" in html
    assert "1337" not in html


def test_the_policy_allows_one_style_two_scripts_and_nothing_else(plain_run: Path) -> None:
    html = render(read_facts(plain_run))
    page = Page(without_scripts(html))
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    found = re.search(r'id="deck">(.*)</script>\n<script>(.*)</script>\n</body>', html, re.DOTALL)
    assert found is not None
    style, deck, ours = (hashed(text) for text in (page.style, found[1], found[2]))
    assert policy == (
        f"default-src 'none'; style-src '{style}'; script-src '{ours}' '{deck}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    assert len(page.all("style")) == 1
    assert not re.search(r"@import|url\(", page.style)


def test_without_a_map_there_is_no_script(plain_run: Path) -> None:
    page = Page(render(read_facts(plain_run, settings=ReportConfig(projection=None))))
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src '{hashed(page.style)}'; base-uri 'none'; form-action 'none'"
    assert not page.all("script")


def hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def test_tables_and_pictures_can_be_heard(html: str) -> None:
    page = Page(html)
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for svg in page.all("svg"):
        named = str(svg.get("aria-labelledby", "")).split()
        assert svg.get("aria-hidden") == "true" or (named and set(named) <= ids)
    assert len(page.all("h1")) == 1


def test_shares_shown_come_to_all_of_it(html: str) -> None:
    rows = re.search(r'<section id="sources".*?</section>', html, re.S)
    assert rows is not None
    body = rows[0].split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.findall(r'<td class="n[^"]*">([^<]*)</td>', row) for row in body.split("<tr>")[1:]]
    assert sum(int(cell[0]) for cell in cells) == 40
    assert sum(int(cell[2]) for cell in cells) == 12
    for column in (1, 3):
        assert sum(float(cell[column].rstrip("%")) for cell in cells) == pytest.approx(100, abs=0.1 * len(cells))


def test_reporting_twice_gives_the_same_bytes_in_one_file(plain_run: Path) -> None:
    path = write_report(plain_run)
    first = path.read_bytes()
    assert path == plain_run / "report" / "report.html"
    assert write_report(plain_run).read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_label_is_counted_only_when_asked_for(plain_run: Path) -> None:
    assert "<bdi>clean</bdi>" not in write_report(plain_run).read_text()
    assert "<bdi>clean</bdi>" in write_report(plain_run, label_key="flaw").read_text()


def test_without_quality_its_sections_are_left_out(plain_run: Path) -> None:
    html = render(read_facts(plain_run))
    assert 'id="quality"' not in html and 'href="#quality"' not in html
    assert "12 of 40 rows were chosen" in words(html)
    assert "Quality was not measured in this run" in words(html)


def test_without_distances_there_is_no_coverage_curve(random_run: Path, plain_run: Path) -> None:
    assert "did not look at distances" in render(read_facts(random_run))
    assert 'id="distance-title"' not in render(read_facts(random_run))
    assert 'id="distance-title"' in render(read_facts(plain_run))


@pytest.mark.slow
def test_what_the_picks_are_worth_to_each_group_of_anchors_is_shown_with_what_costs_one(scored: RunFacts) -> None:
    told = scored.manifests["select"]["worth"]
    text = words(render(scored))
    assert "What the picks are worth to each group of anchors" in text
    digits = digits_for([each["best_quality"] for each in told])
    for each in told:
        shown = (each["chosen"], each["pool"], each["low"])
        assert f"{''.join(number(value, digits) for value in shown)} to {number(each['high'], digits)}" in text
    costly = {**told[0], "group": "<b>costly</b>", "low": -0.2, "high": -0.1}
    alone = {**told[0], "group": "alone", "low": None, "high": None}
    unknown = {**alone, "group": "unknown", "chosen": None, "pool": None, "best": "", "best_quality": None}
    select = {**scored.manifests["select"], "worth": [costly, alone, unknown]}
    html = render(dataclasses.replace(scored, manifests={**scored.manifests, "select": select}))
    text = words(html)
    assert "<b>costly</b>" in text and "to −0.1" in text and "worse than random rows" in text
    assert "no source has two scored rows: no interval" in text
    assert "too few of their sources were scored–" in text
    without = {**scored.manifests["select"], "worth": None}
    assert "What the picks are worth" not in render(
        dataclasses.replace(scored, manifests={**scored.manifests, "select": without})
    )


@pytest.mark.slow
def test_the_head_says_how_well_quality_is_known(scored: RunFacts) -> None:
    known = {
        "pearson": 0.87,
        "pearson_low": 0.83,
        "pearson_high": 0.9,
        "within_source": 0.31,
        "source_mean": 0.85,
        "verdict": "Tells rows of a source apart.",
    }
    text = words(render(dataclasses.replace(scored, agreement={**known, "n_rows": 12})))
    assert "quality was really measured for 12 rows and predicted for the other 28" in text
    assert "(out-of-fold Pearson r = 0.87 [0.83, 0.90]; within sources 0.31; a source’s mean alone gives 0.85)" in text
    assert "Tells rows of a source apart. Row by row" in text
    assert re.search(r"That was seen on 12 scored rows and \d+ anchors: few, so take it as a hint\.", text)
    assert WARNING not in text


@pytest.mark.parametrize(("within", "warned"), [(None, True), (-0.5, True), (0.199, True), (0.2, False), (0.9, False)])
@pytest.mark.slow
def test_weak_evidence_within_sources_is_said_in_so_many_words(
    scored: RunFacts, within: float | None, warned: bool
) -> None:
    assert scored.agreement is not None
    facts = dataclasses.replace(scored, agreement={**scored.agreement, "within_source": within})
    assert (WARNING in words(render(facts))) == warned


@pytest.mark.slow
def test_an_agreement_that_could_not_be_computed_is_a_dash(scored: RunFacts) -> None:
    nothing = dict.fromkeys(("pearson", "pearson_low", "pearson_high", "within_source", "source_mean", "verdict"), None)
    html = render(dataclasses.replace(scored, agreement={**nothing, "n_rows": 12}))
    assert "how well cannot be said" in words(html)
    assert "nan" not in words(html).split() and "None" not in words(html).split()


@pytest.mark.slow
def test_picks_show_their_reasons_and_where_quality_comes_from(scored: RunFacts) -> None:
    text = words(render(scored))
    assert len(re.findall(r"quality, (?:real|predicted)", text)) == 12
    first = text.index("quality, ")
    assert "distance–" in text[first - 60 : first]
    assert "mixture/train.jsonl" in text


def test_a_long_text_is_cut_and_says_how_long_it_was(plain_run: Path) -> None:
    assert re.search(r"… first 400 of 1,\d{3} characters", render(read_facts(plain_run)))


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (-0.5, 3, "−0.500"),
        (None, 3, "–"),
        (float("nan"), 3, "–"),
        (1234.5, 1, "1,234.5"),
        (-0.0004, 3, "0.000"),
    ],
)
def test_numbers_are_typeset(value: float | None, digits: int, shown: str) -> None:
    assert number(value, digits) == shown

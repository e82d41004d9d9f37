"""Laws of the page of several runs in a browser: it tells who chose what, and nothing of a pool or a name acts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qads.report import write_runs_report
from report.chromium import BROWSER_MARKS, Seen
from report.runs import EVIL_NAME, RANDOM, other_run

pytestmark = BROWSER_MARKS
ALL_ROWS = "1 to 25 of 40 rows, "


@pytest.fixture(scope="module")
def page_file(plain_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_runs_report([plain_run, other_run(folder, name=EVIL_NAME, **RANDOM)], folder / "two.html")
    return folder / "two.html"


@pytest.fixture
def seen(opened: Seen) -> Iterator[Seen]:
    if opened.page.is_visible("#unfilter"):
        opened.page.click("#unfilter")
    assert opened.found.startswith(ALL_ROWS)
    yield opened
    assert opened.wrong == []


def counts(seen: Seen) -> list[int]:
    """Of both, only the first, only the second, neither: as the legend has them."""
    return [int(text.split()[0]) for text in seen.page.locator("#legend small").all_inner_texts()]


def test_the_page_asks_for_nothing_but_itself(seen: Seen, page_file: Path) -> None:
    assert {url for url in seen.asked if not url.startswith("data:")} == {page_file.as_uri()}


def test_legend_filters_and_heads_agree_on_who_chose_what(seen: Seen) -> None:
    both, *_, neither = counts(seen)
    assert sum(counts(seen)) == 40
    assert seen.found == f"{ALL_ROWS}{both} chosen by all, {40 - both - neither} by some"
    alone: list[int] = []
    for value in ("only-0", "only-1"):
        seen.page.select_option("#filters [name=state]", value)
        seen.says("rows found, 0 chosen by all")
        alone.append(int(seen.found.split(" of ")[1].split()[0]))
        assert alone[-1] + both == 12  # What each run has chosen.
    assert sorted(counts(seen)[1:3], reverse=True) == sorted(alone, reverse=True)
    seen.page.select_option("#filters [name=state]", "none")
    seen.says(f"of {neither} rows found, 0 chosen by all, 0 by some")


def test_a_head_sorts_by_the_steps_of_its_run(seen: Seen) -> None:
    seen.page.click("#samples th[data-sort=step-1] button")
    cells = seen.page.locator("#samples tbody tr > td:nth-child(5)").all_inner_texts()
    assert cells[:12] == [str(step) for step in range(1, 13)] and set(cells[12:]) == {"–"}
    seen.page.click("#samples th[data-sort=step-0] button")


def test_a_row_tells_why_one_run_has_chosen_it_and_the_other_has_not(seen: Seen) -> None:
    seen.page.select_option("#filters [name=state]", "only-0")
    seen.says("rows found, 0 chosen by all")
    seen.page.locator("#samples button.open").first.click()
    first, second = seen.page.locator("#samples .by").all_inner_texts()
    assert first.startswith("run") and "Picked at step" in first
    assert "Not picked. It is covered by" in second and "<script>" in second.split("Not picked")[0]
    assert seen.page.locator("#samples .sides > div").count() == 2


def test_the_map_is_coloured_by_who_chose_and_by_other_things(seen: Seen) -> None:
    seen.plane()
    before = seen.page.locator("#plane").screenshot()
    seen.page.select_option("#by", "source")
    seen.page.wait_for_timeout(500)
    assert seen.page.locator("#plane").screenshot() != before
    seen.page.select_option("#by", "chosen")


def test_hostile_rows_and_names_of_runs_are_inert(seen: Seen) -> None:
    page = seen.page
    for place in range(6):
        page.locator("#samples button.open").nth(place).click()
    acting = "img, iframe, object, embed, base, a[href^='javascript'], [onload], [onerror], .sample [style], #samples [style]"
    assert page.locator(acting).count() == 0
    assert page.locator("script").count() == 5  # Columns, texts, deck.gl as it is kept and as it is run, ours.
    assert not set("\x1b\u202e\x07") & set(page.content().partition('<script type="text/plain"')[0])


@pytest.mark.parametrize("width", [375, 1440])
def test_the_page_fits_its_window(browser: Any, page_file: Path, tmp_path: Path, width: int) -> None:
    seen = Seen(browser, page_file, viewport={"width": width, "height": 900})
    page = seen.drawn()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"{width}.png", full_page=True)
    assert seen.wrong == []
    seen.context.close()


def test_without_scripts_the_rows_that_each_alone_chose_are_listed(browser: Any, page_file: Path) -> None:
    seen = Seen(browser, page_file, java_script_enabled=False)
    assert seen.page.is_visible("#map-still") and seen.page.is_visible("noscript")
    assert seen.page.locator("#alone .pick").count() > 0 and not seen.page.is_visible("#filters")
    seen.context.close()

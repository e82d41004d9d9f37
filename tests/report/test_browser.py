"""Laws of the page in a browser: it draws, map and table filter each other, nothing of a pool acts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qads.report import write_report
from report.chromium import BROWSER_MARKS, Seen

WIDTHS = (375, 768, 1440)
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def page_file(plain_run: Path) -> Path:
    """The page of a run whose every text would like to act."""
    return write_report(plain_run)


def show_all(seen: Seen) -> None:
    if seen.page.is_visible("#unfilter"):
        seen.page.click("#unfilter")
    assert seen.found == "1 to 25 of 40 rows, 12 of them picked"


@pytest.fixture
def seen(opened: Seen) -> Iterator[Seen]:
    """The page as it opens; nothing may have gone wrong in it afterwards."""
    show_all(opened)
    yield opened
    assert opened.wrong == []


def test_the_page_asks_for_nothing_but_itself(seen: Seen, page_file: Path) -> None:
    assert {url for url in seen.asked if not url.startswith("data:")} == {page_file.as_uri()}


def test_every_row_is_in_the_table_and_picks_come_first(seen: Seen) -> None:
    steps = [cell.inner_text() for cell in seen.page.query_selector_all("#samples tbody tr > td:first-child")]
    assert steps == [*map(str, range(1, 13)), *["–"] * 13]
    seen.page.click("#pager [data-turn=last]")
    assert seen.found == "26 to 40 of 40 rows, 12 of them picked"
    seen.page.click("#pager [data-turn=first]")


def test_a_search_finds_what_holds_all_of_its_words(seen: Seen) -> None:
    seen.search("<SCRIPT>alert gnp.exe", n_rows=8)
    seen.search("nobody wrote this", n_rows=0)


def test_filters_join_and_are_taken_back_together(seen: Seen) -> None:
    seen.page.select_option("#filters [name=state]", "picked")
    seen.says("of 12 rows found")
    counts = [int(text.split()[0]) for text in seen.page.locator("#legend button small").all_inner_texts()]
    seen.page.locator("#legend button").nth(counts.index(max(counts))).click()
    assert f"of {max(counts)} rows found, {max(counts)} of them picked" in seen.found


def test_a_head_sorts_and_says_so(seen: Seen) -> None:
    head = seen.page.locator("#samples th[data-sort=length]")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    cells = seen.page.locator("#samples tbody tr > td:nth-last-child(2)").all_inner_texts()
    lengths = [int(text.replace(",", "")) for text in cells]
    assert len(lengths) == 25 and lengths == sorted(lengths, reverse=True)
    seen.page.click("#samples th[data-sort=step] button")


def test_a_lasso_on_the_map_filters_the_table_and_fades_the_rest(seen: Seen) -> None:
    page = seen.page
    page.click("[data-tool=lasso]")
    left, top, width, height = seen.plane()
    before = page.locator("#plane").screenshot()
    page.mouse.move(left + 0.01 * width, top + 0.01 * height)
    page.mouse.down()
    for x, y in [(0.5, 0.01), (0.5, 0.99), (0.01, 0.99), (0.01, 0.01)]:
        page.mouse.move(left + x * width, top + y * height, steps=4)
    page.mouse.up()
    page.wait_for_selector("#lassoed:not([hidden])")
    assert 0 < int(seen.found.split(" of ")[1].split()[0]) < 40
    page.wait_for_timeout(500)
    assert page.locator("#plane").screenshot() != before
    page.click("[data-tool=pan]")


def test_a_search_in_the_table_fades_the_map(seen: Seen) -> None:
    before = seen.page.locator("#plane").screenshot()
    seen.search("gnp.exe", n_rows=8)
    seen.page.wait_for_timeout(500)
    assert seen.page.locator("#plane").screenshot() != before


def test_a_point_names_its_row_and_a_click_shows_it(seen: Seen) -> None:
    page = seen.page
    left, top, width, height = seen.plane()
    places = [((i % 24 + 0.5) / 24, (i // 24 + 0.5) / 24) for i in range(24 * 24)]
    for x, y in places:
        page.mouse.move(left + x * width, top + y * height)
        if page.is_visible("#hover"):
            break
    first = page.inner_text("#hover > span").split()[:4]
    page.mouse.down()
    page.mouse.up()
    shown = page.inner_text("#sample .sides > div:first-child .text >> nth=0").split()
    assert first == shown[1:5]  # After the word Problem.


def test_a_pick_tells_its_step_beside_the_nearest_earlier_pick(seen: Seen) -> None:
    seen.page.locator("#samples button.open").nth(1).click()
    said = seen.page.inner_text("#samples .reason")
    assert said.startswith("Picked at step 2") and "from the nearest earlier pick" in said and "(step 1)" in said
    assert seen.page.locator("#samples .sides > div").count() == 2
    assert seen.page.locator("#samples button.open").nth(1).get_attribute("aria-expanded") == "true"


def test_a_row_that_was_not_picked_names_what_covers_it(seen: Seen) -> None:
    seen.page.select_option("#filters [name=state]", "left")
    seen.says("0 of them picked")
    seen.page.locator("#samples button.open").first.click()
    said = seen.page.inner_text("#samples .reason")
    assert said.startswith("Not picked. It is covered by") and "(step " in said


def test_formulas_are_typeset_and_code_is_code_and_neither_acts(seen: Seen) -> None:
    seen.search("onerror=alert(7)", n_rows=1)
    seen.page.locator("#samples button.open").click()
    texts = seen.page.locator("#samples .sides > div:first-child")
    assert texts.locator("math msup").count() == 1
    assert texts.locator("math[display=block] mtable").count() == 1
    assert "<img src=x onerror=alert(7)>" in texts.locator("math mtext").text_content().replace("\xa0", " ")
    assert "cost $5, then" in texts.inner_text()
    assert texts.locator("pre code").inner_text() == "print('<b>5</b>')"
    assert texts.locator("code.tex").count() == 1  # Nested too deep to be typeset.
    assert texts.locator("a, img, [href], [style], [src]").count() == 0


def test_a_hostile_pool_changes_nothing(seen: Seen) -> None:
    page = seen.page
    for place in range(12):
        page.locator("#samples button.open").nth(place).click()
    acting = "img, iframe, object, embed, base, a[href^='javascript'], [onload], [onerror], .sample [style], #samples [style]"
    assert page.locator(acting).count() == 0
    assert page.locator("script").count() == 5  # Columns, texts, deck.gl as it is kept and as it is run, ours.
    assert page.title() == "run – what qads chose"
    seen.search("U+202E", n_rows=8)
    page.locator("#samples button.open").first.click()
    shown = page.inner_text("#samples .opened")
    assert "⟨U+001B⟩[31m" in shown and "⟨U+202E⟩gnp.exe" in shown
    assert not set("\x1b\u202e\x07") & set(page.content().partition('<script type="text/plain"')[0])


def test_the_keyboard_reaches_everything_and_everything_has_a_name(seen: Seen) -> None:
    page = seen.page
    page.focus("#plane")
    before = page.locator("#plane").screenshot()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(500)
    assert page.locator("#plane").screenshot() != before
    page.keyboard.press("0")
    unnamed = """[...document.querySelectorAll("button, input, select, [role=region], [role=application]")].filter(
        (e) => e.offsetParent && !(e.innerText?.trim() && e.tagName === "BUTTON") && !e.ariaLabel && !e.labels?.length
    ).length"""
    assert page.evaluate(unnamed) == 0
    page.locator("#samples button.open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#samples tr.opened").count() == 1


def test_without_scripts_there_are_lists_and_a_still_map(browser: Any, page_file: Path) -> None:
    seen = Seen(browser, page_file, java_script_enabled=False)
    assert seen.page.is_visible("#map-still") and seen.page.is_visible("noscript")
    assert not seen.page.is_visible("#filters") and seen.page.locator(".pick").count() == 12
    seen.context.close()


def test_without_webgl_the_still_map_stays_and_the_table_works(browser: Any, page_file: Path) -> None:
    context = browser.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_selector("#map-failed:not([hidden])", timeout=60_000)
    assert page.is_visible("#map-still") and "of 40 rows" in page.inner_text("#found")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window(browser: Any, page_file: Path, tmp_path: Path, width: int, scheme: str) -> None:
    seen = Seen(browser, page_file, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = seen.drawn()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    page.emulate_media(media="print")
    assert page.is_visible("#map-still") and not page.is_visible("#plane")
    assert seen.wrong == []
    seen.context.close()


def test_a_map_that_is_drawn_slowly_is_moved_as_a_picture_and_then_drawn_in_its_place(seen: Seen) -> None:
    page = seen.page
    left, top, width, height = seen.plane()
    canvas = "() => document.querySelector('#plane canvas').style.transform"
    page.click("[data-tool=whole]")
    page.wait_for_timeout(600)
    whole = page.locator("#plane").screenshot()
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.down()
    page.mouse.move(left + width / 2 + 60, top + height / 2 + 30, steps=4)
    moved = page.evaluate(canvas)
    page.mouse.up()
    page.wait_for_timeout(1000)
    assert moved in ("", "translate(60px, 30px) scale(1)")  # Nothing on a machine that draws fast.
    assert page.evaluate(canvas) == ""
    assert page.locator("#plane").screenshot() != whole
    page.click("[data-tool=whole]")
    page.wait_for_timeout(1000)
    assert page.locator("#plane").screenshot() == whole

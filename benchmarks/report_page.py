"""How large the page of a run is, how soon it can be read, and how smoothly its map moves; in Chromium.

    python benchmarks/report_page.py runs/mine
    python benchmarks/report_page.py side-by-side.html

Opens RUN/report/report.html, or a page by itself (both written by `qads report`), in fresh windows. Times are from
navigation, in milliseconds: first view (first contentful paint), table usable, map drawn; of the map the time of a
picture to its last pixel, and while it is dragged the median and the longest time between two turns of the page.
Without a graphics card Chromium draws WebGL by the processor, which is the worst case; where a picture takes more than
45 ms, the page moves the last one and draws when the map rests.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

WATCH = """() => { window.gaps = []; let before = performance.now(); const watch = (now) => {
    window.gaps.push(now - before); before = now; requestAnimationFrame(watch) }; requestAnimationFrame(watch) }"""
TABLE = """() => { const seen = new MutationObserver(() => { if (document.documentElement?.dataset.table) {
    window.usable = performance.now(); seen.disconnect() } });
    seen.observe(document, { attributes: true, subtree: true }) }"""


def measure(browser: Browser, file: Path) -> dict[str, float]:
    """One opening."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(f"({TABLE})()")
    page = context.new_page()
    page.goto(file.resolve().as_uri())
    page.wait_for_selector("#plane[data-frame]", timeout=300_000)
    found: dict[str, Any] = {
        "first view": page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"),
        "table usable": page.evaluate("() => window.usable"),
        "map drawn": page.evaluate("() => performance.now()"),
        "one picture": float(page.get_attribute("#plane", "data-frame") or "nan"),
    }
    found |= drag(page)
    context.close()
    return found


def drag(page: Page) -> dict[str, float]:
    """Move the map for two seconds or so."""
    page.evaluate("() => document.querySelector('#plane').scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)
    box = page.locator("#plane").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH)
    for step in range(60):
        page.mouse.move(x + 3 * step, y + step)
        page.wait_for_timeout(16)
    page.mouse.up()
    gaps: list[float] = page.evaluate("() => window.gaps")
    return {"turn while dragged, median": statistics.median(gaps), "turn while dragged, longest": max(gaps)}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run, or a page")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    file = arguments.run if arguments.run.is_file() else arguments.run / "report" / "report.html"
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    with sync_playwright() as tool:
        flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        found = [measure(browser, file) for _ in range(arguments.times)]
        browser.close()
    print("| milliseconds | " + " | ".join(f"opening {i + 1}" for i in range(len(found))) + " |")
    print("|---|" + "---:|" * len(found))
    for name in found[0]:
        print(f"| {name} | " + " | ".join(f"{each[name]:,.0f}" for each in found) + " |")


if __name__ == "__main__":
    main()

"""Debian's Chromium with a page in it, and all that went wrong there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MUST = os.environ.get("QADS_REQUIRE_BROWSER") == "1"
BROWSER_MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not MUST, reason="no Chromium; with QADS_REQUIRE_BROWSER=1 this fails"),
]


@contextmanager
def open_chromium() -> Generator[Any]:
    """The browser; skips where Playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    assert CHROMIUM is not None, "QADS_REQUIRE_BROWSER is 1, but there is no Chromium"
    with playwright.sync_playwright() as tool:
        # As root Chromium has no sandbox; without a graphics card WebGL is drawn by the processor.
        flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Seen:
    """A page that is open, and all that went wrong in it."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
        self.page, self.wrong, self.asked = self.context.new_page(), list[str](), list[str]()
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def drawn(self) -> Any:
        self.page.wait_for_selector("#plane[data-drawn]", timeout=120_000)
        return self.page

    @property
    def found(self) -> str:
        return self.page.inner_text("#found")

    def search(self, words: str, *, n_rows: int) -> None:
        self.page.fill("#filters [name=search]", words)
        self.says(f"of {n_rows} rows found" if n_rows else "No row is like that.")

    def says(self, said: str) -> None:
        """Wait for the line above the table to say so."""
        self.page.wait_for_function("said => document.querySelector('#found').innerText.includes(said)", arg=said)

    def plane(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the map, which is brought into the window."""
        self.page.evaluate("document.querySelector('#plane').scrollIntoView({block: 'center'})")
        box = self.page.locator("#plane").bounding_box()
        return box["x"], box["y"], box["width"], box["height"]

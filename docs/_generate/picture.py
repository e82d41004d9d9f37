"""The picture of a report in the README: `make picture` runs the demo and writes `docs/drawings/report.png`.

The page of the demo as Chromium shows it, light, 1440 pixels wide: its head, the map with a row of the table opened.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

__all__ = ["take_picture"]

WIDTH, HEIGHT = 1440, 1580
_MOST_MILLISECONDS = 400_000
"""Without a graphics card, beside other work."""
_COLOURS = 128
"""The page has few; a palette makes the file a third as large."""


def take_picture(page: Path, picture: Path) -> None:
    """Draw the page of a run and keep what its first screen and its map show.

    Args:
        page: `report.html` of a run.
        picture: PNG to write.
    """
    with sync_playwright() as tool:
        # As root Chromium has no sandbox; without a graphics card WebGL is drawn by the processor.
        flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        seen = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        seen.set_default_timeout(_MOST_MILLISECONDS)
        seen.goto(page.resolve().as_uri())
        seen.wait_for_selector("#plane[data-drawn]")
        seen.wait_for_timeout(1_000)
        shot = Image.open(io.BytesIO(seen.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})))
        browser.close()
    shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), Path(__file__).parents[1] / "drawings" / "report.png")

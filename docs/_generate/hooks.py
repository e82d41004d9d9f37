"""What the site has beside its pages: generated references, files that are linked to, typeset equations.

mkdocs calls the functions by their names; see `hooks:` in `mkdocs.yml`.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from pages import generated_pages

__all__ = ["on_config", "on_files", "on_page_content", "on_page_markdown"]

_ROOT = Path(__file__).parents[2]
_OUTSIDE = "repository"
"""Folder of the site for files of the repository that are not in `docs`."""
_LINK = re.compile(r"(?<=\]\()((?!https?:)[^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the entries ``folder/*`` of the navigation: every page of the folder that is not named before."""
    named = set(_pages_in(config.nav))
    config.nav = _filled(config.nav, named)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is written from the program, and what the pages link to outside of `docs`."""
    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    for path in _outside({f"docs/{page.src_uri}": page.content_string for page in files.documentation_pages()}):
        outside = File.generated(config, f"{_OUTSIDE}/{path}", abs_src_path=str(_ROOT / path))
        outside.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(outside)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links that leave `docs` lead to the copies on the site."""
    where = page.file.src_uri
    if where.startswith(f"{_OUTSIDE}/"):
        return markdown  # Copies lie as the originals do.

    def moved(link: re.Match[str]) -> str:
        path = _target(f"docs/{where}", link[1])
        return link[1] if path is None else f"{'../' * where.count('/')}{_OUTSIDE}/{path}"

    return _LINK.sub(moved, markdown)


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Equations become MathML, and drawings part of the page, so that they follow its light and dark."""
    html_text = re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _equation, html_text, flags=re.DOTALL)

    def inlined(image: re.Match[str]) -> str:
        drawing = Path(config.docs_dir) / "drawings" / image[2]
        svg = drawing.read_text().replace("<svg ", f'<svg aria-label="{image[1]}" ', 1)
        return f'<figure class="drawing">{svg}</figure>'

    return re.sub(r'<img alt="([^"]*)" src="[^"]*drawings/([\w-]+\.svg)" ?/?>', inlined, html_text)


def _equation(found: re.Match[str]) -> str:
    tex = html.unescape(found[2]).strip()
    if tex.startswith("\\["):
        return f'<div class="equation">{convert(tex[2:-2].strip(), display="block")}</div>'
    return convert(tex[2:-2].strip())


def _target(page: str, link: str) -> str | None:
    """Path in the repository of the file that a page links to, where it is outside of `docs`."""
    target = (_ROOT / page).parent.joinpath(link).resolve()
    if target.is_relative_to(_ROOT / "docs") or not target.is_relative_to(_ROOT) or not target.is_file():
        return None
    return target.relative_to(_ROOT).as_posix()


def _outside(pages: dict[str, str]) -> list[str]:
    """What pages (path -> Markdown) link to outside of `docs`, and what that links to in turn."""
    found: set[str] = set()
    left = list(pages.items())
    while left:
        page, text = left.pop()
        new = {path for link in _LINK.findall(text) if (path := _target(page, link)) is not None} - found
        found |= new
        left += [(path, (_ROOT / path).read_text()) for path in new if path.endswith(".md")]
    return sorted(found)


def _pages_in(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for each in inner for page in _pages_in(each)]


def _filled(nav: Any, named: set[str]) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(inner, named) for title, inner in nav.items()}
    if not isinstance(nav, list):
        return nav
    filled: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            folder = _ROOT / "docs" / entry.removesuffix("/*")
            pages = (f"{folder.name}/{path.name}" for path in sorted(folder.glob("*.md")))
            filled += [page for page in pages if page not in named]
        else:
            filled.append(_filled(entry, named))
    return filled

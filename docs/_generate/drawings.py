"""The drawings of the documentation: `python docs/_generate/drawings.py` writes them to `docs/drawings/`.

They are committed, so that the pages are whole wherever Markdown is read; a test compares them with what is drawn here.
Colours are variables: by themselves drawings follow the reader's system, on the site its light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

import qads

__all__ = ["DRAWINGS"]

_LIGHT = "--ink:#1f2a2e;--soft:#55666d;--line:#90a4ab;--fill:#eff5f5;--accent:#00796b;--warm:#b4480f;--page:#ffffff"
_DARK = "--ink:#e6eef0;--soft:#a9bac0;--line:#71858c;--fill:#26323a;--accent:#4db6ac;--warm:#ffab76;--page:#1e2129"
_STYLE = f"""<style>
svg.qads {{{_LIGHT}}}
@media (prefers-color-scheme: dark) {{svg.qads {{{_DARK}}}}}
[data-md-color-scheme="default"] svg.qads {{{_LIGHT}}}
[data-md-color-scheme="slate"] svg.qads {{{_DARK}}}
svg.qads text {{font-family:system-ui,sans-serif;font-size:13px;fill:var(--ink)}}
svg.qads .soft {{fill:var(--soft);font-size:12px}} svg.qads .strong {{font-weight:600}}
svg.qads .box {{fill:var(--fill);stroke:var(--line)}}
svg.qads .marked {{fill:var(--fill);stroke:var(--accent);stroke-width:2}}
svg.qads .warm {{fill:var(--fill);stroke:var(--warm);stroke-width:2}}
svg.qads .line {{stroke:var(--line);fill:none;stroke-width:1.5}}
svg.qads .dot {{fill:var(--accent)}} svg.qads .pick {{fill:none;stroke:var(--warm);stroke-width:2}}
svg.qads .head {{fill:var(--line)}}
</style>"""


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="qads" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><title>{escape(title)}</title>'
    )
    return "\n".join([head, _STYLE, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{style}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, lines: Sequence[str], style: str = "box") -> str:
    """A box with a strong first line and softer ones."""
    height = 14 + 18 * len(lines)
    shown = [
        _text(x + width / 2, y + 20 + 18 * number, line, "soft" if number else "strong")
        for number, line in enumerate(lines)
    ]
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height}" rx="6" class="{style}"/>' + "".join(shown)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight arrow, to the right or downwards."""
    tip = (
        f"M{x2 - 7:g} {y2 - 4:g} L{x2:g} {y2:g} L{x2 - 7:g} {y2 + 4:g} Z"
        if abs(x2 - x1) > abs(y2 - y1)
        else f"M{x2 - 4:g} {y2 - 7:g} L{x2:g} {y2:g} L{x2 + 4:g} {y2 - 7:g} Z"
    )
    return f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" class="line"/><path d="{tip}" class="head"/>'


def pipeline() -> str:
    """From files to a mixture."""
    parts = [
        _box(10, 20, 110, ["pool", "candidates"]),
        _box(150, 20, 110, ["clean", "duplicates,", "evaluation out"]),
        _box(290, 20, 120, ["embed", "every row", "a vector"]),
        _box(10, 150, 110, ["anchors", "the target skill"], "warm"),
        _box(150, 150, 110, ["influence", "a sample of rows,", "really scored"], "marked"),
        _box(290, 150, 120, ["scorer", "fitted, and judged", "on unseen rows"]),
        _box(440, 150, 110, ["quality", "of every row"], "marked"),
        _box(440, 20, 110, ["select", "far and good,", "to the budget"], "marked"),
        _box(580, 20, 120, ["mixture", "rows in order,", "each with reason"]),
        _box(580, 150, 120, ["report", "what, why,", "how sure"]),
        _arrow(120, 54, 150, 54), _arrow(260, 54, 290, 54), _arrow(410, 54, 440, 54), _arrow(550, 54, 580, 54),
        _arrow(120, 175, 150, 175), _arrow(260, 175, 290, 175), _arrow(410, 175, 440, 175),
        _arrow(205, 88, 205, 150), _arrow(350, 88, 350, 150), _arrow(640, 88, 640, 150),
        '<path d="M495 150 L495 90" class="line"/><path d="M491 97 L495 90 L499 97 Z" class="head"/>',
    ]  # fmt: skip
    return _svg(710, 232, "From a pool of candidates to a mixture: the stages of a run", parts)


def influence() -> str:
    """The two settings whose difference is influence."""
    rows = [(30, "zero-shot", None, "z"), (120, "one-shot", "example: candidate i", "o")]
    parts = [_text(20, 18, "What the model reads, and which tokens are scored", "soft", "start")]
    for y, name, example, symbol in rows:
        parts += [_text(20, y + 26, name, "strong", "start"), _box(105, y, 70, ["header"])]
        if example is not None:
            parts.append(_box(183, y, 235, [example], "warm"))
        parts += [
            _box(426, y, 110, ["problem j"]),
            _box(544, y, 110, ["solution j"], "marked"),
            _text(600, y + 50, f"mean log-probability: {symbol}", "soft"),
        ]
    parts += [
        _text(370, 205, "influence of i on j:  g = o − z,  in nats a token", "strong"),
        _text(
            370, 225, "header, problem and solution of j are the same tokens in both, so the difference is i's", "soft"
        ),
    ]
    return _svg(700, 236, "Influence: the solution of anchor j is scored without and with candidate i before it", parts)


def selection() -> str:
    """What four values of alpha pick from one made-up pool."""
    points, quality = _toy_pool()
    panels = [
        ("alpha = 0: distance", qads.KCenterGreedy(alpha=0.0)),
        ("alpha = 0.25", qads.KCenterGreedy(alpha=0.25)),
        ("alpha = 1 (default)", qads.KCenterGreedy(alpha=1.0)),
        ("quality alone", qads.TopQuality()),
    ]
    parts: list[str] = []
    for number, (title, selector) in enumerate(panels):
        picks = selector(points, quality, budget=10).indices
        parts += _panel(15 + 175 * number, title, points, quality, picks.tolist())
    note = "90 made-up rows in a plane; the darker, the higher the quality. Circles: the first ten picks."
    parts.append(_text(355, 222, note, "soft"))
    return _svg(715, 232, "Ten picks of four selectors from the same rows", parts)


def _panel(left: float, title: str, points: np.ndarray, quality: np.ndarray, picks: Sequence[int]) -> Iterator[str]:
    yield f'<rect x="{left:g}" y="30" width="160" height="170" rx="6" class="box"/>'
    yield _text(left + 80, 20, title, "strong")
    for (x, y), value in zip(points, quality, strict=True):
        place = f'cx="{left + 10 + 140 * x:.1f}" cy="{40 + 150 * y:.1f}"'
        yield f'<circle {place} r="3" class="dot" opacity="{0.15 + 0.85 * value:.2f}"/>'
    for row in picks:
        x, y = points[row]
        yield f'<circle cx="{left + 10 + 140 * x:.1f}" cy="{40 + 150 * y:.1f}" r="6.5" class="pick"/>'


def _toy_pool() -> tuple[np.ndarray, np.ndarray]:
    """Three clouds and some strays, in [0, 1]², with qualities in [0, 1]."""
    rng = np.random.default_rng(3)
    clouds = [((0.25, 0.3), 0.85, 35), ((0.72, 0.25), 0.5, 25), ((0.6, 0.75), 0.2, 22)]
    points = [rng.normal(centre, 0.09, (n, 2)) for centre, _, n in clouds] + [rng.uniform(0, 1, (8, 2))]
    quality = [rng.normal(mean, 0.1, n) for _, mean, n in clouds] + [rng.uniform(0, 0.3, 8)]
    return np.concatenate(points).clip(0, 1), np.concatenate(quality).clip(0, 1)


DRAWINGS = {"pipeline.svg": pipeline, "influence.svg": influence, "selection.svg": selection}

if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "drawings"
    folder.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (folder / name).write_text(draw())

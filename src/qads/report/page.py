"""Facts -> one HTML page: no network, nothing but this file.

Names and texts come from strangers' datasets. Every string passes two gates on its way into the page,
whatever the template does with it: `visible` names the characters that act (control, bidirectional),
autoescaping takes what HTML reads. What the scripts of the page show is base64 in it and becomes text nodes.
The content security policy allows one style sheet and, where there is a map, two scripts (ours, deck.gl's), each
by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jinja2
from markupsafe import Markup

from qads.amounts import duration
from qads.config import ReportConfig
from qads.datasets import atomic_path
from qads.report.curves import Axis, Curve, axis_over
from qads.report.facts import RunFacts, read_facts
from qads.report.numbers import digits_for, number
from qads.report.passages import Passage, visible

__all__ = ["digits_for", "number", "page_scripts", "render", "render_page", "write_report"]

_WEAK_CORRELATION = 0.2
"""Below it the prediction explains less than 4% of the variance."""
_HEAT_STEPS = 6
_SCRIPTS = ("columns.js", "sample.js", "table.js", "runs.js", "map.js", "explore.js")
"""Our script, in this order: they are one."""


def write_report(directory: Path, *, label_key: str | None = None, settings: ReportConfig | None = None) -> Path:
    """Write `report/report.html` into the directory of a finished run; the same run gives the same bytes.

    Args:
        directory: of the run.
        label_key: a key of the rows' `meta`; picks are then counted by its values as well (null is "clean").
        settings: what of map and samples is shown; as the run's own configuration says by default.

    Returns:
        The page.

    Raises:
        RunError: a stage of the run is missing.
        CorruptError: a file of the run is not what its manifest says.
        InputError: no row has `label_key`.
    """
    directory = Path(directory)
    page = render(read_facts(directory, label_key=label_key, settings=settings))
    path = directory / "report" / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def render(facts: RunFacts) -> str:
    """The page."""
    agreement = facts.agreement
    return render_page(
        "page.html",
        **page_scripts(facts.samples is not None),
        facts=facts,
        weak=agreement is not None and is_weak(agreement["within_source"]),
        quality_digits=digits_for([s.quartiles[4] for s in facts.sources if s.quartiles]),
        gain_digits=digits_for([pick.gain for pick in facts.first_picks if pick.gain is not None]),
        most_picked=max(max(s.pick_share, s.share) for s in facts.sources),
    )


def page_scripts(wanted: bool) -> dict[str, Any]:
    """The scripts of a page with a map and their hashes, by the names that templates know; without a map none."""
    scripts = _scripts() if wanted else None
    return {"scripts": scripts, "script_hashes": [] if scripts is None else [*map(_digest, scripts.values())]}


@cache
def _scripts() -> Mapping[str, Markup]:
    """Our script and deck.gl's, as they stand in the page."""
    ours = "\n".join(["(() => {", '"use strict";', *map(_resource, _SCRIPTS), "})();"])
    bundle = files("pydeck").joinpath("nbextension/static/index.js").read_text(encoding="utf-8").replace("\r\n", "\n")
    scripts = {"ours": ours, "deck": bundle.partition("//# sourceMappingURL")[0]}
    assert not any(mark in text.lower() for text in scripts.values() for mark in ("</script", "<!--", "\r", "\0"))
    return {name: Markup(text) for name, text in scripts.items()}  # Not of a pool.


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def render_page(template: str, **values: Any) -> str:
    """A template of ours with the style sheet and its hash."""
    style = _resource("page.css")
    of_ours = {"style": Markup(style), "style_hash": _digest(style)}
    return _environment().get_template(template).render(of_ours, **values)


@cache
def _environment() -> jinja2.Environment:
    """What templates know; kept, since compiling one takes longer than filling it."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = environment.filters  # pyright: ignore[reportAssignmentType]
    filters.update(
        axis=axis_over, band=_band, count=_count, digits=digits_for, duration=duration, heat=_heat, number=number,
        path=_path, percent=_percent, settings=_settings, short=_short, visible=visible,
    )  # fmt: skip
    return environment


def is_weak(within_source: float | None) -> bool:
    """Whether the order inside a source is next to unpredicted."""
    return within_source is None or not within_source >= _WEAK_CORRELATION


def _count(n: int) -> str:
    return f"{n:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("sha256:")[:12]


def _resource(name: str) -> str:
    return files("qads.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _shown(value: object) -> object:
    """What Jinja prints in place of a value; markup is our own template's."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str | Passage):
        return visible(str(value))
    return value


def _path(curve: Curve, axis: Axis) -> str:
    """Points of a polyline in a square of 100 by 100, the origin at the top left."""
    return " ".join(f"{x:.2f},{100 - axis.place(y):.2f}" for x, y in zip(_across(curve), curve.values, strict=True))


def _band(curve: Curve, axis: Axis) -> str:
    """Points of the polygon between the least and the greatest of every bin."""
    across = _across(curve)
    upper = zip(across, curve.high, strict=True)
    lower = zip(reversed(across), reversed(curve.low), strict=True)
    return " ".join(f"{x:.2f},{100 - axis.place(y):.2f}" for x, y in (*upper, *lower))


def _across(curve: Curve) -> list[float]:
    return [100 * (n - 1) / max(1, curve.n_picks - 1) for n in curve.numbers]


def _heat(value: float | None, greatest: float) -> str:
    """The class that colours a cell: how far a value is from 0 on the way to the greatest of the table."""
    if value is None or not math.isfinite(value) or greatest == 0:
        return "heat-0"
    step = round(_HEAT_STEPS * min(1.0, abs(value) / greatest))
    return f"heat-{step}" + (" cold" if value < 0 and step else "")


def _settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (dotted name, value); what is not set is left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _settings(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        elif value not in (None, "", [], {}):
            yield (
                f"{prefix}{name}",
                repr(value) if name in ("question", "answer", "separator") else str(value),
            )

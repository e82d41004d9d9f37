"""The rows that a page shows one by one: places on the map, reasons, texts; a finished run -> text for its scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.config import ReportConfig
from qads.pool import Pool, Row, take_rows
from qads.report.evidence import FinishedRun
from qads.report.formulas import formula
from qads.report.numbers import digits_for
from qads.report.passages import visible
from qads.report.payload import as_base64, packed, quantised
from qads.report.segments import Segment, segments
from qads.report.still import StillMap, still_map
from qads.run import Plane, ensure_projection
from qads.run.context import floats

__all__ = [
    "SampleFacts",
    "Texts",
    "choice_columns",
    "closed_rows",
    "read_samples",
    "sample_columns",
    "steps_of",
    "with_rows",
]

_BEGINNING = 90
"""Characters of a problem of which the whole is not in the page."""
_NAME = 120
"""Characters of an id or a source."""
_BLOCK = 128


@dataclass(frozen=True)
class SampleFacts:
    """What the map and the table show, and what they leave out."""

    n_shown: int
    """Rows on the map and in the table."""
    n_left_out: int
    """Rows of the pool that are neither."""
    n_placed: int
    """Picks that were not laid out themselves and stand where the row nearest to them does."""
    n_texts: int
    """Rows whose texts are in the page."""
    n_cut: int
    """Problems and solutions among them that are cut."""
    characters: int
    """After which."""
    n_formulas: int
    n_untyped: int
    """Formulas that could not be typeset and are shown as TeX."""
    has_gain: bool
    """Whether anything was maximised."""
    still: StillMap
    columns: str
    """Numbers and names of all rows, packed."""
    texts: str
    """Texts, packed."""


def read_samples(run: FinishedRun, settings: ReportConfig) -> SampleFacts | None:
    """Everything that map and table show; None where no map is asked for.

    Args:
        run: with its directory locked by the caller: the map is computed and kept there.
        settings: how much is shown.
    """
    if settings.projection is None:
        return None
    plane, n_placed = with_rows(run, ensure_projection(run.root, settings.projection), run.picks)
    texts = Texts(run.pool, plane.rows, _rows_with_texts(run, plane.rows, settings.texts), settings.characters)
    written = packed(texts.as_json())
    steps = steps_of(run)[plane.rows]
    return SampleFacts(
        n_shown=len(plane.rows),
        n_left_out=len(run.pool) - len(plane.rows),
        n_placed=n_placed,
        n_texts=len(texts.whole),
        n_cut=texts.n_cut,
        characters=settings.characters,
        n_formulas=texts.n_formulas,
        n_untyped=texts.n_untyped,
        has_gain=any(gain is not None for gain in run.reasons["gain"]),
        still=still_map(plane.places, steps >= 0),
        columns=packed({**sample_columns(run.pool, plane), **choice_columns(run, plane.rows, steps)}),
        texts=written,
    )


def with_rows(run: FinishedRun, plane: Plane, wanted: Int[np.ndarray, " w"]) -> tuple[Plane, int]:
    """The plane with these rows on it too; those that were not drawn stand where the drawn row nearest to them does."""
    out = np.setdiff1d(wanted, plane.rows)
    if len(out) == 0:
        return plane, 0
    drawn = np.asarray(run.embeddings[plane.rows], np.float32)
    squares = (drawn**2).sum(axis=1)
    nearest = [
        (squares - 2 * (np.asarray(run.embeddings[rows], np.float32) @ drawn.T)).argmin(axis=1)
        for rows in np.split(out, range(_BLOCK, len(out), _BLOCK))
    ]
    rows = np.concatenate([plane.rows, out])
    places = np.concatenate([plane.places, plane.places[np.concatenate(nearest)]])
    order = np.argsort(rows)
    return Plane(rows[order], places[order]), len(out)


def _rows_with_texts(run: FinishedRun, shown: Int[np.ndarray, " m"], n: int) -> Int[np.ndarray, " t"]:
    """Positions in `shown`: picks in their order, then in turn the best of the rest and an even draw of it."""
    place = {row: i for i, row in enumerate(shown.tolist())}
    picks = np.array([place[row] for row in run.picks.tolist()], np.int64)
    left = np.setdiff1d(np.arange(len(shown)), picks)
    n_left = min(len(left), max(0, n - len(picks)))
    value = run.coverage.distances if run.quality is None else np.nan_to_num(run.quality, nan=-np.inf)
    best = left[np.argsort(-value[shown[left]], kind="stable")][: (n_left + 1) // 2]
    rest = np.setdiff1d(left, best)
    drawn = rest[np.linspace(0, len(rest) - 1, n_left - len(best)).round().astype(np.int64)]
    return np.concatenate([picks[:n], best, drawn])


def steps_of(run: FinishedRun) -> Int[np.ndarray, " n"]:
    """The step of every row's pick; −1 for a row that was not picked."""
    steps = np.full(len(run.pool), -1, np.int32)
    steps[run.picks] = np.arange(len(run.picks), dtype=np.int32)
    return steps


def sample_columns(pool: Pool, plane: Plane) -> Mapping[str, Any]:
    """What a page's scripts read of rows, whoever chose them; arrays in base64."""
    table = take_rows(pool.table, plane.rows)
    sources, kinds = (table[name].combine_chunks().dictionary_encode() for name in ("source", "kind"))
    letters = sum(pc.call_function("utf8_length", [table[name]]).to_numpy() for name in ("problem", "solution"))
    return {
        "n": len(plane.rows),
        "ids": _names(table["id"].to_pylist()),
        "sources": _names(sources.dictionary.to_pylist()),
        "kinds": kinds.dictionary.to_pylist(),
        "source": as_base64(sources.indices.to_numpy().astype(np.uint16)),
        "kind": as_base64(kinds.indices.to_numpy().astype(np.uint8)),
        **{axis: _place(plane.places[:, i]) for i, axis in enumerate("xy")},
        "length": as_base64(np.asarray(letters, np.uint32)),
    }


def choice_columns(run: FinishedRun, rows: Int[np.ndarray, " m"], steps: Int[np.ndarray, " m"]) -> Mapping[str, Any]:
    """What a run made of rows: their quality, steps, reasons.

    Args:
        run: that chose.
        rows: positions in its pool.
        steps: of their picks; −1 for a row that was not picked.
    """
    closed, reasons = closed_rows(run)
    return {
        "picks": len(run.picks),
        "quality": None if run.quality is None else as_base64(run.quality[rows].astype(np.float32)),
        "digits": 3 if run.quality is None else digits_for(run.quality[np.isfinite(run.quality)].tolist()),
        "origin": _origin(run, rows),
        "step": as_base64(steps),
        **_reasons(run, rows, steps),
        "closed": as_base64(closed[rows]),
        "reasons": reasons,
    }


def _reasons(run: FinishedRun, rows: Int[np.ndarray, " m"], steps: Int[np.ndarray, " m"]) -> Mapping[str, Any]:
    """Of picks what was maximised and the nearest earlier pick; of other rows the pick that covers them."""
    picked = steps >= 0
    step_of = {name: step for step, name in enumerate(run.reasons["id"])}
    earlier = np.array([step_of.get(name, -1) for name in run.reasons["nearest"]], np.int32)
    near = np.where(picked, earlier[steps], run.coverage.steps[rows]).astype(np.int32)
    distance = np.where(picked, floats(run.reasons["distance"])[steps], run.coverage.distances[rows])
    known = [gain for gain in run.reasons["gain"] if gain is not None]
    gain = np.where(picked, floats(run.reasons["gain"])[steps], np.nan)
    nearest = ((i, run.reasons["nearest"][steps[i]]) for i in np.flatnonzero(picked).tolist())
    return {
        "near": as_base64(near),
        "given": {str(i): visible(name[:_NAME]) for i, name in nearest if name is not None and name not in step_of},
        "distance": as_base64(distance.astype(np.float32)),
        "gain": as_base64(gain.astype(np.float32)) if known else None,
        "gain_digits": digits_for(known),
    }


def _place(values: Float[np.ndarray, " m"]) -> list[Any]:
    numbers, least, step = quantised(values)
    return [as_base64(numbers), least, step]


def _origin(run: FinishedRun, rows: Int[np.ndarray, " m"]) -> str | None:
    if (origins := run.origins) is None:
        return None
    code = {"real": 1, "predicted": 2}
    return as_base64(np.array([code.get(origins[row], 0) for row in rows.tolist()], np.uint8))


def closed_rows(run: FinishedRun) -> tuple[np.ndarray, list[str]]:
    """For every row the number of the reason why it was not up for selection; 0 for none."""
    closed, reasons = np.zeros(len(run.pool), np.uint8), [""]
    path = run.root / "select" / "closed.parquet"
    if path.exists():
        table: Any = pq.read_table(path)
        for row, reason in zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True):
            if (reason := visible(reason)) not in reasons and len(reasons) < 255:
                reasons.append(reason)
            closed[row] = reasons.index(reason) if reason in reasons else 0
    least = (run.config.get("constraints") or {}).get("min_distance")
    if least:
        near = (run.coverage.distances < least) & (closed == 0)
        near[run.picks] = False
        reasons.append(f"nearer than {least:g} to a pick")
        closed[near] = len(reasons) - 1
    return closed, reasons


def _names(names: Iterable[str]) -> list[str]:
    return [visible(name if len(name) <= _NAME else name[:_NAME] + "…") for name in names]


class Texts:
    """Texts of rows, with the formulas of all of them in one list."""

    def __init__(self, pool: Pool, shown: Int[np.ndarray, " m"], whole: Int[np.ndarray, " t"], characters: int) -> None:
        self._shown, self._pool, self._characters = shown, pool, characters
        self.whole = whole
        self.n_cut = self.n_formulas = self.n_untyped = 0
        self._formulas: list[list[Any]] = []
        self._number: dict[Segment, int | None] = {}

    def as_json(self) -> Mapping[str, Any]:
        """What the scripts read."""
        is_whole = np.zeros(len(self._shown), np.bool_)
        is_whole[self.whole] = True
        problems = take_rows(self._pool.table.select(["problem"]), self._shown)["problem"].to_pylist()
        texts = [self._texts_of(sample) for sample in self._pool.take(self._shown[self.whole])]
        return {
            "rows": self.whole.tolist(),
            "texts": texts,
            "formulas": self._formulas,
            "beginnings": [
                "" if whole else visible(text[:_BEGINNING]) for whole, text in zip(is_whole, problems, strict=True)
            ],
        }

    def _texts_of(self, sample: Row) -> list[Any]:
        is_code = sample.kind == "pot" and "```" not in sample.solution
        found = [self._pieces(sample.problem), self._pieces(sample.solution, is_code=is_code)]
        if sample.context:
            found.append(self._pieces("\n\n".join(f"{turn['role']}: {turn['content']}" for turn in sample.context)))
        return found

    def _pieces(self, text: str, *, is_code: bool = False) -> Any:
        if len(text) > self._characters:
            self.n_cut += 1
            text = f"{text[: self._characters]}… (of {len(text):,} characters)"
        pieces = [self._piece(piece) for piece in segments(text, is_code=is_code)]
        return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], str) else pieces

    def _piece(self, piece: Segment) -> str | int | dict[str, str]:
        if piece.kind == "words":
            return piece.text
        if piece.kind == "code":
            return {"c": piece.text}
        self.n_formulas += 1
        number = self._number[piece] if piece in self._number else self._typeset(piece)
        self.n_untyped += number is None
        return {"t": piece.text} if number is None else number

    def _typeset(self, piece: Segment) -> int | None:
        tree = formula(piece.text, display=piece.kind == "display")
        if tree is not None:
            self._formulas.append([piece.text, tree])
        self._number[piece] = None if tree is None else len(self._formulas) - 1
        return self._number[piece]

"""Any values in any place: a result, or an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fuzzing.attempts import call
from qads.config import RunConfig, load_config
from qads.datasets import load_pool
from qads.datasets.shapes import FORMATS
from qads.errors import ConfigError, InputError, PoolError
from qads.pool import Row
from qads.prompts import ExemplarTemplate
from qads.selection import KCenterGreedy

ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", " ", "\x00", "\ud800", "\u202e", "1e999", "[1]", '{"a": NaN}', "#### 4", "\\boxed{", "NaN"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
COLUMNS = st.sampled_from(
    sorted(
        {name for shape in FORMATS for name in shape.needs}
        | {"id", "source", "kind", "answer", "meta", "context", "input"}
    )
)
SHAPED = st.sampled_from(FORMATS).flatmap(lambda shape: st.fixed_dictionaries({name: VALUES for name in shape.needs}))


@ONE_FOLDER
@given(st.lists(st.tuples(SHAPED, st.dictionaries(COLUMNS, VALUES, max_size=3)), min_size=1, max_size=4), st.booleans())
def test_records_of_any_values_are_rows_or_are_set_aside(
    tmp_path: Path, drawn: list[tuple[dict[str, Any], dict[str, Any]]], require: bool
):
    records = [
        shaped | more for shaped, more in drawn if "instances" not in (shaped | more)
    ]  # Of those one is several rows.
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    try:
        pool = load_pool(path, on_bad_row="skip", require_solution=require)
    except PoolError:
        return
    assert len(pool) + len(pool.rejected) == len(records)
    assert all(row.problem.strip() and "\x00" not in row.problem for row in pool)
    assert all(found.reason and found.where for found in pool.rejected)


def keys(cls: type = RunConfig) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(cls.__dataclass_fields__)) | TEXTS  # type: ignore[attr-defined]


@given(st.dictionaries(keys(), VALUES | st.dictionaries(st.sampled_from(["kind", "sources", "n", "model", "alpha", "sample", "seed"]), VALUES, max_size=3), max_size=5),
       st.lists(st.tuples(st.sampled_from(["seed", "selection.alpha", "quality.sample", "pool.sources", "budget", "a.b", "execution.device"]), TEXTS), max_size=2))  # fmt: skip
def test_any_tree_is_a_configuration_or_a_mistake_that_is_told(tree: dict[str, Any], overrides: list[tuple[str, str]]):
    try:
        assert load_config(
            {"pool": {"sources": "x"}, "budget": 3} | tree, [f"{path}={text}" for path, text in overrides]
        )
    except ConfigError as error:
        assert 0 < len(str(error)) < 20_000
    except InputError as error:
        assert str(error)


COMMANDS = [
    "select",
    "run",
    "embed",
    "score",
    "check",
    "mix",
    "train",
    "status",
    "report",
    "explain",
    "analyze",
    "compare",
    "fit-scorer",
    "predict",
    "evaluate",
]
WORDS = st.sampled_from(
    ["nowhere.jsonl", "nowhere.yaml", "-", "--", "--budget", "10%", "-1", "0", "nan", "--out", "out.jsonl", "-o", "--json", "--set", "a=b", "seed=[", "--column",
     "problem=q", "=", "--show", "--row", "--against", "gsm", "--on-bad-row", "skip", "--anchors", "--dry-run", "--no-quality", "--model", "--workers", "--ray", "head", "10.0.0.1", "[::1]:", "h:99999", "ray://", "\u202e", "\x1b[31m", "", "é", "--help"]
)  # fmt: skip


@given(st.sampled_from(COMMANDS), st.lists(WORDS, max_size=6))
def test_any_words_end_with_a_documented_code_and_no_traceback(command: str, words: list[str]):
    words = [word for word in words if word != "-"]  # Standard input would be waited for.
    code, out, err = call(command, *words)
    assert code in (0, 2), (code, err)
    assert "Traceback" not in err and (out or err)
    assert "--help" in words or code == 2 or command in ("status",)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_the_scored_characters_are_the_solution_whatever_the_texts(
    problem: str, solution: str, question: str, answer: str, separator: str
):
    renderer = ExemplarTemplate(question=question, answer=answer, separator=separator).renderer(None)
    row = Row(id="a", source="s", problem=problem, solution=solution)
    target = renderer.target(row)
    assert target.text[target.answer_start : target.answer_end] == solution
    assert renderer.example(row) == target.text + separator


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]), st.tuples(st.integers(1, 9), st.integers(1, 3)),
        elements=st.sampled_from([0.0, 1.0, -1.0, 1.0, 60_000.0, 1e-7, np.nan, np.inf]),
    ),
    st.sampled_from([1, 2, 9, 1.0, 0.5, 10, 0]),
    st.none() | st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf]),
    st.sampled_from(["euclidean", "cosine"]),
)  # fmt: skip
def test_a_selection_has_the_rows_it_was_asked_for_or_an_error_says_why(
    embeddings: Any, budget: Any, quality: Any, metric: Any
):
    n = len(embeddings)
    try:
        found = KCenterGreedy(metric=metric)(
            embeddings, None if quality is None else np.full(n, quality), budget=budget
        )
    except InputError as error:
        assert str(error)
        return
    k = budget if isinstance(budget, int) else round(n * budget)
    assert len(found) == len(set(found.indices.tolist())) and (found.stopped or abs(len(found) - k) <= 1)
    assert 0 <= found.indices.min() and found.indices.max() < n


@pytest.mark.parametrize("budget", [1, 4])
def test_rows_that_are_all_the_same_can_be_selected_all(budget: int):
    found = KCenterGreedy()(np.ones((4, 2), np.float16), np.zeros(4), budget=budget)
    assert sorted(found.indices.tolist()) == list(range(budget))

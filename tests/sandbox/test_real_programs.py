"""Programs of published datasets give the answers that were stored with them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from qads import Sandbox, load_pool

pytestmark = pytest.mark.slow


def agree(found: str | None, stored: str) -> bool:
    try:
        return math.isclose(float(found or "nan"), float(stored.replace(",", "")), rel_tol=1e-4, abs_tol=1e-9)
    except ValueError:
        return found == stored


@pytest.mark.parametrize("source", ["svamp_train_pot_reft", "tabmwp_pot"])
def test_every_program_runs_and_nearly_every_answer_agrees(walls: None, test_data: Path, source: str):
    rows = list(load_pool(test_data / "pool" / f"{source}.jsonl.gz"))[:100]
    found = Sandbox()([row.solution for row in rows])
    assert {result.status for result in found} == {"ok"}
    assert [row.id for row, result in zip(rows, found, strict=True) if not agree(result.answer, row.answer)] == []

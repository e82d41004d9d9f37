"""What a model makes of rows, and scorers that read with one."""

from __future__ import annotations

import pytest



@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model") / "tiny"))

"""Every attack is contained, with real processes, and the programs beside it are none the worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from qads import ProgramResult, Sandbox
from sandbox.attacks import ATTACKS

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> list[ProgramResult]:
    """Every attack, and after each a program that does no harm, by few workers."""
    home = tmp_path_factory.mktemp("home")
    (home / "secret").write_text("what nobody may read")
    programs: list[str] = []
    for number, attack in enumerate(ATTACKS.values()):
        text = attack.program
        for name, path in {"{home}": home, "{secret}": home / "secret", "{project}": PROJECT}.items():
            text = text.replace(name, str(path))
        programs += [text.replace("{{", "{").replace("}}", "}"), f"print({number})"]
    return sandbox(programs, workers=2)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained(found: list[ProgramResult], name: str):
    attack, result = ATTACKS[name], found[2 * list(ATTACKS).index(name)]
    assert result.status in attack.status.split("|"), result
    assert result.answer in (attack.answer.split("|") if attack.answer else [None]), result
    assert attack.message in result.message
    assert "\n" not in result.message and len(result.message) < 600 and len(result.output) < 10_100


def test_the_programs_beside_an_attack_get_their_own_answers(found: list[ProgramResult]):
    assert [(result.status, result.answer) for result in found[1::2]] == [("ok", str(i)) for i in range(len(ATTACKS))]

"""The public names, their documentation, and the examples in it."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import qads
from qads.config import PoolConfig
from qads.errors import InputError


def test_every_public_name_is_there_and_listed():
    assert sorted(qads.__all__) == dir(qads)
    for name in qads.__all__:
        assert getattr(qads, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'KCentreGreedy'"):
        _ = qads.KCentreGreedy


@pytest.mark.parametrize("name", qads.__all__)
def test_every_public_name_is_documented(name: str):
    value = getattr(qads, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value) and not dataclasses.is_dataclass(value):
        return
    if inspect.isclass(value):
        methods = [m for n, m in vars(value).items() if inspect.isfunction(m) and not n.startswith("_")]
        assert all(inspect.getdoc(method) for method in methods)


MODULES = sorted(
    module.name for module in pkgutil.walk_packages(qads.__path__, "qads.") if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_documentation_run(name: str):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_it_offers(name: str):
    module = importlib.import_module(name)
    assert module.__doc__
    for offered in getattr(module, "__all__", []):
        assert hasattr(module, offered), f"{name}.__all__ names {offered}, which is not there"


# Settings that are one of a few words. Classes that are checked elsewhere are named with the reason.

ELSEWHERE = {"ProgramResult": "a result", "Row": "its pool checks it", "Recipe": "a reader parses its amounts"}
NEEDED = {
    "Evaluation": {"sets": ("gsm8k",)},
    "Experiment": {"pool": PoolConfig(sources=("a",)), "arms": {"random": qads.Arm()}, "budgets": (10,)},
}


def words_of(hint: Any) -> list[str]:
    """The words of every `Literal` in an annotation."""
    if get_origin(hint) is Literal:
        return [word for word in get_args(hint) if isinstance(word, str)]
    return [word for part in get_args(hint) for word in words_of(part)]


def misspelt(hint: Any, word: str) -> Any:
    """A value of the annotation's shape, of words of which one is none of its own."""
    if get_origin(hint) in (tuple, dict):
        return (word,) if get_origin(hint) is tuple else {word: ""}
    return word


SETTINGS_OF_WORDS = [
    (name, field.name)
    for name in qads.__all__
    if dataclasses.is_dataclass(found := getattr(qads, name)) and name not in ELSEWHERE
    for field in dataclasses.fields(found)
    if len(words_of(get_type_hints(found)[field.name])) > (field.name == "kind")  # One word alone is a name.
]


@pytest.mark.parametrize(("name", "field"), SETTINGS_OF_WORDS)
def test_a_misspelt_setting_is_refused_and_told(name: str, field: str):
    kind = getattr(qads, name)
    hint = get_type_hints(kind)[field]
    settings = object.__new__(kind)  # Under tests the annotations of an __init__ are checked before it; for users not.
    for each in dataclasses.fields(kind):
        made = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        object.__setattr__(settings, each.name, NEEDED.get(name, {}).get(each.name, made))
    object.__setattr__(settings, field, misspelt(hint, f"{words_of(hint)[0]}xx"))
    with pytest.raises(InputError, match=r"xx.*must be"):
        settings.__post_init__()

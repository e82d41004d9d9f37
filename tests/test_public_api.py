"""The public names, their documentation, and the examples in it."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import pkgutil

import pytest

import qads


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

"""What every test shares: stated shapes that are checked, a quiet machine, the real data."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import jaxtyping
import pytest
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException
from hypothesis import settings

from object_storage import ObjectStorage, serving

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Threads that spin while they wait take the other core.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # Workers for any work, which no actor takes.
if n_processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):  # Together they have one thread a core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_processes)))

# A shell starts what it puts in the background with interruptions ignored, and nohup anything with hang-ups; tests that
# interrupt would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Each time others, so that they add up; a busy machine is no failure.
settings.register_profile("suite", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # pytest --hypothesis-profile thorough
settings.load_profile("suite")

ROOT = Path(__file__).parents[1]


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with every annotation checked at each call: shapes by jaxtyping, types by beartype.

    What beartype cannot check at run time (a Protocol that is not ``runtime_checkable``) stays unchecked.
    """
    try:
        return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)  # An int is a float, as for Python's tools.
    except BeartypeDecorHintException:
        return function


MADE = Counter[CodeType]()
"""How often a function within a function was made."""


def sampled(function: Any = None, *, typechecker: Any) -> Any:
    """`jaxtyping.jaxtyped` for the first hundred calls of a function and every fiftieth after that.

    Functions within functions, which are made at every call of these, are checked the first ten times that they are.
    To check, and to make ready for it, takes longer than most of what is checked: it was half of the time of tests.
    """
    if function is None:
        return functools.partial(sampled, typechecker=typechecker)
    checking = jaxtyped(typechecker=typechecker)
    if dataclasses.is_dataclass(function) and "__init__" in vars(function):
        function.__init__ = sampled(function.__init__, typechecker=typechecker)
        return function
    if not inspect.isfunction(function):
        return checking(function)
    if "<locals>" in function.__qualname__:
        if MADE[function.__code__] == 10:
            return function
        MADE[function.__code__] += 1
    always, calls = functools.cache(lambda: checking(function)), itertools.count()

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        n = next(calls)
        return (always() if n < 100 or n % 50 == 0 else function)(*args, **kwargs)

    return called


def modules_with_shapes() -> list[str]:
    """The modules that state shapes; elsewhere a check at every call for every row would take minutes."""
    sources = ROOT / "src"
    stated = (path for path in (sources / "qads").rglob("*.py") if "from jaxtyping import" in path.read_text())
    names = (".".join(path.relative_to(sources).with_suffix("").parts) for path in stated)
    return [name.removesuffix(".__init__") for name in names]


jaxtyped, jaxtyping.jaxtyped = jaxtyping.jaxtyped, sampled  # The hook takes it by this name.
jaxtyping.install_import_hook(modules_with_shapes(), f"{__name__}.checked")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no process is left alone with one in the end.

    Those on Ray count as slow: they wait for actors to start, and others compute meanwhile.
    """
    slow = ("slow", "ray")
    n_slow = Counter(item.path for item in items if any(item.get_closest_marker(name) for name in slow))
    items.sort(key=lambda item: -n_slow[item.path])


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """For tests of our own errors about shapes, which the checks would otherwise come before."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def walls() -> None:
    """Isolation works here; where it does not a test is skipped with the reason, but never where it is required."""
    from qads import Sandbox, SandboxError  # Not before its functions are checked.

    try:
        Sandbox()
    except SandboxError as error:
        if os.environ.get("CI") or os.environ.get("QADS_REQUIRE_SANDBOX"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real datasets; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("QADS_TEST_DATA", ROOT.parent / "shared" / "data")).expanduser()
    if not (folder / "pool").is_dir():
        pytest.skip(f"no real data at {folder}; QADS_TEST_DATA names the folder that has it")
    return folder


@pytest.fixture(scope="session")
def object_storage() -> Iterator[ObjectStorage]:
    """A server that speaks S3."""
    with serving() as found:
        yield found


@pytest.fixture
def storage(object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    """The server where a program looks for one, with an empty bucket, `pool`."""
    for name, value in object_storage.environment().items():
        monkeypatch.setenv(name, value)
    object_storage.reset()
    return object_storage

"""YAML -> `RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qads.config.evaluating import PROGRAMS_BY_HAND
from qads.config.sections import RunConfig
from qads.settings import read_settings

__all__ = ["load_config"]


def load_config(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key. Also where
            a file gives programs that a model wrote leave to run, or to run without walls: that is said by hand.
    """
    return read_settings(RunConfig, source, overrides, by_hand=PROGRAMS_BY_HAND)

"""YAML -> a dataclass of settings, strictly."""

from __future__ import annotations

from qads.settings.reading import read_settings

__all__ = ["read_settings"]

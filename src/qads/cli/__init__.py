"""The `qads` command."""

from __future__ import annotations

from qads.cli.commands import app, main

__all__ = ["app", "main"]

"""`python -m qads` is the `qads` command."""

from __future__ import annotations

from qads.cli import main

main()

"""The reference of every command, written from the program by Typer's own documentation of an application."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from qads.cli import app

__all__ = ["commands_page"]

_INTRODUCTION = """
Exit codes: 0, done; 1, `qads check` found something; 2, an input, a setting or a run is not as it must be; 70, a fault
of the program; 130, interrupted, and what was finished is kept. `--debug` after any command shows where an error came
from. `NO_COLOR` in the environment takes the colours away. `qads --install-completion` teaches your shell the commands
and their options.
"""


def commands_page() -> str:
    """The page in Markdown."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="qads"), name="qads")
    head, mark, rest = text.partition("**Usage**")
    text = head.replace("# `qads`", "# Command line") + _INTRODUCTION.strip() + "\n\n" + mark + rest
    return re.sub(r"^Example: +(qads .*)$", r"```\n\1\n```", text, flags=re.MULTILINE)

"""Run the notebook of this folder from its first cell to its last, and keep what it printed and drew.

In place (`make notebook`), or in another file: `python examples/run_notebook.py OUT.ipynb`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("walkthrough.ipynb")


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs: texts and pictures, and nothing of the machine that made them."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1200, kernel_name="python3", record_timing=False).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_for_readers(output)]
            for output in cell.outputs:
                if output.output_type == "display_data":
                    output.data = {"image/png": output.data["image/png"]}
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def is_for_readers(output: Any) -> bool:
    """Whether an output is a text that was printed or a picture, not the progress of a library."""
    printed = output.output_type == "stream" and output.name == "stdout"
    return printed or (output.output_type == "display_data" and "image/png" in output.data)


if __name__ == "__main__":
    made = executed(NOTEBOOK)
    assert not re.search(r"/(home|root|Users|tmp)/", nbformat.writes(made)), "an output names a place of this machine"
    nbformat.write(made, sys.argv[1] if sys.argv[1:] else NOTEBOOK)

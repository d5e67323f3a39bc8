"""Run a notebook from the start in a kernel of its own and write it with its outputs (ADR 14).

    python docs/site/run_notebook.py docs/tutorial.ipynb [OUTPUT.ipynb]

Without an output the notebook itself is written. Neither times nor the version of Python are kept, so that a second
run changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run_notebook(source: Path, target: Path) -> None:
    """Raises nbclient.exceptions.CellExecutionError with the cell and its traceback if a cell fails."""
    notebook = nbformat.read(source, as_version=4)
    NotebookClient(notebook, timeout=240, kernel_name="python3", record_timing=False).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, target)


if __name__ == "__main__":
    run_notebook(Path(sys.argv[1]), Path(sys.argv[-1]))

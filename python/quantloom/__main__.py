"""`python -m quantloom` is `quantloom`."""

from __future__ import annotations

from quantloom.cli.main import entry_point

entry_point()

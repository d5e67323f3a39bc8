"""quantloom: bit-widths and loop mappings of a neural network on an accelerator, searched together."""

from __future__ import annotations

from quantloom._core import __version__

__all__ = ["__version__"]

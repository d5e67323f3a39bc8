"""What the site needs beside its pages: links that leave docs/ become names of files, and ADRs join the navigation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LEAVING = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?!docs/)[^)#]+)[^)]*\)")

_NOTEBOOK = re.compile(r"\]\(([\w./-]+)\.ipynb")  # notebooks.py makes pages of them


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Name files of the repository that are not of the site, instead of linking to them."""
    depth = page.file.src_uri.count("/")

    def named(link: re.Match[str]) -> str:
        ups = link.group(0).count("../")
        return f"`{link.group(2)}`" if ups > depth else link.group(0)

    return _LEAVING.sub(named, _NOTEBOOK.sub(r"](\1.md", markdown))


def on_config(config: Any) -> Any:
    """Add one entry for each decision below the page that lists them, and pages that nobody placed at the end."""
    folder = Path(config["docs_dir"])
    decisions = [f"adr/{path.name}" for path in sorted((folder / "adr").glob("[0-9]*.md"))]
    for section in config["nav"]:
        for entry in next(iter(section.values())) if isinstance(next(iter(section.values())), list) else []:
            if entry.get("Decisions") == "adr/README.md":
                entry["Decisions"] = ["adr/README.md", *decisions]
    placed = str(config["nav"])
    rest = [path.name for path in sorted(folder.glob("*.md")) if f"'{path.name}'" not in placed]
    if rest:
        config["nav"].append({"More": rest})
    return config

"""The documentation: every page has its place, the references are complete, links inside lead somewhere."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import quantloom
from quantloom import errors

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def test_the_navigation_names_pages_that_are_there() -> None:
    nav = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text())["nav"]
    listed = re.findall(r"[\w/-]+\.md", str(nav))
    assert len(listed) > 15
    missing = [name for name in listed if not (DOCS / name).is_file()]
    assert [name for name in missing if not (DOCS / name).with_suffix(".ipynb").is_file()] == []


def test_the_index_of_errors_is_complete() -> None:
    text = (DOCS / "errors.md").read_text()
    assert [name for name in errors.__all__ if f"`{name}`" not in text] == []


def test_the_python_reference_is_complete() -> None:
    listed = set(re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE))
    for name in set(quantloom.__all__) - {"__version__"}:
        assert {f"quantloom.{name}", f"quantloom._core.{name}"} & listed, name
    for name in listed:
        assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []

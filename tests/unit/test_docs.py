"""The documentation: every page has its place, the references are complete, links inside lead somewhere."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import quantloom
from quantloom import errors
from quantloom.spec.search_config import parse_search_config

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXAMPLES = [page for page in [DOCS.parent / "README.md", *PAGES] if "```python\n" in page.read_text(encoding="utf-8")]


def blocks(page: Path, kind: str) -> list[str]:
    """The blocks of code of one kind, in the order of the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


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
    described = {name: pkgutil.resolve_name(name) for name in listed}
    offered = {name: getattr(quantloom, name) for name in quantloom.__all__ if name != "__version__"}
    assert [name for name, thing in offered.items() if not any(thing is other for other in described.values())] == []
    hidden = {  # by a module of that name, which the site would describe instead
        name for name, thing in described.items() if thing.__module__.endswith(f".{thing.__name__}")
    }
    assert {name for name in hidden if name != f"{described[name].__module__}.{described[name].__name__}"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "yaml"):
        Path("M.yaml").write_text(text)  # the file that mapspace.md speaks of
    names: dict[str, object] = {}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text.replace("10**9", "10**5"), f"{page.name}, block {number}", "exec"), names)  # a minute less
    assert names


def test_the_settings_of_a_search_are_those_that_it_knows() -> None:
    page = DOCS / "your-search.md"
    (text,) = blocks(page, "yaml")
    assert parse_search_config(text, "search.yaml").evaluations == 40
    table = re.findall(r"^\| (`[a-z_`, ]+`) \| (.*?) \|", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    defaults = {field.name: field.default for field in fields(quantloom.SearchConfig)}
    named = {key: default for keys, default in table for key in re.findall(r"`(\w+)`", keys)}
    assert named.keys() - {"preset"} == defaults.keys()
    wrong = [
        key
        for key, said in named.items()
        if isinstance(defaults.get(key), int | str) and str(defaults[key]).lower() not in said
    ]
    assert wrong == []


def test_the_accelerator_to_start_from_is_complete(tmp_path: Path) -> None:
    text = next(text for text in blocks(DOCS / "accelerators.md", "yaml") if text.startswith("name: my_chip"))
    (tmp_path / "my_chip.yaml").write_text(text)
    arch = quantloom.load_arch(str(tmp_path / "my_chip.yaml"))
    layer = quantloom.load_network("mobilenet_v2").layers[5].workload
    assert quantloom.optimize(arch, layer, bits=8).certificate.exhausted
    (tmp_path / "my_chip.yaml").write_text(text.replace("capacity_words: 65536", "capacity_word: 65536"))
    (message,) = (text for text in blocks(DOCS / "accelerators.md", "text") if "unknown key" in text)
    with pytest.raises(errors.SpecError) as raised:
        quantloom.load_arch(str(tmp_path / "my_chip.yaml"))
    assert str(raised.value).replace(f"{tmp_path}/", "").strip() == message.strip()

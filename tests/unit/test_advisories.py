"""The audit of dependencies against a folder of advisories."""

from __future__ import annotations

from pathlib import Path

import pytest

from advisories import concerns, found_in, lowest_allowed, main

LISTED_AND_A_RANGE = """\
id: PYSEC-1
aliases: [CVE-1]
affected:
- package: {name: Some_Package, ecosystem: PyPI}
  versions: ["0.9"]
  ranges:
  - {type: GIT, events: [{introduced: "0"}]}
  - {type: ECOSYSTEM, events: [{introduced: "1.0"}, {fixed: "1.10"}, {introduced: "2.0"}]}
"""
PROJECT = """\
[project]
dependencies = ["numpy>=1.24", "Some_Package[images]>=1.9,<3; python_version >= '3.10'"]
[project.optional-dependencies]
any = ["other"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "vulns"
    (folder / "some-package").mkdir(parents=True)
    (folder / "some-package" / "PYSEC-1.yaml").write_text(LISTED_AND_A_RANGE)
    (folder / "some-package" / "PYSEC-2.yaml").write_text("withdrawn: yes\n" + LISTED_AND_A_RANGE)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return folder


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.8", False), ("0.9", True), ("1.0", True), ("1.9.9", True), ("1.10", False), ("1.99", False), ("2.0", True)],
)
def test_a_version_is_concerned_where_listed_or_between_the_break_and_its_mend(
    folder: Path, version: str, *, expected: bool
) -> None:
    found = list(found_in(folder, {("some-package", version)}))
    assert found == ([("some-package", version, "PYSEC-1 CVE-1")] if expected else [])


def test_events_count_in_their_order_not_as_text() -> None:
    event = {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "10.0"}]}]}
    assert concerns(event, "9.5")
    assert not concerns(event, "10.0.1")


def test_the_lowest_versions_that_a_project_allows_are_looked_up(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = folder.parent / "pyproject.toml"
    assert lowest_allowed(project) == {("numpy", "1.24"), ("some-package", "1.9"), ("other", "0")}
    assert main([str(folder), "--project", str(project)]) == 1
    expected = (
        "allows: 3 packages, 1 advisories for them, 1 concern these versions\n  some-package 1.9: PYSEC-1 CVE-1\n"
    )
    assert capsys.readouterr().out.endswith(expected)
    project.write_text(PROJECT.replace("1.9", "1.10"))
    assert main([str(folder), "--project", str(project)]) == 0


def test_a_folder_without_advisories_is_no_clean_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert f"{tmp_path}: no advisories there; it should be `vulns` of pypa/advisory-database" in capsys.readouterr().err

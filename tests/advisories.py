"""Which packages have known vulnerabilities: `python -m tests.advisories FOLDER`, with no index and no network.

FOLDER is `vulns` of a copy of github.com/pypa/advisory-database. Looked up are the installed version of everything in
the environment, and the lowest version of each dependency that pyproject.toml lets in. Exit status 1 if there are any
in the latter: an environment is mended by an update, a dependency is not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it, and packaging

ROOT = Path(__file__).parents[1]


def installed() -> set[tuple[str, str]]:
    return {(canonicalize_name(each.name), each.version) for each in distributions()}


def lowest_allowed(project: Path) -> set[tuple[str, str]]:
    """Of every dependency and every extra."""
    described = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    extras = described["optional-dependencies"].values()
    wanted = [*described["dependencies"], *(each for extra in extras for each in extra)]
    found = set()
    for requirement in map(Requirement, wanted):
        least = [bound.version for bound in requirement.specifier if bound.operator in (">=", "==", "~=")]
        found.add((canonicalize_name(requirement.name), max(least, key=Version, default="0")))
    return found


def concerns(affected: dict[str, object], version: str) -> bool:
    """Whether this version is listed, or lies in a range from where a vulnerability came in to where it was mended."""
    if version in affected.get("versions", ()):
        return True
    for versions in affected.get("ranges", ()):
        inside = False
        for event in versions["events"] if versions["type"] == "ECOSYSTEM" else ():
            if "introduced" in event and Version(version) >= Version(event["introduced"]):
                inside = True
            if "fixed" in event and Version(version) >= Version(event["fixed"]):
                inside = False
        if inside:
            return True
    return False


def advisories(folder: Path, name: str) -> list[dict]:
    """Those of a package that still stand."""
    read = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((folder / name).glob("*.yaml")))
    return [advisory for advisory in read if "withdrawn" not in advisory]


def found_in(folder: Path, packages: set[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(package, version, names of the advisory) for each that concerns one of these."""
    for name, version in sorted(packages):
        for advisory in advisories(folder, name):
            ours = [each for each in advisory.get("affected", ()) if canonicalize_name(each["package"]["name"]) == name]
            if any(concerns(each, version) for each in ours):
                yield name, version, " ".join([advisory["id"], *advisory.get("aliases", ())])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--project", type=Path, default=ROOT / "pyproject.toml")
    args = parser.parse_args(arguments)
    if not next(args.folder.glob("*/*.yaml"), None):
        parser.error(f"{args.folder}: no advisories there; it should be `vulns` of pypa/advisory-database")
    allowed = list(found_in(args.folder, lowest_allowed(args.project)))
    for what, packages, hits in (
        ("installed", installed(), list(found_in(args.folder, installed()))),
        ("the lowest versions that pyproject.toml allows", lowest_allowed(args.project), allowed),
    ):
        known = sum(len(advisories(args.folder, name)) for name, _ in packages)
        line = f"{what}: {len(packages)} packages, {known} advisories for them, {len(hits)} concern these versions\n"
        sys.stdout.write(line + "".join(f"  {name} {version}: {names}\n" for name, version, names in hits))
    return 1 if allowed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

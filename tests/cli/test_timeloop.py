"""`quantloom export timeloop` and `quantloom import timeloop`: what they write and what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom import load_arch

Run = Callable[..., Any]
FILES = Path(__file__).parents[1] / "timeloop_files"


def exported(quantloom: Run) -> list[str]:
    model = ["network.yaml", "--arch", "eyeriss", "--bits", "a8w4", "--cost-model", "compat", "--layer", "conv"]
    assert quantloom("map", *model, "--save", "best").code == 0
    layer = ["--workload", "best/layer01.workload.yaml", "--mapping", "best/layer01.mapping.yaml"]
    result = quantloom("export", "timeloop", "--arch", "eyeriss", *layer, "-o", "out", "--json")
    assert result.code == 0, result.err
    written: list[str] = result.json["written"]
    return written


def test_a_mapping_goes_out_and_comes_back_at_the_same_cost(quantloom: Run) -> None:
    files = exported(quantloom)
    assert [Path(file).name for file in files] == [
        *("architecture.yaml", "constraints.yaml", "tables.yaml", "problem.yaml", "mapping.yaml"),
    ]
    back = quantloom("import", "timeloop", *files, "-o", "back")
    assert back.code == 0, back.err
    assert "written: back/mapping.yaml" in back.out
    command = back.out.strip().splitlines()[-1].removeprefix("next: quantloom ").split()
    before = quantloom(
        *("evaluate", "--arch", "eyeriss", "--workload", "best/layer01.workload.yaml"),
        *("--mapping", "best/layer01.mapping.yaml", "--cost-model", "compat", "--json"),
    ).json
    after = quantloom(*command, "--json").json
    assert (after["energy_pj"], after["latency_cycles"]) == (before["energy_pj"], before["latency_cycles"])
    assert after["bits"] == {"Weights": 4, "Inputs": 8, "Outputs": 8}


def test_an_imported_accelerator_maps_as_the_shipped_one(quantloom: Run) -> None:
    quantloom("export", "timeloop", "--arch", "eyeriss", "-o", "out")
    files = [f"out/{name}.yaml" for name in ("architecture", "constraints", "tables")]
    assert quantloom("import", "timeloop", *files, "-o", "back").code == 0
    ours, theirs = (
        quantloom("map", "network.yaml", "--arch", arch, "--bits", "8", "--json").json
        for arch in ("eyeriss", "back/arch.yaml")
    )
    assert [layer["edp_pj_cycles"] for layer in theirs["layers"]] == [
        layer["edp_pj_cycles"] for layer in ours["layers"]
    ]


def test_assumptions_stand_in_the_output_and_in_the_file(quantloom: Run) -> None:
    result = quantloom("import", "timeloop", str(FILES / "row_stationary.v04.yaml"), "-o", "new")
    said = "container `column` fans out below a level `inter_column_spatial` that holds nothing"
    assert f"assumed: {said}" in result.out
    assert f"# assumed: {said}" in Path("new/arch.yaml").read_text()
    assert load_arch("new/arch.yaml").levels[0].energy.read_source.startswith("analytic: register file of 16 x 16 bits")


def test_energies_may_be_of_another_estimator(quantloom: Run) -> None:
    file = str(FILES / "eyeriss.v03.yaml")
    assert quantloom("import", "timeloop", file, "-o", "new", "--estimator", "timeloop").code == 0
    assert load_arch("new/arch.yaml").arithmetic.energy_source.startswith("Timeloop's built-in estimate")
    wrong = quantloom("import", "timeloop", file, "-o", "other", "--estimator", "analitic")
    assert (wrong.code, wrong.err.splitlines()[0]) == (1, "error: unknown estimator `analitic`")


def test_nothing_is_overwritten(quantloom: Run) -> None:
    Path("new").mkdir()
    Path("new/arch.yaml").write_text("mine")
    result = quantloom("import", "timeloop", str(FILES / "eyeriss.v03.yaml"), "-o", "new")
    assert (result.code, result.err.splitlines()[0]) == (1, "error: new/arch.yaml exists already")
    assert Path("new/arch.yaml").read_text() == "mine"


def test_mistakes_of_all_files_are_told(quantloom: Run) -> None:
    Path("a.yaml").write_text("architecture: {subtre: []}\n")
    Path("b.yaml").write_text("mapping:\n  - {target: x}\n")
    result = quantloom("import", "timeloop", "a.yaml", "b.yaml", "c.yaml", "-o", "new")
    assert result.code == 1
    assert [line for line in result.err.splitlines() if ".yaml" in line] == [
        "error: c.yaml: cannot be read: No such file or directory",
        "a.yaml:1:15: architecture: read a mapping, expected an architecture with `nodes` (v0.4) or `subtree` (v0.3)",
    ]
    assert not Path("new").exists()


def test_a_mapping_needs_its_layer(quantloom: Run) -> None:
    result = quantloom("export", "timeloop", "--arch", "eyeriss", "--mapping", "m.yaml", "-o", "out")
    assert result.code == 2
    assert "--mapping needs --workload" in result.err


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
def test_what_the_format_cannot_say_is_printed(quantloom: Run, name: str) -> None:
    result = quantloom("export", "timeloop", "--arch", name, "-o", "out")
    assert "not in the files: relax_indivisible_factors" in result.out


def test_templates_take_their_variables_from_the_command_line(quantloom: Run, directory: Path) -> None:
    text = "problem: {instance: {C: {{c}}, M: 2, R: 1, S: 1, N: 1, P: 1, Q: 1}}\n"
    (directory / "top.yaml.jinja2").write_text(text)
    assert "C=5 M=2" in quantloom("import", "timeloop", "top.yaml.jinja2", "--set", "c=5", "-o", "a").out
    result = quantloom("import", "timeloop", "top.yaml.jinja2", "-o", "b")
    assert result.code == 1
    assert "top.yaml.jinja2:1:25: in the template tag `{{c}}`: the variable `c` is not set" in result.err
    assert "--set c=VALUE" in result.err


@pytest.mark.parametrize(("version", "word"), [("0.3", "subtree:"), ("0.4", "- !Component")])
def test_an_accelerator_is_exported_in_either_format(quantloom: Run, directory: Path, version: str, word: str) -> None:
    assert quantloom("export", "timeloop", "--arch", "simba", "--format", version, "-o", "out").code == 0
    text = (directory / "out" / "architecture.yaml").read_text()
    assert f"version: {version}" in text
    assert word in text
    files = [str(path) for path in sorted((directory / "out").glob("*.yaml"))]
    assert "256 units LMAC" in quantloom("import", "timeloop", *files, "-o", "back").out

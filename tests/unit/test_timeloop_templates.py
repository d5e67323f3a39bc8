"""Jinja templates of Timeloop's front end: what is read of them, and where their mistakes are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from quantloom.errors import SpecError
from quantloom.timeloop.load import TimeloopDesign, load_timeloop
from quantloom.timeloop.template_expressions import ExpressionError, evaluate

BASE = """\
base_ignore: &base
  version: 0.4
  instance: {C: 1, M: 1, R: 1, S: 1, N: 1, P: 1, Q: 1}
"""
ARCH = """\
architecture:
  version: 0.4
  nodes:
    - !Component
      name: DRAM
      class: DRAM
      attributes: {width: 64, datawidth: 8}
    {% if buffered|default(True) %}
    - !Component
      name: buffer
      class: SRAM
      attributes: {depth: {{depth}}, width: 64, datawidth: 8}
    {% else %}
    - !Component
      name: register
      class: regfile
      attributes: {depth: 8, width: 8, datawidth: 8}
    {% endif %}
    - !Component {name: mac, class: intmac, attributes: {datawidth: 8}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "exercise" / "designs"
    (inner / "parts").mkdir(parents=True)
    (inner / "arch.yaml").write_text(ARCH)
    (tmp_path / "exercise" / "base.yaml").write_text(BASE)
    (tmp_path / "secret.yaml").write_text("a: 1\n")
    monkeypatch.chdir(inner)
    return inner


def read(text: str, **variables: str) -> TimeloopDesign:
    Path("top.yaml").write_text(text)
    return load_timeloop(["top.yaml"], variables=variables)


def refusal(text: str, **variables: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(text, **variables)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_text_is_included_and_merged_at_every_depth() -> None:
    design = read("{{include_text('../base.yaml')}}\nproblem:\n  <<<: *base\n  instance: {C: 64, M: 32}\n")
    assert design.workload is not None
    assert design.workload.dims == {"C": 64, "M": 32, "R": 1, "S": 1, "N": 1, "P": 1, "Q": 1}


@pytest.mark.usefixtures("folder")
def test_designs_are_put_together_from_parts_by_variables() -> None:
    text = (
        "{{add_to_path(cwd() ~ '/parts')}}\n"
        "{% set file = file | default('arch.yaml') %}\n"
        "{% if path_exists(file) and not missing|default(False) %}\n"
        "architecture: {{include(file, 'architecture')}}\n"
        "{% endif %}\n"
        "{# problem: {{include('nothing.yaml')}} #}\n"
    )
    with_buffer = read(text, depth="64").arch
    assert with_buffer is not None
    assert [level.name for level in reversed(with_buffer.levels)] == ["DRAM", "buffer"]
    assert with_buffer.levels[0].capacity_words == 64 * 8
    without = read(text, depth="64", buffered="false").arch
    assert without is not None
    assert [level.name for level in reversed(without.levels)] == ["DRAM", "register"]
    Path("parts/other.yaml").write_text(ARCH.replace("name: buffer", "name: glb").replace("{{depth}}", "8"))
    other = read(text, file="other.yaml").arch
    assert other is not None
    assert other.levels[0].name == "glb"


@pytest.mark.usefixtures("folder")
def test_lists_of_several_files_become_one() -> None:
    Path("parts/a.yaml").write_text("nodes:\n- !Component {name: DRAM, class: DRAM, attributes: {datawidth: 8}}\n")
    Path("parts/b.yaml").write_text("nodes:\n- !Component {name: mac, class: mac, attributes: {datawidth: 8}}\n")
    design = read("architecture: {version: 0.4, nodes: {{include_all('parts/*.yaml', 'nodes')}}}\n")
    assert design.arch is not None
    assert (design.arch.levels[0].name, design.arch.arithmetic.name) == ("DRAM", "mac")


@pytest.mark.usefixtures("folder")
def test_mistakes_are_told_where_they_stand_in_their_own_file() -> None:
    Path("wrong.yaml").write_text("# a comment\narchitecture:\n  nodes:\n  - !Component {name: DRAM, class: DRUM}\n")
    assert "\nwrong.yaml:4:36: " in "\n" + refusal("# top\narchitecture: {{include('wrong.yaml', 'architecture')}}\n")
    Path("dims.yaml").write_text("  instance: {C: 2,\n    M: many, R: 1, S: 1, N: 1, P: 1, Q: 1}\n")
    text = "problem:\n  version: {% if True %}0.4{% endif %}\n{{include_text('dims.yaml')}}\nmapping: {a: {{depth}}}\n"
    assert refusal(text, depth="[]").splitlines()[0] == (
        "dims.yaml:2:8: problem.instance.M: read `many`, expected an integer 1..2147483648"
    )
    Path("twice.yaml").write_text("a: 1\nb: 2\na: 3\n")
    assert "twice.yaml:3:1: duplicate key `a`, first at twice.yaml:1:1" in refusal("mapper: {{include('twice.yaml')}}")
    Path("broken.yaml").write_text("a: 1\nb: c: d\n")
    assert refusal("mapper: {{include('broken.yaml')}}").startswith("broken.yaml:2:5: not valid YAML")
    assert refusal("a: {{depth}}\n{{depth}} mapper: {x: y: z}\n", depth="1").startswith("top.yaml:2:")


@pytest.mark.usefixtures("folder")
def test_all_wrong_tags_are_told_at_once() -> None:
    text = "a: {{dept}}\nb: {{incude('x')}}\n{% for i in range(9) %}\n{% if a %}\nc: {{not seen}}\n"
    lines = refusal(text, depth="3").splitlines()
    assert lines == [
        "top.yaml:1:4: in the template tag `{{dept}}`: the variable `dept` is not set",
        "  hint: did you mean `depth`?",
        "top.yaml:2:4: in the template tag `{{incude('x')}}`: unknown function `incude`",
        "  hint: did you mean `include`?",
        "top.yaml:3:1: in the template tag `{% for i in range(9) %}`: cannot read `for i in range(9)`",
        "  hint: read are set NAME = VALUE, if, elif, else, endif",
        "top.yaml:4:1: in the template tag `{% if a %}`: the variable `a` is not set",
        "  hint: give it with --set a=VALUE",
        "top.yaml:4:1: `if` without its `endif`",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{include_text('../../secret.yaml')}}", "lies outside of"),
        ("{{include_text('/etc/hosts')}}", "lies outside of"),
        ("{{include_text('nothing.yaml')}}", "no file `nothing.yaml` beside `.` or in an added folder"),
        ("{{include_text('top.yaml')}}", "files include each other more than 8 deep"),
        ("a: {{include('top.yaml')}}", "files include each other more than 8 deep"),
        ("{{include_text('notes.txt')}}", "`notes.txt` is not included, expected a file ending in .yaml"),
        ("{{include_text('link.yaml')}}", "lies outside of"),
        ("{{add_to_path('../..')}}{{include_text('secret.yaml')}}", "lies outside of"),
        ("a: {{include('arch.yaml', 'architecture.node')}}", "arch.yaml has no `architecture.node`"),
        ("{% set a = 'x' %}" + "{% set a = a ~ a %}" * 40, "text of more than 65536 characters"),
        ("a: {{x.__class__}}", "cannot read `.__class__`"),
        ("a: {{x[0]}}", "cannot read `[0]`"),
        ("a: {{depth|upper}}", "unknown filter `upper`, expected default"),
        ("{% endif %}", "`endif` without its `if`"),
        ("a: {{include()}}", "include: wrong number of arguments, 0\n  hint: it is called as include(name, [key])"),
        ("a: {{cwd(1, 2)}}", "cwd: wrong number of arguments, 2"),
        ("a: {{include_all('*.yaml', 'a', 'b')}}", "include_all: wrong number of arguments, 3"),
        ("a: {{include_all('" + "x" * 5000 + "/*.yaml')}}", "cannot look for"),
        ("a: {{include('" + "x" * 5000 + "')}}", "no file"),
        ("a: {{path_exists(3)}}", "read `3`, expected the name of a file"),
        ("a: {{" + "(" * 200 + "1" + ")" * 200 + "}}", "parentheses nested more than 32 deep"),
    ],
)
def test_what_is_not_read_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "notes.txt").write_text("a: 1")
    (folder / "link.yaml").symlink_to(folder.parents[1] / "secret.yaml")
    found = refusal(text, depth="1", x="1")
    assert message in found
    assert found.startswith("top.yaml:1:")


def test_a_mistake_of_ours_in_a_function_is_no_mistake_of_the_template() -> None:
    def broken(value: object) -> str:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        evaluate("f(1)", {}, {"f": broken})


def nested(levels: int, inside: str) -> str:
    return "[" * levels + inside + "]" * levels


@pytest.mark.usefixtures("folder")
def test_what_is_included_counts_towards_the_depth_that_is_read() -> None:
    Path("deep.yaml").write_text(nested(40, "a"))
    Path("between.yaml").write_text("k: " + nested(10, "{{include('deep.yaml')}}") + "\n")
    told = "nested more than 64 deep (with what is included), the most that is read"
    for levels, file, inside in ((24, "deep.yaml", 40), (13, "between.yaml", 51)):
        include = "{{include('" + file + "')}}"
        assert levels - 1 + inside < 64 <= levels + inside
        assert told not in refusal("mapper: " + nested(levels - 1, include) + "\n")
        assert refusal(f"a: 1\nmapper: {nested(levels, include)}\n") == f"top.yaml:2:{9 + levels}: {told}"


@pytest.mark.parametrize("text", ["a: [%s]\n", "a: &a [%s]\nb: *a\n", "a:\n- %s\n"])
@pytest.mark.usefixtures("folder")
def test_what_is_included_counts_towards_the_nodes_that_are_read_each_time(text: str) -> None:
    Path("wide.yaml").write_text(f"[{'a, ' * 30_000}a]\n")
    many = ", ".join(["{{part}}"] * 8)
    found = refusal("{% set part = include('wide.yaml') %}" + text % (f"[{many}]"))
    assert found.startswith("top.yaml:")
    assert "more than 200000 values (what is included counted in full), the most that is read" in found


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("'a' ~ 1 ~ \"b\"", "a1b"),
        ("missing|default('x')", "x"),
        ("name | default('x')", "n"),
        ("missing|d(3) == 3 and not False", True),
        ("'' or name", "n"),
        ("(1 != 1) or none", None),
        ("not not name", True),
        ("-2.5e1", -25.0),
        ("join('a', join('b'))", "a+b+"),
    ],
)
def test_expressions_have_the_values_of_jinja(source: str, value: object) -> None:
    functions = {"join": lambda *parts: "+".join(map(str, parts)) + ("+" if len(parts) == 1 else "")}
    assert evaluate(source, {"name": "n"}, functions) == value


@pytest.mark.parametrize("source", ["", "1 +", "name name", "'open", "(1", "f(1", "a b", "~", "|default('x')", "1,2"])
def test_expressions_that_are_none_are_refused(source: str) -> None:
    variables: Mapping[str, str] = {"name": "n"}
    with pytest.raises(ExpressionError):
        evaluate(source, variables, {"f": lambda value: value})

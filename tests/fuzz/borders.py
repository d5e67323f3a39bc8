"""Every place where something from outside comes in: seeds to change, and the reader that takes the changed text."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from unittest import mock

from tests.fuzz.mutate import changed_text

import quantloom as ql
from quantloom import _core
from quantloom.errors import InternalError, QuantloomError, SearchError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.journal import JOURNAL, MANIFEST, RunDirectory
from quantloom.joint_search.run import run_search
from quantloom.joint_search.run_report import write_report
from quantloom.spec.arch import parse_arch
from quantloom.spec.bits import parse_bits_file
from quantloom.spec.mapping import parse_mapping
from quantloom.spec.network import parse_network
from quantloom.spec.partial_mapping import parse_partial_mapping
from quantloom.spec.search_config import parse_search_config
from quantloom.spec.search_rules import parse_search_rules
from quantloom.spec.workload import parse_workload
from quantloom.testing.toy_search import toy_inputs
from quantloom.timeloop.load import parse_timeloop

ROOT = Path(__file__).parents[2]
WHERE = "input.yaml"  # what errors must name

NETWORK = """\
name: two
input_shape: [3, 8, 8]
edges:
  - {name: image, shape: [3, 8, 8]}
  - {name: a, shape: [4, 6, 6]}
  - {name: b, shape: [8, 6, 6], group: 2}
layers:
  - {name: conv, reads: image, writes: a, dims: {C: 3, M: 4, R: 3, S: 3, P: 6, Q: 6}}
  - {name: point, reads: a, writes: b, dims: {C: 4, M: 8, P: 6, Q: 6}}
"""
WORKLOAD = (
    "name: conv\ndims: {C: 4, M: 8, P: 6, Q: 6, R: 3, S: 3}\nstride: 2\nbits: {Weights: 4, Inputs: 8, Outputs: 8}\n"
)
EINSUM = """\
name: product
dims: {G: 2, C: 4, M: 8, N: 6}
tensors: {Weights: [G, C, M], Inputs: [G, 2*N + C], Outputs: [G, N, M]}
"""
BITS = "default: a8w4\nweights:\n  conv: 8\n  2: 3\nactivations:\n  a: 4\n"
PARTIAL = """\
mapping:
  - {level: shared_glb, temporal: [[P, 2], ..., Q], keep: [Inputs, ...]}
  - {level: DRAM, temporal: [..., [Q, 6]]}
"""
MAPPING = """\
mapping:
  - {level: DRAM, temporal: [[M, 2], [P, 6]], keep: [Weights, Inputs, Outputs]}
  - level: shared_glb
    temporal: [[Q, 6], [C, 4]]
    bypass: [Weights]
  - {level: DummyBuffer, spatial: {y: [[R, 3]]}, bypass: [Weights, Inputs, Outputs]}
  - {level: ifmap_spad, keep: [Inputs]}
  - {level: weights_spad, temporal: [[S, 3]], keep: [Weights]}
  - {level: psum_spad, temporal: [[M, 4]], keep: [Outputs]}
"""
CONFIG = """\
model: mobilenet_v1:width=0.25,input=28,classes=10,channels=1
arch: eyeriss
data: demo
checkpoint: demo
objectives: [error, energy_pj]
bounds: {edp: 1.0e+12}
evaluations: 60
population: 10
seeds: 4
weight_bits: [2, 4, 8]
output_bits: 8
mutation_probability: 0.1
rules: {weights: {first: 8, "features.*": [4, 8]}, activations: {input: 8}, ties: [{weights: ["1", last]}]}
"""
COMMANDS = (
    "show arch eyeriss --json",
    "show model network.yaml",
    "map network.yaml --arch eyeriss --bits a8w4 --layer 2 --objective energy --threads 1",
    "count network.yaml --arch simba --layer conv --bits 8 4 --cost-model compat",
    "evaluate --arch eyeriss --workload w.yaml --mapping m.yaml --bits 8 --json",
    "table network.yaml --arch eyeriss -o out.csv --bits 4,8",
    "converge network.yaml --arch eyeriss --layer 1 --budget 50",
    "import timeloop network.yaml -o out",
    "search config.yaml -o out --workers 2 --compare random --limit energy_pj<=2e7 --rules rules.yaml --preset paper",
    "report run --figures svg --point front-01",
    "reproduce ddecs2024 -o out",
    "reproduce ddecs2024 --part fronts savings --data cifar10:x --arch eyeriss --seeds 2 --images 9 --checkpoint zoo:x",
    "quantize zoo --bits a4w3 --data demo --checkpoint demo --epochs 1 --learning-rate 0.1 --amp off -o out",
    "fetch cifar10 -o out",
    "store ls --all --kind mapping --store results.sqlite",
    "store gc --unused-days 90 --max-mib 10 --store results.sqlite",
    "store export -o results.csv --store results.sqlite",
    "export timeloop --arch eyeriss --workload w.yaml --mapping m.yaml -o out --format 0.4",
    "import timeloop template.yaml --set depth=8 -o out",
    "show arch eyeriss --svg picture.svg",
    "map network.yaml --arch eyeriss --layer 1 --fixed p.yaml --check 10 --save best",
)
TEMPLATE = """\
architecture:
  version: 0.4
  nodes:
    - !Component
      name: DRAM
      class: DRAM
      attributes: {width: 64, datawidth: {{bits|default(8)}}}
    {% if depth == 4 and buffered|default(True) and not small|default(False) %}
    - !Component
      name: buffer
      class: SRAM
      attributes: {depth: {{depth}}, width: 64, datawidth: 8}
    {% elif path_exists('part.yaml') %}
    {% set named = 'reg' ~ 'ister' %}
    - !Component
      name: {{named}}
      class: regfile
      attributes: {depth: 8, width: 8, datawidth: 8}
    {% endif %}
    - !Component {name: mac, class: intmac, attributes: {datawidth: 8}}
problem: {{include('part.yaml', 'problem')}}
{{include_text('rest.yaml')}}
"""
PART = """\
problem:
  version: 0.4
  instance: {C: 2, M: 2, R: 1, S: 1, N: 1, P: 1, Q: 1}
"""
RULES = """\
weights: {first: 8, "features.*": [4, 8], "2": 3}
activations: {input: [2, 4], output: 8}
ties: [{weights: ["1", last]}, {weights: [a, b], activations: [pool]}]
"""


@dataclass(frozen=True)
class Border:
    """seeds: texts that are read. read: takes a changed one; raises an `error` that names `located`.

    change: makes one of them another. encoding: of a file of such a text; bytes are texts of latin-1.
    """

    seeds: Callable[[], list[str]]
    read: Callable[[str], object]
    located: str = WHERE
    error: type[QuantloomError] = QuantloomError
    change: Callable[[str, Random, list[str]], str] = changed_text
    encoding: str = "utf-8"


@cache
def eyeriss() -> _core.Arch:
    return ql.load_arch("eyeriss")


@cache
def layer() -> _core.Workload:
    return parse_workload(WORKLOAD, WHERE)[0]


def archs() -> list[str]:
    texts = [path.read_text() for path in sorted((ROOT / "arch_specs").glob("*.yaml"))]
    return [text for text in texts if len(text) < 12_000]


def timeloop_files() -> list[str]:
    return [path.read_text() for path in sorted((ROOT / "tests" / "timeloop_files").glob("*.yaml"))]


def read_arch(text: str) -> object:
    """An accelerator that is read must also be usable."""
    arch = parse_arch(text, WHERE)
    with contextlib.suppress(QuantloomError):
        return _core.Mapspace(arch, layer()).size()
    return arch


def read_network(text: str) -> object:
    network = parse_network(text, WHERE)
    with contextlib.suppress(QuantloomError):
        return [_core.Mapspace(eyeriss(), each.workload).size() for each in network.layers]
    return network


def read_mapping(text: str) -> object:
    """A mapping that is read has a cost, or does not fit."""
    mapping = parse_mapping(text, WHERE, eyeriss(), layer())
    return _core.check_fit(eyeriss(), layer(), mapping, bits={}).message


def read_partial_mapping(text: str) -> object:
    given = parse_partial_mapping(text, WHERE, eyeriss(), layer())
    with contextlib.suppress(QuantloomError):
        return ql.Mapspace(eyeriss(), layer(), fixed=given).size()
    return given


def read_timeloop(text: str) -> object:
    return parse_timeloop([(WHERE, text)])


def read_template(text: str) -> object:
    Path("part.yaml").write_text(PART)
    Path("rest.yaml").write_text("variables: {global_cycle_seconds: 1e-9}\n")
    return parse_timeloop([(WHERE, text)], variables={"depth": "4"})


@cache
def finished_run() -> dict[str, str]:
    """The text files of a small search."""
    config = SearchConfig(model="toy", arch="toy", evaluations=10, population=4, seeds=2)
    with tempfile.TemporaryDirectory() as folder, mock.patch("quantloom.joint_search.front.Front.plot", _no_picture):
        run_search(config, toy_inputs(3), directory=Path(folder))
        names = (MANIFEST, JOURNAL, "front.json", "mappings.json")
        return {name: (Path(folder) / name).read_text(encoding="utf-8") for name in names}


def _no_picture(front: object, path: Path) -> None:
    del front
    path.write_bytes(b"")


def run_with(name: str, text: str) -> Path:
    """A run directory in the current one, with one file changed."""
    folder = Path("run")
    folder.mkdir(exist_ok=True)
    for each, whole in (finished_run() | {name: text}).items():
        (folder / each).write_text(whole, encoding="utf-8", errors="surrogateescape")
    return folder


def resumed_file(name: str) -> Border:
    """A file of a run, read to go on with the run."""

    def read(text: str) -> object:
        with RunDirectory.resume(run_with(name, text), {}, {}) as run:
            return run.evaluations

    return Border(lambda: [finished_run()[name]], read, "run", SearchError)


def reported_file(name: str) -> Border:
    """A file of a run, read for its page."""
    return Border(lambda: [finished_run()[name]], lambda text: write_report(run_with(name, text)), name, SearchError)


def read_command(text: str) -> object:
    """A command line: an exit code, one error and no traceback. What may be searched is small."""
    from quantloom.cli.main import main

    for name, content in (
        ("network.yaml", NETWORK),
        ("w.yaml", WORKLOAD),
        ("m.yaml", MAPPING),
        ("config.yaml", CONFIG),
        ("rules.yaml", RULES),
        ("p.yaml", PARTIAL),
        ("template.yaml", TEMPLATE.partition("problem:")[0]),
    ):
        Path(name).write_text(content)
    try:
        arguments = shlex.split(text, posix=False)
    except ValueError:
        arguments = text.split()
    if {"search", "quantize", "fetch", "reproduce"} & set(arguments):
        arguments.append("--no-such-option")  # parsed, not run
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    if code not in (0, 1, 2) or "internal error" in err.getvalue() or "Traceback" in err.getvalue():
        message = f"exit code {code}: {err.getvalue()[-2000:]}"
        raise AssertionError(message)
    if code == 1 and (not err.getvalue().count("error: ") or out.getvalue()):
        message = f"exit code 1 with {err.getvalue()!r}, stdout {out.getvalue()[:200]!r}"
        raise AssertionError(message)
    return code


TEXT_BORDERS = {
    "arch": Border(archs, read_arch),
    "network": Border(lambda: [NETWORK], read_network),
    "workload": Border(lambda: [WORKLOAD, EINSUM], lambda text: parse_workload(text, WHERE)),
    "bits": Border(lambda: [BITS], lambda text: parse_bits_file(text, WHERE)),
    "mapping": Border(lambda: [MAPPING], read_mapping),
    "partial-mapping": Border(lambda: [PARTIAL, MAPPING], read_partial_mapping),
    "config": Border(lambda: [CONFIG], lambda text: parse_search_config(text, WHERE)),
    "rules": Border(lambda: [RULES], lambda text: parse_search_rules(text, WHERE)),
    "timeloop": Border(timeloop_files, read_timeloop),
    "template": Border(lambda: [TEMPLATE], read_template, ".yaml:"),  # of that file, or one it includes
    "manifest": resumed_file(MANIFEST),
    "manifest-report": reported_file(MANIFEST),
    "journal": resumed_file(JOURNAL),
    "journal-report": reported_file(JOURNAL),
    "front": reported_file("front.json"),
    "mappings": reported_file("mappings.json"),
    "command": Border(lambda: list(COMMANDS), read_command),
}


def outcome(border: Border, text: str) -> str:
    """ "read", or the class of the error. Raises AssertionError, or whatever came out, for anything else."""
    try:
        border.read(text)
    except InternalError:
        raise
    except QuantloomError as error:
        if not isinstance(error, border.error):
            message = f"{type(error).__name__} where {border.error.__name__} is expected: {error}"
            raise AssertionError(message) from error
        if border.located not in str(error) or not str(error).strip():
            message = f"{type(error).__name__} without a place: {error}"
            raise AssertionError(message) from error
        return type(error).__name__
    return "read"


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

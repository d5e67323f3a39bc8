"""Partially given mappings: what is left is exactly the mappings of the space that have the given loops."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from quantloom import load_arch, optimize
from quantloom._core import Arch, Mapping, Mapspace, Workload
from quantloom.errors import InfeasibleError, SpecError
from quantloom.mapper.given import fix_loops
from quantloom.spec.arch import parse_arch
from quantloom.spec.mapping import dump_mapping
from quantloom.spec.partial_mapping import GivenLoops, PartialMapping, parse_partial_mapping
from quantloom.spec.workload import parse_workload

ARCH = """\
name: small
source: made up
levels:
  - {name: DRAM, technology: DRAM, word_bits: 16, energy_pj: {read: 100, write: 100, source: made up}}
  - {name: Buf, word_bits: 16, capacity_words: 64, energy_pj: {read: 5, write: 5, source: made up}}
  - name: Reg
    word_bits: 16
    capacity_words: 16
    instances: {x: 2, y: 2}
    keep: [Inputs, Outputs]
    energy_pj: {read: 1, write: 1, source: made up}
arithmetic: {name: mac, word_bits: 16, instances: {x: 2, y: 2}, energy_pj: {mac: 1, source: made up}}
"""
CONSTRAINTS = {
    "open": "",
    "orders": """\
constraints:
  architecture:
    Buf:
      temporal: {factors: {P: "<=2"}, permutation: {inner: [P], outer: [C]}}
      spatial: {permutation: [M, C, P], split: 1}
""",
    "total order": """\
constraints:
  architecture:
    DRAM: {temporal: {permutation: [C, M, P]}}
    Buf: {spatial: {factors: {P: 1}, permutation: [C], split: 1}, bypass: [Weights]}
""",
}
GEMM = parse_workload("{name: gemm, dims: {C: 4, M: 2, P: 6}}", "w.yaml")[0]
SMALL = parse_workload("{name: gemm, dims: {C: 4, M: 2, P: 3}}", "w.yaml")[0]


def arch_with(constraints: str) -> Arch:
    return parse_arch(ARCH + CONSTRAINTS[constraints], "a.yaml")


def left(arch: Arch, workload: Workload) -> set[str]:
    mappings = Mapspace(arch, workload).mappings(limit=10**6)
    texts = {dump_mapping(mapping, arch) for mapping in mappings}
    assert len(texts) == len(mappings)
    return texts


def has_loops(given: GivenLoops | None, loops: Sequence[tuple[str, int]], *, ordered: bool = True) -> bool:
    """Loops from outer to inner, those of bound 1 left out."""
    if given is None:
        return True
    bounds = dict(loops)
    if any(loop.bound is not None and bounds.get(loop.dim, 1) != loop.bound for loop in given.loops):
        return False
    names = [dim for dim, _ in loops]
    wanted = {loop.dim for loop in given.loops}
    if given.is_whole and not set(names) <= wanted:
        return False
    if not ordered:
        return True
    outer = [loop.dim for loop in given.outer if loop.dim in bounds]
    inner = [loop.dim for loop in given.inner if loop.dim in bounds]
    return names[: len(outer)] == outer and names[len(names) - len(inner) :] == inner


def agrees(given: PartialMapping, mapping: Mapping, arch: Arch) -> bool:
    for level, here in zip(arch.levels, mapping.levels, strict=True):
        wanted = given.levels.get(level.name)
        if wanted is None:
            continue
        if not has_loops(wanted.temporal, here.temporal, ordered=level.name != "Reg"):  # nothing lies inside of Reg
            return False
        if not has_loops(wanted.spatial_x, here.spatial_x) or not has_loops(wanted.spatial_y, here.spatial_y):
            return False
        if any((tensor in here.keep) != kept for tensor, kept in wanted.keep.items()):
            return False
    return True


def part_of(loops: Sequence[tuple[str, int]], rng: random.Random) -> str:
    """Some of these loops in the words of a file."""
    words = [f"[{dim}, {bound}]" for dim, bound in loops]
    kind = rng.randrange(4)
    if kind == 0:
        return f"[{', '.join(words)}]"
    at = rng.randint(0, len(words))
    if kind == 1:
        return f"[{', '.join([*words[:at], '...'])}]"
    if kind == 2:
        return f"[{', '.join(['...', *words[at:]])}]"
    return f"[..., {', '.join([*words[at : at + 1], '...'])}]"


def partial_of(mapping: Mapping, arch: Arch, rng: random.Random) -> str:
    lines = []
    for level, here in zip(arch.levels, mapping.levels, strict=True):
        lines.append(f"- level: {level.name}")
        if rng.random() < 0.5:
            lines.append(f"  temporal: {part_of(here.temporal, rng)}")
        if here.spatial_x or here.spatial_y:
            axes = {"x": here.spatial_x, "y": here.spatial_y}
            chosen = [axis for axis in axes if rng.random() < 0.7]
            lines.append(f"  spatial: {{{', '.join(f'{axis}: {part_of(axes[axis], rng)}' for axis in chosen)}}}")
        if rng.random() < 0.4:
            lines.append(f"  keep: [{', '.join([*here.keep, *(['...'] if rng.random() < 0.5 else [])])}]")
    return "\n".join(lines)


def fix_or_none(arch: Arch, given: PartialMapping) -> Arch | None:
    """None where the axis of a loop is given in a way that no order and split can say."""
    try:
        return fix_loops(arch, SMALL, given)
    except SpecError as error:
        if "without `...`" not in str(error):
            raise
        return None


@pytest.mark.parametrize("constraints", CONSTRAINTS)
def test_what_is_left_are_the_mappings_that_have_the_given_loops(constraints: str) -> None:
    arch = arch_with(constraints)
    everything = Mapspace(arch, SMALL).mappings(limit=10**6)
    rng = random.Random(7)
    compared = 0
    for _ in range(25):
        text = partial_of(rng.choice(everything), arch, rng)
        given = parse_partial_mapping(text, "m.yaml", arch, SMALL)
        fixed = fix_or_none(arch, given)
        if fixed is None:
            continue
        wanted = {dump_mapping(mapping, arch) for mapping in everything if agrees(given, mapping, arch)}
        assert left(fixed, SMALL) == wanted, text
        compared += 1
    assert compared > 12


@pytest.mark.parametrize("model", ["default", "compat"])
def test_optimum_with_given_loops_is_the_best_that_has_them(model: str) -> None:
    arch = arch_with("open")
    text = "- {level: Buf, temporal: [..., [P, 3]], keep: [Outputs, ...]}"
    given = parse_partial_mapping(text, "m.yaml", arch, GEMM)
    found = optimize(arch, GEMM, bits=8, model=model, fixed=given)
    assert found.certificate.exhausted
    exhaustive = optimize(arch, GEMM, bits=8, model=model, fixed=given, budget=10**9)
    assert exhaustive.certificate.method == "exhaustive"
    assert found.cost.edp == pytest.approx(exhaustive.cost.edp, rel=1e-12)
    assert found.mapping == exhaustive.mapping
    assert agrees(given, found.mapping, arch)
    assert found.cost.edp > optimize(arch, GEMM, bits=8, model=model).cost.edp


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
@pytest.mark.parametrize("selection", ["all", "free"])
def test_whole_mapping_leaves_itself(name: str, selection: str) -> None:
    arch = load_arch(name)
    layer, _ = parse_workload("{name: conv, dims: {C: 4, M: 8, R: 3, S: 3, P: 6, Q: 6, G: 2}}", "w.yaml")
    best = optimize(arch, layer, bits=8)
    given = parse_partial_mapping(dump_mapping(best.mapping, arch), "m.yaml", arch, layer)
    again = optimize(arch, layer, bits=8, fixed=given, selection=selection)
    assert again.mapping == best.mapping
    assert (again.cost.energy_pj, again.cost.cycles) == (best.cost.energy_pj, best.cost.cycles)


def error_of(text: str, constraints: str = "open") -> str:
    arch = arch_with(constraints)
    with pytest.raises(SpecError) as caught:
        fix_loops(arch, GEMM, parse_partial_mapping(text, "m.yaml", arch, GEMM))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "constraints", "wanted"),
    [
        ("- {level: Bus}", "open", "m.yaml:1:11: [0].level: unknown level `Bus`\n  hint: did you mean `Buf`?"),
        ("- {level: Buf, temporal: [[K, 2]]}", "open", "unknown dim `K`"),
        ("- {level: Buf, temporal: [[M, 3]]}", "open", "3 does not divide the bound of dim `M`, 2"),
        ("- {level: Buf, temporal: [[M, 2], M]}", "open", "dim `M` has two loops here"),
        ("- {level: Buf, temporal: [..., ..., ...]}", "open", "`...` stands more than twice"),
        ("- {level: Buf}\n- {level: Buf}", "open", "m.yaml:2:11: [1].level: level `Buf` is given twice"),
        ("- {level: Buf, keep: [Weight]}", "open", "did you mean `Weights`?"),
        (
            "- {level: Buf, temporal: [[M, 2], ...]}\n- {level: DRAM, temporal: [[M, 2], ...]}",
            "open",
            "the given factors of dim `M` multiply to 4, which does not divide 2",
        ),
        (
            "\n- {level: Reg, spatial: {x: [[M, 2]]}}",
            "open",
            "m.yaml:2:30: Reg has no fanout, but a spatial loop [M, 2] is given",
        ),
        (
            "- {level: Buf, spatial: {x: [[M, 2], ...]}}",
            "open",
            "m.yaml:1:29: Buf, spatial: which loops lie on X and which on Y is open",
        ),
        (
            "- level: Buf\n  temporal: [..., [P, 3], ...]",
            "orders",
            "m.yaml:2:19: Buf, temporal: [P, 3] is given, but the constraints of 'small' (a.yaml:16:17) leave 1 "
            "to 2 for P",
        ),
        (
            "- level: Buf\n  temporal: [[C, 2], [P, 2], [M, 2]]",
            "orders",
            "m.yaml:2:13: Buf, temporal: the order M P C (inner to outer) is not of the given one, says a "
            "constraint of "
            "'small' (a.yaml:16:17)",
        ),
        (
            "- level: Buf\n  spatial: {y: [[M, 2], ...]}",
            "orders",
            "m.yaml:2:17: Buf, spatial: M is given along Y, but the constraints of 'small' (a.yaml:17:16) put it on X",
        ),
        (
            "- {level: Buf, keep: [Weights, ...]}",
            "total order",
            "m.yaml:1:3: Buf keeps Weights, but 'small' bypasses it there (a.yaml:16:75)",
        ),
    ],
)
def test_contradictions_are_told_with_their_place(text: str, constraints: str, wanted: str) -> None:
    assert wanted in error_of(text, constraints)


def test_factors_of_both_must_divide_the_bound_together() -> None:
    text = "- {level: Buf, temporal: [..., [M, 2], ...]}"
    arch = parse_arch(ARCH + "constraints: {architecture: {DRAM: {temporal: {factors: {M: 2}}}}}", "a.yaml")
    with pytest.raises(SpecError) as caught:
        fix_loops(arch, GEMM, parse_partial_mapping(text, "m.yaml", arch, GEMM))
    message = (
        "m.yaml: with the constraints of 'small' the factors of M are fixed to 2 (Buf, temporal), 2 (DRAM, temporal)"
    )
    assert message in str(caught.value)


def test_given_loops_that_fit_nowhere_are_infeasible() -> None:
    arch = arch_with("open")
    text = "- {level: Reg, temporal: [[P, 6], [C, 4]], keep: [Weights, ...]}"
    with pytest.raises(InfeasibleError, match="Reg"):
        optimize(arch, GEMM, fixed=parse_partial_mapping(text, "m.yaml", arch, GEMM))

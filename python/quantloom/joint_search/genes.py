"""The genes of a search: which bit-widths are chosen together, and among what, from its configuration and its rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.rules import KINDS, RuleProblems, SearchRules, TensorKind, find_tensors, rule_bits
from quantloom.workload.network import Network

__all__ = ["Gene", "choose_genes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One choice of the search. bits: what it may be, ascending. variables: indices of the bit-widths it sets.

    by_rule: a rule says what it may be, so that uniform bits adapt to it instead of being limited by it.
    """

    name: str
    bits: tuple[int, ...]
    variables: tuple[int, ...]
    by_rule: bool = False


@dataclass(slots=True, kw_only=True)
class _Tensor:
    """What has one bit-width before any tie. rules: path and widths of those that meet it. fixed: by the settings."""

    name: str
    variables: tuple[int, ...]
    default: tuple[int, ...]
    fixed: int | None = None
    rules: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)


def choose_genes(network: Network, config: SearchConfig, default: tuple[int, ...]) -> tuple[list[Gene], list[int]]:
    """Return the genes, and bits for every variable, which hold where no gene sets them.

    default: the bits of what the configuration leaves open. Layers that share a weight tensor share its gene; a product
    of two activations has the gene of the second one. A rule counts more than input_bits and output_bits, and these
    more than weight_bits and activation_bits; tied tensors have the bits that all of them may have.
    Raises SpecError or SearchError with everything that is wrong with the rules.
    """
    tensors, of_variable = _tensors(network, config, default)
    problems = RuleProblems(config.rules)
    ties = _apply_rules(network, config.rules, tensors, of_variable, problems)
    fixed = [0] * len(of_variable)
    genes = []
    for members, path in ties:
        together = [tensors[m] for m in members]
        bits = _allowed(together, path, problems)
        variables = tuple(v for tensor in together for v in tensor.variables)
        for v in variables:
            fixed[v] = bits[-1]
        by_rule = any(tensor.rules for tensor in together)
        if len(bits) > 1 or not (by_rule or any(tensor.fixed for tensor in together)):
            name = "+".join(tensor.name for tensor in together)
            genes.append(Gene(name=name, bits=bits, variables=variables, by_rule=by_rule))
    problems.raise_if_any()
    return genes, fixed


def _tensors(network: Network, config: SearchConfig, default: tuple[int, ...]) -> tuple[list[_Tensor], list[int]]:
    """Return everything that has one bit-width, weights first, and for each variable whose it is."""
    layers = len(network.layers)
    tied: dict[int, list[int]] = {}  # a bit-width -> the layers whose Weights tensors have it, owner included
    for i in range(layers):
        tied.setdefault(network.weights_variable(i), []).append(i)
    tensors = [
        _Tensor(name=layer.name, variables=tuple(tied[i]), default=config.weight_bits or default)
        for i, layer in enumerate(network.layers)
        if not layer.shares_weights
    ]
    for group, edges in enumerate(network.edge_groups):
        tensors.append(
            _Tensor(
                name=network.edges[edges[0]].name,
                variables=(layers + group, *tied.get(layers + group, ())),
                default=config.activation_bits or default,
                fixed=_fixed_by_settings(network, config, group),
            )
        )
    of_variable = [0] * (layers + len(network.edge_groups))
    for t, tensor in enumerate(tensors):
        for v in tensor.variables:
            of_variable[v] = t
    return tensors, of_variable


def _fixed_by_settings(network: Network, config: SearchConfig, group: int) -> int | None:
    if group == network.input_group and config.input_bits is not None:
        return config.input_bits
    return config.output_bits if group == network.output_group else None


def _apply_rules(
    network: Network,
    rules: SearchRules,
    tensors: Sequence[_Tensor],
    of_variable: Sequence[int],
    problems: RuleProblems,
) -> list[tuple[list[int], str]]:
    """Note the rules at the tensors they meet; return the tensors of each choice, with the path of the last tie."""

    def find(kind: TensorKind, name: str, path: str) -> list[int]:
        found = find_tensors(network, kind, name, lambda message, hint: problems.add(path, message, hint))
        if kind == "weights":
            return [of_variable[i] for i in found]
        return [of_variable[len(network.layers) + network.edges[i].group] for i in found]

    for kind in KINDS:
        for name, rule in getattr(rules, kind).items():
            path = f"{kind}.{name}"
            for t in dict.fromkeys(find(kind, name, path)):
                tensors[t].rules.append((path, rule_bits(rule)))
    together: dict[int, tuple[list[int], str]] = {t: ([t], "") for t in range(len(tensors))}  # shared lists
    for i, tie in enumerate(rules.ties):
        path = f"ties[{i}]"
        named = [find(kind, name, path) for kind in KINDS for name in tie.get(kind, ())]
        tied = sorted({t for found in named for t in found})
        if all(named) and len(tied) < 2:
            problems.add(path, "names a single tensor", "tie two or more; edges of one bit group are tied already")
        members = sorted({m for t in tied for m in together[t][0]})
        for m in members:
            together[m] = (members, path)
    return [together[t] for t in range(len(tensors)) if together[t][0][0] == t]


def _allowed(together: Iterable[_Tensor], path: str, problems: RuleProblems) -> tuple[int, ...]:
    """Return the bits that tied tensors may all have; where there are none, say so and return some."""
    tensors = list(together)
    reasons = [rule for tensor in tensors for rule in tensor.rules]
    reasons = reasons or [("input_bits or output_bits", (t.fixed,)) for t in tensors if t.fixed is not None]
    reasons = reasons or [(f"the bits of {tensor.name}", tensor.default) for tensor in tensors]
    common = set(reasons[0][1]).intersection(*(bits for _, bits in reasons))
    if not common:
        asked = "; ".join(f"{why} says {', '.join(map(str, bits))}" for why, bits in dict(reasons).items())
        names = ", ".join(tensor.name for tensor in tensors[:5]) + (", ..." if len(tensors) > 5 else "")
        ruled = [why for tensor in tensors for why, _ in tensor.rules]
        problems.add(ruled[-1] if ruled else path, f"no bits are left for {names}: {asked}", "all rules hold together")
        return reasons[0][1]
    return tuple(sorted(common))

"""Rules on the bits of a search: tensors whose bits are fixed, that have bits of their own to choose from, or are tied.

A rule names layers (for their weights) and edges (for activations): by name; layers also by position from 1, as `first`
or `last`; edges as `input` or `output` of the network; with `*` for any letters, every one that matches. All rules that
meet a tensor hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from quantloom.errors import SearchError, SpecError, WorkloadError
from quantloom.workload.bits import MAX_BITS
from quantloom.workload.network import Network

__all__ = ["KINDS", "RuleProblems", "SearchRules", "TensorKind", "find_tensors", "rule_bits"]

TensorKind = Literal["weights", "activations"]
KINDS: Final[tuple[TensorKind, ...]] = get_args(TensorKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRules:
    """What a search may not choose freely.

    weights, activations: by layer and by edge, the bits of the tensor, or the widths it may have. ties: each a mapping
    with `weights`, `activations` or both, lists of layers and edges whose bits are one choice. places: where in a file
    a rule stands, by its path such as `weights.first`, for messages.
    Raises SearchError for what can be no rule in any network.
    """

    weights: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    activations: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    ties: Sequence[Mapping[TensorKind, Sequence[str]]] = ()
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for kind in KINDS:
            rules = getattr(self, kind)
            if not isinstance(rules, Mapping):
                message = f"rules.{kind}: expected a mapping from names to bits, got {rules!r}"
                raise SearchError(message)
            plain = {str(name): _checked(f"rules.{kind}.{name}", bits) for name, bits in rules.items()}
            object.__setattr__(self, kind, plain)
        object.__setattr__(self, "ties", tuple(_checked_tie(i, tie) for i, tie in enumerate(self.ties)))
        object.__setattr__(self, "places", dict(self.places))

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.weights or self.activations or self.ties)

    @property
    def bits(self) -> frozenset[int]:
        """All bit-widths that rules name."""
        return frozenset(b for rules in (self.weights, self.activations) for r in rules.values() for b in rule_bits(r))

    def to_dict(self) -> dict[str, object]:
        """Return the rules as plain values, ready for JSON; SearchRules(**values) are equal ones."""
        return {
            **{
                kind: {n: r if isinstance(r, int) else list(r) for n, r in getattr(self, kind).items()}
                for kind in KINDS
            },
            "ties": [{kind: list(names) for kind, names in tie.items()} for tie in self.ties],
        }


class RuleProblems:
    """Collects what is wrong with the rules for a network, so that all of it is told at once."""

    def __init__(self, rules: SearchRules) -> None:
        self._places = rules.places
        self._problems: list[tuple[str, str | None]] = []

    def add(self, path: str, message: str, hint: str | None = None) -> None:
        """Remember one mistake in the rule at `path`."""
        place = self._places.get(path)
        self._problems.append((f"{place}: {path}: {message}" if place else f"rules.{path}: {message}", hint))

    def raise_if_any(self) -> None:
        """Raise one error that lists every mistake: SpecError for rules from a file, else SearchError."""
        if not self._problems:
            return
        kind = SpecError if self._places else SearchError
        if len(self._problems) == 1:
            raise kind(self._problems[0][0], hint=self._problems[0][1])
        raise kind("\n".join(text if hint is None else f"{text}\n  hint: {hint}" for text, hint in self._problems))


def rule_bits(rule: int | Sequence[int]) -> tuple[int, ...]:
    """The widths that a rule allows, ascending."""
    return (rule,) if isinstance(rule, int) else tuple(rule)


def find_tensors(network: Network, kind: TensorKind, name: str, fail: Callable[[str, str | None], None]) -> list[int]:
    """Return the layers or edges of the network that a rule names; none, and a message to `fail`, if there are none."""
    if kind == "weights":
        owners = [i for i, layer in enumerate(network.layers) if not layer.shares_weights]
        names = [layer.name for layer in network.layers]
        aliases = {"first": owners[0], "last": owners[-1]} if owners else {}
    else:
        owners = list(range(len(network.edges)))
        names = [edge.name for edge in network.edges]
        aliases = {"input": 0, "output": len(names) - 1}
    if name in names:
        found = [names.index(name)]
    elif name in aliases:
        found = [aliases[name]]
    elif "*" in name:
        found = [i for i in owners if fnmatchcase(names[i], name.replace("[", "[[]"))]
    else:
        found = []
    if kind == "weights" and not found and "*" not in name:
        try:
            found = [network.layers.index(network.layer(name))]
        except WorkloadError as error:
            fail(error.message, error.hint)
            return []
    if not found:
        fail(f"{network.name} has no {'layer' if kind == 'weights' else 'edge'} `{name}`", _hint(name, names))
    elif kind == "weights" and found[0] not in owners:
        hint = "give the rule to the edge that it multiplies, or to the layer whose weights it uses"
        fail(f"layer `{names[found[0]]}` has no weights of its own", hint)
        return []
    return found


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean `{near[0]}`?" if near else f"they are named like `{names[0]}`"


def _checked(path: str, rule: object) -> int | tuple[int, ...]:
    """The rule with its widths ascending. Raises SearchError if they are not bits."""
    widths = list(rule) if isinstance(rule, Sequence) and not isinstance(rule, str) else [rule]
    good = [b for b in widths if isinstance(b, int) and not isinstance(b, bool) and 1 <= b <= MAX_BITS]
    if not widths or len(good) != len(widths) or len(set(good)) != len(good):
        message = f"{path}: expected bits 1..{MAX_BITS} such as 8, or different ones such as [2, 4, 8]; got {rule!r}"
        raise SearchError(message)
    return good[0] if isinstance(rule, int) else tuple(sorted(good))


def _checked_tie(index: int, tie: object) -> dict[str, tuple[str, ...]]:
    """The tie with tuples of names. Raises SearchError if it is not a mapping from kinds to names."""
    if (
        not isinstance(tie, Mapping)
        or not tie
        or not tie.keys() <= set(KINDS)
        or any(isinstance(names, str) or not isinstance(names, Sequence) for names in tie.values())
    ):
        message = f"rules.ties[{index}]: expected a mapping such as {{'weights': ['conv1', 'fc']}}, got {tie!r}"
        raise SearchError(message, hint="weights takes layers, activations takes edges")
    return {kind: tuple(str(name) for name in tie[kind]) for kind in KINDS if kind in tie}

"""The settings of one search: a plain record, checked once, recorded in the manifest of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args

from quantloom.errors import SearchError
from quantloom.joint_search.rules import SearchRules

__all__ = [
    "ACCURACY_METHODS",
    "OBJECTIVES",
    "PRESETS",
    "RIVALS",
    "SAMPLERS",
    "AccuracyMethod",
    "Objective",
    "RivalName",
    "SamplerName",
    "SearchConfig",
]

Objective = Literal["error", "energy_pj", "cycles", "edp", "sum_edp", "weight_bits", "peak_activation_bits", "bops"]
"""error: 1 - accuracy on the validation split. energy_pj, cycles: sums over layers. edp: energy times cycles of the
whole network, pJ*cycles. sum_edp: the sum of the layers' own products, pJ*cycles. weight_bits: of all weights.
peak_activation_bits: of the edges alive at the same time, at the worst moment (activation_memory.py). bops: bit
operations, the sum over layers of multiplications x bits of weights x bits of inputs (arXiv 2005.07093)."""

SamplerName = Literal["nsga2", "nsga3", "nsga2_paper", "random", "optuna:tpe", "optuna:nsgaii"]
"""optuna:...: samplers of Optuna, which the extra `optuna` installs."""

RivalName = Literal["memory_only", "random", "no_synergy"]
"""A search to compare with. memory_only: blind to the accelerator, for weight memory. random: bits drawn at random.
no_synergy: on mappings fixed to the best ones at 8 bits."""

AccuracyMethod = Literal["ptq+bn", "rounded+bn", "switchable+bn"]
"""A rung of the ladder of accuracies that a search can decide by. ptq+bn: the weights as they are, quantized,
normalisation statistics taken anew. rounded+bn: the same, weights rounded for the least error of what each layer
computes, not each to the nearest. switchable+bn: the same with weights that are first trained for all candidates."""

OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
SAMPLERS: Final[tuple[SamplerName, ...]] = get_args(SamplerName)
RIVALS: Final[tuple[RivalName, ...]] = get_args(RivalName)
ACCURACY_METHODS: Final[tuple[AccuracyMethod, ...]] = get_args(AccuracyMethod)

_LEAST: Final = {
    **{"evaluations": 1, "population": 2, "generations": 1, "seeds": 0, "seed": 0},
    **{"promote": 0, "promote_epochs": 1, "switchable_epochs": 1, "switchable_images": 2},
}

_OF_METHOD: Final = ("accuracy_method", "switchable_epochs", "switchable_images")

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {  # Any: the values have the types of SearchConfig's fields
    # The released code of arXiv 2404.05368 (its defaults; the paper does not give them): 7 uniform individuals, 10
    # parents and 10 children, 25 generations of children, bits 2..8 of the weights and the inputs of every layer.
    "paper": {
        "sampler": "nsga2_paper",
        "objectives": ("error", "sum_edp"),
        "population": 10,
        "generations": 26,  # the uniform individuals are the first one here
        "evaluations": 7 + 25 * 10,
        "seeds": 0,
        "weight_bits": tuple(range(2, 9)),
        "activation_bits": tuple(range(2, 9)),
        "input_bits": None,
        "output_bits": 8,
        "crossover_probability": 0.95,
        "mutation_probability": 0.1,
    },
}
"""Settings under a name; those given beside it count more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What to search, over what, for how long.

    model, arch, data, checkpoint: names or files as on the command line; the search only records them.
    objectives: two or more of OBJECTIVES, minimised. bounds: upper bounds on objectives, in their units; a candidate
    above one is never on the front, and if it is above a hardware bound it is not even evaluated for accuracy.
    evaluations: distinct assignments whose accuracy may be measured, seeds and uniform baselines included.
    population: survivors and children of a generation. generations: None for as many as the evaluations allow. seeds:
    how many starting points are taken from the additive accuracy proxy; 0 for none. weight_bits, activation_bits: the
    bits a gene may take; None for one for each packing class of the architecture. input_bits, output_bits: bits of
    the network's input and of its logits, not searched; None to search them too. rules: fixed tensors, bits that single
    ones may have, ties; they count more than all of these. crossover_probability: of a pair of parents.
    mutation_probability: of each gene; None for 1 / number of genes. Of nsga2_paper instead: of a layer to come from a
    parent, else it is reset to 8 bits; of a child to change one gene, None for 0.1. compare: searches made beside this
    one, each with as many evaluations of its own; what another one has measured costs them no time. charge_operators:
    count in energy_pj and edp the traffic of operators beside the layers too, as if all of it went through the
    outermost level. promote: so many points of the front, evenly spread along it, are trained for promote_epochs and
    measured anew, and so are the uniform bits; 0 for none. accuracy_method: what the search decides by; None for the
    best cheap one. switchable_epochs, switchable_images: of the training of switchable+bn, passes and train images in
    each of them, at most.
    Raises SearchError on impossible values.
    """

    model: str
    arch: str
    data: str = "demo"
    checkpoint: str | None = None
    cost_model: str = "default"
    mapping_objective: str = "edp"
    objectives: tuple[Objective, ...] = ("error", "energy_pj")
    bounds: Mapping[Objective, float] = field(default_factory=dict)
    sampler: SamplerName = "nsga2"
    evaluations: int = 400
    population: int = 40
    generations: int | None = None
    seeds: int = 20
    seed: int = 0
    weight_bits: tuple[int, ...] | None = None
    activation_bits: tuple[int, ...] | None = None
    input_bits: int | None = 8
    output_bits: int | None = 8
    crossover_probability: float = 0.9
    mutation_probability: float | None = None
    compare: tuple[RivalName, ...] = ()
    rules: SearchRules = field(default_factory=SearchRules)
    charge_operators: bool = False
    promote: int = 0
    promote_epochs: int = 2
    accuracy_method: AccuracyMethod | None = None
    switchable_epochs: int = 3
    switchable_images: int = 6000

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", dict(self.bounds))
        for name in (*self.objectives, *self.bounds):
            _check_choice("objective", name, OBJECTIVES)
        _check_choice("sampler", self.sampler, SAMPLERS)
        if self.accuracy_method is not None:
            _check_choice("accuracy method", self.accuracy_method, ACCURACY_METHODS)
        for rival in self.compare:
            _check_choice("search to compare with", rival, RIVALS)
        if len(set(self.compare)) != len(self.compare):
            message = f"compare must name different searches, got {list(self.compare)}"
            raise SearchError(message)
        if len(set(self.objectives)) != len(self.objectives) or len(self.objectives) < 2:
            message = f"objectives must be two or more different ones, got {list(self.objectives)}"
            raise SearchError(message, hint=f"choose among {', '.join(OBJECTIVES)}")
        for name, bound in self.bounds.items():
            if not bound > 0:
                message = f"bounds.{name} must be above 0, got {bound}"
                raise SearchError(message)
        for key, least in _LEAST.items():
            value = getattr(self, key)
            if value is not None and value < least:
                message = f"{key} must be at least {least}, got {value}"
                raise SearchError(message)
        for key in ("crossover_probability", "mutation_probability"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1:
                message = f"{key} must be between 0 and 1, got {value}"
                raise SearchError(message)
        self._check_bits()

    def _check_bits(self) -> None:
        for key in ("weight_bits", "activation_bits"):
            bits = getattr(self, key)
            if bits is not None and (not bits or sorted(set(bits)) != list(bits) or bits[0] < 1 or bits[-1] > 32):
                message = f"{key} must be different bit-widths of 1..32 in ascending order, got {list(bits)}"
                raise SearchError(message)
        for key in ("input_bits", "output_bits"):
            value = getattr(self, key)
            if value is not None and not 1 <= value <= 32:
                message = f"{key} must be in 1..32, got {value}"
                raise SearchError(message)

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain values, ready for JSON."""
        # as runs have them that were begun before all but the first were
        later = ("bounds", "rules", "charge_operators", "promote", "promote_epochs", *_OF_METHOD)
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in later}
        return {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()},
            "bounds": {str(name): bound for name, bound in self.bounds.items()},
            **({"rules": self.rules.to_dict()} if self.rules else {}),
            **({"charge_operators": True} if self.charge_operators else {}),
            **({"promote": self.promote, "promote_epochs": self.promote_epochs} if self.promote else {}),
            **({name: getattr(self, name) for name in _OF_METHOD} if self.accuracy_method != "ptq+bn" else {}),
        }

    @classmethod
    def preset(cls, name: str, **settings: Any) -> SearchConfig:
        """Return the settings of one of PRESETS, with others given beside or instead. Raises SearchError."""
        _check_choice("preset", name, tuple(PRESETS))
        return cls(**{**PRESETS[name], **settings})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchConfig:
        """Return the settings that to_dict() gave. Raises TypeError or SearchError if it did not give these."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        fields.setdefault("accuracy_method", "ptq+bn")
        if "rules" in fields:
            fields["rules"] = SearchRules(**fields["rules"])
        return cls(**fields)


def _check_choice(what: str, name: str, choices: tuple[str, ...]) -> None:
    if name in choices:
        return
    close = get_close_matches(name, choices, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(choices)}"
    message = f"unknown {what} {name!r}"
    raise SearchError(message, hint=hint)

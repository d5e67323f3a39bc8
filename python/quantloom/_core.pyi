"""
The C++ core of quantloom: workloads, architectures, mappings, their cost and their mapspace.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "AccessEnergy",
    "Arch",
    "Arithmetic",
    "BatchCosts",
    "COST_MODELS",
    "Certificate",
    "Constraint",
    "Cost",
    "Fit",
    "HEURISTICS",
    "HeuristicResult",
    "Level",
    "LevelCost",
    "LevelMapping",
    "MacTable",
    "Mapping",
    "MappingBatch",
    "Mapspace",
    "MapspaceCount",
    "Optimum",
    "TensorLevelCost",
    "TensorNetworkCost",
    "TensorSpec",
    "Tradeoff",
    "Workload",
    "check_fit",
    "evaluate",
    "evaluate_batch",
    "is_batch_vectorized",
    "optimize",
    "search_heuristically",
]

class TensorSpec:
    """
    A tensor of a workload: ranks as sums of (dim, coefficient) terms.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: TensorSpec) -> bool: ...
    def __getstate__(self) -> tuple[str, list[list[tuple[str, int]]], bool]: ...
    def __init__(
        self,
        name: str,
        ranks: collections.abc.Sequence[
            collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]]
        ],
        is_output: bool = False,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, arg0: tuple) -> None: ...
    @property
    def is_output(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def ranks(self) -> list[list[tuple[str, int]]]: ...

class Workload:
    """
    One layer as an iteration space: named dims with bounds, and tensors projected from them.

    dims: (name, bound) pairs, bounds 1..2^31. tensors: exactly one is the output.
    Raises WorkloadError if a bound, a name or a projection is impossible.
    """
    def __eq__(self, arg0: Workload) -> bool: ...
    def __getstate__(self) -> tuple[str, list[tuple[str, int]], list[TensorSpec]]: ...
    def __hash__(self) -> int: ...
    def __init__(
        self,
        name: str,
        dims: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]],
        tensors: collections.abc.Sequence[TensorSpec],
    ) -> None: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, arg0: tuple) -> None: ...
    def has_window(self, tensor: str) -> bool:
        """
        True if the tensor is read through a sliding window.
        """
    def renamed(self, name: str) -> Workload:
        """
        The same workload under another name.
        """
    def tensor_elements(self, tensor: str) -> int:
        """
        Elements in the bounding box of a tensor.
        """
    @property
    def dims(self) -> dict[str, int]:
        """
        Bounds by dim name, in order.
        """
    @property
    def macs(self) -> int:
        """
        Multiply-accumulates: the product of all bounds.
        """
    @property
    def name(self) -> str: ...
    @property
    def tensors(self) -> list[TensorSpec]: ...

class MacTable:
    """
    Energy and speed of one arithmetic unit by the bits of its first and second operand.

    energy_pj and rate have an entry for each pair, the second operand's index running faster; rate is (macs, cycles).
    An arch with a table by which more bits are cheaper or faster raises SpecError.
    """

    __hash__: typing.ClassVar[None] = None
    @staticmethod
    def bit_scalable(
        *,
        word_bits: typing.SupportsInt | typing.SupportsIndex,
        brick_bits: typing.SupportsInt | typing.SupportsIndex,
        energy_pj: typing.SupportsFloat | typing.SupportsIndex,
    ) -> MacTable:
        """
        Units of bricks that join up, as BitFusion (arXiv 1712.01507). energy_pj: of one operation at word_bits x word_bits.
        """
    @staticmethod
    def bit_serial(
        *,
        word_bits: typing.SupportsInt | typing.SupportsIndex,
        serial: str = "second",
        lanes: typing.SupportsInt | typing.SupportsIndex = 0,
        energy_pj: typing.SupportsFloat | typing.SupportsIndex,
    ) -> MacTable:
        """
        Units that take one operand ('first', 'second') or 'both' bit by bit, as Stripes (10.1109/MICRO.2016.7783722) and Loom
        (arXiv 1706.07853). lanes: operations under way at once; 0: as many as make one a cycle at word_bits.
        """
    def __eq__(self, arg0: MacTable) -> bool: ...
    def __init__(
        self,
        *,
        first_bits: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        second_bits: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        energy_pj: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex],
        rate: collections.abc.Sequence[
            tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
    ) -> None: ...
    @property
    def energy_pj(self) -> list[float]:
        """
        pJ per operation.
        """
    @property
    def first_bits(self) -> list[int]: ...
    @property
    def rate(self) -> list[tuple[int, int]]:
        """
        (operations, cycles).
        """
    @property
    def second_bits(self) -> list[int]: ...

class AccessEnergy:
    """
    Energy in pJ of one block access, by action, each with its source.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: AccessEnergy) -> bool: ...
    def __init__(
        self,
        *,
        read_pj: typing.SupportsFloat | typing.SupportsIndex,
        fill_pj: typing.SupportsFloat | typing.SupportsIndex,
        update_pj: typing.SupportsFloat | typing.SupportsIndex,
        read_source: str = "",
        fill_source: str = "",
        update_source: str = "",
    ) -> None: ...
    @property
    def fill_pj(self) -> float: ...
    @property
    def fill_source(self) -> str: ...
    @property
    def read_pj(self) -> float: ...
    @property
    def read_source(self) -> str: ...
    @property
    def update_pj(self) -> float: ...
    @property
    def update_source(self) -> str: ...

class Level:
    """
    One storage level. Capacities in words per instance, bandwidths in words (bandwidth_in_bits: bits) per cycle and instance.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Level) -> bool: ...
    def __init__(
        self,
        *,
        name: str,
        word_bits: typing.SupportsInt | typing.SupportsIndex,
        block_words: typing.SupportsInt | typing.SupportsIndex = 1,
        cluster_size: typing.SupportsInt | typing.SupportsIndex = 1,
        capacity_words: typing.SupportsInt | typing.SupportsIndex | None = None,
        instances: typing.SupportsInt | typing.SupportsIndex = 1,
        mesh_x: typing.SupportsInt | typing.SupportsIndex = 1,
        mesh_y: typing.SupportsInt | typing.SupportsIndex = 1,
        read_bandwidth: typing.SupportsFloat | typing.SupportsIndex | None = None,
        write_bandwidth: typing.SupportsFloat | typing.SupportsIndex | None = None,
        shared_bandwidth: typing.SupportsFloat | typing.SupportsIndex | None = None,
        is_dram: bool = False,
        energy: AccessEnergy,
        address_energy_pj: typing.SupportsFloat | typing.SupportsIndex | None = None,
        hop_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        router_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        leak_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        area_um2: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        bandwidth_in_bits: bool = False,
        packing: str | None = None,
        multicast: bool = True,
        reduction: bool = True,
        forwarding: bool = False,
        adder_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        idle_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def adder_energy_pj(self) -> float: ...
    @property
    def address_energy_pj(self) -> float | None: ...
    @property
    def area_um2(self) -> float: ...
    @property
    def bandwidth_in_bits(self) -> bool:
        """
        This and what follows: default model only.
        """
    @property
    def block_words(self) -> int: ...
    @property
    def capacity_words(self) -> int | None: ...
    @property
    def cluster_size(self) -> int: ...
    @property
    def energy(self) -> AccessEnergy: ...
    @property
    def forwarding(self) -> bool: ...
    @property
    def hop_energy_pj(self) -> float: ...
    @property
    def idle_energy_pj(self) -> float: ...
    @property
    def instances(self) -> int: ...
    @property
    def is_dram(self) -> bool: ...
    @property
    def leak_energy_pj(self) -> float: ...
    @property
    def mesh_x(self) -> int: ...
    @property
    def mesh_y(self) -> int: ...
    @property
    def multicast(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def packing(self) -> str | None: ...
    @property
    def read_bandwidth(self) -> float | None: ...
    @property
    def reduction(self) -> bool: ...
    @property
    def router_energy_pj(self) -> float: ...
    @property
    def shared_bandwidth(self) -> float | None: ...
    @property
    def word_bits(self) -> int: ...
    @property
    def write_bandwidth(self) -> float | None: ...

class Arithmetic:
    """
    The multiply-accumulate units below the innermost level; energy in pJ per operation.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Arithmetic) -> bool: ...
    def __init__(
        self,
        *,
        name: str,
        instances: typing.SupportsInt | typing.SupportsIndex,
        mesh_x: typing.SupportsInt | typing.SupportsIndex,
        mesh_y: typing.SupportsInt | typing.SupportsIndex,
        word_bits: typing.SupportsInt | typing.SupportsIndex,
        energy_pj: typing.SupportsFloat | typing.SupportsIndex,
        energy_source: str = "",
        area_um2: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        mac_table: MacTable | None = None,
        psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
        leak_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        idle_energy_pj: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    ) -> None: ...
    @property
    def area_um2(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def energy_source(self) -> str: ...
    @property
    def idle_energy_pj(self) -> float: ...
    @property
    def instances(self) -> int: ...
    @property
    def leak_energy_pj(self) -> float: ...
    @property
    def mac_table(self) -> MacTable | None:
        """
        This and what follows: default model only.
        """
    @property
    def mesh_x(self) -> int: ...
    @property
    def mesh_y(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def psum_bits(self) -> int: ...
    @property
    def word_bits(self) -> int: ...

class Constraint:
    """
    One limit on mappings: factors, order, axis split or kept tensors of one level.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Constraint) -> bool: ...
    def __init__(
        self,
        *,
        origin: str,
        level: str,
        target: str,
        factors: collections.abc.Sequence[tuple[str, str, typing.SupportsInt | typing.SupportsIndex]] = [],
        permutation_inner: collections.abc.Sequence[str] = [],
        permutation_outer: collections.abc.Sequence[str] = [],
        has_permutation: bool = False,
        split: typing.SupportsInt | typing.SupportsIndex | None = None,
        keep: collections.abc.Sequence[str] = [],
        bypass: collections.abc.Sequence[str] = [],
        min_fanout: typing.SupportsFloat | typing.SupportsIndex | None = None,
        max_fanout: typing.SupportsFloat | typing.SupportsIndex | None = None,
        min_capacity: typing.SupportsFloat | typing.SupportsIndex | None = None,
        max_capacity: typing.SupportsFloat | typing.SupportsIndex | None = None,
        min_parallelism: typing.SupportsFloat | typing.SupportsIndex | None = None,
        where: str = "",
    ) -> None: ...
    @property
    def bypass(self) -> list[str]: ...
    @property
    def factors(self) -> list[tuple[str, str, int]]: ...
    @property
    def has_permutation(self) -> bool: ...
    @property
    def keep(self) -> list[str]: ...
    @property
    def level(self) -> str: ...
    @property
    def max_capacity(self) -> float | None: ...
    @property
    def max_fanout(self) -> float | None: ...
    @property
    def min_capacity(self) -> float | None: ...
    @property
    def min_fanout(self) -> float | None:
        """
        This and what follows: shares, 0 to 1.
        """
    @property
    def min_parallelism(self) -> float | None: ...
    @property
    def origin(self) -> str: ...
    @property
    def permutation_inner(self) -> list[str]: ...
    @property
    def permutation_outer(self) -> list[str]: ...
    @property
    def split(self) -> int | None: ...
    @property
    def target(self) -> str: ...
    @property
    def where(self) -> str: ...

class Arch:
    """
    An accelerator: levels innermost first, the arithmetic units, constraints on mappings.

    Raises SpecError if the hierarchy is impossible.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Arch) -> bool: ...
    def __init__(
        self,
        *,
        name: str,
        levels: collections.abc.Sequence[Level],
        arithmetic: Arithmetic,
        constraints: collections.abc.Sequence[Constraint] = [],
        relax_indivisible_factors: bool = False,
        source: str = "",
    ) -> None: ...
    def __repr__(self) -> str: ...
    def fanout_x(self, level: typing.SupportsInt | typing.SupportsIndex) -> int: ...
    def fanout_y(self, level: typing.SupportsInt | typing.SupportsIndex) -> int: ...
    @property
    def arithmetic(self) -> Arithmetic: ...
    @property
    def constraints(self) -> list[Constraint]: ...
    @property
    def levels(self) -> list[Level]: ...
    @property
    def name(self) -> str: ...
    @property
    def num_levels(self) -> int: ...
    @property
    def relax_indivisible_factors(self) -> bool: ...
    @property
    def source(self) -> str: ...

class LevelMapping:
    """
    The loops of one level, outermost first, as (dim, bound) pairs, and the tensors kept there.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: LevelMapping) -> bool: ...
    def __getstate__(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[tuple[str, int]], list[str]]: ...
    def __init__(
        self,
        *,
        temporal: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]] = [],
        spatial_x: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]] = [],
        spatial_y: collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex]] = [],
        keep: collections.abc.Sequence[str] = [],
    ) -> None: ...
    def __setstate__(self, arg0: tuple) -> None: ...
    @property
    def keep(self) -> list[str]: ...
    @property
    def spatial_x(self) -> list[tuple[str, int]]: ...
    @property
    def spatial_y(self) -> list[tuple[str, int]]: ...
    @property
    def temporal(self) -> list[tuple[str, int]]: ...

class Mapping:
    """
    A complete mapping: one LevelMapping for each level, innermost first.
    """

    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: Mapping) -> bool: ...
    def __getstate__(self) -> tuple[list[LevelMapping]]: ...
    def __init__(self, levels: collections.abc.Sequence[LevelMapping]) -> None: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, arg0: tuple) -> None: ...
    def _repr_html_(self) -> str:
        """
        The loops of each level and the tensors it keeps, as a notebook shows them.
        """
    def to_text(self, arch: Arch, workload: Workload) -> str:
        """
        The loop nest as text, outermost loop first. Raises MappingError if it does not belong to the workload.
        """
    @property
    def levels(self) -> list[LevelMapping]: ...

class TensorLevelCost:
    """
    One tensor at one level: words per instance after packing, energy in pJ over all instances.
    """
    @property
    def address_energy_pj(self) -> float: ...
    @property
    def elements_per_word(self) -> int: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def fill_elements(self) -> float: ...
    @property
    def fill_energy_pj(self) -> float: ...
    @property
    def fills(self) -> float: ...
    @property
    def final_update_elements(self) -> float:
        """
        Default model: of the updates, those that bring a complete sum.
        """
    @property
    def holds_partial_sums(self) -> bool:
        """
        Default model: elements may lie here before their reduction is complete.
        """
    @property
    def kept(self) -> bool: ...
    @property
    def partition_elements(self) -> int: ...
    @property
    def read_elements(self) -> float:
        """
        Per instance, before packing; so are the next three.
        """
    @property
    def read_energy_pj(self) -> float: ...
    @property
    def reads(self) -> float: ...
    @property
    def stored_bits(self) -> int:
        """
        Width the capacity is checked with; 0: one element a word.
        """
    @property
    def temporal_reductions(self) -> float: ...
    @property
    def tile_elements(self) -> int: ...
    @property
    def update_elements(self) -> float: ...
    @property
    def update_energy_pj(self) -> float: ...
    @property
    def updates(self) -> float: ...
    @property
    def utilized_clusters(self) -> int: ...
    @property
    def utilized_instances(self) -> int: ...
    @property
    def utilized_words(self) -> int: ...

class TensorNetworkCost:
    """
    One tensor on the network between a level and the next inner one.
    """
    @property
    def energy_pj(self) -> float: ...
    @property
    def fanout(self) -> int: ...
    @property
    def ingresses(self) -> float: ...
    @property
    def link_transfers(self) -> float: ...
    @property
    def multicast_factor(self) -> int: ...
    @property
    def num_hops(self) -> float: ...
    @property
    def spatial_reductions(self) -> float: ...

class LevelCost:
    """
    One level: energy in pJ over all instances, the cycles it needs, its tensors by name.
    """
    @property
    def cycles(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def leak_energy_pj(self) -> float: ...
    @property
    def network(self) -> dict[str, TensorNetworkCost]: ...
    @property
    def network_energy_pj(self) -> float: ...
    @property
    def slowdown(self) -> float: ...
    @property
    def tensors(self) -> dict[str, TensorLevelCost]: ...

class Cost:
    """
    What a mapping costs: totals, and a breakdown by level (outermost first), tensor and action.
    """
    def __repr__(self) -> str: ...
    def _repr_html_(self) -> str:
        """
        Totals, and the energy of each level by tensor, as a notebook shows them.
        """
    @property
    def area_um2(self) -> float: ...
    @property
    def arithmetic_energy_pj(self) -> float: ...
    @property
    def arithmetic_leak_energy_pj(self) -> float: ...
    @property
    def compute_cycles(self) -> float: ...
    @property
    def cycles(self) -> float: ...
    @property
    def edp(self) -> float:
        """
        energy_pj * cycles
        """
    @property
    def energy_per_mac_pj(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def levels(self) -> dict[str, LevelCost]: ...
    @property
    def limiting_level(self) -> str | None:
        """
        Level that the cycles wait for; None if computing limits them.
        """
    @property
    def macs(self) -> int: ...
    @property
    def utilization(self) -> float: ...

class Fit:
    """
    Whether a mapping fits the hardware; if not, where it fails.
    """
    def __bool__(self) -> bool: ...
    @property
    def fits(self) -> bool: ...
    @property
    def have(self) -> int: ...
    @property
    def level(self) -> int:
        """
        Level number from the innermost; -1: the arithmetic units, or none.
        """
    @property
    def message(self) -> str: ...
    @property
    def need(self) -> int: ...
    @property
    def reason(self) -> str: ...

class MappingBatch:
    """
    Mappings of one layer as columns of arrays.

    slots: (level, kind) of every loop a mapping may have, outermost first: levels descend to 0, the innermost; in a level
    'temporal', then 'spatial_y', then 'spatial_x'. dims: uint8 [slot, mapping], numbers of the workload's dims, without
    meaning where the bound is 1. bounds: uint32 [slot, mapping]; 1 leaves the slot empty. keep: uint32 [level, mapping],
    innermost level first, bit t set if the workload's tensor t is kept. The arrays must be C-contiguous; they are not
    copied. Raises MappingError for other types or shapes.
    """
    def __init__(
        self,
        slots: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, str]],
        *,
        dims: numpy.ndarray,
        bounds: numpy.ndarray,
        keep: numpy.ndarray,
    ) -> None: ...
    def __len__(self) -> int: ...
    def mapping(self, workload: Workload, index: typing.SupportsInt | typing.SupportsIndex) -> Mapping:
        """
        Mapping number `index` as evaluate() takes it, without loops of bound 1. Raises IndexError outside of the batch,
        MappingError if it names a dim that the workload does not have.
        """
    @property
    def bounds(self) -> numpy.typing.NDArray[numpy.uint32]:
        """
        uint32 [slot, mapping]
        """
    @property
    def dims(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        uint8 [slot, mapping]
        """
    @property
    def keep(self) -> numpy.typing.NDArray[numpy.uint32]:
        """
        uint32 [level, mapping], innermost level first
        """
    @property
    def slots(self) -> list[tuple[int, str]]: ...

class BatchCosts:
    """
    What evaluate_batch() found: one entry per mapping.
    """
    def __len__(self) -> int: ...
    @property
    def cycles(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        float64; infinite where the mapping is not valid.
        """
    @property
    def energy_pj(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        float64, pJ over all instances; infinite where the mapping is not valid.
        """
    @property
    def status(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        uint8. 0: valid; 1: more spatial iterations than instances; 2: malformed (the factors of a dim do not multiply to
        its bound, a dim has two loops of one level and kind, or a dim or tensor does not exist);
        16 + level: the tiles exceed the capacity of the level, the innermost if several.
        """

class MapspaceCount:
    """
    How many mappings of a mapspace fit: considered = valid + invalid_fanout + invalid_capacity + invalid_utilization.
    """
    def __repr__(self) -> str: ...
    @property
    def considered(self) -> int: ...
    @property
    def invalid_capacity(self) -> int: ...
    @property
    def invalid_capacity_by_level(self) -> dict[str, int]:
        """
        By name of the innermost level that is too small; levels without failures are left out.
        """
    @property
    def invalid_fanout(self) -> int: ...
    @property
    def invalid_utilization(self) -> int:
        """
        Within fanout and capacities, but not within the constraints on their use.
        """
    @property
    def invalid_utilization_by_level(self) -> dict[str, int]:
        """
        By name of the level of which too little or too much is used; too little parallelism has none.
        """
    @property
    def valid(self) -> int: ...

class Mapspace:
    """
    Every mapping of a workload that an architecture's constraints leave, numbered from 0.

    selection: 'all' constraints of the architecture, only those that its hardware imposes ('architecture'), or none
    but the fanout ('free'). Raises SpecError for contradictory constraints, InfeasibleError if no mapping obeys them.
    """
    def __init__(self, arch: Arch, workload: Workload, *, selection: str = "all") -> None: ...
    def __repr__(self) -> str: ...
    def at(self, index: int) -> Mapping:
        """
        The mapping with this index. It may exceed fanout or capacity. Raises MappingError outside of 0..size()-1.
        """
    def batch(self, first: int, count: typing.SupportsInt | typing.SupportsIndex) -> MappingBatch:
        """
        The mappings at(first) .. at(first + count - 1), fewer at the end of the space, for evaluate_batch(). Every batch of a
        space has the same slots. Raises MappingError if first is negative or above size().
        """
    def count(
        self,
        bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex]
        | collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = {},
        *,
        threads: typing.SupportsInt | typing.SupportsIndex = 1,
        enumeration: str = "reference",
        model: str = "compat",
        packing: str = "word",
        psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> MapspaceCount:
        """
        Counts the mappings that fit.

        bits: width by tensor name, or a list in the workload's tensor order (0: one element a word).
        model, packing, psum_bits: as in evaluate(), for what fits; the default model counts 'distinct' mappings only.
        enumeration: 'reference' counts as the reference tool's exhaustive search does, 'distinct' every different mapping
        once. The result does not depend on threads. Raises MappingError if bits exceed a word or if the
        space is too large to walk.
        """
    def count_many(
        self,
        bits: collections.abc.Sequence[
            collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex]
            | collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]
        ],
        *,
        threads: typing.SupportsInt | typing.SupportsIndex = 1,
        enumeration: str = "reference",
        model: str = "compat",
        packing: str = "word",
        psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> list[MapspaceCount]:
        """
        count() for many bit settings in one pass over the space.
        """
    def mappings(
        self, *, limit: typing.SupportsInt | typing.SupportsIndex, enumeration: str = "distinct"
    ) -> list[Mapping]:
        """
        The first `limit` mappings as a list: 'distinct' (every different mapping within the fanout once), 'reference' (what
        the reference's exhaustive search visits) or 'unpruned' (index order, as at()).
        """
    def sample(
        self, count: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex
    ) -> list[Mapping]:
        """
        Mappings drawn uniformly from all indices, with replacement; fixed by the seed.
        """
    def sample_batch(
        self, count: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex
    ) -> MappingBatch:
        """
        The mappings of sample(count, seed) for evaluate_batch().
        """
    def size(self) -> int:
        """
        Number of points, exact.
        """
    @property
    def arch(self) -> Arch: ...
    @property
    def blocks(self) -> list[dict[str, typing.Any]]:
        """
        Blocks of loops, innermost first: level, kind, fanout, (least, most) factor by dim, fixed order (inner to outer).
        """
    @property
    def factorizations(self) -> dict[str, int]:
        """
        Number of factorizations by dim.
        """
    @property
    def keep(self) -> dict[str, dict[str, str]]:
        """
        'keep', 'bypass' or 'open' by level and tensor.
        """
    @property
    def min_units(self) -> int:
        """
        Arithmetic units that mappings use at least.
        """
    @property
    def notes(self) -> list[str]:
        """
        Constraints that were dropped or lowered for this workload, one sentence each.
        """
    @property
    def selection(self) -> str: ...
    @property
    def sizes(self) -> dict[str, int]:
        """
        Sizes of the four choices (factorization, permutation, split, bypass); their product is size().
        """
    @property
    def use(self) -> dict[str, dict[str, int]]:
        """
        min_lanes, max_lanes, min_words by level, where constraints limit them.
        """
    @property
    def workload(self) -> Workload: ...

class Certificate:
    """
    What stands behind an optimum: the space, how much of it was looked at, a bound that holds.
    """
    def __repr__(self) -> str: ...
    @property
    def considered(self) -> int:
        """
        Different mappings within the fanout that were looked at.
        """
    @property
    def exhausted(self) -> bool:
        """
        The whole space is accounted for: the result is its optimum.
        """
    @property
    def fitting(self) -> int:
        """
        Of these, mappings whose tiles fit at these bits.
        """
    @property
    def lower_bound(self) -> float:
        """
        No mapping of the space has a smaller objective.
        """
    @property
    def method(self) -> str: ...
    @property
    def pruned_by_bound(self) -> int: ...
    @property
    def space_size(self) -> int:
        """
        Points of the mapspace.
        """

class Tradeoff:
    """
    A mapping that no other one beats in both energy and cycles.
    """
    @property
    def cycles(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def mapping(self) -> Mapping: ...

class Optimum:
    """
    The best mapping found for one bit setting; found is False if nothing fits.
    """
    @property
    def certificate(self) -> Certificate: ...
    @property
    def cycles(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def found(self) -> bool: ...
    @property
    def front(self) -> list[Tradeoff]:
        """
        Objective 'pareto' only: all trade-offs, ascending in cycles; the other fields are those of the least energy * cycles.
        """
    @property
    def mapping(self) -> Mapping: ...
    @property
    def near_miss_have_words(self) -> int: ...
    @property
    def near_miss_level(self) -> int:
        """
        If nothing fits: the level (0 = innermost) where the nearest mapping fails; -1: no mapping is within fanout and constraints.
        """
    @property
    def near_miss_need_words(self) -> int: ...
    @property
    def near_miss_tensor_words(self) -> dict[str, int]: ...
    @property
    def objective(self) -> float: ...
    @property
    def refusal(self) -> str:
        """
        Why the answer is not a proven one though no budget was given; empty otherwise.
        """
    @property
    def way_out(self) -> str:
        """
        What to do about a refusal.
        """

class HeuristicResult:
    """
    The best mapping that a heuristic met, and how it came to it.
    """
    @property
    def cycles(self) -> float: ...
    @property
    def energy_pj(self) -> float: ...
    @property
    def fitting(self) -> int: ...
    @property
    def looked_at(self) -> int: ...
    @property
    def mapping(self) -> Mapping | None:
        """
        None if no mapping that fits was met; the cost is infinite then.
        """
    @property
    def objective(self) -> float: ...
    @property
    def stops(self) -> list[str]:
        """
        What ended each stream: budget, victory, timeout or search-size.
        """
    @property
    def trace(self) -> list[tuple[int, float]]:
        """
        (mappings looked at, best objective then) at each improvement.
        """

def check_fit(
    arch: Arch,
    workload: Workload,
    mapping: Mapping,
    *,
    bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex] = {},
    model: str = "default",
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
) -> Fit:
    """
    Whether the mapping's tiles and spatial loops fit. Options and errors as for evaluate().
    """

def evaluate(
    arch: Arch,
    workload: Workload,
    mapping: Mapping,
    *,
    bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex] = {},
    model: str = "default",
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    always_step: bool = False,
) -> Cost:
    """
    Cost of a mapping with its breakdown.

    bits: width by tensor name; unnamed tensors take one word an element.
    model: one of COST_MODELS.
    packing: 'word' (whole elements), 'dense' (bit after bit) or 'none' (one element a word), at levels whose arch names none;
    default model only.
    psum_bits: width of partial sums, default model only; 0: those of the arch, else the inputs' bits added up +
    ceil(log2(reduction size)), at most the word of the innermost level that keeps the outputs.
    always_step: compat model only, for tests: count by stepping, 2^(temporal loops) steps, instead of in closed form.
    Raises MappingError if the mapping is malformed, InfeasibleError if it does not fit, SpecError for options the model
    does not have, WorkloadError for an output with a dim in two ranks (default model).
    """

def evaluate_batch(
    arch: Arch,
    workload: Workload,
    batch: MappingBatch,
    *,
    bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex] = {},
    model: str = "default",
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 1,
) -> BatchCosts:
    """
    Energy, cycles and validity of every mapping of a batch, as evaluate() and check_fit() give them.

    bits, model, packing and psum_bits are those of evaluate(), and so are the errors for them. threads: 0 takes all that
    the machine has; the result does not depend on it. Raises MappingError if the slots are not in nest order or not of the
    architecture. Mappings that do not fit or are malformed are no errors, see BatchCosts.status.
    """

def is_batch_vectorized(
    arch: Arch,
    workload: Workload,
    *,
    bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex] = {},
    model: str = "default",
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
) -> bool:
    """
    Whether evaluate_batch() prices many mappings at a time here. It goes one by one for networks with energies, dims in two
    ranks and counts that may pass 2^50; in the default model for networks without reduction or with forwarding; in compat
    for outputs with ranks that are sums or multiples of dims, and for mappings whose children may take data from each other.
    """

def optimize(
    arch: Arch,
    workload: Workload,
    settings: collections.abc.Sequence[collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex]],
    *,
    objective: str = "edp",
    model: str = "default",
    selection: str = "all",
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    budget: typing.SupportsInt | typing.SupportsIndex = 0,
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    method: str = "automatic",
    progress: typing.Any = None,
) -> list[Optimum]:
    """
    Best mapping for each bit setting ({tensor name: bits}), all settings together.

    objective: energy (pJ), cycles, edp, ed2p, or pareto for all trade-offs of energy and cycles.
    method: automatic, exhaustive or branch-and-bound; the answers are the same.
    progress(done, total, best, lower_bound) is called from the calling thread every 50 ms; the last two are of the objective of the
    setting in work, infinite and 0 where they are not known. Interruptible by Ctrl-C.
    Settings that no method can finish are refused, each by itself, unless a budget or a method is given.
    Raises MappingError for bits that exceed a word, SpecError for unknown options or impossible constraints.
    """

def search_heuristically(
    arch: Arch,
    workload: Workload,
    bits: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex] = {},
    *,
    heuristic: str = "random-pruned",
    seed: typing.SupportsInt | typing.SupportsIndex = 1,
    streams: typing.SupportsInt | typing.SupportsIndex = 1,
    objective: str = "edp",
    model: str = "default",
    selection: str = "all",
    packing: str = "word",
    psum_bits: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
    budget: typing.SupportsInt | typing.SupportsIndex = 10000,
    victory: typing.SupportsInt | typing.SupportsIndex = 0,
    timeout: typing.SupportsInt | typing.SupportsIndex | None = None,
    search_size: typing.SupportsInt | typing.SupportsIndex = 0,
) -> HeuristicResult:
    """
    Looks for a good mapping by a heuristic, to compare the exact mapper with; nothing it returns is proven.

    heuristic: one of HEURISTICS. bits: {tensor name: bits}. seed and streams fix the result, threads do not.
    budget: mappings to look at, those that do not fit included, shared out among the streams; 0 for no limit.
    victory, timeout, search_size: the reference tool's stops, for each stream: fitting mappings in a row without
    improvement (0: never), failing ones in a row (None: never; 0: at the first), fitting mappings in all (0: no limit).
    Interruptible by Ctrl-C. Raises SpecError for options that contradict each other or never end, MappingError for
    bits that exceed a word.
    """

COST_MODELS: tuple = ("default", "compat")
HEURISTICS: tuple = ("random", "random-pruned", "annealing")
__version__: str = "0.1.0"

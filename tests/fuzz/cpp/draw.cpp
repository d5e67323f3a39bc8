#include "draw.hpp"

#include <algorithm>
#include <string>

#include "quantloom/mac_table.hpp"

namespace quantloom::fuzz {
namespace {

constexpr std::array<const char*, 8> kDims{"C", "M", "R", "S", "P", "Q", "N", "G"};
constexpr std::array<Count, 5> kFactors{2, 3, 5, 7, 11};

std::string name_of(Bytes& bytes, const char* sane) {
  if (!bytes.is_hostile()) return sane;
  constexpr std::array<const char*, 5> kHostile{"", "C", "\x01\xff", "Weights",
                                                "a name of many, many characters, with spaces and \"quotes\""};
  return kHostile[static_cast<std::size_t>(bytes.below(5))];
}

PackingRule draw_packing(Bytes& bytes) { return static_cast<PackingRule>(bytes.below(3)); }

Level draw_level(Bytes& bytes, int number, bool outermost) {
  Level level;
  level.name = name_of(bytes, ("L" + std::to_string(number)).c_str());
  level.word_bits = bytes.one_in(3) ? bytes.count(64) : 16;
  if (bytes.one_in(3)) level.block_words = bytes.count(8);
  if (bytes.one_in(4)) level.cluster_size = bytes.count(4);
  if (!outermost || bytes.one_in(8)) level.capacity_words = bytes.count(200);
  if (bytes.one_in(4)) level.read_bandwidth = bytes.real();
  if (bytes.one_in(4)) level.write_bandwidth = bytes.real();
  if (bytes.one_in(6)) level.shared_bandwidth = bytes.real();
  level.is_dram = outermost && bytes.one_in(2);
  level.energy = {bytes.real(), bytes.real(), bytes.real(), "", "", ""};
  if (bytes.one_in(4)) level.address_energy_pj = bytes.real();
  if (bytes.one_in(4)) level.hop_energy_pj = bytes.real();
  if (bytes.one_in(6)) level.router_energy_pj = bytes.real();
  if (bytes.one_in(6)) level.leak_energy_pj = bytes.real();
  if (bytes.one_in(6)) level.area_um2 = bytes.real();
  level.bandwidth_in_bits = bytes.one_in(6);
  if (bytes.one_in(4)) level.packing = draw_packing(bytes);
  level.multicast = !bytes.one_in(5);
  level.reduction = !bytes.one_in(5);
  level.forwarding = bytes.one_in(5);
  if (bytes.one_in(5)) level.adder_energy_pj = bytes.real();
  if (bytes.one_in(6)) level.idle_energy_pj = bytes.real();
  return level;
}

MacTable draw_table(Bytes& bytes) {
  if (bytes.one_in(2))
    return bit_scalable_macs(bytes.is_hostile() ? bytes.integer(64) : 16, bytes.one_in(2) ? 2 : bytes.integer(8),
                             bytes.real());
  if (bytes.one_in(2))
    return bit_serial_macs(bytes.integer(32), static_cast<SerialOperand>(bytes.below(3)), bytes.count(16),
                           bytes.real());
  MacTable table;
  for (int n = bytes.below(4); n > 0; --n) table.first_bits.push_back(bytes.integer(16));
  for (int n = bytes.below(4); n > 0; --n) table.second_bits.push_back(bytes.integer(16));
  for (int n = bytes.below(17); n > 0; --n) {
    table.energy_pj.push_back(bytes.real());
    table.rate.push_back({bytes.count(8), bytes.count(8)});
  }
  return table;
}

std::string dim_name(Bytes& bytes, const Workload& workload) {
  return name_of(bytes, workload.dims()[static_cast<std::size_t>(bytes.below(workload.num_dims()))].name.c_str());
}

void draw_order(Bytes& bytes, const Workload& workload, Constraint& out) {
  out.has_permutation = bytes.one_in(2);
  std::vector<std::string> names;
  for (const Dim& dim : workload.dims()) names.push_back(dim.name);
  for (std::size_t i = names.size(); i > 1; --i)
    std::swap(names[i - 1], names[static_cast<std::size_t>(bytes.below(static_cast<int>(i)))]);
  const auto inner = bytes.below(static_cast<int>(names.size()) + 1);
  out.permutation_inner.assign(names.begin(), names.begin() + inner);
  if (bytes.one_in(2)) out.permutation_outer.assign(names.begin() + inner, names.end());
  if (bytes.is_hostile()) out.permutation_outer.push_back(dim_name(bytes, workload));
  if (out.target == ConstraintTarget::spatial && bytes.one_in(2))
    out.split = bytes.is_hostile() ? bytes.integer(9) : bytes.below(workload.num_dims() + 1);
}

Constraint draw_constraint(Bytes& bytes, const Workload& workload, const std::vector<Level>& levels) {
  Constraint out;
  out.origin = bytes.is_hostile() ? "" : bytes.one_in(3) ? "mapspace" : "architecture";
  out.level =
      name_of(bytes, levels[static_cast<std::size_t>(bytes.below(static_cast<int>(levels.size())))].name.c_str());
  out.target = static_cast<ConstraintTarget>(bytes.below(4));
  const auto share = [&]() -> std::optional<double> {
    if (!bytes.one_in(3)) return std::nullopt;
    return bytes.is_hostile() ? bytes.real() : 0.1 * (1 + bytes.below(10));
  };
  switch (out.target) {
    case ConstraintTarget::utilization:
      out.use = {share(), share(), share(), share(), share()};
      break;
    case ConstraintTarget::keep:
      for (const TensorSpec& tensor : workload.tensors()) {
        const int which = bytes.below(3);
        if (which == 1 || bytes.is_hostile()) out.keep.push_back(tensor.name);
        if (which == 2 || bytes.is_hostile()) out.bypass.push_back(name_of(bytes, tensor.name.c_str()));
      }
      break;
    case ConstraintTarget::temporal:
    case ConstraintTarget::spatial:
      for (int n = bytes.below(4); n > 0; --n) {
        const auto relation = static_cast<FactorRelation>(bytes.below(3));
        const Count value = bytes.one_in(5) ? 0 : bytes.count(4);
        out.factors.push_back({dim_name(bytes, workload), relation, value});
      }
      if (bytes.one_in(2)) draw_order(bytes, workload, out);
      break;
  }
  return out;
}

std::vector<Loop>& loops_of(LevelMapping& level, int kind) {
  return kind == 1 ? level.spatial_x : kind == 2 ? level.spatial_y : level.temporal;
}

}  // namespace

Workload draw_workload(Bytes& bytes) {
  const int num_dims = bytes.is_hostile() ? bytes.below(20) : 1 + bytes.below(6);
  std::vector<Dim> dims;
  for (int d = 0; d < num_dims; ++d) {
    const bool named = static_cast<std::size_t>(d) < kDims.size();
    dims.push_back({name_of(bytes, named ? kDims[static_cast<std::size_t>(d)] : ("d" + std::to_string(d)).c_str()),
                    bytes.count(8)});
  }
  const int num_tensors = bytes.is_hostile() ? bytes.below(11) : 2 + bytes.below(3);
  std::vector<TensorSpec> tensors;
  constexpr std::array<const char*, 4> kTensors{"Weights", "Inputs", "Third", "Fourth"};
  for (int t = 0; t < num_tensors; ++t) {
    const bool is_output = bytes.is_hostile() ? bytes.one_in(2) : t == num_tensors - 1;
    TensorSpec& tensor = tensors.emplace_back();
    tensor.name = name_of(bytes, is_output ? "Outputs" : kTensors[static_cast<std::size_t>(t) % kTensors.size()]);
    tensor.is_output = is_output;
    for (int r = bytes.is_hostile() ? bytes.below(11) : 1 + bytes.below(4); r > 0; --r) {
      std::vector<Term>& rank = tensor.ranks.emplace_back();
      for (int n = bytes.one_in(3) ? 1 + bytes.below(3) : 1; n > 0; --n) {
        const int dim = bytes.is_hostile() ? bytes.integer(20) : bytes.below(std::max(num_dims, 1));
        rank.push_back({dim, bytes.one_in(4) ? bytes.count(4) : 1});
      }
    }
  }
  return {name_of(bytes, "layer"), dims, tensors};
}

Arch draw_arch(Bytes& bytes, const Workload& workload) {
  const int num_levels = bytes.is_hostile() ? bytes.below(15) : 1 + bytes.below(4);
  std::vector<Level> levels;
  Count x = 1;
  Count y = 1;
  const auto place = [&](auto& at) {
    at.mesh_x = bytes.is_hostile() ? bytes.count(8) : x;
    at.mesh_y = bytes.is_hostile() ? bytes.count(8) : y;
    at.instances = bytes.is_hostile() ? bytes.count(8) : saturating_mul(at.mesh_x, at.mesh_y);
    if (bytes.one_in(3)) x = saturating_mul(x, bytes.count(4));
    if (bytes.one_in(4)) y = saturating_mul(y, bytes.count(3));
  };
  for (int l = num_levels; l-- > 0;) {
    Level level = draw_level(bytes, l, l == num_levels - 1);
    place(level);
    levels.insert(levels.begin(), level);
  }
  Arithmetic units;
  units.name = name_of(bytes, "mac");
  place(units);
  units.energy_pj = bytes.real();
  if (bytes.one_in(4)) units.word_bits = bytes.count(32);
  if (bytes.one_in(4)) units.mac_table = draw_table(bytes);
  if (bytes.one_in(5)) units.psum_bits = bytes.integer(32);
  if (bytes.one_in(6)) units.leak_energy_pj = bytes.real();
  if (bytes.one_in(6)) units.idle_energy_pj = bytes.real();
  std::vector<Constraint> constraints;
  if (!levels.empty()) {
    for (int n = bytes.below(5); n > 0; --n) constraints.push_back(draw_constraint(bytes, workload, levels));
  }
  return {name_of(bytes, "arch"), levels, units, constraints, bytes.one_in(2)};
}

// Prime factors of every bound, each at a random place.
Mapping draw_mapping(Bytes& bytes, const Arch& arch, const Workload& workload) {
  Mapping out;
  out.levels.resize(static_cast<std::size_t>(bytes.is_hostile() ? bytes.below(15) : arch.num_levels()));
  if (out.levels.empty()) return out;
  const auto levels = static_cast<int>(out.levels.size());
  const auto put = [&](int dim, Count factor) {
    std::vector<Loop>& loops = loops_of(out.levels[static_cast<std::size_t>(bytes.below(levels))], bytes.below(4));
    const auto same = std::find_if(loops.begin(), loops.end(), [&](const Loop& loop) { return loop.dim == dim; });
    if (same != loops.end() && !bytes.is_hostile()) {
      same->bound = saturating_mul(same->bound, factor);
    } else {
      loops.insert(bytes.one_in(2) ? loops.begin() : loops.end(),
                   {bytes.is_hostile() ? bytes.integer(20) : dim, bytes.is_hostile() ? bytes.count(9) : factor});
    }
  };
  for (int d = 0; d < workload.num_dims(); ++d) {
    Count rest = workload.bound(d);
    for (const Count factor : kFactors) {
      for (; rest % factor == 0; rest /= factor) put(d, factor);
    }
    if (rest > 1) put(d, rest);
    if (bytes.one_in(9)) put(d, 1);
  }
  for (LevelMapping& level : out.levels) {
    level.keep =
        bytes.one_in(3) ? bytes.byte() & ((1U << workload.num_tensors()) - 1) : (1U << workload.num_tensors()) - 1;
    if (bytes.is_hostile()) level.keep = static_cast<std::uint32_t>(bytes.word());
  }
  if (!bytes.is_hostile()) out.levels.back().keep = (1U << workload.num_tensors()) - 1;
  return out;
}

std::vector<int> draw_bits(Bytes& bytes, const Workload& workload) {
  std::vector<int> bits;
  for (int n = bytes.is_hostile() ? bytes.below(11) : workload.num_tensors(); n > 0; --n)
    bits.push_back(bytes.one_in(8) ? 0 : bytes.integer(16));
  return bits;
}

EvaluateOptions draw_options(Bytes& bytes) {
  EvaluateOptions options;
  options.model = bytes.one_in(2) ? CostModel::compat : CostModel::default_model;
  if (options.model == CostModel::compat && !bytes.is_hostile()) return options;
  options.packing = draw_packing(bytes);
  if (bytes.one_in(4)) options.psum_bits = bytes.integer(40);
  return options;
}

}  // namespace quantloom::fuzz

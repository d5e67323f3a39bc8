// Checks, the breakdown and the totals. Section numbers refer to docs/model.md.
#include "quantloom/cost.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nest.hpp"
#include "quantloom/error.hpp"
#include "tensor_price.hpp"

namespace quantloom {
namespace {

// The reference steps two iterations of each temporal loop: beyond this many loops that takes minutes.
constexpr int kMaxSteppedLoops = 24;

void check_stepped_loops(const Workload& workload, const Nest& nest, bool always_step) {
  int temporal = 0;
  for (int i = 0; i < nest.num_loops; ++i) temporal += nest.loops[static_cast<std::size_t>(i)].kind == LoopKind::temporal ? 1 : 0;
  bool steps = always_step || nest.mapped_fanout(0) > 1;
  for (int t = 0; t < workload.num_tensors(); ++t) steps = steps || workload.has_window(t);
  if (steps && temporal > kMaxSteppedLoops) {
    throw Error(ErrorKind::mapping, "mapping has " + std::to_string(temporal) + " temporal loops of bound above 1; the compat model steps through 2^loops iterations and takes at most " +
                                        std::to_string(kMaxSteppedLoops),
                "merge loops of one dim that stand next to each other");
  }
}

Fit check_capacity(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const int> bits, const EvaluateOptions& options) {
  std::array<std::uint32_t, kMaxTensors> partial{};
  if (options.model == CostModel::default_model) {
    for (int t = 0; t < workload.num_tensors(); ++t) partial[static_cast<std::size_t>(t)] = partial_levels(workload, nest, t);
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    if (!level.capacity_words) continue;
    Count need = 0;
    for (int t = 0; t < workload.num_tensors(); ++t) {
      if ((nest.keep[static_cast<std::size_t>(l)] >> t & 1U) == 0) continue;
      const Count tile = tile_elements(workload.tensors()[static_cast<std::size_t>(t)], nest.extent[static_cast<std::size_t>(l)]);
      need = saturating_add(need, tile_words(arch, nest, t, l, tile, partial[static_cast<std::size_t>(t)],
                                             tensor_bits(workload, bits, t, options), options.packing));
    }
    if (need > *level.capacity_words) {
      return {Fit::Reason::capacity, l, need, *level.capacity_words,
              "level '" + level.name + "': the tiles need " + std::to_string(need) + " words, capacity is " +
                  std::to_string(*level.capacity_words)};
    }
  }
  return {};
}

Fit check_instances(const std::string& name, int level, Count x, Count y, Count mesh_x, Count mesh_y) {
  const auto failure = [&](const char* what, Count need, Count have) {
    return Fit{Fit::Reason::fanout, level, need, have,
               "'" + name + "': the mapping uses " + std::to_string(need) + what + ", the hardware has " + std::to_string(have)};
  };
  if (saturating_mul(x, y) > mesh_x * mesh_y) return failure(" instances", saturating_mul(x, y), mesh_x * mesh_y);
  if (x > mesh_x) return failure(" instances along X", x, mesh_x);
  if (y > mesh_y) return failure(" instances along Y", y, mesh_y);
  return {};
}

Fit check_fanout(const Arch& arch, const Nest& nest) {
  const Arithmetic& units = arch.arithmetic();
  Fit fit = check_instances(units.name, -1, saturating_mul(nest.outer_x[0], nest.spatial_x[0]),
                            saturating_mul(nest.outer_y[0], nest.spatial_y[0]), units.mesh_x, units.mesh_y);
  for (int l = 0; l < arch.num_levels() && fit.fits(); ++l) {
    const Level& level = arch.level(l);
    fit = check_instances(level.name, l, nest.outer_x[static_cast<std::size_t>(l)], nest.outer_y[static_cast<std::size_t>(l)], level.mesh_x, level.mesh_y);
  }
  return fit;
}

bool is_exact(const Cost& cost) {
  if (cost.macs == kSaturated || cost.compute_cycles > kLargestExactCount) return false;
  for (const LevelCost& level : cost.levels) {
    for (const TensorLevelCost& tensor : level.tensors) {
      if (!has_exact_counts(tensor)) return false;
    }
  }
  return true;
}

// Operations or elements beyond 2^63: coordinates could not be counted at all.
bool overflows(const Workload& workload) {
  bool saturated = workload.macs() == kSaturated;
  for (int t = 0; t < workload.num_tensors(); ++t) saturated = saturated || workload.tensor_elements(t) == kSaturated;
  return saturated;
}

Cost infinite(const Arch& arch, const Workload& workload, Cost cost) {
  for (int l = 0; l < arch.num_levels(); ++l) {
    cost.levels[static_cast<std::size_t>(l)].tensors.resize(static_cast<std::size_t>(workload.num_tensors()));
    cost.levels[static_cast<std::size_t>(l)].network.resize(static_cast<std::size_t>(workload.num_tensors()));
  }
  cost.energy_pj = cost.cycles = cost.edp = cost.energy_per_mac_pj = std::numeric_limits<double>::infinity();
  return cost;
}

void sum_up(const Arch& arch, const Nest& nest, CostModel model, Cost& cost) {
  const Arithmetic& units = arch.arithmetic();
  cost.energy_pj = cost.arithmetic_energy_pj;
  cost.cycles = cost.compute_cycles;
  cost.area_um2 = static_cast<double>(static_cast<float>(units.area_um2)) * static_cast<double>(units.instances);
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    LevelCost& here = cost.levels[static_cast<std::size_t>(l)];
    LevelTraffic traffic;
    for (const TensorLevelCost& tensor : here.tensors) {
      here.energy_pj += tensor.energy_pj + tensor.address_energy_pj;
      traffic.add(tensor.reads, tensor.fills + tensor.updates, cost.compute_cycles);
    }
    here.cycles = level_cycles(model, level, cost.compute_cycles, traffic, here.slowdown);
    for (const TensorNetworkCost& network : here.network) here.network_energy_pj += network.energy_pj;
    cost.cycles = std::max(cost.cycles, here.cycles);
    cost.area_um2 += static_cast<double>(static_cast<float>(level.area_um2)) * static_cast<double>(level.instances);
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    LevelCost& here = cost.levels[static_cast<std::size_t>(l)];
    here.leak_energy_pj = arch.level(l).leak_energy_pj * cost.cycles * static_cast<double>(nest.replication(l));
    here.energy_pj += here.leak_energy_pj;
    cost.energy_pj += here.energy_pj + here.network_energy_pj;
  }
  if (!is_exact(cost)) cost.energy_pj = cost.cycles = std::numeric_limits<double>::infinity();
  cost.edp = cost.energy_pj * cost.cycles;
  cost.utilization = static_cast<double>(cost.macs) / static_cast<double>(units.instances) / cost.cycles;
  cost.energy_per_mac_pj = cost.energy_pj / static_cast<double>(cost.macs);
}

}  // namespace

std::span<const std::string_view> cost_model_names() noexcept {
  static constexpr std::array<std::string_view, 2> kNames{"default", "compat"};  // in the order of CostModel
  return kNames;
}

CostModel parse_cost_model(std::string_view text) {
  const auto names = cost_model_names();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<CostModel>(found - names.begin());
  throw Error(ErrorKind::spec, "unknown cost model '" + std::string(text) + "'", "the cost models are: default, compat");
}

PackingRule parse_packing_rule(std::string_view text) {
  if (text == "word") return PackingRule::word;
  if (text == "dense") return PackingRule::dense;
  if (text == "none") return PackingRule::none;
  throw Error(ErrorKind::spec, "unknown packing '" + std::string(text) + "'", "the packings are: word, dense, none");
}

Fit check_fit(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
              const EvaluateOptions& options) {
  check_model(workload, options);
  check_mapping(arch, workload, mapping);
  check_bits(arch, workload, bits);
  Nest nest;
  build_nest(mapping, nest);
  const Fit fit = check_capacity(arch, workload, nest, bits, options);
  return fit.fits() ? check_fanout(arch, nest) : fit;
}

Cost evaluate(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
              const EvaluateOptions& options) {
  const Fit fit = check_fit(arch, workload, mapping, bits, options);
  if (!fit.fits()) throw Error(ErrorKind::infeasible, "mapping does not fit: " + fit.message);
  Nest nest;
  build_nest(mapping, nest);
  if (options.model == CostModel::compat) check_stepped_loops(workload, nest, options.always_step);

  Cost cost;
  cost.macs = workload.macs();
  cost.levels.resize(static_cast<std::size_t>(arch.num_levels()));
  if (overflows(workload)) return infinite(arch, workload, std::move(cost));
  CompatScratch scratch;
  TensorCounts counts;
  TensorPrice price;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    count_tensor(arch, workload, nest, t, options, scratch, counts);
    price_tensor(arch, nest, counts, t, tensor_bits(workload, bits, t, options), options.packing, price);
    for (int l = 0; l < arch.num_levels(); ++l) {
      TensorLevelCost& storage = cost.levels[static_cast<std::size_t>(l)].tensors.emplace_back(price.storage[static_cast<std::size_t>(l)]);
      if (storage.kept && options.model == CostModel::default_model) {
        storage.partition_elements = distinct_elements(workload, nest, t, l, scratch.exact);
      }
      cost.levels[static_cast<std::size_t>(l)].network.push_back(price.network[static_cast<std::size_t>(l)]);
    }
  }
  cost.arithmetic_energy_pj = arithmetic_energy_pj(arch, workload, bits);
  cost.compute_cycles = compute_cycles(arch, nest, bits);
  sum_up(arch, nest, options.model, cost);
  return cost;
}

}  // namespace quantloom

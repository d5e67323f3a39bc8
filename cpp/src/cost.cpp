// Checks, the breakdown and the totals. Section numbers refer to docs/model.md.
#include "quantloom/cost.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "fit.hpp"
#include "nest.hpp"
#include "quantloom/error.hpp"
#include "quantloom/mac_table.hpp"
#include "tensor_price.hpp"

namespace quantloom {
namespace {

// Stepping takes 2^loops: beyond this many, minutes.
constexpr int kMaxSteppedLoops = 24;

void check_stepped_loops(const Nest& nest) {
  int temporal = 0;
  for (int i = 0; i < nest.num_loops; ++i) temporal += nest.loops[static_cast<std::size_t>(i)].kind == LoopKind::temporal ? 1 : 0;
  if (temporal > kMaxSteppedLoops) {
    throw Error(ErrorKind::mapping, "mapping has " + std::to_string(temporal) + " temporal loops of bound above 1; stepping (always_step) takes 2^loops steps and at most " +
                                        std::to_string(kMaxSteppedLoops) + " loops",
                "leave out always_step: the count in closed form is the same");
  }
}

// What the kept tensors take of a level, each with its words.
std::string list_words(const Arch& arch, const Workload& workload, const Nest& nest, int level, std::span<const TensorBits> bits, const EvaluateOptions& options) {
  std::string out;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    const auto at = static_cast<std::size_t>(t);
    if ((nest.keep[static_cast<std::size_t>(level)] >> t & 1U) == 0) continue;
    const TensorSpec& tensor = workload.tensors()[at];
    const std::uint32_t partial = options.model == CostModel::default_model ? partial_levels(arch, workload, nest, t) : 0;
    const Count tile = tile_elements(tensor, nest.extent[static_cast<std::size_t>(level)]);
    out += (out.empty() ? "" : ", ") + tensor.name + " " + std::to_string(tile_words(arch, nest, t, level, tile, partial, bits[at], options));
  }
  return out;
}

// A misfit in words.
Fit explain(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const TensorBits> bits, const EvaluateOptions& options, const Misfit& misfit) {
  Fit fit{misfit.reason, misfit.level, misfit.need, misfit.have, {}};
  if (fit.fits()) return {};
  const std::string& name = misfit.level < 0 ? arch.arithmetic().name : arch.level(misfit.level).name;
  const std::string need = std::to_string(misfit.need);
  const std::string have = std::to_string(misfit.have);
  if (misfit.reason == Fit::Reason::capacity) {
    fit.message = "level '" + name + "': the tiles need " + need + " words, capacity is " + have + " (" +
                  list_words(arch, workload, nest, misfit.level, bits, options) + ")";
    return fit;
  }
  const char* along = misfit.axis == FanoutAxis::both ? " instances" : misfit.axis == FanoutAxis::x ? " instances along X" : " instances along Y";
  const std::string below = misfit.is_below_one ? " below one '" + arch.level(misfit.level + 1).name + "'" : "";
  fit.message = "'" + name + "': the mapping uses " + need + along + below + ", the hardware has " + have;
  return fit;
}

std::string hint_for(const Fit& fit) {
  if (fit.reason == Fit::Reason::fanout) return "make the spatial factors of this level and of those outside of it smaller";
  return "take fewer bits, make the factors at this level or inside smaller, or bypass a tensor here";
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

void limit(Cost& cost, int level) {
  const double cycles = cost.levels[static_cast<std::size_t>(level)].cycles;
  if (cycles <= cost.cycles) return;
  cost.cycles = cycles;
  cost.limiting_level = level;
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
    limit(cost, l);
    cost.area_um2 += static_cast<double>(static_cast<float>(level.area_um2)) * static_cast<double>(level.instances);
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    LevelCost& here = cost.levels[static_cast<std::size_t>(l)];
    here.leak_energy_pj = cost.cycles * level_leakage_pj(arch, nest, l, model);
    here.energy_pj += here.leak_energy_pj;
    cost.energy_pj += here.energy_pj + here.network_energy_pj;
  }
  cost.arithmetic_leak_energy_pj = cost.cycles * arithmetic_leakage_pj(arch, nest, model);
  cost.energy_pj += cost.arithmetic_leak_energy_pj;
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

Fit check_fit(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
              const EvaluateOptions& options) {
  check_model(arch, workload, options);
  check_mapping(arch, workload, mapping);
  check_bits(arch, workload, bits, options.model);
  Nest nest;
  build_nest(mapping, nest);
  std::array<TensorBits, kMaxTensors> widths;
  for (int t = 0; t < workload.num_tensors(); ++t) widths[static_cast<std::size_t>(t)] = tensor_bits(arch, workload, bits, t, options);
  return explain(arch, workload, nest, widths, options, find_misfit(arch, workload, nest, widths, options));
}

Cost evaluate(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
              const EvaluateOptions& options) {
  const Fit fit = check_fit(arch, workload, mapping, bits, options);
  if (!fit.fits()) throw Error(ErrorKind::infeasible, "mapping does not fit: " + fit.message, hint_for(fit));
  Nest nest;
  build_nest(mapping, nest);
  if (options.model == CostModel::compat && options.always_step) check_stepped_loops(nest);

  Cost cost;
  cost.macs = workload.macs();
  cost.levels.resize(static_cast<std::size_t>(arch.num_levels()));
  if (overflows(workload)) return infinite(arch, workload, std::move(cost));
  CompatScratch scratch;
  TensorCounts counts;
  TensorPrice price;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    count_tensor(arch, workload, nest, t, options, scratch, counts);
    price_tensor(arch, nest, counts, t, tensor_bits(arch, workload, bits, t, options), options, price);
    for (int l = 0; l < arch.num_levels(); ++l) {
      TensorLevelCost& storage = cost.levels[static_cast<std::size_t>(l)].tensors.emplace_back(price.storage[static_cast<std::size_t>(l)]);
      if (storage.kept && options.model == CostModel::default_model) {
        storage.partition_elements = distinct_elements(workload, nest, t, l, scratch.exact);
      }
      cost.levels[static_cast<std::size_t>(l)].network.push_back(price.network[static_cast<std::size_t>(l)]);
    }
  }
  const MacMode mode = mac_mode(arch, workload, bits, options.model);
  cost.arithmetic_energy_pj = static_cast<double>(workload.macs()) * mode.energy_pj;
  cost.compute_cycles = compute_cycles(nest.temporal_steps, mode.rate);
  sum_up(arch, nest, options.model, cost);
  return cost;
}

}  // namespace quantloom

// What a mapping costs: evaluate(arch, workload, mapping, bits, options) -> Cost, broken down by level, tensor and action.
// Energies in pJ (totals over all instances), counts in words after packing per instance unless named otherwise.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

struct TensorLevelCost {
  bool kept = false;
  bool holds_partial_sums = false;  // default model: elements may lie here before their reduction is complete
  int stored_bits = 0;              // width that the capacity is checked with; 0: one element a word
  Count elements_per_word = 1;      // whole elements of that width in one word
  Count tile_elements = 0;        // elements resident in one instance; 0 if bypassed
  Count utilized_words = 0;       // words those elements need
  Count partition_elements = 0;   // distinct elements that ever pass through one instance
  double reads = 0;               // words
  double fills = 0;
  double updates = 0;
  double temporal_reductions = 0;
  double read_elements = 0;       // the same before packing
  double fill_elements = 0;
  double update_elements = 0;
  double final_update_elements = 0;  // default model: of the updates, those that bring a complete sum
  Count utilized_instances = 0;
  Count utilized_clusters = 0;
  double read_energy_pj = 0;
  double fill_energy_pj = 0;
  double update_energy_pj = 0;
  double energy_pj = 0;           // read + fill + update
  double address_energy_pj = 0;
};

// The network between a level and the next inner one (or the arithmetic units).
struct TensorNetworkCost {
  Count fanout = 1;
  Count multicast_factor = 0;     // largest group served by one access; default model: the mean, rounded up
  double ingresses = 0;           // accesses entering the network, words
  double link_transfers = 0;      // words handed from neighbour to neighbour
  double spatial_reductions = 0;  // additions on the way up
  double num_hops = 0;            // average per ingress
  double energy_pj = 0;
};

struct LevelCost {
  double energy_pj = 0;           // accesses + address generation + leakage
  double leak_energy_pj = 0;      // of all instances, used or idle
  double cycles = 0;
  double slowdown = 1;            // <= 1: bandwidth available / needed
  std::vector<TensorLevelCost> tensors;
  double network_energy_pj = 0;
  std::vector<TensorNetworkCost> network;
};

struct Cost {
  double energy_pj = 0;
  double cycles = 0;
  double edp = 0;                 // energy_pj * cycles
  double utilization = 0;         // (MACs / arithmetic units) / cycles
  double energy_per_mac_pj = 0;
  Count macs = 0;
  double compute_cycles = 0;
  double arithmetic_energy_pj = 0;       // operations
  double arithmetic_leak_energy_pj = 0;  // of all units, used or idle
  int limiting_level = -1;        // innermost of the slowest levels if it is slower than computing; -1: computing limits
  double area_um2 = 0;
  std::vector<LevelCost> levels;  // innermost first
};

// Whether a mapping fits the hardware: an answer, not an error.
struct Fit {
  enum class Reason { fits, fanout, capacity };
  Reason reason = Reason::fits;
  int level = -1;                 // level that fails; -1 with fanout: the arithmetic units
  Count need = 0;
  Count have = 0;
  std::string message;
  [[nodiscard]] bool fits() const noexcept { return reason == Reason::fits; }
};

// default_model: exact counts of buffers that hold their current tile, partial sums with a width of their own.
// compat: the reference tool, coincidences and all. docs/model.md has both.
enum class CostModel { default_model, compat };

// What evaluate() takes, "default" first.
[[nodiscard]] std::span<const std::string_view> cost_model_names() noexcept;
// One of cost_model_names(); anything else is an Error(spec).
[[nodiscard]] CostModel parse_cost_model(std::string_view text);

struct EvaluateOptions {
  CostModel model = CostModel::default_model;
  // compat: counts by stepping through the nest instead of in closed form, 2^(temporal loops) steps. For tests.
  bool always_step = false;
  // The default model only; compat packs by word and knows no partial sums.
  PackingRule packing = PackingRule::word;  // at levels that name none
  int psum_bits = 0;  // width of partial sums; 0: the arch's, else inputs' bits + ceil(log2(reduction)), at most the accumulator's word
  bool hops = true;   // compat: false leaves TensorNetworkCost::num_hops 0 where no energy depends on it
};

// bits: one entry per tensor; 0 = unspecified (one element a word). Throws Error(mapping) if malformed, or if bits exceed
// a word; Error(spec) for options that the model does not have; Error(workload) for what the default model cannot count.
[[nodiscard]] Fit check_fit(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
                            const EvaluateOptions& options = {});

// The checked door: throws as check_fit does, and Error(infeasible) if the mapping does not fit.
[[nodiscard]] Cost evaluate(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
                            const EvaluateOptions& options = {});

}  // namespace quantloom

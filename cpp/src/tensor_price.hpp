// Counting and pricing one tensor of a mapping. Counts do not depend on bits; the price of a tensor depends on its TensorBits
// only: a sweep over bit-widths counts a mapping once and adds up prices. Internal to the core; nothing here allocates once the
// scratch has grown.
#pragma once

#include "access_bins.hpp"
#include "default_counts.hpp"
#include "nest.hpp"
#include "packing.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {

// Elements per instance that a tensor moves at each level, innermost first; bypass resolved.
struct TensorCounts {
  CostModel model = CostModel::compat;
  bool is_output = false;
  int outermost_kept = -1;  // -1: kept nowhere
  DefaultCounts exact;      // default model; compat has the rest
  std::array<LevelAccesses, kMaxLevels> accesses;
  std::array<Count, kMaxLevels> tile;
  std::array<double, kMaxLevels> content;
  std::array<double, kMaxLevels> partition;
  std::array<double, kMaxLevels> parent_share;
  std::array<double, kMaxLevels> peer;
};

struct TensorPrice {
  double energy_pj = 0;  // all levels and networks, all instances
  std::array<TensorLevelCost, kMaxLevels> storage;
  std::array<TensorNetworkCost, kMaxLevels> network;
};

// Throws Error(mapping) unless there is one width for each tensor and each fits the words of every level and the units.
void check_bits(const Arch& arch, const Workload& workload, std::span<const int> bits, CostModel model);

// Throws Error(spec) for options that the model does not have, Error(workload) for tensors that it cannot count.
void check_model(const Arch& arch, const Workload& workload, const EvaluateOptions& options);

// Cycles that the units take for so many steps of one operation each.
[[nodiscard]] double compute_cycles(Count steps, const MacRate& rate) noexcept;

// Energy per cycle of all instances of a level, used and idle; and of all units.
[[nodiscard]] double level_leakage_pj(const Arch& arch, const Nest& nest, int level, CostModel model) noexcept;
[[nodiscard]] double arithmetic_leakage_pj(const Arch& arch, const Nest& nest, CostModel model) noexcept;
// The sum over all levels and the units.
[[nodiscard]] double leakage_pj(const Arch& arch, const Nest& nest, CostModel model) noexcept;

// Words that the tile of a kept tensor takes in one instance of a level. `partial`: partial_levels() of the mapping.
[[nodiscard]] Count tile_words(const Arch& arch, const Nest& nest, int tensor, int level, Count tile, std::uint32_t partial,
                               const TensorBits& bits, const EvaluateOptions& options) noexcept;

// False if a count is beyond what doubles hold exactly: the cost is infinite then.
[[nodiscard]] bool has_exact_counts(const TensorLevelCost& cost) noexcept;

// Words that all tensors together move at one level, per instance; compat adds up rates, the default model words.
struct LevelTraffic {
  double reads = 0;
  double writes = 0;
  double reads_per_step = 0;
  double writes_per_step = 0;
  void add(double tensor_reads, double tensor_writes, double steps) noexcept {
    reads += tensor_reads;
    writes += tensor_writes;
    reads_per_step += tensor_reads / steps;
    writes_per_step += tensor_writes / steps;
  }
};

// Cycles a level needs for `steps` compute cycles; `slowdown` is the speed that the bandwidths leave, <= 1.
[[nodiscard]] double level_cycles(CostModel model, const Level& level, double steps, const LevelTraffic& traffic, double& slowdown) noexcept;

void count_tensor(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, const EvaluateOptions& options,
                  CompatScratch& scratch, TensorCounts& out);

void price_tensor(const Arch& arch, const Nest& nest, const TensorCounts& counts, int tensor, const TensorBits& bits,
                  const EvaluateOptions& options, TensorPrice& out) noexcept;

}  // namespace quantloom

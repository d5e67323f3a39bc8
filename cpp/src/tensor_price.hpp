// Counting and pricing one tensor of a mapping. Counts do not depend on bits, prices depend on the tensor's own bits only:
// a sweep over bit-widths counts a mapping once and adds up prices. Internal to the core; nothing here allocates once the
// scratch has grown.
#pragma once

#include "access_bins.hpp"
#include "nest.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {

// Elements per instance that a tensor moves at each level, innermost first; bypass resolved.
struct TensorCounts {
  bool is_output = false;
  int outermost_kept = -1;  // -1: kept nowhere
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

// Elements are packed where a width is given that differs from the word; one-bit words turn it off.
[[nodiscard]] bool is_packed(Count word_bits, int bits) noexcept;
[[nodiscard]] Count elements_per_word(Count word_bits, int bits) noexcept;

// Throws Error(mapping) unless there is one width for each tensor and each fits the words of every level.
void check_bits(const Arch& arch, const Workload& workload, std::span<const int> bits);

// Cycles a level needs for `steps` compute cycles at these words per cycle and instance (summed over tensors, in their
// order); `slowdown` is the speed that the bandwidths leave, <= 1.
[[nodiscard]] double level_cycles(const Level& level, double steps, double reads, double writes, double& slowdown) noexcept;

void count_tensor(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, bool always_step,
                  CompatScratch& scratch, TensorCounts& out);

void price_tensor(const Arch& arch, const Nest& nest, const TensorCounts& counts, int tensor, int bits, TensorPrice& out) noexcept;

}  // namespace quantloom

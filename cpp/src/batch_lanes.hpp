// The vectorized half of the batch door: blocks of mappings, one mapping a lane, all of them with the same tensors kept.
// Internal to the core.
#pragma once

#include <cstddef>
#include <cstdint>

#include "batch_plan.hpp"
#include "quantloom/mapping.hpp"

namespace quantloom {

inline constexpr int kLanes = 64;
inline constexpr int kMaxLaneSlots = 96;

// A slot of kLanes mappings.
struct LaneSlot {
  int level = 0;
  LoopKind kind = LoopKind::temporal;
  const std::uint8_t* dims = nullptr;
  const std::uint32_t* bounds = nullptr;
};

struct LaneBlock {
  int num_slots = 0;
  LaneSlot slots[kMaxLaneSlots];
  std::uint32_t keep[kMaxLevels];
  alignas(64) double energy_pj[kLanes];
  alignas(64) double cycles[kLanes];
  alignas(64) std::int64_t status[kLanes];  // of BatchStatus
  alignas(64) std::int64_t open[kLanes];    // not 0: the kernel does not have what this mapping needs
};

// Arrays of one double a lane, handed out anew for every block.
struct LaneArrays {
  static constexpr int kPerSlot = 2 * kMaxTensors + 5 * kMaxLaneWindows + kMaxDims + 4;
  static constexpr int kPerTile = 10 + kMaxRanks + 2 * kMaxLaneWindows;
  static constexpr int kMost = kMaxLaneSlots * kPerSlot + kMaxLevels * kMaxTensors * kPerTile;
  alignas(64) double of[kMost][kLanes];
};

// Different values among sums of the steps of one lane, see distinct_sums(); steps of bound 1 count for nothing. -1: unknown.
double count_lane_sums(const double* const* steps, const double* const* bounds, int count, int lane, DefaultScratch& scratch) noexcept;

using LaneKernel = void (*)(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept;

// One for each instruction set; those the compiler cannot build are the portable one.
void price_lanes_portable(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept;
void price_lanes_avx2(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept;
void price_lanes_avx512(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept;

// The widest one this machine runs.
[[nodiscard]] LaneKernel choose_lane_kernel() noexcept;

}  // namespace quantloom

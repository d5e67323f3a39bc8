// What the vectorized half of the batch door knows about an (architecture, workload, bits, options) before it sees a mapping:
// plain numbers only, so that the kernel, which is compiled once for each instruction set, needs nothing of the standard
// library. Internal to the core.
#pragma once

#include <cstdint>
#include <span>

#include "default_counts.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/units.hpp"

namespace quantloom {

// Words of n elements: ceil(n * words / elements), computed as n * rate + offset rounded to the nearest integer, with
// offset = 1/2 - 1/(2 * elements). Before rounding, (n * words - 1/2) / elements + 1/2 is at least 1/(2 * elements) away from
// the middle between two integers, and the error of the doubles is below 4/5 of that while n * words < 2^50: the result is
// the exact one.
struct LaneRate {
  double rate = 1;
  double offset = 0;
};

// Words of partial and final sums packed together, over a common denominator.
struct LaneMixedRate {
  double partial = 1;
  double complete = 1;
  LaneRate common;
};

inline constexpr double kLaneLargest = 1125899906842624.0;  // 2^50

// Ranks of all tensors together that are sums of dims.
inline constexpr int kMaxLaneWindows = 8;

struct LaneLevel {
  bool bounded = false;         // has a capacity
  bool multicast = true;
  bool clustered = false;       // instances share accesses
  bool throttles = false;       // has a bandwidth
  double capacity = 0;          // words
  double mesh_x = 1;
  double mesh_y = 1;
  bool limits_each = false;     // its loops must be within the fanout of one instance
  double fanout_x = 1;
  double fanout_y = 1;
  double instances = 1;
  double clusters = 1;
  LaneRate blocks;
  double read_pj = 0;
  double fill_pj = 0;
  double update_pj = 0;
  double address_pj = 0;
  double leak_pj = 0;
  double idle_pj = 0;
  double bits_per_word = 1;     // of what the bandwidths count
  double read_bandwidth = 0;    // 0: none
  double write_bandwidth = 0;
  double shared_bandwidth = 0;
};

struct LaneTerm {
  int dim = 0;
  double coefficient = 1;
};

struct LaneRank {
  int num_terms = 0;            // dims of bound 1 left out
  LaneTerm terms[kMaxDims];
};

struct LaneTensor {
  bool is_output = false;
  bool has_window = false;
  std::uint32_t relevant = 0;   // bit d: dim d moves it (dims of bound 1 left out)
  std::uint32_t plain = 0;      // of these, the ones that move a rank alone
  int num_ranks = 0;            // ranks that move at all; those with several terms (windows) first
  int num_windows = 0;
  int first_window = 0;         // number of its first window among those of all tensors
  LaneRank ranks[kMaxRanks];
  LaneRate own[kMaxLevels];
  LaneRate psum[kMaxLevels][kMaxLevels];        // [accumulator][level]
  LaneMixedRate mixed[kMaxLevels][kMaxLevels];
};

struct LanePlan {
  bool usable = false;
  bool compat = false;          // counts as the compat model does
  int num_dims = 0;
  int num_levels = 0;
  int num_tensors = 0;
  int output = 0;
  int num_windows = 0;
  double bound[kMaxDims];
  LaneTensor tensors[kMaxTensors];
  LaneLevel levels[kMaxLevels];
  double units_x = 1;
  double units_y = 1;
  double units = 1;
  double arithmetic_pj = 0;     // all operations
  LaneRate compute;             // cycles of so many steps
  bool leaks = false;
  double unit_leak_pj = 0;
  double unit_idle_pj = 0;
};

// usable is false where the kernel does not have what the model needs, see BatchEvaluator::is_vectorized().
[[nodiscard]] LanePlan plan_lanes(const Arch& arch, const Workload& workload, std::span<const int> bits, const EvaluateOptions& options);

}  // namespace quantloom

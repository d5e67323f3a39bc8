// What counting a mapspace needs to know before it starts, made once for all threads. Private to the mapspace.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "mapspace_parts.hpp"
#include "packing.hpp"

namespace quantloom::detail {

using Wide = unsigned __int128;
inline constexpr int kOrderBits = 5;  // a count of up to kMaxDims dims; 12 levels of them fit 64 bits
static_assert(kMaxDims < 1 << kOrderBits && kMaxLevels * kOrderBits <= 64);

// A tensor at a level of limited capacity.
struct CheckedPair {
  int tensor = 0;
  bool open = false;
  std::size_t slot_begin = 0;  // its ranks' extents among the slots
  std::size_t slot_end = 0;
};

// A level of limited capacity. Settings that pack its tensors alike share the check.
struct CheckedLevel {
  std::size_t level = 0;
  Count capacity = 0;
  Count min_words = 0;
  std::size_t pair_begin = 0;
  std::size_t pair_end = 0;
  std::vector<std::vector<WordRate>> packings;  // distinct ones: by pair, then, default model and an output
                                               // among the pairs, by accumulator of its partial sums
};

struct Contribution {
  std::size_t slot = 0;
  std::size_t level = 0;
  Count coefficient = 1;
};

// All factorizations of one dim, those with equal spatial factors next to each other.
struct DimTable {
  struct Group {
    std::vector<std::uint32_t> spatial;  // [spatial block]
    std::size_t begin = 0;
    std::size_t end = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> loops;  // distinct free_loops, how many entries have them
  };
  int dim = 0;
  std::vector<Group> groups;
  std::vector<Contribution> contributions;  // one for each slot it adds to, by slot
  std::vector<Count> extents;               // [entry][contribution]: what the dim adds to a slot
  std::vector<std::uint32_t> temporal_levels;  // [entry]: bit l set if the dim has a temporal loop at level l
  std::vector<std::uint64_t> free_loops;  // [entry]: kOrderBits per block, 1 if the dim is a loop to be permuted there
};

struct CountPlan {
  const MapspaceParts& parts;
  Enumeration enumeration = Enumeration::reference;
  int output = -1;                               // default model: the tensor that may hold partial sums
  int num_accumulators = 0;                      // widths of partial sums that an innermost kept level may give
  std::vector<int> accumulator_of = {};          // [level] which of them
  std::vector<std::size_t> spatial_blocks = {};
  std::vector<std::size_t> ordered_blocks = {};  // temporal blocks with an order to search
  std::vector<CheckedPair> pairs = {};           // by level, innermost first
  std::vector<CheckedLevel> levels = {};
  std::size_t num_slots = 0;
  std::vector<std::vector<std::size_t>> classes = {};  // distinct settings: [checked level] index into packings
  std::vector<std::size_t> class_of = {};              // [setting]
  std::vector<DimTable> tables = {};                   // fewest factorizations first: the longest loop runs innermost
  std::vector<Wide> bypasses = {};                     // [level]: choices of what is kept
  bool may_overflow = false;
  std::uint64_t num_combinations = 1;  // of groups
};

// Throws Error(mapping) if bits do not suit the workload or the architecture, or if the space is too large to walk.
[[nodiscard]] CountPlan make_count_plan(const MapspaceParts& parts, const std::vector<std::vector<int>>& bits,
                                        const CountOptions& options);

}  // namespace quantloom::detail

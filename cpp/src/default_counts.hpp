// How the default model counts: a buffer holds exactly its current tile, and every count is a closed form over the loops.
// Sections 5.5 to 6.9 of docs/model.md. Internal to the core.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "nest.hpp"

namespace quantloom {

// Elements of one tensor at one level, per instance. All counts are exact or kSaturated.
struct DefaultLevelCounts {
  Count tile = 0;           // resident at a time; 0 if bypassed
  Count distinct = 0;       // elements that ever pass through; outputs and tensors without a window only
  Count reads = 0;
  Count fills = 0;
  Count updates = 0;        // outputs: arriving from below
  Count final_updates = 0;  // of these, the ones after which the element's reduction is complete
  // The network below the level, also where the tensor is bypassed:
  Count down = 0;           // elements that enter it from the level
  Count up = 0;             // elements that leave it towards the level, after spatial reduction
  Count final_up = 0;       // of these, complete sums
  Count reductions = 0;     // additions on the way up
  Count links = 0;          // elements that children take from each other instead
  Count multicast = 0;      // children served by one element, mean rounded up
  double hops_down = 0;     // means of hops per element; 0 where no energy depends on them
  double hops_up = 0;
};

struct DefaultCounts {
  std::array<DefaultLevelCounts, kMaxLevels> levels;
  std::uint32_t partial = 0;  // partial_levels() of the mapping
};

// Buffers reused from mapping to mapping.
struct DefaultScratch {
  std::vector<Count> sums;
  std::vector<Count> points;
  std::vector<std::uint32_t> order;
};

// i * step for 0 <= i < bound, bound above 1.
struct SumStep {
  Count step;
  Count bound;
};

// Different values that sums of one multiple of each step take; kSaturated if more than 2^22 would have to be listed.
// Sorts the steps.
[[nodiscard]] Count distinct_sums(std::span<SumStep> steps, DefaultScratch& scratch);

// What an output with sums or multiples of dims in its ranks has at a kept level, and on the networks below it.
struct WindowedSums {
  Count distinct = 0;       // elements that ever get a sum there
  Count final_updates = 0;  // the last update of each, if all of its products arrive at this instance
};
[[nodiscard]] WindowedSums count_windowed_sums(const Workload& workload, const Nest& nest, int tensor, int child, int level, DefaultScratch& scratch);

// Bit l set: level l keeps the output and elements can lie there before their reduction is complete. 0 for inputs.
[[nodiscard]] std::uint32_t partial_levels(const Arch& arch, const Workload& workload, const Nest& nest, int tensor) noexcept;

// Elements that one instance of `child` newly needs over the whole run: its tile, and the new part of it at every advance
// of every temporal loop outside.
[[nodiscard]] Count tile_traffic(const Workload& workload, const Nest& nest, int tensor, int child) noexcept;

// A dim moves two ranks of the tensor at once, which ties their coordinates together.
[[nodiscard]] bool ranks_share_dims(const Workload& workload, const TensorSpec& tensor);

// Every rank is one dim with coefficient 1, every dim stands once: tiles have no holes and never overlap in part.
[[nodiscard]] bool has_plain_ranks(const Workload& workload, const TensorSpec& tensor);

// Different tiles among the children that the spatial loops of levels `inner`..`outer` make. Children at different places
// along the spatial loops of the levels in `apart` count as different whatever their tiles.
[[nodiscard]] Count distinct_children(const Workload& workload, const Nest& nest, int tensor, int inner, int outer, std::uint32_t apart,
                                      DefaultScratch& scratch);

// Elements of an input that all children between `child` and `parent` together newly need over the whole run, if whatever
// one of them holds is passed on to the others.
[[nodiscard]] Count array_traffic(const Workload& workload, const Nest& nest, int tensor, int child, int parent);

// Elements of all tiles that the instances of `child` (-1: the units) below one instance of `top` ever have; with a dim in
// two ranks, those of the smallest box product.
[[nodiscard]] Count elements_below(const Workload& workload, const Nest& nest, int tensor, int child, int top, DefaultScratch& scratch);

// The same for one instance of a level.
[[nodiscard]] Count distinct_elements(const Workload& workload, const Nest& nest, int tensor, int level, DefaultScratch& scratch);

void count_default(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, DefaultScratch& scratch, DefaultCounts& out);

}  // namespace quantloom

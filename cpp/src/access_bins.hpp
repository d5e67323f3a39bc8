// What one level hands to its children, per tensor: accesses in bins by multicast. Internal to the core.
#pragma once

#include <vector>

#include "default_counts.hpp"
#include "nest.hpp"

namespace quantloom {

// Accesses whose data goes to groups of `multicast` children each, in steps with `scatter` such groups.
struct AccessBin {
  Count multicast = 1;
  Count scatter = 1;
  double accesses = 0;  // elements
  double hops = 0;      // sum of hops, element x hop
};

struct LevelAccesses {
  std::vector<AccessBin> bins;  // ordered by (multicast, scatter)
  double link_transfers = 0;    // elements taken from a neighbour instead of the level

  [[nodiscard]] double total() const noexcept;
  // Sum of accesses * multicast: elements received by all children together.
  [[nodiscard]] double received() const noexcept;
  void add(Count multicast, Count scatter, double accesses, double hops);
};

// Buffers reused from mapping to mapping so that counting does not allocate once they have grown.
struct CompatScratch {
  std::vector<Count> offsets;       // child x rank
  std::vector<int> group;           // child -> its multicast group (children with equal offsets)
  std::vector<int> group_size;
  std::vector<int> live_size;       // group sizes without the children served by a neighbour
  std::vector<std::uint8_t> linked; // child is served by a neighbour
  DefaultScratch exact;             // of the default model
};

// Accesses of level `level` for one tensor by the reference's two-iteration stepping (closed form where it is exact and
// `always_step` is false). `grid_x`, `grid_y`: hardware fanout of the level.
void count_compat_accesses(const Workload& workload, const Nest& nest, int tensor, int level, Count grid_x, Count grid_y,
                           bool always_step, CompatScratch& scratch, LevelAccesses& out);

}  // namespace quantloom

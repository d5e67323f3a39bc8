// What one level hands to its children, per tensor: accesses in bins by multicast. Internal to the core.
#pragma once

#include <vector>

#include "compat_children.hpp"
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
  // The same for one of so many children, bin by bin as the reference divides: the quotients are rounded, and cut off later.
  [[nodiscard]] double received_by_each(Count children) const noexcept;
  void add(Count multicast, Count scatter, double accesses, double hops);
};

// Buffers reused from mapping to mapping so that counting does not allocate once they have grown.
struct CompatScratch {
  ChildrenCache children;
  DefaultScratch exact;  // of the default model
};

// Accesses of level `level` for one tensor as the reference's two-iteration stepping counts them. `tile`: extents of a
// child's tile; `grid_x`, `grid_y`: hardware fanout of the level; `with_hops`: also the sums of hops, which are 0 otherwise.
void count_compat_accesses(const Workload& workload, const Nest& nest, int tensor, int level, const RankVector& tile, Count grid_x, Count grid_y,
                           bool with_hops, CompatScratch& scratch, LevelAccesses& out);

// The same with hops, step by step: 2^(temporal loops outside the children). For tests.
void step_compat_accesses(const Workload& workload, const Nest& nest, int tensor, int level, Count grid_x, Count grid_y, LevelAccesses& out);

}  // namespace quantloom

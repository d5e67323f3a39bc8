// The flat loop nest of a mapping, with the products every count needs. Internal to the core; built once per mapping.
#pragma once

#include <array>
#include <span>

#include "quantloom/arch.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/mapspace.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

// One number for each rank of a tensor; 0 or 1 behind the last one.
using RankVector = std::array<Count, kMaxRanks>;

struct NestLoop {
  int dim = 0;
  int level = 0;
  LoopKind kind = LoopKind::temporal;
  Count bound = 1;
  Count stride = 1;  // steps of the dim's coordinate per iteration: product of the dim's bounds further inside
  double steps = 1;  // product of the temporal bounds from the outermost loop to this one
};

// Loops of bound 1 are left out. Outermost loop first; the loops of level l are loops[begin[l]] .. loops[begin[l - 1]],
// within them the temporal ones first, the spatial ones from spatial_begin[l].
struct Nest {
  static constexpr int kMaxLoops = kMaxLevels * kMaxDims * 3;

  int num_levels = 0;
  int num_loops = 0;
  std::array<NestLoop, kMaxLoops> loops;
  std::array<int, kMaxLevels> begin;
  std::array<int, kMaxLevels> spatial_begin;
  // Product of the bounds of a dim at a level and inside it (spatial ones of the level included).
  std::array<std::array<Count, kMaxDims>, kMaxLevels> extent;
  std::array<Count, kMaxLevels> spatial_x;   // product of this level's X bounds
  std::array<Count, kMaxLevels> spatial_y;
  std::array<Count, kMaxLevels> outer_x;     // product of the X bounds of all levels further out
  std::array<Count, kMaxLevels> outer_y;
  std::array<std::uint32_t, kMaxLevels> keep;
  Count temporal_steps = 1;                  // product of all temporal bounds

  [[nodiscard]] int end(int level) const noexcept { return level == 0 ? num_loops : begin[static_cast<std::size_t>(level - 1)]; }
  [[nodiscard]] Count mapped_fanout(int level) const noexcept {
    return saturating_mul(spatial_x[static_cast<std::size_t>(level)], spatial_y[static_cast<std::size_t>(level)]);
  }
  [[nodiscard]] Count replication(int level) const noexcept {
    return saturating_mul(outer_x[static_cast<std::size_t>(level)], outer_y[static_cast<std::size_t>(level)]);
  }
};

void build_nest(const Mapping& mapping, Nest& nest) noexcept;
// The nest of mapping `view` of the mapspace with these blocks.
void build_nest(const ResolvedConstraints& space, const MappingView& view, Nest& nest) noexcept;
// The nest of mapping number `index` of a batch, which must be well-formed.
void build_nest(const MappingBatch& batch, std::size_t index, int num_levels, Nest& nest) noexcept;

// Extents of a tensor's tile below the loops from number `begin` on, grown from those below number `end` (saturating; all 1
// below the last loop).
void grow_tile(const Workload& workload, const Nest& nest, int tensor, int begin, int end, RankVector& tile) noexcept;
[[nodiscard]] Count tile_volume(const RankVector& tile, int ranks) noexcept;

// Elements of a tensor's bounding box when dim d spans extent[d] (saturating).
[[nodiscard]] Count tile_elements(const TensorSpec& tensor, std::span<const Count> extent) noexcept;

}  // namespace quantloom

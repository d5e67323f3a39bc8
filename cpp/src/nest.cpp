#include "nest.hpp"

namespace quantloom {
namespace {

void append_loops(Nest& nest, const std::vector<Loop>& loops, int level, LoopKind kind) {
  for (const Loop& loop : loops) {
    if (loop.bound == 1) continue;
    nest.loops[static_cast<std::size_t>(nest.num_loops++)] = {loop.dim, level, kind, loop.bound, 1};
  }
}

}  // namespace

void build_nest(const Workload& workload, const Mapping& mapping, Nest& nest) noexcept {
  nest.num_levels = static_cast<int>(mapping.levels.size());
  nest.num_loops = 0;
  nest.temporal_steps = 1;
  Count x = 1;
  Count y = 1;
  for (int l = nest.num_levels - 1; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    const LevelMapping& here = mapping.levels[at];
    nest.keep[at] = here.keep;
    nest.outer_x[at] = x;
    nest.outer_y[at] = y;
    nest.begin[at] = nest.num_loops;
    append_loops(nest, here.temporal, l, LoopKind::temporal);
    nest.spatial_begin[at] = nest.num_loops;
    append_loops(nest, here.spatial_y, l, LoopKind::spatial_y);
    append_loops(nest, here.spatial_x, l, LoopKind::spatial_x);
    nest.spatial_x[at] = nest.spatial_y[at] = 1;
    for (int i = nest.begin[at]; i < nest.num_loops; ++i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      Count& product = loop.kind == LoopKind::temporal    ? nest.temporal_steps
                       : loop.kind == LoopKind::spatial_x ? nest.spatial_x[at]
                                                          : nest.spatial_y[at];
      product = saturating_mul(product, loop.bound);
    }
    x = saturating_mul(x, nest.spatial_x[at]);
    y = saturating_mul(y, nest.spatial_y[at]);
  }
  std::array<Count, kMaxDims> inside;
  inside.fill(1);
  int next = nest.num_loops;
  for (int l = 0; l < nest.num_levels; ++l) {
    const auto at = static_cast<std::size_t>(l);
    while (next > nest.begin[at]) {
      NestLoop& loop = nest.loops[static_cast<std::size_t>(--next)];
      Count& product = inside[static_cast<std::size_t>(loop.dim)];
      loop.stride = product;
      product = saturating_mul(product, loop.bound);
    }
    for (int d = 0; d < workload.num_dims(); ++d) nest.extent[at][static_cast<std::size_t>(d)] = inside[static_cast<std::size_t>(d)];
  }
}

Count tile_elements(const TensorSpec& tensor, std::span<const Count> extent) noexcept {
  Count elements = 1;
  for (const auto& rank : tensor.ranks) {
    Count span = 1;
    for (const Term& term : rank) {
      span = saturating_add(span, saturating_mul(extent[static_cast<std::size_t>(term.dim)] - 1, term.coefficient));
    }
    elements = saturating_mul(elements, span);
  }
  return elements;
}

}  // namespace quantloom

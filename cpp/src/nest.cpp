#include "nest.hpp"

namespace quantloom {
namespace {

// Filling goes from the outermost level inwards: open_level, append its temporal loops, open_spatial, append the others.
void start(Nest& nest, int levels) {
  nest.num_levels = levels;
  nest.num_loops = 0;
}

void open_level(Nest& nest, int level, std::uint32_t keep) {
  nest.begin[static_cast<std::size_t>(level)] = nest.num_loops;
  nest.keep[static_cast<std::size_t>(level)] = keep;
}

void append(Nest& nest, int dim, int level, LoopKind kind, Count bound) {
  if (bound != 1) nest.loops[static_cast<std::size_t>(nest.num_loops++)] = {dim, level, kind, bound, 1, 1};
}

void append(Nest& nest, const std::vector<Loop>& loops, int level, LoopKind kind) {
  for (const Loop& loop : loops) append(nest, loop.dim, level, kind, loop.bound);
}

void multiply_spatial(Nest& nest) {
  Count x = 1;
  Count y = 1;
  double steps = 1;
  nest.temporal_steps = 1;
  for (int l = nest.num_levels - 1; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    nest.outer_x[at] = x;
    nest.outer_y[at] = y;
    nest.spatial_x[at] = nest.spatial_y[at] = 1;
    for (int i = nest.begin[at]; i < nest.end(l); ++i) {
      NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      if (loop.kind == LoopKind::temporal) steps *= static_cast<double>(loop.bound);
      loop.steps = steps;
      Count& product = loop.kind == LoopKind::temporal    ? nest.temporal_steps
                       : loop.kind == LoopKind::spatial_x ? nest.spatial_x[at]
                                                          : nest.spatial_y[at];
      product = saturating_mul(product, loop.bound);
    }
    x = saturating_mul(x, nest.spatial_x[at]);
    y = saturating_mul(y, nest.spatial_y[at]);
  }
}

void multiply_extents(Nest& nest) {
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
    nest.extent[at] = inside;
  }
}

}  // namespace

void build_nest(const Mapping& mapping, Nest& nest) noexcept {
  start(nest, static_cast<int>(mapping.levels.size()));
  for (int l = nest.num_levels - 1; l >= 0; --l) {
    const LevelMapping& here = mapping.levels[static_cast<std::size_t>(l)];
    open_level(nest, l, here.keep);
    append(nest, here.temporal, l, LoopKind::temporal);
    nest.spatial_begin[static_cast<std::size_t>(l)] = nest.num_loops;
    append(nest, here.spatial_y, l, LoopKind::spatial_y);
    append(nest, here.spatial_x, l, LoopKind::spatial_x);
  }
  multiply_spatial(nest);
  multiply_extents(nest);
}

void build_nest(const ResolvedConstraints& space, const MappingView& view, Nest& nest) noexcept {
  start(nest, view.num_levels);
  for (int b = view.num_blocks - 1; b >= 0; --b) {
    const Block& block = space.blocks[static_cast<std::size_t>(b)];
    if (!block.spatial) {  // the outer block of its level
      open_level(nest, block.level, view.keep[block.level]);
      for (int i = view.num_dims - 1; i >= 0; --i) {
        const int dim = view.dim_at(b, i);
        append(nest, dim, block.level, LoopKind::temporal, view.factor(b, dim));
      }
      nest.spatial_begin[static_cast<std::size_t>(block.level)] = nest.num_loops;
      continue;
    }
    for (int i = view.num_dims - 1; i >= 0; --i) {
      const int dim = view.dim_at(b, i);
      append(nest, dim, block.level, i < view.split[b] ? LoopKind::spatial_x : LoopKind::spatial_y, view.factor(b, dim));
    }
  }
  multiply_spatial(nest);
  multiply_extents(nest);
}

void build_nest(const MappingBatch& batch, std::size_t index, int num_levels, Nest& nest) noexcept {
  start(nest, num_levels);
  std::size_t slot = 0;
  for (int l = num_levels - 1; l >= 0; --l) {
    open_level(nest, l, batch.keep[static_cast<std::size_t>(l) * batch.stride + index]);
    const auto append_slots = [&](bool temporal) {
      for (; slot < batch.slots.size() && batch.slots[slot].level == l; ++slot) {
        if (temporal != (batch.slots[slot].kind == LoopKind::temporal)) break;
        const std::size_t at = slot * batch.stride + index;
        append(nest, batch.dims[at], l, batch.slots[slot].kind, batch.bounds[at]);
      }
    };
    append_slots(true);
    nest.spatial_begin[static_cast<std::size_t>(l)] = nest.num_loops;
    append_slots(false);
  }
  multiply_spatial(nest);
  multiply_extents(nest);
}

void grow_tile(const Workload& workload, const Nest& nest, int tensor, int begin, int end, RankVector& tile) noexcept {
  for (int i = begin; i < end; ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    for (const RankMove& move : workload.moves(tensor, loop.dim)) {
      Count& extent = tile[static_cast<std::size_t>(move.rank)];
      extent = saturating_add(extent, saturating_mul(saturating_mul(loop.bound - 1, loop.stride), move.coefficient));
    }
  }
}

Count tile_volume(const RankVector& tile, int ranks) noexcept {
  Count elements = 1;
  for (int r = 0; r < ranks; ++r) elements = saturating_mul(elements, tile[static_cast<std::size_t>(r)]);
  return elements;
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

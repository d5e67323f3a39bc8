#include "fit.hpp"

#include <array>

#include "tensor_price.hpp"

namespace quantloom {
namespace {

Misfit check_capacity(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const TensorBits> bits, const EvaluateOptions& options) {
  std::array<std::uint32_t, kMaxTensors> partial{};
  if (options.model == CostModel::default_model) {
    for (int t = 0; t < workload.num_tensors(); ++t) partial[static_cast<std::size_t>(t)] = partial_levels(arch, workload, nest, t);
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    if (!level.capacity_words) continue;
    Count need = 0;
    for (int t = 0; t < workload.num_tensors(); ++t) {
      const auto at = static_cast<std::size_t>(t);
      if ((nest.keep[static_cast<std::size_t>(l)] >> t & 1U) == 0) continue;
      const Count tile = tile_elements(workload.tensors()[at], nest.extent[static_cast<std::size_t>(l)]);
      need = saturating_add(need, tile_words(arch, nest, t, l, tile, partial[at], bits[at], options));
    }
    if (need > *level.capacity_words) return {Fit::Reason::capacity, l, FanoutAxis::both, need, *level.capacity_words};
  }
  return {};
}

Misfit check_instances(int level, Count x, Count y, Count mesh_x, Count mesh_y) {
  if (saturating_mul(x, y) > mesh_x * mesh_y) return {Fit::Reason::fanout, level, FanoutAxis::both, saturating_mul(x, y), mesh_x * mesh_y};
  if (x > mesh_x) return {Fit::Reason::fanout, level, FanoutAxis::x, x, mesh_x};
  if (y > mesh_y) return {Fit::Reason::fanout, level, FanoutAxis::y, y, mesh_y};
  return {};
}

// Loops of a level share out what one of its instances has below it.
Misfit check_below_one(const Arch& arch, const Nest& nest) {
  for (int l = 0; l < arch.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    Misfit misfit = check_instances(l - 1, nest.spatial_x[at], nest.spatial_y[at], arch.fanout_x(l), arch.fanout_y(l));
    if (misfit.reason == Fit::Reason::fits) continue;
    misfit.is_below_one = true;
    return misfit;
  }
  return {};
}

Misfit check_fanout(const Arch& arch, const Nest& nest) {
  const Arithmetic& units = arch.arithmetic();
  Misfit misfit = check_instances(-1, saturating_mul(nest.outer_x[0], nest.spatial_x[0]), saturating_mul(nest.outer_y[0], nest.spatial_y[0]),
                                  units.mesh_x, units.mesh_y);
  for (int l = 0; l < arch.num_levels() && misfit.reason == Fit::Reason::fits; ++l) {
    const Level& level = arch.level(l);
    misfit = check_instances(l, nest.outer_x[static_cast<std::size_t>(l)], nest.outer_y[static_cast<std::size_t>(l)], level.mesh_x, level.mesh_y);
  }
  return misfit;
}

}  // namespace

Misfit find_misfit(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const TensorBits> bits,
                   const EvaluateOptions& options) noexcept {
  Misfit misfit = check_capacity(arch, workload, nest, bits, options);
  if (misfit.reason == Fit::Reason::fits) misfit = check_fanout(arch, nest);
  if (misfit.reason == Fit::Reason::fits && options.model == CostModel::default_model) misfit = check_below_one(arch, nest);
  return misfit;
}

}  // namespace quantloom

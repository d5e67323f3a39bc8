#include "batch_single.hpp"

#include <algorithm>

#include "fit.hpp"
#include "quantities.hpp"

namespace quantloom {
namespace {

// What check_mapping() refuses, without words.
bool is_well_formed(const BatchSetting& setting, const MappingBatch& batch, std::size_t index) {
  const Workload& workload = setting.workload;
  for (int l = 0; l < setting.arch.num_levels(); ++l) {
    if (batch.keep[static_cast<std::size_t>(l) * batch.stride + index] >> workload.num_tensors() != 0) return false;
  }
  std::array<Count, kMaxDims> products;
  products.fill(1);
  std::uint32_t seen = 0;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    if (s > 0 && batch.slots[s] != batch.slots[s - 1]) seen = 0;
    const Count bound = batch.bounds[s * batch.stride + index];
    const int dim = batch.dims[s * batch.stride + index];
    if (bound == 1) continue;
    if (dim >= workload.num_dims() || (seen >> dim & 1U) != 0) return false;
    seen |= 1U << dim;
    Count& product = products[static_cast<std::size_t>(dim)];
    product = saturating_mul(product, bound);
  }
  for (int d = 0; d < workload.num_dims(); ++d) {
    if (products[static_cast<std::size_t>(d)] != workload.bound(d)) return false;
  }
  return true;
}

SinglePrice invalid(BatchStatus status, int level = 0) { return {status, level, kInfinity, kInfinity}; }

// Sums of all tensors.
struct Sums {
  std::array<double, kMaxLevels> storage_pj{};
  std::array<double, kMaxLevels> network_pj{};
  std::array<LevelTraffic, kMaxLevels> traffic;
  bool exact = true;
};

Sums add_tensors(const BatchSetting& setting, double steps, SingleBuffers& buffers) {
  Sums sums;
  for (int t = 0; t < setting.workload.num_tensors(); ++t) {
    count_tensor(setting.arch, setting.workload, buffers.nest, t, setting.options, buffers.scratch, buffers.counts);
    price_tensor(setting.arch, buffers.nest, buffers.counts, t, setting.bits[static_cast<std::size_t>(t)], setting.options, buffers.price);
    for (std::size_t l = 0; l < static_cast<std::size_t>(setting.arch.num_levels()); ++l) {
      const TensorLevelCost& storage = buffers.price.storage[l];
      sums.storage_pj[l] += storage.energy_pj + storage.address_energy_pj;
      sums.network_pj[l] += buffers.price.network[l].energy_pj;
      sums.traffic[l].add(storage.reads, storage.fills + storage.updates, steps);
      sums.exact = sums.exact && has_exact_counts(storage);
    }
  }
  return sums;
}

// In the order of evaluate(), for equal roundings.
SinglePrice sum_up(const BatchSetting& setting, SingleBuffers& buffers) {
  const Arch& arch = setting.arch;
  const CostModel model = setting.options.model;
  const double steps = compute_cycles(buffers.nest.temporal_steps, setting.mac.rate);
  const Sums sums = add_tensors(setting, steps, buffers);
  if (!sums.exact || steps > kLargestExactCount) return invalid(BatchStatus::valid);
  SinglePrice out;
  out.cycles = steps;
  for (int l = 0; l < arch.num_levels(); ++l) {
    double slowdown = 1;
    out.cycles = std::max(out.cycles, level_cycles(model, arch.level(l), steps, sums.traffic[static_cast<std::size_t>(l)], slowdown));
  }
  out.energy_pj = static_cast<double>(setting.workload.macs()) * setting.mac.energy_pj;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    out.energy_pj += sums.storage_pj[at] + out.cycles * level_leakage_pj(arch, buffers.nest, l, model) + sums.network_pj[at];
  }
  out.energy_pj += out.cycles * arithmetic_leakage_pj(arch, buffers.nest, model);
  return out;
}

}  // namespace

BatchSetting make_batch_setting(Arch arch, Workload workload, std::span<const int> bits, const EvaluateOptions& options) {
  check_model(arch, workload, options);
  check_bits(arch, workload, bits, options.model);
  BatchSetting out{std::move(arch), std::move(workload), options, {}, {}, false};
  out.options.always_step = false;  // 2^loops steps for the same counts
  out.options.hops = false;
  out.mac = mac_mode(out.arch, out.workload, bits, options.model);
  out.overflows = out.workload.macs() == kSaturated;
  for (int t = 0; t < out.workload.num_tensors(); ++t) {
    out.bits[static_cast<std::size_t>(t)] = tensor_bits(out.arch, out.workload, bits, t, options);
    out.overflows = out.overflows || out.workload.tensor_elements(t) == kSaturated;
  }
  return out;
}

SinglePrice price_single(const BatchSetting& setting, const MappingBatch& batch, std::size_t index, SingleBuffers& buffers) noexcept {
  if (!is_well_formed(setting, batch, index)) return invalid(BatchStatus::malformed);
  build_nest(batch, index, setting.arch.num_levels(), buffers.nest);
  const Misfit misfit = find_misfit(setting.arch, setting.workload, buffers.nest, setting.bits, setting.options);
  if (misfit.reason == Fit::Reason::capacity) return invalid(BatchStatus::capacity, misfit.level);
  if (misfit.reason == Fit::Reason::fanout) return invalid(BatchStatus::fanout);
  return setting.overflows ? invalid(BatchStatus::valid) : sum_up(setting, buffers);
}

}  // namespace quantloom

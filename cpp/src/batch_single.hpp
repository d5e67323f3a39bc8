// One mapping of a batch at a time, by the functions that evaluate() is made of. Internal to the core.
#pragma once

#include <array>

#include "nest.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/mac_table.hpp"
#include "tensor_price.hpp"

namespace quantloom {

struct BatchSetting {
  Arch arch;
  Workload workload;
  EvaluateOptions options;
  std::array<TensorBits, kMaxTensors> bits;
  MacMode mac;
  bool overflows = false;  // more operations or elements than 64 bits count
};

struct SingleBuffers {
  Nest nest;
  CompatScratch scratch;
  TensorCounts counts;
  TensorPrice price;
};

struct SinglePrice {
  BatchStatus status = BatchStatus::valid;
  int level = 0;  // capacity: the one that is too small
  double energy_pj = 0;
  double cycles = 0;
};

// Throws as evaluate() does for bits, options and workloads.
[[nodiscard]] BatchSetting make_batch_setting(Arch arch, Workload workload, std::span<const int> bits, const EvaluateOptions& options);

[[nodiscard]] SinglePrice price_single(const BatchSetting& setting, const MappingBatch& batch, std::size_t index, SingleBuffers& buffers) noexcept;

}  // namespace quantloom

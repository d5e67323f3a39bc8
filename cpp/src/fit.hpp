// Whether a mapping fits, without words: what check_fit() and the batch door share. Internal to the core.
#pragma once

#include <span>

#include "nest.hpp"
#include "packing.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {

enum class FanoutAxis { both, x, y };

struct Misfit {
  Fit::Reason reason = Fit::Reason::fits;
  int level = -1;  // -1 with fanout: the arithmetic units
  FanoutAxis axis = FanoutAxis::both;
  Count need = 0;
  Count have = 0;
  bool is_below_one = false;  // with fanout: these instances are below one instance of the next level outwards
};

// The first failure: levels that are too small, then instances that are too few, then (not in the compat model) loops of one
// level that are wider than the instances below one instance of it; each from the innermost outwards.
// bits: [tensor].
[[nodiscard]] Misfit find_misfit(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const TensorBits> bits,
                                 const EvaluateOptions& options) noexcept;

}  // namespace quantloom

// The kernel of the batch door for machines with AVX2.
#include "batch_lanes.hpp"

#if defined(__x86_64__)
// Only what follows may use these instructions: nothing of a header is built with them.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace quantloom {
namespace {

constexpr int kWidth = 4;

#include "batch_kernel.inc"

}  // namespace

void price_lanes_avx2(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept {
  Kernel(plan, block, arrays, scratch).run();
}

}  // namespace quantloom

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

void quantloom::price_lanes_avx2(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept {
  price_lanes_portable(plan, block, arrays, scratch);
}

#endif

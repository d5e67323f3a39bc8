// The kernel of the batch door for machines with AVX-512.
#include "batch_lanes.hpp"

#if defined(__x86_64__)
// Only what follows may use these instructions: nothing of a header is built with them.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")
#endif

namespace quantloom {
namespace {

constexpr int kWidth = 8;

#include "batch_kernel.inc"

}  // namespace

void price_lanes_avx512(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept {
  Kernel(plan, block, arrays, scratch).run();
}

}  // namespace quantloom

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

void quantloom::price_lanes_avx512(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept {
  price_lanes_portable(plan, block, arrays, scratch);
}

#endif

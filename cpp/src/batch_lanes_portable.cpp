// The kernel of the batch door for any machine, and the choice among its builds.
#include "batch_lanes.hpp"

namespace quantloom {
namespace {

constexpr int kWidth = 2;

#include "batch_kernel.inc"

}  // namespace

void price_lanes_portable(const LanePlan& plan, LaneBlock& block, LaneArrays& arrays, DefaultScratch& scratch) noexcept {
  Kernel(plan, block, arrays, scratch).run();
}

LaneKernel choose_lane_kernel() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return price_lanes_avx512;
  }
  if (__builtin_cpu_supports("avx2")) return price_lanes_avx2;
#endif
  return price_lanes_portable;
}

}  // namespace quantloom

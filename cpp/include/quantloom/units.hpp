// Fixed capacities and exact integer arithmetic that saturates instead of wrapping. Includes std only.
#pragma once

#include <cstdint>
#include <limits>

namespace quantloom {

inline constexpr int kMaxDims = 16;
inline constexpr int kMaxTensors = 8;
inline constexpr int kMaxLevels = 12;
inline constexpr int kMaxRanks = 8;
inline constexpr int kMaxPsumBits = 128;  // width of partial sums

using Count = std::int64_t;

// A count that reached this value is unknown and larger than any real one; costs made from it are infinite.
inline constexpr Count kSaturated = std::numeric_limits<Count>::max();
// Access counts pass through doubles (the reference scales some of them by ratios): exact up to here.
inline constexpr double kLargestExactCount = 9007199254740992.0;  // 2^53

[[nodiscard]] constexpr Count saturating_mul(Count a, Count b) noexcept {
  Count out = 0;
  return __builtin_mul_overflow(a, b, &out) ? kSaturated : out;
}

[[nodiscard]] constexpr Count saturating_add(Count a, Count b) noexcept {
  Count out = 0;
  return __builtin_add_overflow(a, b, &out) ? kSaturated : out;
}

// Rounds a / b up, for a >= 0 and b > 0; a saturated count stays saturated.
[[nodiscard]] constexpr Count ceil_div(Count a, Count b) noexcept {
  return a == kSaturated ? kSaturated : a / b + (a % b != 0);
}

}  // namespace quantloom

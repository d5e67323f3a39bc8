// Random numbers that are the same on every machine and standard library. Includes std only.
#pragma once

#include <cstdint>
#include <random>

namespace quantloom::detail {

class RandomDigits {
 public:
  explicit RandomDigits(std::uint64_t seed) : engine_(seed) {}
  // Uniform below base. std::uniform_int_distribution is not the same on every standard library, this is.
  std::uint64_t take(std::uint64_t base) {
    const std::uint64_t rest = (UINT64_MAX % base + 1) % base;  // 2^64 mod base values are one too many
    std::uint64_t value = engine_();
    while (value > UINT64_MAX - rest) value = engine_();
    return value % base;
  }
  // Uniform in [0, 1).
  double fraction() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace quantloom::detail

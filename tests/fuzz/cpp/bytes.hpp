// The bytes of one input as numbers. Behind their end everything is 0, so that any bytes are an input.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>

#include "quantloom/units.hpp"

namespace quantloom::fuzz {

class Bytes {
 public:
  explicit Bytes(std::span<const std::uint8_t> data) : data_(data) {}

  // How often a number is one that no sane caller gives: never, seldom, often.
  void set_hostility(int hostility) { one_in_ = hostility == 0 ? 0 : hostility == 1 ? 48 : 6; }
  [[nodiscard]] bool is_hostile() { return one_in_ > 0 && byte() % one_in_ == one_in_ - 1; }

  std::uint8_t byte() {
    if (at_ == data_.size()) return 0;
    return data_[at_++];
  }
  std::uint64_t word() {
    std::uint64_t out = 0;
    for (int i = 0; i < 8; ++i) out = out << 8 | byte();
    return out;
  }
  [[nodiscard]] bool is_empty() const { return at_ == data_.size(); }
  [[nodiscard]] int below(int n) { return byte() % n; }
  [[nodiscard]] bool one_in(int n) { return byte() % n == n - 1; }

  // Usually 1 .. most.
  Count count(int most) {
    if (!is_hostile()) return 1 + below(most);
    constexpr std::array<Count, 12> kHostile{0,
                                             -1,
                                             std::numeric_limits<Count>::min(),
                                             kSaturated,
                                             kSaturated - 1,
                                             Count{1} << 31,
                                             (Count{1} << 31) + 1,
                                             Count{1} << 32,
                                             Count{1} << 40,
                                             Count{1} << 53,
                                             Count{1} << 62,
                                             65537};
    const int which = below(16);
    return which < 12 ? kHostile[static_cast<std::size_t>(which)] : static_cast<Count>(word());
  }
  int integer(int most) { return static_cast<int>(static_cast<std::uint32_t>(count(most))); }
  // Usually a quarter of 1 .. 40.
  double real() {
    if (!is_hostile()) return 0.25 * (1 + below(40));
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr std::array<double, 10> kHostile{
        0.0, -0.0, -1, kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN(), 1e308, 5e-324, 1e18, -1e-300};
    const int which = below(12);
    return which < 10 ? kHostile[static_cast<std::size_t>(which)] : std::bit_cast<double>(word());
  }

 private:
  std::span<const std::uint8_t> data_;
  std::size_t at_ = 0;
  int one_in_ = 0;
};

}  // namespace quantloom::fuzz

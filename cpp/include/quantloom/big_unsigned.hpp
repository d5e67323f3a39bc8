// An exact unsigned integer of any size: mapspaces without constraints have more than 2^128 points, and their sizes and
// indices must be exact. Only what counting and indexing need; not meant for hot loops. Includes std only.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quantloom {

class BigUnsigned {
 public:
  BigUnsigned() = default;
  BigUnsigned(std::uint64_t value);  // NOLINT(google-explicit-constructor): a number is a number
  // Decimal digits only; throws Error(mapping) otherwise.
  static BigUnsigned from_decimal(std::string_view digits);
  static BigUnsigned from_128(unsigned __int128 value);

  BigUnsigned& operator+=(const BigUnsigned& other);
  BigUnsigned& operator*=(std::uint64_t factor);
  // Divides by a divisor > 0 and returns the remainder: taking a mixed-radix number apart.
  std::uint64_t divide(std::uint64_t divisor);

  [[nodiscard]] bool is_zero() const noexcept { return limbs_.empty(); }
  [[nodiscard]] std::string to_string() const;

  bool operator==(const BigUnsigned&) const = default;
  std::strong_ordering operator<=>(const BigUnsigned& other) const noexcept;

 private:
  void trim() noexcept;
  std::vector<std::uint64_t> limbs_;  // least significant first, no leading zeros
};

}  // namespace quantloom

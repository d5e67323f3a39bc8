#include "quantloom/big_unsigned.hpp"

#include <algorithm>

#include "quantloom/error.hpp"

namespace quantloom {
namespace {

using Wide = unsigned __int128;
constexpr std::uint64_t kDecimalChunk = 1'000'000'000'000'000'000;  // 10^18, the largest that fits with room
constexpr int kDigitsPerChunk = 18;

}  // namespace

BigUnsigned::BigUnsigned(std::uint64_t value) {
  if (value != 0) limbs_.push_back(value);
}

BigUnsigned BigUnsigned::from_128(Wide value) {
  BigUnsigned out;
  out.limbs_ = {static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(value >> 64)};
  out.trim();
  return out;
}

BigUnsigned BigUnsigned::from_decimal(std::string_view digits) {
  BigUnsigned out;
  const bool is_number =
      !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) throw Error(ErrorKind::mapping, "'" + std::string(digits) + "' is not a whole number of 0 or more");
  for (const char c : digits) {
    out *= 10;
    out += static_cast<std::uint64_t>(c - '0');
  }
  return out;
}

void BigUnsigned::trim() noexcept {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
}

BigUnsigned& BigUnsigned::operator+=(const BigUnsigned& other) {
  limbs_.resize(std::max(limbs_.size(), other.limbs_.size()) + 1);
  Wide carry = 0;
  for (std::size_t i = 0; i < limbs_.size(); ++i) {
    carry += limbs_[i];
    if (i < other.limbs_.size()) carry += other.limbs_[i];
    limbs_[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  trim();
  return *this;
}

BigUnsigned& BigUnsigned::operator*=(std::uint64_t factor) {
  Wide carry = 0;
  for (std::uint64_t& limb : limbs_) {
    carry += static_cast<Wide>(limb) * factor;
    limb = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  if (carry != 0) limbs_.push_back(static_cast<std::uint64_t>(carry));
  trim();
  return *this;
}

std::uint64_t BigUnsigned::divide(std::uint64_t divisor) {
  Wide rest = 0;
  for (std::size_t i = limbs_.size(); i-- > 0;) {
    rest = rest << 64 | limbs_[i];
    limbs_[i] = static_cast<std::uint64_t>(rest / divisor);
    rest %= divisor;
  }
  trim();
  return static_cast<std::uint64_t>(rest);
}

std::string BigUnsigned::to_string() const {
  if (is_zero()) return "0";
  BigUnsigned left = *this;
  std::string out;
  while (!left.is_zero()) {
    std::string chunk = std::to_string(left.divide(kDecimalChunk));
    if (!left.is_zero()) chunk.insert(0, static_cast<std::size_t>(kDigitsPerChunk) - chunk.size(), '0');
    out.insert(0, chunk);
  }
  return out;
}

std::strong_ordering BigUnsigned::operator<=>(const BigUnsigned& other) const noexcept {
  if (limbs_.size() != other.limbs_.size()) return limbs_.size() <=> other.limbs_.size();
  for (std::size_t i = limbs_.size(); i-- > 0;) {
    if (limbs_[i] != other.limbs_[i]) return limbs_[i] <=> other.limbs_[i];
  }
  return std::strong_ordering::equal;
}

}  // namespace quantloom

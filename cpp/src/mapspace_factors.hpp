// The ordered factorizations of one dim's bound into a factor for each block. Private to the mapspace.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantloom/constraints.hpp"
#include "quantloom/units.hpp"

namespace quantloom::detail {

class FactorSpace {
 public:
  // limits: one per block, innermost first. Fixed factors must multiply to a divisor of bound.
  FactorSpace(Count bound, const std::vector<FactorLimit>& limits);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] int num_blocks() const noexcept { return static_cast<int>(fixed_.size()); }
  // Writes factorization number index < size(), a factor per block. Works on any size: nothing is listed.
  void write(std::uint64_t index, std::span<std::uint32_t> factors) const noexcept;
  // All of them in order, size() rows of num_blocks().
  [[nodiscard]] std::vector<std::uint32_t> list() const;

 private:
  [[nodiscard]] std::size_t position(Count divisor) const noexcept;
  [[nodiscard]] std::uint64_t ways(std::size_t blocks, Count product) const noexcept;
  void list_from(std::size_t blocks, Count product, std::vector<std::uint32_t>& row,
                 std::vector<std::uint32_t>& out) const;

  std::vector<std::uint32_t> fixed_;  // [block], 0 if free
  std::vector<std::size_t> free_;     // blocks that are free, innermost first
  std::vector<FactorLimit> limits_;   // [free block]
  std::vector<Count> tried_;          // divisors of the bound in the order they are tried: 1, n, 2, n/2, ...
  std::vector<Count> sorted_;         // the same, ascending
  std::vector<std::vector<std::uint64_t>>
      ways_;              // [k][position of divisor]: factorizations into the k innermost free blocks
  Count free_bound_ = 1;  // what the free blocks multiply to
  std::uint64_t size_ = 0;
};

}  // namespace quantloom::detail

// The orders and splits left to one block once its factors are known. Private to the mapspace.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "quantloom/constraints.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom::detail {

inline constexpr std::array<std::uint64_t, kMaxDims + 1> kFactorial = [] {
  std::array<std::uint64_t, kMaxDims + 1> out{};
  out[0] = 1;
  for (std::size_t i = 1; i < out.size(); ++i) out[i] = out[i - 1] * i;
  return out;
}();

// What the constraints say about a block's order; does not depend on factors.
struct OrderRule {
  OrderRule(const Block& block, bool is_innermost, int num_dims);

  int num_dims = 0;
  bool spatial = false;
  // The workload's own order: in the innermost block of all if temporal (nothing lies inside, so order does not
  // matter), and in spatial blocks with one axis and no given order.
  bool canonical = false;
  int split = -1;  // given, or -1 if searched
  Count fanout_x = 1;
  Count fanout_y = 1;
  std::vector<std::uint8_t> inner;
  std::vector<std::uint8_t> infix;  // dims to permute, ascending
  std::vector<std::uint8_t> outer;
};

// fixed innermost dims, dims to permute, fixed outermost dims; splits split_first..split_last.
struct BlockOrders {
  std::array<std::uint8_t, kMaxDims> dims{};
  std::uint8_t num_dims = 0;
  std::uint8_t infix_begin = 0;
  std::uint8_t infix_end = 0;
  std::uint8_t split_first = 0;
  std::uint8_t split_last = 0;

  [[nodiscard]] int infix_size() const noexcept { return infix_end - infix_begin; }
  [[nodiscard]] std::uint64_t permutations() const noexcept {
    return kFactorial[static_cast<std::size_t>(infix_size())];
  }
  [[nodiscard]] std::uint64_t splits() const noexcept {
    return std::uint64_t{split_last} - split_first + 1;
  }
  // Writes the order with this number (lexicographic in the permuted dims), inner to outer.
  void write(std::uint64_t permutation, std::uint8_t* order) const noexcept;
};

// units: bit d set if dim d has factor 1 in this block (ignored in the unpruned enumeration).
[[nodiscard]] BlockOrders make_orders(const OrderRule& rule, std::uint32_t units, Enumeration enumeration) noexcept;

// Whether the dims below split fit X and the others Y. factors by dim.
[[nodiscard]] bool fits_fanout(const OrderRule& rule, const std::uint8_t* order, int split,
                               const std::uint32_t* factors) noexcept;

// How many (order, split) pairs of a spatial block are within its fanout, without listing the orders.
[[nodiscard]] std::uint64_t count_within_fanout(const OrderRule& rule, const BlockOrders& orders,
                                                const std::uint32_t* factors) noexcept;

// The first pair within the fanout, orders outermost in the numbering. There must be one.
struct OrderAndSplit {
  std::uint64_t permutation = 0;
  std::uint64_t split = 0;  // counted from split_first
};
[[nodiscard]] OrderAndSplit find_first_within_fanout(const OrderRule& rule, const BlockOrders& orders,
                                                     const std::uint32_t* factors) noexcept;

}  // namespace quantloom::detail

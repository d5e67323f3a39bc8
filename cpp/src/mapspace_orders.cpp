#include "mapspace_orders.hpp"

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

namespace quantloom::detail {
namespace {

bool is_unit(std::uint32_t units, std::uint8_t dim) noexcept { return (units >> dim & 1U) != 0; }

int count_loops(std::uint32_t units, const std::vector<std::uint8_t>& dims, std::size_t end) noexcept {
  int loops = 0;
  for (std::size_t i = 0; i < end; ++i) loops += is_unit(units, dims[i]) ? 0 : 1;
  return loops;
}

std::uint64_t binomial(int n, int k) noexcept {
  if (k < 0 || k > n) return 0;
  return kFactorial[static_cast<std::size_t>(n)] / kFactorial[static_cast<std::size_t>(k)] /
         kFactorial[static_cast<std::size_t>(n - k)];
}

// Least and most loops (dims with a factor above 1) that a given split can put on X.
std::pair<int, int> loops_on_x(const OrderRule& rule, std::uint32_t units) noexcept {
  const auto inner = rule.inner.size();
  const auto infix = rule.infix.size();
  const auto split = static_cast<std::size_t>(rule.split);
  if (split <= inner) {
    const int loops = count_loops(units, rule.inner, split);
    return {loops, loops};
  }
  const int inner_loops = count_loops(units, rule.inner, inner);
  const int infix_loops = count_loops(units, rule.infix, infix);
  if (split >= inner + infix) {
    const int loops = inner_loops + infix_loops + count_loops(units, rule.outer, split - inner - infix);
    return {loops, loops};
  }
  const int from_infix = static_cast<int>(split - inner);
  const int infix_units = static_cast<int>(infix) - infix_loops;
  return {inner_loops + std::max(0, from_infix - infix_units), inner_loops + std::min(infix_loops, from_infix)};
}

void set_splits(const OrderRule& rule, std::uint32_t units, Enumeration enumeration, BlockOrders& out) noexcept {
  const int num_units = std::popcount(units);
  int first = rule.split;
  int last = rule.split;
  if (!rule.spatial) {
    first = last = 0;
  } else if (enumeration == Enumeration::distinct && rule.split >= 0) {
    std::tie(first, last) = loops_on_x(rule, units);
    first += num_units;
    last += num_units;
  } else if (enumeration == Enumeration::distinct && rule.canonical) {
    first = last = rule.fanout_x > 1 ? rule.num_dims : num_units;
  } else if (rule.split < 0) {
    first = num_units;
    last = rule.num_dims;
  }
  out.split_first = static_cast<std::uint8_t>(first);
  out.split_last = static_cast<std::uint8_t>(last);
}

}  // namespace

OrderRule::OrderRule(const Block& block, bool is_innermost, int dims)
    : num_dims(dims),
      spatial(block.spatial),
      canonical(block.spatial ? !block.has_permutation && !block.is_2d() : is_innermost),
      split(block.split.value_or(-1)),
      fanout_x(block.fanout_x),
      fanout_y(block.fanout_y) {
  std::uint32_t fixed = 0;
  if (!canonical) {
    for (const int d : block.inner) inner.push_back(static_cast<std::uint8_t>(d));
    for (const int d : block.outer) outer.push_back(static_cast<std::uint8_t>(d));
  }
  for (const std::uint8_t d : inner) fixed |= 1U << d;
  for (const std::uint8_t d : outer) fixed |= 1U << d;
  for (int d = 0; d < dims; ++d) {
    if ((fixed >> d & 1U) == 0) (canonical ? inner : infix).push_back(static_cast<std::uint8_t>(d));
  }
}

BlockOrders make_orders(const OrderRule& rule, std::uint32_t units, Enumeration enumeration) noexcept {
  if (enumeration == Enumeration::unpruned) units = 0;
  // Moving loops of bound 1 would shift a given split, and the reference forgets to move them in the canonical order.
  const bool keeps_units = enumeration == Enumeration::reference && (rule.canonical || rule.split >= 0);
  const std::uint32_t moved = keeps_units ? 0 : units;
  BlockOrders out;
  out.num_dims = static_cast<std::uint8_t>(rule.num_dims);
  int n = 0;
  const auto append = [&](const std::vector<std::uint8_t>& dims) {
    for (const std::uint8_t d : dims) {
      if (!is_unit(moved, d)) out.dims[static_cast<std::size_t>(n++)] = d;
    }
  };
  for (std::uint8_t d = 0; d < out.num_dims; ++d) {
    if (is_unit(moved, d)) out.dims[static_cast<std::size_t>(n++)] = d;
  }
  append(rule.inner);
  out.infix_begin = static_cast<std::uint8_t>(n);
  append(rule.infix);
  out.infix_end = static_cast<std::uint8_t>(n);
  append(rule.outer);
  set_splits(rule, units, enumeration, out);
  return out;
}

void BlockOrders::write(std::uint64_t permutation, std::uint8_t* order) const noexcept {
  std::copy(dims.begin(), dims.begin() + num_dims, order);
  for (int i = 0; i + 1 < infix_size(); ++i) {
    const std::uint64_t rest = kFactorial[static_cast<std::size_t>(infix_size() - 1 - i)];
    std::uint8_t* place = order + infix_begin + i;
    std::uint8_t* chosen = place + permutation / rest;
    permutation %= rest;
    std::rotate(place, chosen, chosen + 1);
  }
}

bool fits_fanout(const OrderRule& rule, const std::uint8_t* order, int split, const std::uint32_t* factors) noexcept {
  Count x = 1;
  Count y = 1;
  for (int i = 0; i < rule.num_dims; ++i) {
    Count& axis = i < split ? x : y;
    axis = saturating_mul(axis, static_cast<Count>(factors[order[i]]));
  }
  return x <= rule.fanout_x && y <= rule.fanout_y;
}

std::uint64_t count_within_fanout(const OrderRule& rule, const BlockOrders& orders,
                                  const std::uint32_t* factors) noexcept {
  Count total = 1;
  for (int i = 0; i < rule.num_dims; ++i) total = saturating_mul(total, static_cast<Count>(factors[i]));
  if (total > saturating_mul(rule.fanout_x, rule.fanout_y)) return 0;
  const auto fits = [&](Count x) { return x <= rule.fanout_x && total / x <= rule.fanout_y; };
  std::uint64_t count = 0;
  Count x = 1;  // product of the dims below split s
  for (int s = 0; s <= orders.split_last && s <= orders.num_dims; ++s) {
    if (s > 0) x *= static_cast<Count>(factors[orders.dims[static_cast<std::size_t>(s - 1)]]);
    const bool inside_infix = s > orders.infix_begin && s < orders.infix_end;
    if (s >= orders.split_first && !inside_infix && fits(x)) count += orders.permutations();
  }
  const int from = std::max<int>(orders.split_first, orders.infix_begin + 1);
  const int to = std::min<int>(orders.split_last, orders.infix_end - 1);
  if (from > to) return count;
  // A split inside of the permuted dims: which of them lie on X decides, so count sets and the orders of each.
  Count below = 1;
  for (int i = 0; i < orders.infix_begin; ++i)
    below *= static_cast<Count>(factors[orders.dims[static_cast<std::size_t>(i)]]);
  std::array<std::uint32_t, kMaxDims> loops{};
  int num_loops = 0;
  for (int i = orders.infix_begin; i < orders.infix_end; ++i) {
    const std::uint32_t factor = factors[orders.dims[static_cast<std::size_t>(i)]];
    if (factor > 1) loops[static_cast<std::size_t>(num_loops++)] = factor;
  }
  const int units = orders.infix_size() - num_loops;
  for (std::uint32_t set = 0; set < 1U << num_loops; ++set) {
    Count set_x = below;
    for (int i = 0; i < num_loops; ++i)
      set_x *= (set >> i & 1U) != 0 ? static_cast<Count>(loops[static_cast<std::size_t>(i)]) : 1;
    if (!fits(set_x)) continue;
    for (int s = from; s <= to; ++s) {
      const int on_x = s - orders.infix_begin;
      count += binomial(units, on_x - std::popcount(set)) * kFactorial[static_cast<std::size_t>(on_x)] *
               kFactorial[static_cast<std::size_t>(orders.infix_size() - on_x)];
    }
  }
  return count;
}

OrderAndSplit find_first_within_fanout(const OrderRule& rule, const BlockOrders& orders,
                                       const std::uint32_t* factors) noexcept {
  std::array<std::uint8_t, kMaxDims> order;
  for (std::uint64_t p = 0; p < orders.permutations(); ++p) {
    orders.write(p, order.data());
    for (int s = orders.split_first; s <= orders.split_last; ++s) {
      if (fits_fanout(rule, order.data(), s, factors)) return {p, static_cast<std::uint64_t>(s - orders.split_first)};
    }
  }
  return {};
}

}  // namespace quantloom::detail

#include "mapspace_factors.hpp"

#include <algorithm>

namespace quantloom::detail {

FactorSpace::FactorSpace(Count bound, const std::vector<FactorLimit>& limits) : free_bound_(bound) {
  for (std::size_t b = 0; b < limits.size(); ++b) {
    fixed_.push_back(static_cast<std::uint32_t>(limits[b].fixed.value_or(0)));
    if (limits[b].fixed) {
      free_bound_ /= *limits[b].fixed;
    } else {
      free_.push_back(b);
      limits_.push_back(limits[b]);
    }
  }
  for (Count d = 1; d * d <= bound; ++d) {
    if (bound % d != 0) continue;
    tried_.push_back(d);
    if (d * d != bound) tried_.push_back(bound / d);
  }
  sorted_ = tried_;
  std::sort(sorted_.begin(), sorted_.end());
  ways_.assign(free_.size() + 1, std::vector<std::uint64_t>(sorted_.size(), 0));
  ways_[0][0] = 1;
  for (std::size_t k = 0; k < free_.size(); ++k) {
    for (std::size_t p = 0; p < sorted_.size(); ++p) {
      for (const Count factor : sorted_) {
        if (sorted_[p] % factor == 0 && limits_[k].allows(factor)) ways_[k + 1][p] += ways(k, sorted_[p] / factor);
      }
    }
  }
  size_ = ways(free_.size(), free_bound_);
}

std::size_t FactorSpace::position(Count divisor) const noexcept {
  return static_cast<std::size_t>(std::lower_bound(sorted_.begin(), sorted_.end(), divisor) - sorted_.begin());
}

std::uint64_t FactorSpace::ways(std::size_t blocks, Count product) const noexcept {
  return ways_[blocks][position(product)];
}

void FactorSpace::write(std::uint64_t index, std::span<std::uint32_t> factors) const noexcept {
  std::copy(fixed_.begin(), fixed_.end(), factors.begin());
  Count left = free_bound_;
  for (std::size_t k = free_.size(); k-- > 0;) {
    for (const Count factor : tried_) {
      if (left % factor != 0 || !limits_[k].allows(factor)) continue;
      const std::uint64_t below = ways(k, left / factor);
      if (index >= below) {
        index -= below;
        continue;
      }
      factors[free_[k]] = static_cast<std::uint32_t>(factor);
      left /= factor;
      break;
    }
  }
}

void FactorSpace::list_from(std::size_t blocks, Count product, std::vector<std::uint32_t>& row,
                            std::vector<std::uint32_t>& out) const {
  if (ways(blocks, product) == 0) return;
  if (blocks == 0) {
    out.insert(out.end(), row.begin(), row.end());
    return;
  }
  const std::size_t k = blocks - 1;
  for (const Count factor : tried_) {
    if (product % factor != 0 || !limits_[k].allows(factor)) continue;
    row[free_[k]] = static_cast<std::uint32_t>(factor);
    list_from(k, product / factor, row, out);
  }
}

std::vector<std::uint32_t> FactorSpace::list() const {
  std::vector<std::uint32_t> out;
  out.reserve(size_ * fixed_.size());
  std::vector<std::uint32_t> row = fixed_;
  list_from(free_.size(), free_bound_, row, out);
  return out;
}

}  // namespace quantloom::detail

#include "lattice_groups.hpp"

#include <algorithm>

namespace quantloom::lattice {

Count LaneGroups::least(int rank, const Lanes& lanes, std::size_t from, std::size_t to) {
  std::vector<Part> parts;
  std::vector<Count> key;
  Extents among{};
  among.fill(1);
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    if (problem_.window.rank(d) != rank) continue;
    Count rest = problem_.dims[d].bound;
    for (std::size_t l = 0; l < static_cast<std::size_t>(problem_.num_levels()); ++l) rest /= lanes[l][d];
    Count inner = 1;
    bool is_first = true;
    for (std::size_t l = 0; l < to; ++l) {
      const Count here = lanes[l][d];
      if (l >= from && here > 1) {
        parts.push_back({d, inner, here, rest, is_first});
        key.insert(key.end(), {static_cast<Count>(d), inner, here, rest});
        among[d] *= here;
        is_first = false;
      }
      inner *= here;
    }
  }
  if (parts.size() < 2) return parts.empty() ? 1 : parts.front().lanes;
  const auto known = known_.find(key);
  if (known != known_.end()) return known->second;
  least_ = kSaturated;
  choices_ = 0;
  steps_.clear();
  choose(parts, 0, 1);
  const Count out = choices_ > kMostChoices ? problem_.window.least_groups(rank, among) : least_;
  known_.emplace(std::move(key), out);
  return out;
}

// loops: temporal loops inside of the part before.
void LaneGroups::choose(const std::vector<Part>& parts, std::size_t number, Count loops) {
  if (choices_ > kMostChoices) return;
  if (number == parts.size()) {
    ++choices_;
    std::vector<SumStep> steps = steps_;
    least_ = std::min(least_, distinct_sums(steps, scratch_));
    return;
  }
  const Part& part = parts[number];
  const Count least = part.is_first ? 1 : loops;
  for (const Count inside : problem_.dims[part.dim].divisors) {
    if (part.rest % inside != 0 || inside % least != 0) continue;
    steps_.push_back({problem_.window.coefficient(part.dim) * part.inner * inside, part.lanes});
    choose(parts, number + 1, inside);
    steps_.pop_back();
  }
}

std::array<std::uint32_t, kMaxLevels> find_slanted_dims(const Problem& problem, const Lanes& lanes) {
  const auto levels = static_cast<std::size_t>(problem.num_levels());
  std::array<std::uint32_t, kMaxLevels> out{};
  for (int r = 0; r < problem.window.num_ranks(); ++r) {
    std::uint32_t mine = 0;
    std::uint32_t with_lanes = 0;
    std::size_t outermost = 0;  // level with such lanes
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      if (problem.window.rank(d) != r) continue;
      mine |= 1U << d;
      for (std::size_t l = 0; l < levels; ++l) {
        if (lanes[l][d] == 1) continue;
        with_lanes |= 1U << d;
        outermost = std::max(outermost, l);
      }
    }
    if ((with_lanes & (with_lanes - 1)) == 0) continue;
    for (std::size_t l = 0; l < outermost; ++l) out[l] |= mine;
  }
  return out;
}

}  // namespace quantloom::lattice

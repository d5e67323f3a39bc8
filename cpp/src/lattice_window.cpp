// Sections named in comments are those of docs/model.md.
#include "lattice_window.hpp"

#include <algorithm>
#include <limits>

#include "default_counts.hpp"
#include "lattice_problem.hpp"

namespace quantloom::lattice {

Window::Window(const Workload& workload, const std::vector<LatticeDim>& dims) : num_dims_(dims.size()) {
  rank_.fill(-1);
  bound_.fill(1);
  for (int t = 0; t < workload.num_tensors() && tensor_ < 0; ++t) {
    const TensorSpec& tensor = workload.tensors()[static_cast<std::size_t>(t)];
    if (!tensor.is_output && !has_plain_ranks(workload, tensor)) tensor_ = t;
  }
  if (tensor_ < 0) return;
  if (num_dims_ > kMaxLatticeDims) {
    is_simple_ = false;
    return;
  }
  std::array<int, kMaxRanks> number{};  // of the ranks with windows
  number.fill(-1);
  const auto& ranks = workload.tensors()[static_cast<std::size_t>(tensor_)].ranks;
  for (std::size_t d = 0; d < num_dims_; ++d) {
    bound_[d] = dims[d].bound;
    const int member = dims[d].members.front();
    const auto moves = workload.moves(tensor_, member);
    if (moves.empty()) continue;
    if (moves.size() > 1) is_simple_ = false;
    const auto r = static_cast<std::size_t>(moves.front().rank);
    const bool shared = std::any_of(ranks[r].begin(), ranks[r].end(), [&](const Term& term) { return term.dim != member && workload.bound(term.dim) > 1; });
    if (!shared && moves.front().coefficient == 1) {
      alone_ |= 1U << d;
      continue;
    }
    if (number[r] < 0) number[r] = num_ranks_++;
    rank_[d] = number[r];
    coefficient_[d] = moves.front().coefficient;
  }
  if (num_ranks_ > kMaxWindowRanks) is_simple_ = false;
}

double Window::spread() const noexcept {
  double product = 1;
  for (int r = 0; r < num_ranks_; ++r) {
    Count largest = 1;
    for (std::size_t d = 0; d < num_dims_; ++d) {
      if (rank_[d] == r) largest = std::max(largest, coefficient_[d]);
    }
    product *= static_cast<double>(largest);
  }
  return product;
}

Count Window::tile(const Extents& extents) const noexcept { return begin(extents).tile; }

Window::Sweep Window::begin(const Extents& extents) const noexcept {
  Sweep out;
  out.alone = 1;
  for (std::size_t r = 0; r < static_cast<std::size_t>(num_ranks_); ++r) out.extent[r] = 1;
  for (std::size_t d = 0; d < num_dims_; ++d) {
    if (is_alone(d)) out.alone *= extents[d];
    if (rank_[d] >= 0) out.extent[static_cast<std::size_t>(rank_[d])] += (extents[d] - 1) * coefficient_[d];
  }
  out.tile = out.alone;
  for (std::size_t r = 0; r < static_cast<std::size_t>(num_ranks_); ++r) out.tile *= out.extent[r];
  return out;
}

// Section 5.5.
void Window::add_loop(Sweep& sweep, std::size_t dim, Count bound, Count extent) const noexcept {
  Count overlap = sweep.alone;
  for (std::size_t r = 0; r < static_cast<std::size_t>(num_ranks_); ++r) {
    const bool moves = rank_[dim] == static_cast<int>(r);
    const Count step = moves ? coefficient_[dim] * extent : 0;
    const Count move = step - sweep.wrapped[r];
    overlap *= std::max<Count>(0, sweep.extent[r] - (move < 0 ? -move : move));
    sweep.wrapped[r] += (bound - 1) * step;
  }
  sweep.fresh = bound * sweep.fresh + (bound - 1) * (sweep.tile - overlap);
}

// Two sets of a and b numbers have a + b - 1 different sums at least; if one of them is the run 0 .. b - 1, each number of the
// other begins or goes on with at least min(b, its step) new ones.
Count Window::least_distinct(const Extents& values) const noexcept {
  Count product = 1;
  for (std::size_t d = 0; d < num_dims_; ++d) {
    if (is_alone(d)) product *= values[d];
  }
  for (std::size_t r = 0; r < static_cast<std::size_t>(num_ranks_); ++r) {
    Count sums = 1;
    std::size_t dims = 0;
    for (std::size_t d = 0; d < num_dims_; ++d) {
      if (rank_[d] != static_cast<int>(r)) continue;
      sums += values[d] - 1;
      ++dims;
    }
    for (std::size_t run = 0; run < num_dims_ && dims == 2; ++run) {
      if (rank_[run] != static_cast<int>(r) || coefficient_[run] != 1 || values[run] != bound_[run]) continue;
      for (std::size_t d = 0; d < num_dims_; ++d) {
        if (d == run || rank_[d] != static_cast<int>(r)) continue;
        sums = std::max(sums, (values[d] - 1) * std::min(coefficient_[d], bound_[run]) + bound_[run]);
      }
    }
    product *= sums;
  }
  return product;
}

Count Window::least_groups(int rank, const Extents& lanes) const noexcept {
  Count sums = 1;
  for (std::size_t d = 0; d < num_dims_; ++d) {
    if (rank_[d] == rank) sums += lanes[d] - 1;
  }
  return sums;
}

// What a loop adds depends on the set of loops inside of it, so this is a shortest path over sets. Loops over dims that are
// alone do least as the outermost ones, irrelevant ones never make it less: docs/adr/0005.
Count Window::least_moves(const Extents& extents, const Extents& bounds) const {
  std::array<std::size_t, kMaxLatticeDims> loops{};
  std::size_t count = 0;
  Count outer = 1;
  for (std::size_t d = 0; d < num_dims_; ++d) {
    if (is_alone(d)) outer *= bounds[d];
    if (rank_[d] >= 0 && bounds[d] > 1) loops[count++] = d;
  }
  std::array<Sweep, std::size_t{1} << kMaxLatticeDims> best;
  best[0] = begin(extents);
  for (std::size_t set = 1; set < std::size_t{1} << count; ++set) {
    best[set].fresh = std::numeric_limits<Count>::max();
    for (std::size_t i = 0; i < count; ++i) {
      if ((set >> i & 1U) == 0) continue;
      Sweep next = best[set ^ std::size_t{1} << i];
      add_loop(next, loops[i], bounds[loops[i]], extents[loops[i]]);
      if (next.fresh < best[set].fresh) best[set] = next;
    }
  }
  const Sweep& whole = best[(std::size_t{1} << count) - 1];
  return (whole.tile + whole.fresh) * outer;
}

}  // namespace quantloom::lattice

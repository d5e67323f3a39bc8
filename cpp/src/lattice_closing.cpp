// The bound of the lattice search on where the open runs of a label end.
#include <algorithm>
#include <limits>

#include "lattice_search.hpp"

namespace quantloom::lattice {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Search::Ahead Search::look_ahead(int level, const Label& label, int tensor, Prices::Way way) const {
  Ahead out;
  const auto t = static_cast<std::size_t>(tensor);
  const int levels = problem_.num_levels();
  double tile = 1;
  double all = 1;
  double outside = 1;
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    const auto extent = static_cast<double>(problem_.dims[d].divisors[label.shape[d]]);
    all *= extent;
    outside *= static_cast<double>(problem_.dims[d].bound) / (extent * static_cast<double>(lanes_outside(level, d)));
    if ((problem_.dims[d].relevant >> t & 1U) != 0) tile *= extent;
  }
  out.lines = prices_.lines(way, level, tensor, label.accumulator);
  out.needs = static_cast<double>(label.needs[t]);
  std::fill(out.spared.begin() + level + 1, out.spared.begin() + levels, kInfinity);
  out.from[static_cast<std::size_t>(levels)] = kInfinity;
  const bool is_open = (label.is_open >> t & 1U) != 0;
  auto line = out.lines.begin();  // ascending in level
  double early = kInfinity;
  for (int m = level + 1; m < levels; ++m) {
    const auto at = static_cast<std::size_t>(m);
    out.early[at] = early;
    tile *= static_cast<double>(prices_.relevant_lanes(tensor, m));
    all *= static_cast<double>(lanes_at_[at]);
    out.irrelevant[at] = all / tile;
    const double room = prices_.most_elements(tensor, m);
    out.room[at] = 0;
    out.from[at] = kInfinity;
    if (line == out.lines.end() || line->level > m) continue;
    const auto here = line++;
    if (tile > room) continue;
    out.room[at] = room;
    out.from[at] = here->slope * out.needs + here->offset;
    early = std::min(early, out.from[at]);
    if (!is_open && m + 1 < levels) copy_ahead(label, tensor, way, *here, tile * outside, out);
  }
  for (int m = levels - 1; m > level; --m) out.from[static_cast<std::size_t>(m)] = std::min(out.from[static_cast<std::size_t>(m)], out.from[static_cast<std::size_t>(m) + 1]);
  if (!is_open) return out;
  Count moves = label.needs[t];
  for (int l = label.child[t] + 1; l <= level; ++l) moves /= prices_.relevant_lanes(tensor, l);
  out.moves = static_cast<double>(moves);
  out.fill_pj = prices_.least_filled_pj(tensor, label.child[t], label.accumulator, out.moves);
  out.fresh_pj = prices_.fresh_pj(way, label.child[t], tensor, label.accumulator);
  return out;
}

// The way through a copy at line.level that takes in `moves` elements: all that loops further in do not save.
void Search::copy_ahead(const Label& label, int tensor, Prices::Way way, const Prices::Line& line, double moves, Ahead& out) const {
  const int accumulator = label.accumulator == kUnits ? line.level : label.accumulator;
  const double taken_pj = line.slope * out.needs + line.offset - prices_.fresh_pj(way, line.level, tensor, accumulator);
  const double filled_pj = taken_pj + prices_.least_filled_pj(tensor, line.level, accumulator, moves);
  const auto next = prices_.lines(way, line.level, tensor, accumulator);
  double least = kInfinity;
  int level = problem_.num_levels() - 1;
  for (auto further = next.rbegin(); further != next.rend(); ++further) {
    for (; level > further->level; --level) out.spared[static_cast<std::size_t>(level)] = std::min(out.spared[static_cast<std::size_t>(level)], least);
    least = std::min(least, filled_pj + further->slope * moves + further->offset);
  }
  for (; level > line.level; --level) out.spared[static_cast<std::size_t>(level)] = std::min(out.spared[static_cast<std::size_t>(level)], least);
}

double Search::run_pj(const Label& label, int tensor, const Ahead& ahead, int m, double run) const {
  const int child = label.child[static_cast<std::size_t>(tensor)];
  const double share = std::max(1 / run, static_cast<double>(prices_.distinct(tensor, child)) / ahead.moves);
  if (share >= 1) return kInfinity;  // no run
  double least = ahead.spared[static_cast<std::size_t>(m)];
  for (const Prices::Line& line : ahead.lines) {
    if (line.level >= m && ahead.room[static_cast<std::size_t>(line.level)] > 0) least = std::min(least, line.slope * ahead.needs * share + line.offset);
  }
  // Filling takes a line in the elements that move, of slope fill(moves + 1) - fill(moves), so no less than its share.
  return least + prices_.least_filled_pj(tensor, child, label.accumulator, ahead.moves * share);
}

// The next loops further out, at level m say, end all open runs, and they can be the run of one tensor only: all others move what
// they move now. Copies between `level` and m have no loops at their levels, so they are of use only to that one and to tensors with
// loops between their last copy and `level`. Its run is no longer than the other copies at m leave room for, since all other tensors
// have the dims that are irrelevant to it.
bool Search::can_close_within(int level, const Label& label, double limit_pj) const {
  const auto tensors = static_cast<std::size_t>(problem_.num_tensors());
  const int top = problem_.num_levels() - 1;
  std::array<Ahead, kMaxLatticeTensors> ahead;
  double fill_pj = 0;
  for (std::size_t t = 0; t < tensors; ++t) {
    ahead[t] = look_ahead(level, label, static_cast<int>(t), Prices::any);
    fill_pj += ahead[t].fill_pj;
  }
  for (int m = level + 1; m <= top; ++m) {
    const auto at = static_cast<std::size_t>(m);
    double none = fill_pj;
    for (std::size_t t = 0; t < tensors; ++t) none += ahead[t].plain(at);
    if (none <= limit_pj) return true;
    for (std::size_t u = 0; u < tensors; ++u) {
      const Ahead& one = ahead[u];
      const bool is_open = (label.is_open >> u & 1U) != 0;
      double plain = fill_pj - one.fill_pj;
      double beyond = plain;  // without copies at m
      double room = m == top ? kInfinity : 0;
      for (std::size_t t = 0; t < tensors; ++t) {
        if (t == u) continue;
        plain += ahead[t].plain(at);
        beyond += ahead[t].beyond(at);
        room = std::max(room, ahead[t].room[at]);
      }
      const double once_pj = is_open ? one.fresh_pj : one.early[at];
      if (m < top && beyond + once_pj <= limit_pj) return true;
      const double run = room / one.irrelevant[at];
      if (run <= 1 || plain + once_pj > limit_pj) continue;
      if (!is_open || run == kInfinity || plain + run_pj(label, static_cast<int>(u), one, m, run) <= limit_pj) return true;
    }
  }
  return false;
}

double Search::closed_pj(const Step& step, const Label& from, const Shape& shape, const std::array<Ahead, kMaxLatticeTensors>& ahead) const {
  const auto tensors = static_cast<std::size_t>(problem_.num_tensors());
  const auto at = static_cast<std::size_t>(step.level);
  if (shape == step.base) return 0;  // no loops: nothing ends
  double all = 0;
  for (std::size_t t = 0; t < tensors; ++t) all += ahead[t].fill_pj + ahead[t].plain(at);
  double least = all;
  for (std::size_t u = 0; u < tensors; ++u) {
    if ((from.is_open >> u & 1U) == 0) continue;
    double run = 1;
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
      const LatticeDim& dim = problem_.dims[d];
      if ((dim.relevant >> u & 1U) == 0) run *= static_cast<double>(dim.divisors[shape[d]] / dim.divisors[step.base[d]]);
    }
    if (run > 1) least = std::min(least, all - ahead[u].fill_pj - ahead[u].plain(at) + run_pj(from, static_cast<int>(u), ahead[u], step.level, run));
  }
  return least;
}

}  // namespace quantloom::lattice

// Which rows of the tables a chain within the limit can go through; docs/adr/0008 has the argument.
#include <algorithm>

#include "lattice_onward.hpp"
#include "quantities.hpp"

namespace quantloom::lattice {
namespace {

void add_to(std::vector<double>& sums, const std::vector<double>& more) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
}

// In strips, which processors take several of at a time.
template <class At>
double least_of(std::size_t count, const At& at) {
  constexpr std::size_t kStrips = 8;
  std::array<double, kStrips> least{};
  least.fill(kInfinity);
  std::size_t i = 0;
  for (; i + kStrips <= count; i += kStrips) {
    for (std::size_t strip = 0; strip < kStrips; ++strip) least[strip] = std::min(least[strip], at(i + strip));
  }
  for (; i < count; ++i) least[0] = std::min(least[0], at(i));
  return *std::min_element(least.begin(), least.end());
}

}  // namespace

// Each tensor alone. A copy inside of a shape has no larger tile, and its run ends inside of it. The last shape contains all others.
void Onward::bound_within() {
  if (window_ >= 0) swept_within_ = swept_once_;
  for (Row& swept : swept_within_) {
    for (std::size_t m = merges_.size(); m-- > 0;) {
      const Merge& merge = merges_[m];
      for (std::size_t at = merge.at; at < shapes_; at += merge.step) {
        for (std::size_t i = at; i < at + merge.length; ++i) swept[i + merge.distance] = std::min(swept[i + merge.distance], swept[i]);
      }
    }
  }
  least_links_.assign(tensors_, {});
  within_.resize(tensors_);
  inside_.resize(tensors_);
  least_inside_.resize(tensors_);
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t count = copies_[t].size();
    least_links_[t].assign(count * count, kInfinity);
    within_[t].resize(count);
    inside_[t].resize(count);
    for (std::size_t q = 0; q < count; ++q) within_[t][q].assign(shapes_, first_[t][q]);
    for (std::size_t c = 0; c < count; ++c) {
      const Row& moved = least_moves(t, c);
      for (std::size_t q = c + 1; q < count; ++q) {
        const Link& link = links_[t][c * count + q];
        least_links_[t][c * count + q] = link.fixed + link.slope * moved.back();
        for (std::size_t s = 0; s < shapes_; ++s)
          within_[t][q][s] = std::min(within_[t][q][s], within_[t][c][s] + link.fixed + link.slope * moved[s]);
      }
    }
  }
}

// What a copy moves at least if its run ends inside of a shape.
const Onward::Row& Onward::least_moves(std::size_t tensor, std::size_t copy) const {
  return static_cast<int>(tensor) == window_ ? swept_within_[copy] : irrelevant_[tensor];
}

// Inside of a level runs have ended of copies that lie two levels further in, or more. The search asks for the tensor with a window as
// if its latest copy were settled, wherever it lies.
void Onward::bound_inside(std::size_t level) {
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t count = copies_[t].size();
    least_inside_[t].assign(count, kInfinity);
    for (std::size_t q = 0; q < count; ++q) {
      const std::size_t ended = std::min(q, below(t, static_cast<int>(t) == window_ ? level : level - 1));
      Row& inside = inside_[t][q];
      inside.assign(shapes_, first_[t][q]);
      for (std::size_t c = 0; c < ended; ++c) {
        const Link& link = links_[t][c * count + q];
        const Row& moved = least_moves(t, c);
        for (std::size_t s = 0; s < shapes_; ++s) inside[s] = std::min(inside[s], within_[t][c][s] + link.fixed + link.slope * moved[s]);
      }
      for (const double pj : inside) least_inside_[t][q] = std::min(least_inside_[t][q], pj);
    }
  }
}

// Which rows of a level can be part of a chain within the limit: those that lead to a live row of the next level. In work_ runs
// may have ended at this level's loops, as inside of the next level.
void Onward::find_live(std::size_t level) {
  Row outside = least_[level + 1];  // each open copy stays so or is taken by one further out, as cheaply as any tile lets it
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t count = copies_[t].size();
    for (std::size_t state = 0; state < states_; ++state) {
      const std::size_t c = copy_in(state, t);
      if (c >= below(t, level)) continue;
      for (std::size_t q = below(t, level); q < count; ++q)
        outside[state] = std::min(outside[state], least_links_[t][c * count + q] + outside[state + (q - c) * stride_[t]]);
    }
  }
  std::vector<char> is_reached(states_, 0);
  is_set_.assign(states_, 0);
  for (std::size_t next = 0; next < states_; ++next) {
    if (is_live_[level + 1][next] == 0) continue;
    is_reached[next] = 1;
    if (window_ >= 0) {  // see take_without_loops()
      const auto w = static_cast<std::size_t>(window_);
      const std::size_t q = copy_in(next, w);
      for (std::size_t c = 0; c < q && copies_[w][q] == level; ++c) is_reached[next - (q - c) * stride_[w]] = 1;
    }
    std::size_t open = 0;
    for (std::size_t t = 0; t < tensors_; ++t) open += copy_in(next, t) < below(t, level) ? 1 : 0;
    if (open > (window_ < 0 ? 0U : 1U)) continue;  // loops end all runs but one
    double* row = work_.data() + next * shapes_;
    std::copy_n(tables_[level + 1].data() + next * shapes_, shapes_, row);
    spread(row, ~0U);
    if (open == 0) is_set_[next] = 1;
    reach_from(level, next, is_reached);
  }
  const auto find = [&](std::vector<char>& can) {
    for (std::size_t state = 0; state < states_; ++state) {
      double sum = outside[state];
      for (std::size_t t = 0; t < tensors_; ++t) sum += least_inside_[t][copy_in(state, t)];
      can[state] = is_reached[state] != 0 && is_within(sum) ? 1 : 0;
    }
  };
  can_live_.assign(states_, 0);
  find(can_live_);
  bound_inside(level);
  find(is_live_[level]);
}

// Marks the states from which loops lead to a live row of the next level: each of the copies whose runs they end is within the
// limit on its own, where its tile fits. One at most has the loops as its run, which brings its tile once at least; what is said
// of the other tensors has to hold for that one too.
void Onward::reach_from(std::size_t level, std::size_t next, std::vector<char>& is_reached) const {
  const double* rest = work_.data() + next * shapes_;
  Row whole(rest, rest + shapes_);
  std::array<Row, kMaxLatticeTensors> saved;  // [tensor][shape]: if the loops are its run
  bool has_run = false;                       // of a copy that stays open
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t q = copy_in(next, t);
    const Row& inside = inside_[t][q];
    add_to(whole, inside);
    saved[t].assign(shapes_, 0.0);
    has_run = has_run || q < below(t, level);
    for (std::size_t c = 0; c < below(t, level) && q >= below(t, level); ++c) {
      const double least_link = least_links_[t][c * copies_[t].size() + q];
      const Row& within = within_[t][c];
      for (std::size_t s = 0; s < shapes_; ++s) saved[t][s] = std::max(saved[t][s], inside[s] - (within[s] + least_link));
    }
  }
  struct Leading {
    std::size_t copy;
    bool must_run;
  };
  std::array<std::vector<Leading>, kMaxLatticeTensors> leading;  // [tensor]
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t count = copies_[t].size();
    const std::size_t q = copy_in(next, t);
    leading[t] = {{q, false}};
    if (q < below(t, level)) continue;
    Row others(shapes_, 0.0);  // what one of them saves at most
    for (std::size_t u = 0; u < tensors_ && !has_run; ++u) {
      for (std::size_t s = 0; s < shapes_ && u != t; ++s) others[s] = std::max(others[s], saved[u][s]);
    }
    const double* inside = inside_[t][q].data();
    for (std::size_t c = 0; c < below(t, level); ++c) {
      const Link link = links_[t][c * count + q];
      const double least_link = least_links_[t][c * count + q];
      const double* within = within_[t][c].data();
      const double* unfit = unfit_[t][c].data();
      const double* moved = moves(t, c).data();
      const auto open = [&](std::size_t s) { return whole[s] + (within[s] - inside[s] + unfit[s]); };
      if (is_within(least_of(shapes_, [&](std::size_t s) { return open(s) + (link.fixed + link.slope * moved[s]) - others[s]; }))) {
        leading[t].push_back({c, false});
      } else if (!has_run && is_within(least_of(shapes_, open) + least_link)) {
        leading[t].push_back({c, true});
      }
    }
  }
  std::array<std::size_t, kMaxLatticeTensors> at{};
  for (std::size_t t = 0; t < tensors_;) {
    std::size_t state = 0;
    int runs = 0;
    for (std::size_t u = 0; u < tensors_; ++u) {
      state += leading[u][at[u]].copy * stride_[u];
      runs += leading[u][at[u]].must_run ? 1 : 0;
    }
    if (runs <= 1) is_reached[state] = 1;
    for (t = 0; t < tensors_ && ++at[t] == leading[t].size(); ++t) at[t] = 0;
  }
}

// The least of each row. A row is live if any entry is within the limit together with what lies inside of it.
void Onward::measure(std::size_t level) {
  static_assert(kMaxLatticeTensors == 4);
  const Row nothing(shapes_, 0.0);
  std::array<const double*, kMaxLatticeTensors> inside{};
  inside.fill(nothing.data());
  for (std::size_t state = 0; state < states_; ++state) {
    if (is_live_[level][state] == 0) continue;
    for (std::size_t t = 0; t < tensors_; ++t) inside[t] = inside_[t][copy_in(state, t)].data();
    const double* row = tables_[level].data() + state * shapes_;
    const double sum = least_of(shapes_, [=](std::size_t s) { return row[s] + (((inside[0][s] + inside[1][s]) + inside[2][s]) + inside[3][s]); });
    is_live_[level][state] = is_within(sum) ? 1 : 0;
    if (is_live_[level][state] != 0) least_[level][state] = least_of(shapes_, [&](std::size_t s) { return row[s]; });
  }
}

}  // namespace quantloom::lattice

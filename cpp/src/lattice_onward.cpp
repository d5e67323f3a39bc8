#include "lattice_onward.hpp"

#include <algorithm>
#include <limits>

namespace quantloom::lattice {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Onward::Onward(const Problem& problem, const Prices& prices, Sweeps* sweeps, std::size_t most_entries)
    : problem_(problem),
      prices_(prices),
      sweeps_(sweeps),
      window_(problem.window.tensor()),
      most_entries_(most_entries),
      levels_(static_cast<std::size_t>(problem.num_levels())),
      tensors_(static_cast<std::size_t>(problem.num_tensors())) {
  copies_.resize(tensors_);
  for (std::size_t t = 0; t < tensors_; ++t) {
    for (std::size_t l = 0; l < levels_; ++l) {
      below_[t][l] = copies_[t].size();
      if (((problem.open[l] | problem.forced[l]) >> t & 1U) != 0) copies_[t].push_back(l);
    }
    below_[t][levels_] = copies_[t].size();
    stride_[t] = states_;
    states_ *= copies_[t].size();
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      if ((problem.dims[d].relevant >> t & 1U) == 0) irrelevant_dims_[t] |= 1U << d;
    }
    open_stride_[t] = t == 0 ? 1 : open_stride_[t - 1] * (copies_[t - 1].size() + 1);
  }
}

std::size_t Onward::entries(const Lanes& lanes, std::size_t choices) const {
  std::size_t entries = (states_ + choices * tensors_) * (levels_ + 1);
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    Count rest = problem_.dims[d].bound;
    for (std::size_t l = 0; l < levels_; ++l) rest /= lanes[l][d];
    const auto& divisors = problem_.dims[d].divisors;
    entries *= static_cast<std::size_t>(
        std::count_if(divisors.begin(), divisors.end(), [&](Count n) { return rest % n == 0; }));
    if (entries > most_entries_) break;
  }
  return entries;
}

void Onward::begin(const Lanes& lanes) {
  const std::size_t dims = problem_.dims.size();
  std::array<std::vector<Count>, kMaxLatticeDims> divisors;
  shapes_ = 1;
  for (std::size_t d = 0; d < dims; ++d) {
    Count rest = problem_.dims[d].bound;
    for (std::size_t l = 0; l < levels_; ++l) rest /= lanes[l][d];
    for (const Count n : problem_.dims[d].divisors) {
      if (rest % n == 0) divisors[d].push_back(n);
    }
    shapes_ *= divisors[d].size();
  }
  number_.assign(levels_, {});
  lanes_within_.assign(levels_, {});
  extents_.assign(shapes_, {});
  irrelevant_.assign(tensors_, Row(shapes_, 1.0));
  merges_.clear();
  std::size_t stride = shapes_;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::size_t count = divisors[d].size();
    const std::size_t outer = stride;
    stride /= count;
    Count within = 1;
    for (std::size_t l = 0; l < levels_; ++l) {
      within *= lanes[l][d];
      lanes_within_[l][d] = within;
      for (std::size_t i = 0; i < count; ++i)
        number_[l][d][problem_.dims[d].index(divisors[d][i] * within)] = static_cast<std::uint32_t>(i * stride);
    }
    for (std::size_t s = 0; s < shapes_; ++s) {
      const Count extent = divisors[d][s / stride % count];
      extents_[s][d] = extent;
      for (std::size_t t = 0; t < tensors_; ++t) {
        if ((problem_.dims[d].relevant >> t & 1U) == 0) {
          const Count outside = divisors[d].back() / extent;
          irrelevant_[t][s] *= static_cast<double>(outside);
        }
      }
    }
    for (const Count p : problem_.dims[d].primes) {
      for (std::size_t i = count; i-- > 0;) {
        if (divisors[d].back() / divisors[d][i] % p != 0) continue;  // the product would not divide it, nor always fit
        const auto multiple = std::lower_bound(divisors[d].begin(), divisors[d].end(), divisors[d][i] * p);
        if (multiple == divisors[d].end() || *multiple != divisors[d][i] * p) continue;
        const auto distance =
            static_cast<std::size_t>(multiple - divisors[d].begin() - static_cast<std::ptrdiff_t>(i)) * stride;
        for (std::size_t at = i * stride; at < shapes_; at += outer) {
          merges_.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(distance),
                             static_cast<std::uint32_t>(stride), static_cast<std::uint32_t>(d)});
        }
      }
    }
  }
  links_.resize(tensors_);
  takes_.resize(tensors_);
  first_.resize(tensors_);
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t count = copies_[t].size();
    links_[t].assign(count * count, {kInfinity, kInfinity});
    takes_[t].assign(count, {kInfinity, kInfinity});
    first_[t].assign(count, kInfinity);
  }
  if (window_ < 0) return;
  swept_.assign(copies_[static_cast<std::size_t>(window_)].size(), Row(shapes_, kInfinity));
  swept_once_ = swept_;
  has_window_lanes_ = {};
}

void Onward::admit(const Lanes& lanes) {
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    Count within = 1;
    for (std::size_t l = 0; l < levels_; ++l) {
      within *= lanes[l][d];
      lanes_within_[l][d] = std::min(lanes_within_[l][d], within);
    }
  }
  for (std::size_t t = 0; t < tensors_; ++t) admit_links(t);
  if (window_ >= 0) admit_sweeps(lanes);
}

// What the copies of the tensor with a window move, where they fit.
void Onward::admit_sweeps(const Lanes& lanes) {
  const auto w = static_cast<std::size_t>(window_);
  const std::size_t dims = problem_.dims.size();
  Extents within{};
  Extents whole{};  // of what passes through one instance
  within.fill(1);
  for (std::size_t d = 0; d < dims; ++d) whole[d] = problem_.dims[d].bound;
  for (std::size_t l = 0; l < levels_; ++l) {
    for (std::size_t d = 0; d < dims; ++d) {
      within[d] *= lanes[l][d];
      if (lanes[l][d] == 1 || problem_.window.rank(d) < 0) continue;
      for (std::size_t c = 0; c < l; ++c) {
        for (std::size_t outer = l; outer < levels_; ++outer) has_window_lanes_[c][outer] = true;
      }
    }
    const std::size_t copy = below(w, l);
    if (below(w, l + 1) == copy) continue;
    const auto& capacity = problem_.parts.arch.level(static_cast<int>(l)).capacity_words;
    double alone = 1;
    for (std::size_t d = 0; d < dims; ++d) {
      for (std::size_t outer = l + 1; outer < levels_; ++outer) whole[d] /= lanes[outer][d];
      if (problem_.window.is_alone(d)) alone *= static_cast<double>(whole[d]);
    }
    const auto least = static_cast<double>(prices_.distinct(window_, static_cast<int>(l)));
    for (std::size_t s = 0; s < shapes_; ++s) {
      Extents tile{};
      Shape shape{};
      for (std::size_t d = 0; d < dims; ++d) {
        tile[d] = extents_[s][d] * within[d];
        shape[d] = problem_.dims[d].index(tile[d]);
      }
      if (capacity && prices_.least_tile_words(window_, static_cast<int>(l), problem_.window.tile(tile)) > *capacity)
        continue;
      const auto code = sweeps_->code(shape);
      const auto lower = [&](double& to, Count irrelevant) {
        to = std::min(to, std::max(least, alone * sweeps_->least(static_cast<int>(l), code, irrelevant)));
      };
      lower(swept_[copy][s], static_cast<Count>(irrelevant_[w][s]));
      lower(swept_once_[copy][s], 1);
    }
    for (std::size_t d = 0; d < dims; ++d) whole[d] = problem_.dims[d].bound;
  }
}

// Elements that a copy with this tile moves, as links price them, if no loops irrelevant to the tensor lie innermost
// outside of it.
double Onward::moves(std::size_t tensor, std::size_t copy, std::size_t shape) const {
  return static_cast<int>(tensor) == window_ ? swept_[copy][shape] : irrelevant_[tensor][shape];
}

void Onward::admit_links(std::size_t t) {
  const int tensor = static_cast<int>(t);
  const std::size_t count = copies_[t].size();
  const auto lower = [](Link& to, const Link& link) {
    to = {std::min(to.slope, link.slope), std::min(to.fixed, link.fixed)};
  };
  int level = 0;
  auto needs = static_cast<double>(prices_.steps());
  for (std::size_t q = 0; q < count; ++q) {
    const int parent = static_cast<int>(copies_[t][q]);
    for (; level <= parent; ++level) needs *= static_cast<double>(prices_.relevant_lanes(tensor, level));
    if (tensor == window_) needs = static_cast<double>(prices_.steps()) * prices_.window_lanes(0, parent);
    const Prices::Line taken = prices_.taken_line(tensor, parent, kUnits);
    lower(takes_[t][q], {taken.slope, taken.offset});
    first_[t][q] = std::min(first_[t][q], taken.slope * needs + taken.offset);
    for (std::size_t c = 0; c < q; ++c) {
      const int child = static_cast<int>(copies_[t][c]);
      if (tensor == window_) {
        lower(links_[t][c * count + q], {prices_.filled_slope(tensor, child, kUnits) +
                                             taken.slope * prices_.window_lanes_of_copy(child + 1, parent),
                                         taken.offset});
        continue;
      }
      const double filled =
          prices_.filled_slope(tensor, child, kUnits) * static_cast<double>(prices_.distinct(tensor, child));
      lower(links_[t][c * count + q], {filled + taken.slope * static_cast<double>(prices_.distinct(tensor, parent)),
                                       taken.offset - (tensor == prices_.output() ? filled : 0)});
    }
  }
}

void Onward::tabulate() {
  tables_.resize(levels_ + 1);
  for (std::size_t l = 1; l <= levels_; ++l) tables_[l].resize(states_ * shapes_);
  work_.resize(states_ * shapes_);
  list_fitting();
  // Outside of the outermost level: everything is kept there and whole.
  std::fill(tables_[levels_].begin(), tables_[levels_].end(), kInfinity);
  tables_[levels_].back() = 0;
  drop_unfit(levels_);
  for (std::size_t l = levels_; l-- > 1;) step_inwards(l);
}

template <class Visit>
void Onward::for_each_state(const std::array<std::size_t, kMaxLatticeTensors>& first,
                            const std::array<std::size_t, kMaxLatticeTensors>& last, const Visit& visit) const {
  std::size_t state = 0;
  std::array<std::size_t, kMaxLatticeTensors> at = first;
  for (std::size_t t = 0; t < tensors_; ++t) {
    if (first[t] >= last[t]) return;
    state += first[t] * stride_[t];
  }
  for (;;) {
    visit(state);
    std::size_t t = 0;
    for (; t < tensors_; ++t) {
      state += stride_[t];
      if (++at[t] < last[t]) break;
      state -= (last[t] - first[t]) * stride_[t];
      at[t] = first[t];
    }
    if (t == tensors_) return;
  }
}

// Each entry becomes the least of all whose shapes are multiples of its own in these dims.
void Onward::spread(double* row, std::uint32_t dims) const {
  for (const Merge& merge : merges_) {
    if ((dims >> merge.dim & 1U) == 0) continue;
    double* to = row + merge.at;
    const double* from = to + merge.distance;
    for (std::uint32_t i = 0; i < merge.length; ++i) to[i] = std::min(to[i], from[i]);
  }
}

// The table of a level from that of the next one outwards.
void Onward::step_inwards(std::size_t level) {
  const Row& next = tables_[level + 1];
  Row& out = tables_[level];
  out = next;  // no loops at this level: copies stay open, or are taken by one of this level as it was said
  if (window_ >= 0) take_without_loops(level);
  std::array<std::size_t, kMaxLatticeTensors> split{};
  std::array<std::size_t, kMaxLatticeTensors> all{};
  for (std::size_t t = 0; t < tensors_; ++t) {
    split[t] = below(t, level);
    all[t] = copies_[t].size();
  }
  const auto row = [&](std::size_t state) { return work_.data() + state * shapes_; };
  for_each_state(split, all, [&](std::size_t state) {
    std::copy_n(next.data() + state * shapes_, shapes_, row(state));
    spread(row(state), ~0U);
  });
  end_runs(level, -1);
  // The loops are the run of tensor u.
  for (std::size_t u = 0; u < tensors_; ++u) {
    const std::size_t count = copies_[u].size();
    auto first = split;
    auto last = all;
    first[u] = 0;
    last[u] = 1;
    for_each_state(first, last, [&](std::size_t state) {
      for (std::size_t c = 0; c < split[u]; ++c) {
        double* to = row(state + c * stride_[u]);
        std::fill_n(to, shapes_, kInfinity);
        for (std::size_t q = split[u]; q < count; ++q) {
          const Link link = links_[u][c * count + q];
          if (static_cast<int>(u) == window_) {
            // First the run, then the other loops: what they bring depends on the tile.
            const double* from = row(state + q * stride_[u]);
            for (std::size_t s = 0; s < shapes_; ++s)
              to[s] = std::min(to[s], link.fixed + link.slope * swept_[c][s] + from[s]);
            if (copies_[u][q] != level || !has_window_lanes_[copies_[u][c]][level]) continue;
            // The run goes on, and lanes make a copy of this level of use.
            const double* at_once = next.data() + (state + q * stride_[u]) * shapes_;
            for (std::size_t s = 0; s < shapes_; ++s)
              to[s] = std::min(to[s], link.fixed + link.slope * swept_once_[c][s] + at_once[s]);
          } else {
            const double* from = next.data() + (state + q * stride_[u]) * shapes_;
            for (std::size_t s = 0; s < shapes_; ++s)
              to[s] = std::min(to[s], link.fixed + link.slope * irrelevant_[u][s] + from[s]);
          }
        }
        if (static_cast<int>(u) != window_) spread(to, ~0U);
        if (window_ < 0) continue;
        // Or all loops are its run, which goes on.
        const double* still = next.data() + (state + c * stride_[u]) * shapes_;
        for (std::size_t s = 0; s < shapes_; ++s) to[s] = std::min(to[s], still[s]);
        spread(to, irrelevant_dims_[u]);
      }
    });
    end_runs(level, static_cast<int>(u));
  }
  drop_unfit(level);
}

// A copy that lanes of the window's dims separate from the next inner one can be of use without loops in between.
void Onward::take_without_loops(std::size_t level) {
  const auto w = static_cast<std::size_t>(window_);
  const std::size_t q = below(w, level);
  if (below(w, level + 1) == q) return;
  const std::size_t count = copies_[w].size();
  std::array<std::size_t, kMaxLatticeTensors> first{};
  std::array<std::size_t, kMaxLatticeTensors> last{};
  for (std::size_t t = 0; t < tensors_; ++t) last[t] = t == w ? 1 : copies_[t].size();
  for_each_state(first, last, [&](std::size_t state) {
    const double* from = tables_[level + 1].data() + (state + q * stride_[w]) * shapes_;
    for (std::size_t c = 0; c < q; ++c) {
      if (!has_window_lanes_[copies_[w][c]][level]) continue;
      const Link link = links_[w][c * count + q];
      double* to = tables_[level].data() + (state + c * stride_[w]) * shapes_;
      for (std::size_t s = 0; s < shapes_; ++s)
        to[s] = std::min(to[s], link.fixed + link.slope * swept_once_[c][s] + from[s]);
    }
  });
}

// Loops of this level end all runs but that of `running`, which has rows for each of its copies in work_.
void Onward::end_runs(std::size_t level, int running) {
  std::array<std::size_t, kMaxLatticeTensors> first{};
  std::array<std::size_t, kMaxLatticeTensors> last{};
  for (std::size_t t = 0; t < tensors_; ++t)
    last[t] = static_cast<int>(t) == running ? below(t, level) : copies_[t].size();
  close_others(level, running);
  for_each_state(first, last, [&](std::size_t state) {
    double* to = tables_[level].data() + state * shapes_;
    const double* from = work_.data() + state * shapes_;
    for (const std::uint32_t s : fitting(state, level)) to[s] = std::min(to[s], from[s]);
  });
}

// Fills in the states of work_ in which other tensors than `running` are open before the loops: these end their runs,
// and the copies that take what they move are chosen.
void Onward::close_others(std::size_t level, int running) {
  std::array<std::size_t, kMaxLatticeTensors> first{};
  std::array<std::size_t, kMaxLatticeTensors> last{};
  for (std::size_t t = 0; t < tensors_; ++t) {
    const bool runs = static_cast<int>(t) == running;
    first[t] = runs ? 0 : below(t, level);
    last[t] = runs ? below(t, level) : copies_[t].size();
  }
  for (std::size_t t = 0; t < tensors_; ++t) {
    if (static_cast<int>(t) == running) continue;
    const std::size_t count = copies_[t].size();
    first[t] = 0;
    last[t] = 1;
    for_each_state(first, last, [&](std::size_t state) {
      for (std::size_t c = 0; c < below(t, level); ++c) {
        const auto& shapes = fitting(state + c * stride_[t], level);
        double* to = work_.data() + (state + c * stride_[t]) * shapes_;
        for (const std::uint32_t s : shapes) to[s] = kInfinity;
        for (std::size_t q = below(t, level); q < count; ++q) {
          const Link link = links_[t][c * count + q];
          const double* from = work_.data() + (state + q * stride_[t]) * shapes_;
          for (const std::uint32_t s : shapes)
            to[s] = std::min(to[s], link.fixed + link.slope * moves(t, c, s) + from[s]);
        }
      }
    });
    last[t] = count;
  }
}

const std::vector<std::uint32_t>& Onward::fitting(std::size_t state, std::size_t level) const {
  std::size_t set = 0;
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t copy = copy_in(state, t);
    if (copy < below(t, level)) set += (copy + 1) * open_stride_[t];
  }
  return fitting_[set];
}

// A copy of the outermost level is never open before loops.
void Onward::list_fitting() {
  fitting_.assign(open_stride_[tensors_ - 1] * (copies_[tensors_ - 1].size() + 1), {});
  for (std::size_t s = 0; s < shapes_; ++s) fitting_[0].push_back(static_cast<std::uint32_t>(s));
  for (std::size_t t = 0; t < tensors_; ++t) {
    for (std::size_t c = 0; c + 1 < copies_[t].size(); ++c) {
      const std::size_t level = copies_[t][c];
      const auto& capacity = problem_.parts.arch.level(static_cast<int>(level)).capacity_words;
      std::vector<char> fits(shapes_, 1);
      for (std::size_t s = 0; s < shapes_ && capacity; ++s) fits[s] = least_words(t, level, s) <= *capacity ? 1 : 0;
      for (std::size_t set = 0; set < open_stride_[t]; ++set) {
        auto& out = fitting_[set + (c + 1) * open_stride_[t]];
        for (const std::uint32_t s : fitting_[set]) {
          if (fits[s] != 0) out.push_back(s);
        }
      }
    }
  }
}

Count Onward::least_words(std::size_t tensor, std::size_t level, std::size_t shape) const {
  Count tile = 1;
  Extents extents{};
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    extents[d] = extents_[shape][d] * lanes_within_[level][d];
    if ((problem_.dims[d].relevant >> tensor & 1U) != 0) tile *= extents[d];
  }
  if (static_cast<int>(tensor) == window_) tile = problem_.window.tile(extents);
  return prices_.least_tile_words(static_cast<int>(tensor), static_cast<int>(level), tile);
}

// Copies of the next inner level that do not fit there together.
void Onward::drop_unfit(std::size_t level) {
  const auto inner = static_cast<int>(level) - 1;
  const auto& capacity = problem_.parts.arch.level(inner).capacity_words;
  if (!capacity) return;
  const std::size_t sets = std::size_t{1} << tensors_;
  std::vector<Row> excess(sets, Row(shapes_, 0.0));  // [tensors]: infinite where they do not fit
  for (std::size_t s = 0; s < shapes_; ++s) {
    std::array<Count, kMaxLatticeTensors> words{};
    for (std::size_t t = 0; t < tensors_; ++t) words[t] = least_words(t, level - 1, s);
    for (std::size_t set = 1; set < sets; ++set) {
      Count sum = 0;
      for (std::size_t t = 0; t < tensors_; ++t) {
        if ((set >> t & 1U) != 0) sum = saturating_add(sum, words[t]);
      }
      if (sum > *capacity) excess[set][s] = kInfinity;
    }
  }
  for (std::size_t state = 0; state < states_; ++state) {
    std::size_t set = 0;
    for (std::size_t t = 0; t < tensors_; ++t) {
      if (copies_[t][copy_in(state, t)] == level - 1) set |= std::size_t{1} << t;
    }
    if (set == 0) continue;
    double* to = tables_[level].data() + state * shapes_;
    for (std::size_t s = 0; s < shapes_; ++s) to[s] += excess[set][s];
  }
}

double Onward::root_pj() const {
  double least = kInfinity;
  for (std::size_t state = 0; state < states_; ++state) {
    double first = 0;
    for (std::size_t t = 0; t < tensors_; ++t) first += first_[t][copy_in(state, t)];
    const double* rest = tables_[1].data() + state * shapes_;
    least = std::min(least, first + *std::min_element(rest, rest + shapes_));
  }
  return least;
}

double Onward::least_pj(int level, int first, const Shape& shape, std::uint32_t is_open, const Children& child,
                        const Needs& needs, double limit_pj) const {
  std::size_t number = 0;
  for (std::size_t d = 0; d < problem_.dims.size(); ++d)
    number += number_[static_cast<std::size_t>(level)][d][shape[d]];
  const double* column = tables_[static_cast<std::size_t>(level) + 1].data() + number;
  std::array<std::array<double, kMaxLevels>, kMaxLatticeTensors> price{};  // [tensor][copy]
  std::array<double, kMaxLatticeTensors> rest{};                           // least of the tensors that follow
  std::size_t state = 0;
  for (std::size_t t = 0; t < tensors_; ++t) {
    if ((is_open >> t & 1U) != 0) {
      state += below(t, static_cast<std::size_t>(child[t])) * stride_[t];
      continue;
    }
    double lanes = 1;
    int from = first;
    double least = kInfinity;
    for (std::size_t q = below(t, static_cast<std::size_t>(first)); q < copies_[t].size(); ++q) {
      for (; from <= static_cast<int>(copies_[t][q]); ++from)
        lanes *= static_cast<double>(prices_.relevant_lanes(static_cast<int>(t), from));
      if (static_cast<int>(t) == window_) lanes = prices_.window_lanes(first, static_cast<int>(copies_[t][q]));
      price[t][q] = takes_[t][q].fixed + takes_[t][q].slope * lanes * static_cast<double>(needs[t]);
      least = std::min(least, price[t][q]);
    }
    for (std::size_t before = 0; before < t; ++before) rest[before] += least;
  }
  double least = kInfinity;
  const auto choose = [&](auto&& self, std::size_t t, std::size_t at, double sum) -> void {
    while (t < tensors_ && (is_open >> t & 1U) != 0) ++t;
    if (t == tensors_) {
      least = std::min(least, sum + column[at * shapes_]);
      return;
    }
    for (std::size_t q = below(t, static_cast<std::size_t>(first)); q < copies_[t].size(); ++q) {
      const double here = sum + price[t][q];
      if (here + rest[t] < least && here + rest[t] <= limit_pj) self(self, t + 1, at + q * stride_[t], here);
    }
  };
  choose(choose, 0, state, 0);
  return least;
}

}  // namespace quantloom::lattice

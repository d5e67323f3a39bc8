#include "lattice_onward.hpp"

#include <algorithm>
#include <bit>

#include "quantities.hpp"

namespace quantloom::lattice {

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
        merges_.push_back({static_cast<std::uint32_t>(i * stride), static_cast<std::uint32_t>(outer), static_cast<std::uint32_t>(distance),
                           static_cast<std::uint32_t>(stride), static_cast<std::uint32_t>(d)});
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
const Onward::Row& Onward::moves(std::size_t tensor, std::size_t copy) const {
  return static_cast<int>(tensor) == window_ ? swept_[copy] : irrelevant_[tensor];
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

void Onward::tabulate(double limit_pj) {
  limit_pj_ = limit_pj;
  tables_.resize(levels_ + 1);
  for (std::size_t l = 1; l <= levels_; ++l) tables_[l].resize(states_ * shapes_);
  work_.resize(states_ * shapes_);
  is_live_.assign(levels_ + 1, std::vector<char>(states_, 0));
  least_.assign(levels_ + 1, Row(states_, kInfinity));
  find_unfit();
  bound_within();
  // Outside of the outermost level: everything is kept there and whole.
  std::fill_n(tables_[levels_].end() - static_cast<std::ptrdiff_t>(shapes_), shapes_, kInfinity);
  tables_[levels_].back() = 0;
  is_live_[levels_].back() = 1;
  drop_unfit(levels_);
  bound_inside(levels_);
  measure(levels_);
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
    if (merge.length == 1) {
      for (std::size_t at = merge.at; at < shapes_; at += merge.step) row[at] = std::min(row[at], row[at + merge.distance]);
      continue;
    }
    for (std::size_t at = merge.at; at < shapes_; at += merge.step) {
      double* to = row + at;
      const double* from = to + merge.distance;
      for (std::uint32_t i = 0; i < merge.length; ++i) to[i] = std::min(to[i], from[i]);
    }
  }
}

// The table of a level from that of the next one outwards.
void Onward::step_inwards(std::size_t level) {
  const Row& next = tables_[level + 1];
  const std::vector<char>& is_next_live = is_live_[level + 1];
  const auto is_any = [](char can) { return can != 0; };
  if (std::none_of(is_next_live.begin(), is_next_live.end(), is_any)) return;
  find_live(level);
  // No loops at this level: copies stay open, or are taken by one of this level as it was said.
  for (std::size_t state = 0; state < states_; ++state) {
    if (is_live_[level][state] == 0) continue;
    double* to = tables_[level].data() + state * shapes_;
    if (is_next_live[state] != 0) {
      std::copy_n(next.data() + state * shapes_, shapes_, to);
    } else {
      std::fill_n(to, shapes_, kInfinity);
    }
  }
  if (window_ >= 0) take_without_loops(level);
  std::array<std::size_t, kMaxLatticeTensors> split{};
  std::array<std::size_t, kMaxLatticeTensors> all{};
  for (std::size_t t = 0; t < tensors_; ++t) {
    split[t] = below(t, level);
    all[t] = copies_[t].size();
  }
  const auto row = [&](std::size_t state) { return work_.data() + state * shapes_; };
  end_runs(level, -1);
  // The loops are the run of tensor u.
  for (std::size_t u = 0; u < tensors_; ++u) {
    const bool has_window = static_cast<int>(u) == window_;
    const std::size_t count = copies_[u].size();
    auto first = split;
    auto last = all;
    first[u] = 0;
    last[u] = 1;
    for_each_state(first, last, [&](std::size_t state) {
      for (std::size_t c = 0; c < split[u]; ++c) {
        const std::size_t here = state + c * stride_[u];
        double* to = row(here);
        is_set_[here] = 0;
        if (can_live_[here] == 0) continue;
        const auto set = [&] {
          if (is_set_[here] == 0) std::fill_n(to, shapes_, kInfinity);
          is_set_[here] = 1;
        };
        for (std::size_t q = split[u]; q < count; ++q) {
          const std::size_t taken = state + q * stride_[u];
          const Link link = links_[u][c * count + q];
          if (has_window) {
            // First the run, then the other loops: what they bring depends on the tile.
            if (is_set_[taken] != 0) {
              set();
              const double* from = row(taken);
              for (std::size_t s = 0; s < shapes_; ++s)
                to[s] = std::min(to[s], link.fixed + link.slope * swept_[c][s] + from[s]);
            }
            if (is_next_live[taken] == 0 || copies_[u][q] != level || !has_window_lanes_[copies_[u][c]][level]) continue;
            // The run goes on, and lanes make a copy of this level of use.
            set();
            const double* at_once = next.data() + taken * shapes_;
            for (std::size_t s = 0; s < shapes_; ++s)
              to[s] = std::min(to[s], link.fixed + link.slope * swept_once_[c][s] + at_once[s]);
          } else if (is_next_live[taken] != 0) {
            set();
            const double* from = next.data() + taken * shapes_;
            for (std::size_t s = 0; s < shapes_; ++s)
              to[s] = std::min(to[s], link.fixed + link.slope * irrelevant_[u][s] + from[s]);
          }
        }
        if (!has_window && is_set_[here] != 0) spread(to, ~0U);
        if (window_ < 0) continue;
        // Or all loops are its run, which goes on.
        if (is_next_live[here] != 0) {
          set();
          const double* still = next.data() + here * shapes_;
          for (std::size_t s = 0; s < shapes_; ++s) to[s] = std::min(to[s], still[s]);
        }
        if (is_set_[here] != 0) spread(to, irrelevant_dims_[u]);
      }
    });
    end_runs(level, static_cast<int>(u));
  }
  drop_unfit(level);
  measure(level);
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
    if (is_live_[level + 1][state + q * stride_[w]] == 0) return;
    const double* from = tables_[level + 1].data() + (state + q * stride_[w]) * shapes_;
    for (std::size_t c = 0; c < q; ++c) {
      if (!has_window_lanes_[copies_[w][c]][level] || is_live_[level][state + c * stride_[w]] == 0) continue;
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
    if (is_set_[state] == 0 || is_live_[level][state] == 0) return;
    double* to = tables_[level].data() + state * shapes_;
    const double* from = work_.data() + state * shapes_;
    for (const Range& range : fitting(state, level)) {
      for (std::size_t s = range.begin; s < range.end; ++s) to[s] = std::min(to[s], from[s]);
    }
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
        const std::size_t here = state + c * stride_[t];
        is_set_[here] = 0;
        if (can_live_[here] == 0) continue;
        const auto& ranges = fitting(here, level);
        double* to = work_.data() + here * shapes_;
        for (std::size_t q = below(t, level); q < count; ++q) {
          if (is_set_[state + q * stride_[t]] == 0) continue;
          const Link link = links_[t][c * count + q];
          const double* from = work_.data() + (state + q * stride_[t]) * shapes_;
          const double* moved = moves(t, c).data();
          const bool is_first = is_set_[here] == 0;
          is_set_[here] = 1;
          for (const Range& range : ranges) {
            if (is_first) {
              for (std::size_t s = range.begin; s < range.end; ++s) to[s] = link.fixed + link.slope * moved[s] + from[s];
            } else {
              for (std::size_t s = range.begin; s < range.end; ++s) to[s] = std::min(to[s], link.fixed + link.slope * moved[s] + from[s]);
            }
          }
        }
      }
    });
    last[t] = count;
  }
}

const std::vector<Onward::Range>& Onward::fitting(std::size_t state, std::size_t level) {
  std::size_t set = 0;
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t copy = copy_in(state, t);
    if (copy < below(t, level)) set += (copy + 1) * open_stride_[t];
  }
  std::vector<Range>& out = fitting_[set];
  if (!out.empty()) return out;
  Bits unfit((shapes_ + 63) / 64, 0);
  for (std::size_t t = 0; t < tensors_; ++t) {
    const std::size_t copy = copy_in(state, t);
    for (std::size_t i = 0; i < unfit.size() && copy < below(t, level); ++i) unfit[i] |= unfit_bits_[t][copy][i];
  }
  const auto shapes = static_cast<std::uint32_t>(shapes_);
  // The first shape from s on that is unfit, or fits: 64 at a time.
  const auto find = [&](std::uint32_t s, bool is_unfit) {
    while (s < shapes) {
      const std::uint64_t rest = (is_unfit ? unfit[s / 64] : ~unfit[s / 64]) >> s % 64;
      if (rest != 0) return std::min(shapes, s + static_cast<std::uint32_t>(std::countr_zero(rest)));
      s = (s / 64 + 1) * 64;
    }
    return shapes;
  };
  for (std::uint32_t s = find(0, false); s < shapes;) {
    const std::uint32_t end = find(s, true);
    out.push_back({s, end});
    s = find(end, false);
  }
  return out;
}

void Onward::find_unfit() {
  fitting_.assign(open_stride_[tensors_ - 1] * (copies_[tensors_ - 1].size() + 1), {});
  words_.resize(tensors_);
  unfit_.resize(tensors_);
  unfit_bits_.resize(tensors_);
  for (std::size_t t = 0; t < tensors_; ++t) {
    words_[t].assign(copies_[t].size(), std::vector<Count>(shapes_, 0));
    unfit_[t].assign(copies_[t].size(), Row(shapes_, 0.0));
    unfit_bits_[t].assign(copies_[t].size(), Bits((shapes_ + 63) / 64, 0));
    for (std::size_t c = 0; c < copies_[t].size(); ++c) {
      const std::size_t level = copies_[t][c];
      const auto& capacity = problem_.parts.arch.level(static_cast<int>(level)).capacity_words;
      for (std::size_t s = 0; s < shapes_ && capacity; ++s) {
        words_[t][c][s] = std::min(least_words(t, level, s), *capacity + 1);
        if (words_[t][c][s] <= *capacity) continue;
        unfit_[t][c][s] = kInfinity;
        unfit_bits_[t][c][s / 64] |= std::uint64_t{1} << s % 64;
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
  std::vector<Row> excess(std::size_t{1} << tensors_);  // [tensors]: infinite where they do not fit
  std::vector<Count> sum(shapes_);
  for (std::size_t state = 0; state < states_; ++state) {
    if (is_live_[level][state] == 0) continue;
    std::size_t set = 0;
    for (std::size_t t = 0; t < tensors_; ++t) {
      if (copies_[t][copy_in(state, t)] == level - 1) set |= std::size_t{1} << t;
    }
    if (set == 0) continue;
    Row& here = excess[set];
    if (here.empty()) {
      std::fill(sum.begin(), sum.end(), 0);
      for (std::size_t t = 0; t < tensors_; ++t) {
        if ((set >> t & 1U) == 0) continue;
        const std::vector<Count>& words = words_[t][copy_in(state, t)];
        for (std::size_t s = 0; s < shapes_; ++s) sum[s] += words[s];
      }
      here.resize(shapes_);
      for (std::size_t s = 0; s < shapes_; ++s) here[s] = sum[s] > *capacity ? kInfinity : 0;
    }
    double* to = tables_[level].data() + state * shapes_;
    for (std::size_t s = 0; s < shapes_; ++s) to[s] += here[s];
  }
}

double Onward::root_pj() const {
  double least = kInfinity;
  for (std::size_t state = 0; state < states_; ++state) {
    double first = 0;
    for (std::size_t t = 0; t < tensors_; ++t) first += first_[t][copy_in(state, t)];
    least = std::min(least, first + least_[1][state]);
  }
  return least;
}

double Onward::least_pj(int level, int first, const Shape& shape, std::uint32_t is_open, const Children& child,
                        const Needs& needs, double limit_pj) const {
  std::size_t number = 0;
  for (std::size_t d = 0; d < problem_.dims.size(); ++d)
    number += number_[static_cast<std::size_t>(level)][d][shape[d]];
  const double* column = tables_[static_cast<std::size_t>(level) + 1].data() + number;
  const std::vector<char>& is_live = is_live_[static_cast<std::size_t>(level) + 1];
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
      if (is_live[at] != 0) least = std::min(least, sum + column[at * shapes_]);
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

// Sections named in comments are those of docs/model.md.
#include "lattice_window_search.hpp"

#include <algorithm>

#include "tensor_price.hpp"

namespace quantloom::lattice {
namespace {

constexpr std::size_t kMostBeginnings = 300'000;  // that one choice of lanes keeps; some 1.3 KB each
constexpr Count kLooksBetweenStops = 4096;  // a power of two
constexpr std::size_t kQuickShapes = 50;  // of the second outermost level, for each choice of copies

}  // namespace

WindowSearch::WindowSearch(const Problem& problem, const SettingTable& settings, std::size_t setting_class, std::size_t most_entries)
    : Search(problem, settings, setting_class, most_entries), window_(problem.window.tensor()) {
  beginnings_.resize(static_cast<std::size_t>(problem.num_levels()) + 1);
}

bool WindowSearch::search(const Lanes& lanes, const Limits& limits, Best& best, Effort& effort, const std::stop_token& stop) {
  for (auto& level : beginnings_) level.clear();
  Beginning root;
  if (!begin(lanes, best, effort, root)) return true;
  root.moves = prices_.steps();
  root.has_moved = true;
  beginnings_[0].push_back(root);
  slanted_above_ = find_slanted_dims(problem_, lanes_);
  stop_ = &stop;
  most_labels_ = limits.labels;
  is_quick_ = limits.width > 0;
  is_spent_ = false;
  for (int l = 0; l < problem_.num_levels(); ++l) {
    const auto count = static_cast<std::int32_t>(beginnings_[static_cast<std::size_t>(l)].size());
    for (std::int32_t from = 0; from < count; ++from) {
      if (stop.stop_requested()) return false;
      extend(l, from);
      if (is_spent_) return false;
    }
    for (const std::uint64_t s : shapes_used_) at_shape_[s].clear();
    shapes_used_.clear();
    if (limits.width > 0) narrow(l, limits.width);
  }
  return limits.width == 0;
}

void WindowSearch::narrow(int level, std::size_t width) {
  auto& all = beginnings_[static_cast<std::size_t>(level) + 1];
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is_dropped) left.push_back(i);
  }
  const auto middle = left.begin() + static_cast<std::ptrdiff_t>(std::min(width, left.size()));
  std::partial_sort(left.begin(), middle, left.end(), [&](std::size_t a, std::size_t b) {
    return all[a].bound_pj < all[b].bound_pj || (all[a].bound_pj == all[b].bound_pj && a < b);
  });
  std::vector<Beginning> kept;
  for (auto i = left.begin(); i != middle; ++i) kept.push_back(all[*i]);
  all = std::move(kept);
}

Extents WindowSearch::extents(const Shape& shape) const {
  Extents out{};
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) out[d] = problem_.dims[d].divisors[shape[d]];
  return out;
}

// The lanes of a level lie inside of its loops.
WindowSearch::Walk WindowSearch::begin_level(int level, std::int32_t from) const {
  Walk walk;
  walk.level = level;
  walk.label = beginning(level, from);
  walk.label.parent = from;
  walk.label.num_loops = 0;
  walk.label.keep = 0;
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    const LatticeDim& dim = problem_.dims[d];
    const Count extent = dim.divisors[walk.label.shape[d]] * lanes_[static_cast<std::size_t>(level)][d];
    const Count outside = dim.bound / (extent * lanes_above_[static_cast<std::size_t>(level)][d]);
    walk.label.shape[d] = dim.index(extent);
    walk.outside *= outside;
    if (problem_.window.is_alone(d)) walk.lone_outside *= outside;
  }
  return walk;
}

void WindowSearch::extend(int level, std::int32_t from) {
  const Beginning& label = beginning(level, from);
  if (label.is_dropped || label.bound_pj > best_->energy_limit(label.cycles)) return;
  Walk walk = begin_level(level, from);
  if (level + 1 == problem_.num_levels()) {
    walk.has_target = true;
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
      walk.target[d] = problem_.dims[d].index(problem_.dims[d].bound / lanes_above_[static_cast<std::size_t>(level)][d]);
    }
  }
  if (outer_ && level == problem_.num_levels() - 2) {
    extend_by_outer_costs(walk);
  } else {
    place_loops(walk);
  }
}

// At the second outermost level: shapes in the order of what they cost from there outwards, as long as the rest leaves room.
void WindowSearch::extend_by_outer_costs(const Walk& walk) {
  const Beginning& from = walk.label;
  const double leakage = prices_.leakage_pj() * from.cycles;
  Walk without = walk;
  without.only_keep = 0;
  without.has_target = from.num_copies == 0;  // else loops without copies; no lanes lie further out
  without.target = from.shape;
  place_loops(without);
  for (std::uint32_t keep = 1; keep < 1U << problem_.num_tensors(); ++keep) {
    const double inner = from.energy_pj + leakage + from.unsettled_pj + rest_bound(walk.level - 1, from, keep, Prices::with_copy, Prices::without_copy);
    std::size_t tried = 0;
    for (const OuterCosts::Entry& entry : outer_->entries(keep)) {
      if (is_spent_ || (is_quick_ && tried == kQuickShapes) || inner + entry.energy_pj > best_->energy_limit(from.cycles)) break;
      Walk next = walk;
      next.target = problem_.shape(entry.shape);
      next.has_target = true;
      next.only_keep = static_cast<int>(keep);
      next.outer_pj = entry.energy_pj;
      bool contains = true;
      for (std::size_t d = 0; d < problem_.dims.size() && contains; ++d) {
        const auto& divisors = problem_.dims[d].divisors;
        contains = divisors[next.target[d]] % divisors[from.shape[d]] == 0;
      }
      if (!contains) continue;
      ++tried;
      place_loops(next);
    }
  }
}

void WindowSearch::place_loops(const Walk& walk) {
  const Shape& shape = walk.label.shape;
  const std::size_t dims = problem_.dims.size();
  if (!walk.has_target || std::equal(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(dims), walk.target.begin())) end_level(walk);
  for (std::size_t d = 0; d < dims && !is_spent_; ++d) {
    if ((walk.used >> d & 1U) != 0 || must_precede(walk, d) || (is_quick_ && is_unusual(walk, d))) continue;
    if (walk.has_target) {
      if (walk.target[d] != shape[d]) place_loop(walk, d, walk.target[d]);
      continue;
    }
    const LatticeDim& dim = problem_.dims[d];
    const Count largest = dim.bound / lanes_above_[static_cast<std::size_t>(walk.level)][d];
    for (const std::uint8_t index : dim.multiples[shape[d]]) {
      if (index == shape[d] || largest % dim.divisors[index] != 0) continue;
      Shape next = shape;
      next[d] = index;
      // Else loops lie only where something is kept, and tiles only grow from here.
      if (walk.label.num_copies == 0 && slanted_above_[static_cast<std::size_t>(walk.level)] == 0 && !can_keep_some(walk.level, next)) break;
      place_loop(walk, d, index);
    }
  }
}

bool WindowSearch::can_keep_some(int level, const Shape& shape) const {
  const auto l = static_cast<std::size_t>(level);
  const auto& capacity = problem_.parts.arch.level(level).capacity_words;
  const Extents tile = extents(shape);
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    if (((problem_.open[l] | problem_.forced[l]) >> t & 1U) == 0) continue;
    if (!capacity) return true;
    Count elements = 1;
    for (std::size_t d = 0; d < problem_.dims.size() && t != window_; ++d) {
      if ((problem_.dims[d].relevant >> t & 1U) != 0) elements *= tile[d];
    }
    if (t == window_) elements = problem_.window.tile(tile);
    if (prices_.least_tile_words(t, level, elements) <= *capacity) return true;
  }
  return false;
}

// Of two neighbouring loops whose order makes no difference the lower dim lies inside.
bool WindowSearch::must_precede(const Walk& walk, std::size_t dim) const {
  if (walk.last < static_cast<int>(dim) || walk.unsettled_before_last) return false;
  const std::uint32_t differ = problem_.dims[dim].relevant ^ problem_.dims[static_cast<std::size_t>(walk.last)].relevant;
  return (differ & walk.open_before_last) == 0;
}

// A quick look leaves it at orders in which the loops that one set of tensors shares lie inside, the others as the dims come.
bool WindowSearch::is_unusual(const Walk& walk, std::size_t dim) const {
  if (walk.last < 0) return false;
  const std::uint32_t innermost = problem_.dims[walk.label.loops[0].dim].relevant;
  const bool last_is_inner = problem_.dims[static_cast<std::size_t>(walk.last)].relevant == innermost;
  if (problem_.dims[dim].relevant == innermost) return !last_is_inner || static_cast<int>(dim) < walk.last;
  return !last_is_inner && static_cast<int>(dim) < walk.last;
}

void WindowSearch::place_loop(const Walk& walk, std::size_t d, std::uint8_t index) {
  ++effort_->labels;
  if (most_labels_ > 0 && effort_->labels >= most_labels_) is_spent_ = true;
  // One beginning can have millions of ways to go on.
  if ((++placed_ & (kLooksBetweenStops - 1)) == 0 && stop_->stop_requested()) is_spent_ = true;
  Walk next = walk;
  Beginning& label = next.label;
  const LatticeDim& dim = problem_.dims[d];
  const Count bound = dim.divisors[index] / dim.divisors[label.shape[d]];
  next.last = static_cast<int>(d);
  next.open_before_last = label.is_open;
  next.unsettled_before_last = label.num_copies > 0;
  next.used |= 1U << d;
  next.outside /= bound;
  if (problem_.window.is_alone(d)) next.lone_outside /= bound;
  const std::uint8_t inner = label.shape[d];
  label.shape[d] = index;
  label.loops[label.num_loops++] = {static_cast<std::uint8_t>(d), bound};
  if (!use(next, d, dim.divisors[inner])) {
    ++effort_->cut;
    return;
  }
  const bool knows_outer = next.only_keep > 0;
  const auto keep = static_cast<std::uint32_t>(knows_outer ? next.only_keep : 0);
  double least = spent(next, label) + next.outer_pj;
  least += knows_outer ? rest_bound(next.level - 1, label, keep, Prices::with_copy, Prices::without_copy)
                       : rest_bound(next.level - 1, label, 0, Prices::any, Prices::any);
  if (least > best_->energy_limit(label.cycles)) {
    ++effort_->cut;
    return;
  }
  place_loops(next);
}

// What the loop placed last does to open runs and unsettled copies. extent: of its dim inside of it.
bool WindowSearch::use(Walk& walk, std::size_t d, Count extent) const {
  Beginning& label = walk.label;
  const Window& window = problem_.window;
  const LatticeDim& dim = problem_.dims[d];
  const Count bound = label.loops[label.num_loops - 1U].bound;
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    if ((label.is_open >> t & 1U) == 0) continue;
    if ((dim.relevant >> t & 1U) == 0) {
      label.needs[static_cast<std::size_t>(t)] /= bound;
    } else if (!close(label, t, walk.level)) {
      return false;
    }
  }
  if (!window.is_irrelevant(d)) label.has_moved = true;
  for (std::size_t i = 0; i < label.num_copies; ++i) {
    Window::Sweep& sweep = label.copies[i].sweep;
    if (window.is_alone(d)) {
      sweep.fresh = bound * sweep.fresh + (bound - 1) * sweep.tile;
    } else {
      window.add_loop(sweep, d, bound, extent);
    }
  }
  while (label.num_copies > 0 && (window.is_alone(d) || is_settled(walk, label.copies[0].sweep))) {
    if (!settle_first(label, walk.outside)) return false;
  }
  return true;
}

// A run of a tensor without a window ends before the loops of the level that follow.
bool WindowSearch::close(Beginning& label, int tensor, int level) const {
  const auto t = static_cast<std::size_t>(tensor);
  Count moves = label.needs[t];
  for (int l = label.child[t] + 1; l < level; ++l) moves /= prices_.relevant_lanes(tensor, l);
  label.is_open &= static_cast<std::uint8_t>(~(1U << t));
  // A copy that takes in as much as it hands out is of no use, but for the word in which outputs add up.
  if (moves >= label.given[t] && (tensor != prices_.output() || label.accumulator != label.child[t])) return false;
  fill(label, tensor, label.child[t], moves);
  return true;
}

// No loop further out leaves any overlap: a rank has been left for good, and nothing moves it any more.
bool WindowSearch::is_settled(const Walk& walk, const Window::Sweep& sweep) const {
  if (walk.outside == 1) return true;
  const Window& window = problem_.window;
  for (int r = 0; r < window.num_ranks(); ++r) {
    if (sweep.wrapped[static_cast<std::size_t>(r)] < sweep.extent[static_cast<std::size_t>(r)]) continue;
    bool is_done = true;
    for (std::size_t d = 0; d < problem_.dims.size() && is_done; ++d) {
      if (window.rank(d) != r) continue;
      const LatticeDim& dim = problem_.dims[d];
      is_done = dim.divisors[walk.label.shape[d]] * lanes_above_[static_cast<std::size_t>(walk.level)][d] == dim.bound;
    }
    if (is_done) return true;
  }
  return false;
}

// The innermost unsettled copy: each of the `outside` sweeps that follow brings its whole tile.
bool WindowSearch::settle_first(Beginning& label, Count outside) const {
  const Copy copy = label.copies[0];
  const Count moves = (copy.sweep.tile + copy.sweep.fresh) * outside;
  if (copy.given > 0 && moves >= copy.given) return false;
  fill(label, window_, copy.level, moves);
  std::copy(label.copies.begin() + 1, label.copies.begin() + label.num_copies, label.copies.begin());
  --label.num_copies;
  if (copy.parent == kUnits) {
    label.moves = moves;
    return true;
  }
  take(label, window_, copy.parent, copy.groups * moves);
  if (label.num_copies > 0) label.copies[0].given = copy.groups * moves;
  return true;
}

void WindowSearch::fill(Beginning& label, int tensor, int level, Count moves) const {
  label.energy_pj += prices_.filled_pj(tensor, level, label.accumulator, moves, label.level_writes[static_cast<std::size_t>(level)]);
  update_cycles(label, level);
}

void WindowSearch::take(Beginning& label, int tensor, int level, Count needs) const {
  const auto l = static_cast<std::size_t>(level);
  label.energy_pj += prices_.taken_pj(tensor, level, label.accumulator, needs, label.level_reads[l], label.level_writes[l]);
  update_cycles(label, level);
}

// Traffic only grows, so what is known of it bounds the cycles.
void WindowSearch::update_cycles(Beginning& label, int level) const {
  const Level& hardware = problem_.parts.arch.level(level);
  if (!has_bandwidth(hardware)) return;
  LevelTraffic traffic;
  traffic.add(label.level_reads[static_cast<std::size_t>(level)], label.level_writes[static_cast<std::size_t>(level)], prices_.compute_cycles());
  double slowdown = 1;
  label.cycles = std::max(label.cycles, level_cycles(CostModel::default_model, hardware, prices_.compute_cycles(), traffic, slowdown));
}

// An unsettled copy has every element that passes through it at least once; every sweep further out brings what one has brought
// so far, and those with other indices of dims alone in their rank a whole tile too.
double WindowSearch::spent(const Walk& walk, Beginning& label) {
  const auto w = static_cast<std::size_t>(window_);
  const Count lone_outside = walk.lone_outside;
  double ignored = 0;
  std::uint32_t shape = 0;
  Count irrelevant = 1;
  const bool knows_more = label.num_copies > 0 && sweeps_->is_small();
  if (knows_more) {
    shape = sweeps_->code(label.shape);
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
      if (!problem_.window.is_irrelevant(d)) continue;
      const LatticeDim& dim = problem_.dims[d];
      irrelevant *= dim.bound / (dim.divisors[label.shape[d]] * lanes_above_[static_cast<std::size_t>(walk.level)][d]);
    }
  }
  label.unsettled_pj = 0;
  label.needs[w] = label.groups * label.moves;
  for (std::size_t i = 0; i < label.num_copies; ++i) {
    const Copy& copy = label.copies[i];
    Count moves = walk.outside * copy.sweep.fresh + lone_outside * copy.sweep.tile;
    if (knows_more) {
      const double more = sweeps_->least_more(copy.level, copy.tile, walk.level, shape, irrelevant);
      moves += lone_outside * copy.sweep.alone * static_cast<Count>(more);
    }
    moves = std::max(moves, prices_.distinct(window_, copy.level));
    label.unsettled_pj += prices_.filled_pj(window_, copy.level, label.accumulator, moves, ignored);
    if (copy.parent == kUnits) {
      label.needs[w] = label.groups * moves;
    } else {
      label.unsettled_pj += prices_.taken_pj(window_, copy.parent, label.accumulator, copy.groups * moves, ignored, ignored);
    }
  }
  return label.energy_pj + prices_.leakage_pj() * label.cycles + label.unsettled_pj;
}

void WindowSearch::end_level(const Walk& walk) {
  Beginning label = walk.label;
  label.has_loops = label.num_loops > 0;
  if (walk.level + 1 == problem_.num_levels()) {
    for (int t = 0; t < problem_.num_tensors(); ++t) {
      if ((label.is_open >> t & 1U) != 0 && !close(label, t, walk.level)) return;
    }
    while (label.num_copies > 0) {
      if (!settle_first(label, 1)) return;
    }
  }
  if (knows_onward_ && walk.level + 1 < problem_.num_levels()) {
    const double so_far = spent(walk, label);
    const double limit = best_->energy_limit(label.cycles);
    if (so_far + onward_->least_pj(walk.level, walk.level, label.shape, label.is_open, label.child, label.needs, limit - so_far) > limit) {
      ++effort_->labels;
      ++effort_->cut;
      return;
    }
  }
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    if (t != window_) label.needs[static_cast<std::size_t>(t)] *= prices_.relevant_lanes(t, walk.level);
  }
  add_lanes(label, walk.level, beginning(walk.level, label.parent).shape);
  choose_keep(walk, label);
}

// Section 5.6. inner: the shape before the lanes.
void WindowSearch::add_lanes(Beginning& label, int level, const Shape& inner) {
  const Window& window = problem_.window;
  bool any = false;
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    const std::uint32_t lanes = lanes_[static_cast<std::size_t>(level)][d];
    if (lanes == 1 || window.is_irrelevant(d)) continue;
    any = true;
    if (window.is_alone(d)) {
      label.lone_lanes *= lanes;
      continue;
    }
    label.steps[label.num_steps++] = {window.coefficient(d) * problem_.dims[d].divisors[inner[d]], lanes, window.rank(d)};
    label.has_moved = true;
  }
  if (!any) return;
  label.groups = label.lone_lanes;
  for (int r = 0; r < window.num_ranks(); ++r) {
    std::array<SumStep, kMaxSteps> steps{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < label.num_steps; ++i) {
      if (label.steps[i].rank == r) steps[count++] = {label.steps[i].step, static_cast<Count>(label.steps[i].bound)};
    }
    label.groups *= distinct_sums(std::span(steps).first(count), scratch_);
  }
}

void WindowSearch::choose_keep(const Walk& walk, const Beginning& label) {
  const auto l = static_cast<std::size_t>(walk.level);
  std::uint32_t choice = problem_.open[l] & ~label.is_open;
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    // What is needed once only, a copy cannot make less.
    const bool is_known = t != window_ || !label.is_unsettled();
    const Count needs = t == window_ ? label.groups * label.moves : label.needs[static_cast<std::size_t>(t)];
    if (is_known && needs <= prices_.distinct(t, walk.level)) choice &= ~(1U << t);
  }
  if (!label.has_moved) choice &= ~(1U << window_);
  const Extents tile = extents(label.shape);
  const auto& capacity = problem_.parts.arch.level(walk.level).capacity_words;
  for (std::uint32_t set = choice;; set = (set - 1) & choice) {
    const std::uint32_t keep = set | problem_.forced[l];
    // Where nothing is kept, loops matter up to the one that settles all copies, or that changes which lanes share data.
    const bool is_of_use = keep != 0 || label.num_loops == 0 || walk.unsettled_before_last || (slanted_above_[l] >> walk.last & 1U) != 0;
    if (is_of_use && (walk.only_keep < 0 || keep == static_cast<std::uint32_t>(walk.only_keep))) {
      Beginning next = label;
      next.keep = static_cast<std::uint8_t>(keep);
      if ((keep >> prices_.output() & 1U) != 0 && next.accumulator == kUnits) next.accumulator = static_cast<std::int8_t>(walk.level);
      Count words = 0;
      for (int t = 0; t < problem_.num_tensors(); ++t) {
        if ((keep >> t & 1U) == 0) continue;
        Count elements = 1;
        for (std::size_t d = 0; d < problem_.dims.size() && t != window_; ++d) {
          if ((problem_.dims[d].relevant >> t & 1U) != 0) elements *= tile[d];
        }
        if (t == window_) elements = problem_.window.tile(tile);
        words = saturating_add(words, prices_.tile_words(t, walk.level, next.accumulator, elements, label.needs[static_cast<std::size_t>(t)]));
        if (t == window_) {
          keep_window(next, walk.level);
        } else {
          keep_plain(next, t, walk.level, elements, walk.outside);
        }
      }
      if (!capacity || words <= *capacity) {
        if (walk.level + 1 == problem_.num_levels()) {
          finish(next);
        } else {
          add(walk, next);
        }
      }
    }
    if (set == 0) break;
  }
}

void WindowSearch::keep_plain(Beginning& label, int tensor, int level, Count tile, Count outside) const {
  const auto t = static_cast<std::size_t>(tensor);
  take(label, tensor, level, label.needs[t]);
  label.child[t] = static_cast<std::int8_t>(level);
  label.given[t] = label.needs[t];
  label.needs[t] = tile * outside;
  label.is_open |= static_cast<std::uint8_t>(1U << t);
}

void WindowSearch::keep_window(Beginning& label, int level) const {
  Copy copy;
  copy.level = static_cast<std::int8_t>(level);
  copy.sweep = problem_.window.begin(extents(label.shape));
  copy.tile = sweeps_->code(label.shape);
  if (label.is_unsettled()) {
    label.copies[label.num_copies - 1U].parent = copy.level;
    label.copies[label.num_copies - 1U].groups = label.groups;
  } else {
    copy.given = label.groups * label.moves;
    take(label, window_, level, copy.given);
  }
  label.child[static_cast<std::size_t>(window_)] = copy.level;
  label.groups = label.lone_lanes = 1;
  label.num_steps = 0;
  label.has_moved = false;
  label.moves = 0;
  if (level + 1 < problem_.num_levels()) label.copies[label.num_copies++] = copy;
}

void WindowSearch::finish(const Beginning& label) {
  ++effort_->labels;
  ++effort_->whole;
  const auto make = [&] {
    LevelLoops loops;
    std::array<std::uint32_t, kMaxLevels> keep{};
    const Beginning* here = &label;
    for (int l = problem_.num_levels() - 1; l >= 0; --l) {
      const auto at = static_cast<std::size_t>(l);
      loops[at].assign(here->loops.begin(), here->loops.begin() + here->num_loops);
      keep[at] = here->keep;
      here = &beginning(l, here->parent);
    }
    return builder_.build(lanes_, loops, keep);
  };
  best_->offer(label.energy_pj + prices_.leakage_pj() * label.cycles, label.cycles, make, [](const Mapping&) { return false; });
}

void WindowSearch::add(const Walk& walk, Beginning& label) {
  ++effort_->labels;
  const int level = walk.level;
  const double so_far = spent(walk, label);
  label.bound_pj = so_far + rest_bound(level, label, 0, Prices::any, Prices::any);
  const double limit = best_->energy_limit(label.cycles);
  if (label.bound_pj > limit) {
    ++effort_->cut;
    return;
  }
  auto& all = beginnings_[static_cast<std::size_t>(level) + 1];
  const std::uint64_t code = problem_.code(label.shape);
  auto& rivals = at_shape_[code];
  for (const std::int32_t r : rivals) {
    if (is_no_worse(all[static_cast<std::size_t>(r)], label, level)) {
      ++effort_->cut;
      return;
    }
  }
  if (knows_onward_) {
    label.bound_pj = std::max(label.bound_pj, so_far + onward_->least_pj(level, level + 1, label.shape, label.is_open, label.child, label.needs, limit - so_far));
  }
  if (label.bound_pj <= limit) label.bound_pj = std::max(label.bound_pj, so_far + crowded_bound(level, label));
  if (label.bound_pj <= limit) label.bound_pj = std::max(label.bound_pj, so_far + outer_bound(level, label.shape, label));
  if (label.bound_pj > limit) {
    ++effort_->cut;
    return;
  }
  std::erase_if(rivals, [&](std::int32_t r) {
    if (!is_no_worse(label, all[static_cast<std::size_t>(r)], level)) return false;
    all[static_cast<std::size_t>(r)].is_dropped = true;
    return true;
  });
  if (rivals.empty()) shapes_used_.push_back(code);
  rivals.push_back(static_cast<std::int32_t>(all.size()));
  all.push_back(label);
  std::size_t kept = 0;
  for (const auto& of_level : beginnings_) kept += of_level.size();
  if (kept >= kMostBeginnings) is_spent_ = true;
}

// Some traffic of the level is not known yet.
bool WindowSearch::is_waiting(const Beginning& label, int level) const {
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    if ((label.is_open >> t & 1U) != 0 && label.child[static_cast<std::size_t>(t)] == level) return true;
  }
  return std::any_of(label.copies.begin(), label.copies.begin() + label.num_copies, [&](const Copy& copy) { return copy.level == level || copy.parent == level; });
}

// Whether every way to go on from b is at least as good from a.
bool WindowSearch::is_no_worse(const Beginning& a, const Beginning& b, int level) const {
  if (a.energy_pj > b.energy_pj || a.cycles > b.cycles || a.is_open != b.is_open || a.accumulator != b.accumulator) return false;
  if (a.num_copies != b.num_copies || a.is_unsettled() != b.is_unsettled() || a.moves > b.moves || a.lone_lanes != b.lone_lanes || a.num_steps != b.num_steps) return false;
  for (int tensor = 0; tensor < problem_.num_tensors(); ++tensor) {
    const auto t = static_cast<std::size_t>(tensor);
    if (tensor != window_ && a.needs[t] > b.needs[t]) return false;
    if ((a.is_open >> t & 1U) != 0 && a.child[t] != b.child[t]) return false;
  }
  for (std::size_t i = 0; i < a.num_copies; ++i) {
    const Copy& x = a.copies[i];
    const Copy& y = b.copies[i];
    if (x.sweep.fresh > y.sweep.fresh || x.level != y.level || x.parent != y.parent || x.groups != y.groups) return false;
    if (x.sweep.extent != y.sweep.extent || x.sweep.wrapped != y.sweep.wrapped || x.sweep.tile != y.sweep.tile) return false;
  }
  if (!std::equal(a.steps.begin(), a.steps.begin() + a.num_steps, b.steps.begin())) return false;
  for (int l = 0; l <= level; ++l) {
    const auto at = static_cast<std::size_t>(l);
    if (!has_bandwidth(problem_.parts.arch.level(l)) || !is_waiting(a, l)) continue;
    if (!is_waiting(b, l) || a.level_reads[at] > b.level_reads[at] || a.level_writes[at] > b.level_writes[at]) return false;
  }
  return true;
}

}  // namespace quantloom::lattice

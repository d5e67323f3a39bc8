#include "lattice_search.hpp"

#include <algorithm>

#include "quantities.hpp"
#include "tensor_price.hpp"

namespace quantloom::lattice {
namespace {

Lanes no_lanes() {
  Lanes out{};
  for (auto& level : out) level.fill(1);
  return out;
}

}  // namespace

Search::Search(const Problem& problem, const SettingTable& settings, std::size_t setting_class,
               std::size_t most_entries)
    : problem_(problem), builder_(problem), prices_(problem, settings, setting_class) {
  labels_.resize(static_cast<std::size_t>(problem.num_levels()) + 1);
  at_shape_.resize(problem.num_shapes());
  if (problem.window.tensor() >= 0) sweeps_.emplace(problem);
  onward_.emplace(problem_, prices_, sweeps_ ? &*sweeps_ : nullptr, most_entries);
  const int top = problem.num_levels() - 1;
  if (top == 0 || find_block(problem.parts.constraints, top, true) >= 0) return;
  prices_.plan(no_lanes());
  outer_.emplace(problem, prices_);
}

void Search::plan(const Lanes& lanes) {
  lanes_ = lanes;
  prices_.plan(lanes);
  std::array<Count, kMaxLatticeDims> above{};
  above.fill(1);
  for (auto l = static_cast<std::size_t>(problem_.num_levels()); l-- > 0;) {
    lanes_above_[l] = above;
    lanes_at_[l] = 1;
    for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
      above[d] *= lanes[l][d];
      lanes_at_[l] *= lanes[l][d];
    }
  }
}

// Least energy further out than `level`, with these copies at the second outermost level (way_with and way_without say how
// their tensors and the others go on). Runs that may still grow end at the same loops, and those are irrelevant to one tensor
// only: all others move what they move now.
double Search::rest_bound(int level, const Label& label, std::uint32_t keep, Prices::Way way_with, Prices::Way way_without) const {
  double sum = 0;
  double saved = 0;
  for (int tensor = 0; tensor < problem_.num_tensors(); ++tensor) {
    const auto t = static_cast<std::size_t>(tensor);
    const Prices::Way way = (keep >> t & 1U) != 0 ? way_with : way_without;
    double rest = prices_.rest_pj(way, level, tensor, label.accumulator, label.needs[t]);
    if ((label.is_open >> t & 1U) != 0) {
      Count moves = label.needs[t];
      for (int l = label.child[t] + 1; l <= level; ++l) moves /= prices_.relevant_lanes(tensor, l);
      rest += prices_.least_filled_pj(tensor, label.child[t], label.accumulator, static_cast<double>(moves));
      saved = std::max(saved, rest - prices_.fresh_pj(way, label.child[t], tensor, label.accumulator));
    }
    sum += rest;
  }
  return sum - saved;
}

// The same from what the two outermost levels cost together: copies at the second one share its capacity and one run.
double Search::outer_bound(int level, const Shape& shape, const Label& label) const {
  if (!outer_ || level >= problem_.num_levels() - 2) return 0;
  Shape smallest{};  // that the second outermost level can have: no lanes lie above it
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    const LatticeDim& dim = problem_.dims[d];
    const Count inner = (level < 0 ? 1 : dim.divisors[shape[d]]) * lanes_outside(level, d);
    smallest[d] = dim.index(inner);
  }
  const std::uint64_t code = problem_.code(smallest);
  double least = kInfinity;
  for (std::uint32_t keep = 0; keep < 1U << problem_.num_tensors(); ++keep) {
    const double outer = outer_->least(keep, code);
    if (outer < least) least = std::min(least, outer + rest_bound(level, label, keep, Prices::with_copy, Prices::without_copy));
  }
  return least;
}

// The same, tighter in another way: of two tensors whose next copies are at one level, one at most moves everything once from there on.
double Search::crowded_bound(int level, const Label& label) const {
  const int tensors = problem_.num_tensors();
  double least = kInfinity;
  std::array<double, kMaxLatticeTensors> needs{};
  double closed_pj = 0;  // filling the copies whose runs end
  std::array<double, kMaxLatticeTensors> closing{};
  for (int tensor = 0; tensor < tensors; ++tensor) {
    const auto t = static_cast<std::size_t>(tensor);
    needs[t] = static_cast<double>(label.needs[t]);
    if ((label.is_open >> t & 1U) == 0) continue;
    Count moves = label.needs[t];
    for (int l = label.child[t] + 1; l <= level; ++l) moves /= prices_.relevant_lanes(tensor, l);
    closing[t] = prices_.least_filled_pj(tensor, label.child[t], label.accumulator, static_cast<double>(moves));
    closed_pj += closing[t];
  }
  const auto choose = [&](auto&& self, int tensor, int running, double spent, std::uint32_t taken, std::array<double, kMaxLevels>& excused) -> void {
    if (spent >= least) return;
    if (tensor == tensors) {
      least = spent;
      return;
    }
    if (tensor == running) {
      self(self, tensor + 1, running, spent, taken, excused);
      return;
    }
    const auto t = static_cast<std::size_t>(tensor);
    for (const Prices::Line& line : prices_.lines(Prices::any, level, tensor, label.accumulator)) {
      const double plain = spent + line.slope * needs[t] + line.offset;
      const auto q = static_cast<std::size_t>(line.level);
      if ((taken >> q & 1U) == 0) {
        excused[q] = line.shared_pj;
        self(self, tensor + 1, running, plain, taken | 1U << q, excused);
      } else {
        // All pay but the one that would pay most.
        const double before = excused[q];
        excused[q] = std::max(before, line.shared_pj);
        self(self, tensor + 1, running, plain + std::min(before, line.shared_pj), taken, excused);
        excused[q] = before;
      }
    }
  };
  std::array<double, kMaxLevels> excused{};
  choose(choose, 0, -1, closed_pj, 0, excused);
  for (int tensor = 0; tensor < tensors; ++tensor) {
    const auto t = static_cast<std::size_t>(tensor);
    if ((label.is_open >> t & 1U) == 0) continue;
    choose(choose, 0, tensor, closed_pj - closing[t] + prices_.fresh_pj(Prices::any, label.child[t], tensor, label.accumulator), 0, excused);
  }
  return least;
}

Search::Bounds Search::bounds(const Lanes& lanes) {
  plan(lanes);
  Label root;
  root.needs.fill(prices_.steps());
  Bounds out;
  out.cycles = prices_.compute_cycles();
  out.energy_pj = prices_.arithmetic_pj() + prices_.leakage_pj() * out.cycles;
  out.energy_pj += std::max(crowded_bound(kUnits, root), outer_bound(kUnits, root.shape, root));
  return out;
}

double Search::joint_bound_pj(const std::vector<const Lanes*>& choices, double limit_pj) {
  if (!has_joint_bound(*choices.front())) return 0;
  double leakage_pj = kInfinity;
  onward_->begin(*choices.front());
  for (const Lanes* lanes : choices) {
    prices_.plan(*lanes, false);
    if (sweeps_) sweeps_->plan(*lanes);
    onward_->admit(*lanes);
    leakage_pj = std::min(leakage_pj, prices_.leakage_pj() * prices_.compute_cycles());
  }
  onward_->tabulate(limit_pj - prices_.arithmetic_pj() - leakage_pj);
  return prices_.arithmetic_pj() + leakage_pj + onward_->root_pj();
}

double Search::tabulate(const Lanes& lanes, double limit_pj) {
  knows_onward_ = has_joint_bound(lanes);
  if (!knows_onward_) return 0;
  onward_->begin(lanes);
  onward_->admit(lanes);
  const double fixed = prices_.arithmetic_pj() + prices_.leakage_pj() * prices_.compute_cycles();
  onward_->tabulate(limit_pj - fixed);
  return fixed + onward_->root_pj();
}

Count Search::table_looks(const std::vector<const Lanes*>& choices) const {
  return onward_->entries(*choices.front(), choices.size()) / kEntriesPerLook + 1;
}

bool Search::begin(const Lanes& lanes, Best& best, Effort& effort, Label& root) {
  plan(lanes);
  if (sweeps_ && sweeps_->is_small()) sweeps_->plan(lanes);
  best_ = &best;
  effort_ = &effort;
  for (const std::uint64_t s : shapes_used_) at_shape_[s].clear();  // left over from a search that was stopped
  shapes_used_.clear();
  root.energy_pj = prices_.arithmetic_pj();
  root.cycles = prices_.compute_cycles();
  root.needs.fill(prices_.steps());
  root.child.fill(kUnits);
  root.bound_pj = tabulate(lanes, best.energy_limit(root.cycles));  // limits only fall from here, and with more cycles
  if (!knows_onward_) return true;
  effort.labels += table_looks({&lanes});
  if (root.bound_pj <= best.energy_limit(root.cycles)) return true;
  ++effort.cut;
  return false;
}

bool Search::search(const Lanes& lanes, const Limits& limits, Best& best, Effort& effort, const std::stop_token& stop) {
  for (auto& level : labels_) level.clear();
  Label root;
  if (!begin(lanes, best, effort, root)) return true;
  labels_[0].push_back(root);
  for (int l = 0; l < problem_.num_levels(); ++l) {
    const auto count = static_cast<std::int32_t>(labels_[static_cast<std::size_t>(l)].size());
    for (std::int32_t from = 0; from < count; ++from) {
      if ((from & 0xF) == 0 && stop.stop_requested()) return false;
      if (limits.labels > 0 && effort.labels >= limits.labels) return false;
      extend(l, from);
    }
    for (const std::uint64_t s : shapes_used_) at_shape_[s].clear();
    shapes_used_.clear();
    if (limits.width > 0) narrow(l, limits.width);
  }
  return limits.width == 0;
}

void Search::narrow(int level, std::size_t width) {
  auto& labels = labels_[static_cast<std::size_t>(level) + 1];
  std::erase_if(labels, [](const Label& label) { return label.is_dropped; });
  if (labels.size() <= width) return;
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.bound_pj < b.bound_pj; });
  labels.resize(width);
}

void Search::extend(int level, std::int32_t from) {
  const Label& label = label_at(level, from);
  if (label.is_dropped || label.bound_pj > best_->energy_limit(label.cycles)) return;
  Step step;
  step.level = level;
  step.from = from;
  step.tile.fill(1);
  step.irrelevant.fill(1);
  for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
    const LatticeDim& dim = problem_.dims[d];
    const Count inner = level == 0 ? 1 : dim.divisors[label.shape[d]];
    step.base[d] = dim.index(inner * lanes_[static_cast<std::size_t>(level)][d]);
  }
  if (outer_ && level == problem_.num_levels() - 2) {
    extend_by_outer_costs(step);
  } else {
    choose_factor(step, 0);
  }
}

void Search::multiply(Step& step, std::size_t d, std::uint8_t index) const {
  const LatticeDim& dim = problem_.dims[d];
  const Count extent = dim.divisors[index];
  const Count factor = extent / dim.divisors[step.base[d]];
  step.shape[d] = index;
  step.loops *= factor;
  step.outside *= dim.bound / (extent * lanes_above_[static_cast<std::size_t>(step.level)][d]);
  for (std::size_t t = 0; t < static_cast<std::size_t>(problem_.num_tensors()); ++t) {
    if ((dim.relevant >> t & 1U) != 0) {
      step.tile[t] *= extent;
    } else {
      step.irrelevant[t] *= factor;
    }
  }
}

// At the second outermost level: shapes in the order of what they cost from there outwards, as long as the rest leaves room.
void Search::extend_by_outer_costs(const Step& step) {
  const Label& from = label_at(step.level, step.from);
  const auto dims = problem_.dims.size();
  const double leakage = prices_.leakage_pj() * from.cycles;
  const auto try_shape = [&](const Shape& shape, int keep) {
    Step next = step;
    next.only_keep = keep;
    for (std::size_t d = 0; d < dims; ++d) multiply(next, d, shape[d]);
    choose_run(next);
  };
  try_shape(step.base, 0);
  for (std::uint32_t keep = 1; keep < 1U << problem_.num_tensors(); ++keep) {
    const double inner =
        from.energy_pj + leakage + rest_bound(step.level - 1, from, keep, Prices::with_copy, Prices::without_copy);
    for (const OuterCosts::Entry& entry : outer_->entries(keep)) {
      if (inner + entry.energy_pj > best_->energy_limit(from.cycles)) break;
      const Shape shape = problem_.shape(entry.shape);
      bool contains = true;
      for (std::size_t d = 0; d < dims && contains; ++d)
        contains = problem_.dims[d].divisors[shape[d]] % problem_.dims[d].divisors[step.base[d]] == 0;
      if (contains) try_shape(shape, static_cast<int>(keep));
    }
  }
}

void Search::choose_factor(const Step& step, std::size_t d) {
  const auto l = static_cast<std::size_t>(step.level);
  const bool is_top = step.level + 1 == problem_.num_levels();
  if (d == problem_.dims.size()) {
    choose_run(step);
    return;
  }
  const LatticeDim& dim = problem_.dims[d];
  const auto& capacity = problem_.parts.arch.level(step.level).capacity_words;
  const Count largest = dim.bound / lanes_above_[l][d];
  for (const std::uint8_t index : dim.multiples[step.base[d]]) {
    if (is_top ? dim.divisors[index] != largest : largest % dim.divisors[index] != 0) continue;
    Step next = step;
    multiply(next, d, index);
    bool can_keep = false;
    for (int t = 0; t < problem_.num_tensors() && !can_keep; ++t) {
      if (((problem_.open[l] | problem_.forced[l]) >> t & 1U) == 0) continue;
      can_keep = !capacity || prices_.least_tile_words(t, step.level, next.tile[static_cast<std::size_t>(t)]) <= *capacity;
    }
    // Loops only where something is kept, and tiles only grow from here.
    if (next.loops > 1 && !can_keep) break;
    choose_factor(next, d + 1);
  }
}

void Search::choose_run(const Step& step) {
  const std::uint32_t open = label_at(step.level, step.from).is_open;
  const bool is_top = step.level + 1 == problem_.num_levels();
  for (std::size_t t = 0; t < static_cast<std::size_t>(problem_.num_tensors()) && !is_top; ++t) {
    // All loops in the run of one tensor: they can as well lie further out.
    if ((open >> t & 1U) != 0 && step.irrelevant[t] > 1 && step.irrelevant[t] == step.loops) return;
  }
  bool any = false;
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    if ((open >> t & 1U) == 0 || step.irrelevant[static_cast<std::size_t>(t)] == 1) continue;
    any = true;
    close(step, t);
  }
  if (!any) close(step, -1);
}

// Settles what the loops of this level end: the runs of all open copies further in.
void Search::close(const Step& step, int innermost) {
  const Label& from = label_at(step.level, step.from);
  const bool is_top = step.level + 1 == problem_.num_levels();
  Label label = from;
  label.parent = step.from;
  label.shape = step.shape;
  label.has_loops = step.loops > 1;
  label.innermost = static_cast<std::int8_t>(innermost);
  label.keep = 0;
  label.reads = label.writes = 0;
  Moves moves{};
  const bool closes = step.loops > 1 || is_top;
  for (int tensor = 0; tensor < problem_.num_tensors(); ++tensor) {
    const auto t = static_cast<std::size_t>(tensor);
    if (closes && (from.is_open >> t & 1U) != 0) {
      if (tensor == innermost) label.needs[t] /= step.irrelevant[t];
      moves[t] = label.needs[t];
      for (int l = from.child[t] + 1; l < step.level; ++l) moves[t] /= prices_.relevant_lanes(tensor, l);
      // A copy that takes in as much as it hands out is of no use, but for the word in which outputs add up.
      if (moves[t] >= from.given[t] && (tensor != prices_.output() || from.accumulator != from.child[t])) return;
      double ignored = 0;
      label.energy_pj += prices_.filled_pj(tensor, from.child[t], from.accumulator, moves[t], ignored);
    }
  }
  if (closes) {
    settle_bandwidth(step, moves, label);
    label.is_open = 0;
    // Before the copies at this level are chosen: most ways end here.
    const double spent = label.energy_pj + prices_.leakage_pj() * label.cycles;
    const double limit = best_->energy_limit(label.cycles);
    if (spent + rest_bound(step.level - 1, label, 0, Prices::any, Prices::any) > limit ||
        (knows_onward_ &&
         spent + onward_->least_pj(step.level, step.level, step.shape, 0, label.child, label.needs, limit - spent) >
             limit)) {
      ++effort_->labels;
      ++effort_->cut;
      return;
    }
  }
  for (int t = 0; t < problem_.num_tensors(); ++t) label.needs[static_cast<std::size_t>(t)] *= prices_.relevant_lanes(t, step.level);
  choose_keep(step, label);
}

// Cycles of the levels whose copies are filled in this step.
void Search::settle_bandwidth(const Step& step, const Moves& moves, Label& label) const {
  const Label* inner = &label_at(step.level, step.from);
  for (int l = step.level - 1; l >= 0; --l) {
    const Level& hardware = problem_.parts.arch.level(l);
    if (inner->keep != 0 && has_bandwidth(hardware)) {
      double writes = inner->writes;
      for (int t = 0; t < problem_.num_tensors(); ++t) {
        if ((inner->keep >> t & 1U) != 0) static_cast<void>(prices_.filled_pj(t, l, inner->accumulator, moves[static_cast<std::size_t>(t)], writes));
      }
      LevelTraffic traffic;
      traffic.add(inner->reads, writes, prices_.compute_cycles());
      double slowdown = 1;
      label.cycles = std::max(label.cycles, level_cycles(CostModel::default_model, hardware, prices_.compute_cycles(), traffic, slowdown));
    }
    if (inner->has_loops) break;
    inner = &label_at(l, inner->parent);
  }
}

void Search::choose_keep(const Step& step, const Label& label) {
  const auto l = static_cast<std::size_t>(step.level);
  const bool is_top = step.level + 1 == problem_.num_levels();
  std::uint32_t choice = problem_.open[l] & ~label.is_open;
  for (int t = 0; t < problem_.num_tensors(); ++t) {
    // What is needed once only, a copy cannot make less.
    if (label.needs[static_cast<std::size_t>(t)] <= prices_.distinct(t, step.level)) choice &= ~(1U << t);
  }
  const auto& capacity = problem_.parts.arch.level(step.level).capacity_words;
  for (std::uint32_t set = choice;; set = (set - 1) & choice) {
    const std::uint32_t keep = set | problem_.forced[l];
    const bool is_wanted = (keep != 0 || step.loops == 1) && (step.only_keep < 0 || keep == static_cast<std::uint32_t>(step.only_keep));
    Label next = label;
    next.keep = static_cast<std::uint8_t>(keep);
    if ((keep >> prices_.output() & 1U) != 0 && next.accumulator == kUnits) next.accumulator = static_cast<std::int8_t>(step.level);
    Count words = 0;
    for (int t = 0; t < problem_.num_tensors() && is_wanted; ++t) {
      const auto at = static_cast<std::size_t>(t);
      if ((keep >> t & 1U) == 0) continue;
      words = saturating_add(words, prices_.tile_words(t, step.level, next.accumulator, step.tile[at], next.needs[at]));
      next.energy_pj += prices_.taken_pj(t, step.level, next.accumulator, next.needs[at], next.reads, next.writes);
      next.child[at] = static_cast<std::int8_t>(step.level);
      next.given[at] = next.needs[at];
      next.needs[at] = step.tile[at] * step.outside;
      next.is_open |= static_cast<std::uint8_t>(1U << t);
    }
    if (is_wanted && (!capacity || words <= *capacity)) {
      if (is_top) {
        finish(next);
      } else {
        add(step.level, next);
      }
    }
    if (set == 0) break;
  }
}

void Search::finish(const Label& label) {
  ++effort_->labels;
  ++effort_->whole;
  const int top = problem_.num_levels() - 1;
  double cycles = label.cycles;
  const Level& hardware = problem_.parts.arch.level(top);
  if (has_bandwidth(hardware)) {
    LevelTraffic traffic;
    traffic.add(label.reads, label.writes, prices_.compute_cycles());
    double slowdown = 1;
    cycles = std::max(cycles, level_cycles(CostModel::default_model, hardware, prices_.compute_cycles(), traffic, slowdown));
  }
  const auto make = [&] {
    Factors factors{};
    std::array<int, kMaxLevels> innermost{};
    std::array<std::uint32_t, kMaxLevels> keep{};
    const Label* here = &label;
    for (int l = top; l >= 0; --l) {
      const Label& inner = label_at(l, here->parent);
      const auto at = static_cast<std::size_t>(l);
      for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
        const auto& divisors = problem_.dims[d].divisors;
        factors[at][d] = divisors[here->shape[d]] / (divisors[l == 0 ? 0 : inner.shape[d]] * lanes_[at][d]);
      }
      innermost[at] = here->innermost;
      keep[at] = here->keep;
      here = &inner;
    }
    return builder_.build(lanes_, factors, innermost, keep);
  };
  best_->offer(label.energy_pj + prices_.leakage_pj() * cycles, cycles, make, [](const Mapping&) { return false; });
}

void Search::add(int level, Label& label) {
  ++effort_->labels;
  const double spent = label.energy_pj + prices_.leakage_pj() * label.cycles;
  label.bound_pj = spent + rest_bound(level, label, 0, Prices::any, Prices::any);
  const double limit = best_->energy_limit(label.cycles);
  if (label.bound_pj > limit) {
    ++effort_->cut;
    return;
  }
  auto& labels = labels_[static_cast<std::size_t>(level) + 1];
  const std::uint64_t code = problem_.code(label.shape);
  auto& rivals = at_shape_[code];
  for (const std::int32_t r : rivals) {
    if (is_no_worse(labels[static_cast<std::size_t>(r)], label, level)) {
      ++effort_->cut;
      return;
    }
  }
  if (knows_onward_) {
    label.bound_pj = std::max(label.bound_pj, spent + onward_->least_pj(level, level + 1, label.shape, label.is_open,
                                                                        label.child, label.needs, limit - spent));
  } else {
    label.bound_pj = std::max(label.bound_pj, spent + crowded_bound(level, label));
    if (label.bound_pj <= limit)
      label.bound_pj = std::max(label.bound_pj, spent + outer_bound(level, label.shape, label));
  }
  if (label.bound_pj > limit) {
    ++effort_->cut;
    return;
  }
  std::erase_if(rivals, [&](std::int32_t r) {
    if (!is_no_worse(label, labels[static_cast<std::size_t>(r)], level)) return false;
    labels[static_cast<std::size_t>(r)].is_dropped = true;
    return true;
  });
  if (rivals.empty()) shapes_used_.push_back(code);
  rivals.push_back(static_cast<std::int32_t>(labels.size()));
  labels.push_back(label);
}

// Whether every way to go on from b is at least as good from a.
bool Search::is_no_worse(const Label& a, const Label& b, int level) const {
  if (a.energy_pj > b.energy_pj || a.cycles > b.cycles || a.is_open != b.is_open || a.accumulator != b.accumulator) return false;
  for (std::size_t t = 0; t < static_cast<std::size_t>(problem_.num_tensors()); ++t) {
    if (a.needs[t] > b.needs[t]) return false;
    if ((a.is_open >> t & 1U) != 0 && a.child[t] != b.child[t]) return false;
  }
  return settles_no_later(a, b, level);
}

// The same for the traffic of levels whose cycles are not known yet.
bool Search::settles_no_later(const Label& a, const Label& b, int level) const {
  const Label* x = &a;
  const Label* y = &b;
  for (int l = level; l >= 0 && x != nullptr; --l) {
    if (x->keep != 0 && has_bandwidth(problem_.parts.arch.level(l))) {
      if (y == nullptr || (x->keep & ~y->keep) != 0 || x->reads > y->reads || x->writes > y->writes) return false;
    }
    const auto inner = [&](const Label* label) { return label == nullptr || label->has_loops ? nullptr : &label_at(l, label->parent); };
    x = inner(x);
    y = inner(y);
  }
  return true;
}

}  // namespace quantloom::lattice

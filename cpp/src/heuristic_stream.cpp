#include "heuristic_stream.hpp"

#include <algorithm>

#include "mapspace_orders.hpp"
#include "use_limits.hpp"

namespace quantloom::detail {
namespace {

constexpr std::uint64_t kOrdersPerVisit = 16;  // the reference's max_permutations_per_if_visit

bool is_within_fanout(const MapspaceParts& parts, const MappingView& view) noexcept {
  for (int b = 0; b < view.num_blocks; ++b) {
    const OrderRule& rule = parts.rules[static_cast<std::size_t>(b)];
    const int first = b * view.num_dims;
    if (rule.spatial && !fits_fanout(rule, view.order + first, view.split[b], view.factors + first)) return false;
  }
  return true;
}

// A visit to one factorization by the pruned random walk.
class Visit {
 public:
  Visit(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book)
      : parts_(setup.parts), digits_(digits), book_(book), point_(parts_), orders_(parts_.rules.size()), row_(parts_.rules.size()) {}

  void run() {
    draw_factorization();
    std::uint64_t visits = 1;
    for (const BlockOrders& orders : orders_) visits = std::min(kOrdersPerVisit, visits * std::min(kOrdersPerVisit, orders.permutations()));
    for (std::uint64_t v = 0; v < visits && !book_.is_over(); ++v) {
      for (std::size_t b = 0; b < orders_.size(); ++b) {
        orders_[b].write(digits_.take(orders_[b].permutations()), &point_.order[b * dims()]);
      }
      if (!look_at_splits()) return;
    }
  }

 private:
  [[nodiscard]] std::size_t dims() const noexcept { return parts_.factors.size(); }

  void draw_factorization() {
    for (std::size_t d = 0; d < dims(); ++d) {
      parts_.factors[d].write(digits_.take(parts_.factors[d].size()), row_);
      for (std::size_t b = 0; b < row_.size(); ++b) point_.factors[b * dims() + d] = row_[b];
    }
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      std::uint32_t units = 0;
      for (std::size_t d = 0; d < dims(); ++d) units |= static_cast<std::uint32_t>(point_.factors[b * dims() + d] == 1) << d;
      orders_[b] = make_orders(parts_.rules[b], units, Enumeration::reference);
    }
  }

  // False if some split fits with no choice of bypasses.
  bool look_at_splits() {
    for (std::size_t b = 0; b < orders_.size(); ++b) point_.split[b] = orders_[b].split_first;
    do {
      if (!look_at_bypasses()) return false;
    } while (!book_.is_over() && next_split());
    return true;
  }

  bool next_split() noexcept {
    for (std::size_t b = 0; b < orders_.size(); ++b) {
      if (point_.split[b] < orders_[b].split_last) {
        ++point_.split[b];
        return true;
      }
      point_.split[b] = orders_[b].split_first;
    }
    return false;
  }

  bool look_at_bypasses() {
    std::copy(parts_.kept.begin(), parts_.kept.end(), point_.keep.begin());
    bool any_fits = false;
    bool is_first = true;
    do {
      const Look look = book_.look(point_.view, !is_first);
      if (look.outcome == Look::Outcome::outside_fanout) return true;
      any_fits = any_fits || look.fits();
      is_first = false;
    } while (!book_.is_over() && next_bypass());
    return any_fits;
  }

  bool next_bypass() noexcept {
    for (const OpenPair& pair : parts_.open) {
      std::uint32_t& keep = point_.keep[static_cast<std::size_t>(pair.level)];
      keep ^= 1U << pair.tensor;
      if ((keep >> pair.tensor & 1U) != 0) return true;
    }
    return false;
  }

  const MapspaceParts& parts_;
  RandomDigits& digits_;
  StreamBook& book_;
  ViewStorage point_;
  std::vector<BlockOrders> orders_;  // [block]
  std::vector<std::uint32_t> row_;
};

}  // namespace

StreamBook::StreamBook(const HeuristicSetup& setup, bool has_budget, Count budget, Count search_size, std::stop_token stop)
    : setup_(setup), has_budget_(has_budget), budget_(budget), search_size_(search_size), stop_(std::move(stop)) {
  stop_if(has_budget_ && budget_ == 0, HeuristicStop::budget);
}

void StreamBook::stop_if(bool condition, HeuristicStop stop) noexcept {
  if (!condition || is_over_) return;
  is_over_ = true;
  end_.stop = stop;
}

Look StreamBook::price(const MappingView& view) {
  if (!is_within_fanout(setup_.parts, view)) return {};
  const Arch& arch = setup_.space.arch();
  const Workload& workload = setup_.space.workload();
  if (limits_lanes(setup_.parts.constraints)) {
    Nest nest;
    build_nest(setup_.parts.constraints, view, nest);
    if (!uses_lanes(setup_.parts.constraints, nest)) return {Look::Outcome::too_large};
  }
  latest_.mapping = setup_.space.materialize(view);
  if (!check_fit(arch, workload, latest_.mapping, setup_.bits, setup_.evaluate).fits()) return {Look::Outcome::too_large};
  const Cost cost = evaluate(arch, workload, latest_.mapping, setup_.bits, setup_.evaluate);
  if (!uses_words(setup_.parts.constraints, cost)) return {Look::Outcome::too_large};
  latest_.energy_pj = cost.energy_pj;
  latest_.cycles = cost.cycles;
  return {Look::Outcome::fits, objective_value(setup_.options.objective, cost.energy_pj, cost.cycles)};
}

Look StreamBook::look(const MappingView& view, bool only_bypass_changed) {
  const Look look = price(view);
  ++end_.looked_at;
  if (look.fits()) {
    ++end_.fitting;
    failing_in_a_row_ = 0;
    const double best = trace_.empty() ? std::numeric_limits<double>::infinity() : trace_.back().objective;
    if (look.objective < best) {
      trace_.push_back({end_.looked_at, look.objective});
      std::swap(best_, latest_);
      fitting_in_a_row_ = 0;
    } else if (!only_bypass_changed) {
      ++fitting_in_a_row_;
    }
  } else if (look.outcome == Look::Outcome::outside_fanout || !only_bypass_changed) {
    ++failing_in_a_row_;
  }
  const HeuristicOptions& options = setup_.options;
  stop_if(search_size_ > 0 && end_.fitting >= search_size_, HeuristicStop::search_size);
  stop_if(options.victory > 0 && fitting_in_a_row_ >= options.victory, HeuristicStop::victory);
  stop_if(options.timeout && failing_in_a_row_ > 0 && failing_in_a_row_ >= *options.timeout, HeuristicStop::timeout);
  stop_if(has_budget_ && end_.looked_at >= budget_, HeuristicStop::budget);
  stop_if((end_.looked_at & 0x3F) == 0 && stop_.stop_requested(), HeuristicStop::interrupted);
  return look;
}

void walk_randomly(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book) {
  ViewStorage point(setup.parts);
  while (!book.is_over()) {
    draw_point(setup.parts, digits, point);
    (void)book.look(point.view, false);
  }
}

void walk_random_pruned(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book) {
  Visit visit(setup, digits, book);
  while (!book.is_over()) visit.run();
}

}  // namespace quantloom::detail

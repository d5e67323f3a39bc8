// One stream of a heuristic search: a walk by one of the heuristics, and the book that it keeps. Private to the heuristics.
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "mapspace_parts.hpp"
#include "quantloom/heuristics.hpp"

namespace quantloom::detail {

// What all streams of a search share.
struct HeuristicSetup {
  const Mapspace& space;
  const MapspaceParts& parts;
  std::span<const int> bits;
  EvaluateOptions evaluate;
  const HeuristicOptions& options;
};

// What one look at a mapping told.
struct Look {
  enum class Outcome { outside_fanout, too_large, fits };
  Outcome outcome = Outcome::outside_fanout;
  double objective = std::numeric_limits<double>::infinity();
  [[nodiscard]] bool fits() const noexcept { return outcome == Outcome::fits; }
};

// Looks at mappings, remembers the best and how it came, and says when the stream is over.
class StreamBook {
 public:
  // budget, search_size: of this stream. It is over at once if has_budget and budget is 0.
  StreamBook(const HeuristicSetup& setup, bool has_budget, Count budget, Count search_size, std::stop_token stop);

  // only_bypass_changed: since the look before, see HeuristicOptions.
  Look look(const MappingView& view, bool only_bypass_changed);

  [[nodiscard]] bool is_over() const noexcept { return is_over_; }
  // The share of the budget that is used up, 0 to 1.
  [[nodiscard]] double progress() const noexcept { return static_cast<double>(end_.looked_at) / static_cast<double>(budget_); }
  [[nodiscard]] const StreamEnd& end() const noexcept { return end_; }
  [[nodiscard]] const std::vector<TracePoint>& trace() const noexcept { return trace_; }
  [[nodiscard]] const Tradeoff& best() const noexcept { return best_; }

 private:
  Look price(const MappingView& view);
  void stop_if(bool condition, HeuristicStop stop) noexcept;

  const HeuristicSetup& setup_;
  bool has_budget_;
  Count budget_;
  Count search_size_;
  std::stop_token stop_;
  bool is_over_ = false;
  StreamEnd end_;
  std::vector<TracePoint> trace_;
  Tradeoff best_;
  Tradeoff latest_;
  Count fitting_in_a_row_ = 0;  // without improvement
  Count failing_in_a_row_ = 0;
};

// Walk until the book is over.
void walk_randomly(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book);
void walk_random_pruned(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book);
void walk_annealing(const HeuristicSetup& setup, RandomDigits& digits, StreamBook& book);

}  // namespace quantloom::detail

// Heuristic searches of a mapspace, to compare the exact mapper with. They know of no optimality: what they return is the
// best mapping they met, with a trace of how it got better.
//   random         points drawn uniformly from the whole numbered space;
//   random_pruned  the reference tool's search of that name: draws a factorization, visits at most 16 random orders of it
//                  and of each all splits and bypasses; loops of bound 1 are not permuted. A failure of the fanout skips
//                  the bypasses left, an order and split that fits with no bypass skips the factorization;
//   annealing      simulated annealing: starts at a random mapping that fits; a step moves a prime factor between two
//                  blocks (or draws a dim's factorization anew), swaps two loops, moves a split or flips a bypass.
// A search consists of streams, each with random numbers of its own and stops of its own, as the reference's threads are.
// Results depend on the seed and the number of streams, not on the number of threads. Other than the reference, streams do
// not share out the factorizations, and their random numbers are not the reference's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

enum class Heuristic { random, random_pruned, annealing };

// "random", "random-pruned", "annealing": in the order of Heuristic.
[[nodiscard]] std::span<const std::string_view> heuristic_names() noexcept;
// One of heuristic_names(); anything else is an Error(spec).
[[nodiscard]] Heuristic parse_heuristic(std::string_view text);

struct HeuristicOptions {
  Heuristic heuristic = Heuristic::random_pruned;
  Objective objective = Objective::edp;  // but pareto
  CostModel model = CostModel::default_model;
  Selection selection = Selection::all;
  PackingRule packing = PackingRule::word;  // with psum_bits: as in EvaluateOptions
  int psum_bits = 0;
  std::uint64_t seed = 1;
  int streams = 1;
  int threads = 0;       // 0: all the machine has
  // Mappings to look at, those that do not fit included, shared out among the streams; 0: no limit, not for annealing.
  Count budget = 10000;
  // The reference's stops, for each stream. A further choice of bypasses for the same factors, orders and splits counts
  // for neither victory nor, if it fails by capacity, timeout.
  Count victory = 0;             // fitting mappings in a row without improvement; 0: never
  std::optional<Count> timeout;  // failing mappings in a row; 0 stops, as the reference does, at the first
  Count search_size = 0;         // fitting mappings, shared out among the streams, rounded up; 0: no limit
};

enum class HeuristicStop { budget, victory, timeout, search_size, interrupted };
[[nodiscard]] std::string_view stop_name(HeuristicStop stop) noexcept;

struct StreamEnd {
  HeuristicStop stop = HeuristicStop::budget;
  Count looked_at = 0;
  Count fitting = 0;
};

// The best objective after so many mappings, the streams taking turns.
struct TracePoint {
  Count looked_at = 0;
  double objective = 0;
  bool operator==(const TracePoint&) const = default;
};

struct HeuristicResult {
  bool found = false;
  Mapping mapping;
  double energy_pj = 0;  // infinite, as the next two, if nothing was found
  double cycles = 0;
  double objective = 0;
  Count looked_at = 0;
  Count fitting = 0;
  std::vector<TracePoint> trace;   // one point for each improvement
  std::vector<StreamEnd> streams;
};

// Throws as Mapspace and evaluate() do, and Error(spec) for options that contradict each other or never end. A requested
// stop throws nothing: what was found so far comes back.
[[nodiscard]] HeuristicResult search_heuristically(const Arch& arch, const Workload& workload, std::span<const int> bits,
                                                   const HeuristicOptions& options = {}, std::stop_token stop = {});

}  // namespace quantloom

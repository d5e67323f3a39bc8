// The mapper: the best mapping of a workload for each of many bit settings, with a certificate of what was looked at.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

// pareto: every trade-off of energy and cycles that no other mapping beats in both.
enum class Objective { energy, cycles, edp, ed2p, pareto };

// "energy", "cycles", "edp", "ed2p" or "pareto"; anything else is an Error(spec).
[[nodiscard]] Objective parse_objective(std::string_view text);
// energy_pj, cycles, energy_pj * cycles or energy_pj * cycles^2; pareto: cycles.
[[nodiscard]] double objective_value(Objective objective, double energy_pj, double cycles) noexcept;

// branch_and_bound looks at few mappings and is for spaces whose groups of dims can be listed; exhaustive walks them all.
// automatic: branch and bound where it is possible and no budget is set, then shortest chains of tile shapes (spaces without
// constraints), then the walk. The optima are the same.
enum class SearchMethod { automatic, exhaustive, branch_and_bound };

// "automatic", "exhaustive" or "branch-and-bound"; anything else is an Error(spec).
[[nodiscard]] SearchMethod parse_search_method(std::string_view text);

struct MapperOptions {
  Objective objective = Objective::edp;
  CostModel model = CostModel::default_model;
  Selection selection = Selection::all;
  int threads = 0;       // 0: all the machine has
  Count budget = 0;      // mappings to price at most (spread evenly over the space), or beginnings of mappings to look at (chains
                         // of tile shapes; 512 entries of a table of bounds count as one), about; 0: no limit
  PackingRule packing = PackingRule::word;  // the last two: as in EvaluateOptions
  int psum_bits = 0;
  SearchMethod method = SearchMethod::automatic;
};

// What stands behind "optimal": the space, how much of it was looked at, and a bound that holds in any case.
struct Certificate {
  std::string method;          // how the space was searched
  std::string space_size;      // points of the mapspace, decimal
  Count considered = 0;        // different mappings within the fanout that were looked at one by one
  Count fitting = 0;           // of these, mappings whose tiles fit at these bits
  Count pruned_by_bound = 0;   // left out because their lower bound exceeds the best: fitting mappings (exhaustive), or
                               // branches of the search (branch and bound), or beginnings that are worse than another one
                               // (chains of tile shapes)
  bool exhausted = false;      // the whole space is accounted for: the result is the optimum of the space
  double lower_bound = 0;      // no mapping of the space has a smaller objective; pareto: 0
};

// Why nothing fits: the mapping that comes nearest, and where it fails.
struct Infeasibility {
  int level = -1;                   // -1: no mapping is within the fanout and the constraints
  Count need_words = 0;
  Count have_words = 0;
  std::vector<Count> tensor_words;  // each tensor's share of need_words
};

// Why an answer is not a proven one though no budget was given: what was looked at or is too large, and what to do. Empty otherwise.
struct Refusal {
  std::string reason;
  std::string way_out;
};

struct Tradeoff {
  Mapping mapping;
  double energy_pj = 0;
  double cycles = 0;
};

// pareto: front has all trade-offs, ascending in cycles and descending in energy; the other fields are those of its point
// of least energy * cycles, and that product is the objective.
struct Optimum {
  bool found = false;
  Mapping mapping;
  double energy_pj = 0;
  double cycles = 0;
  double objective = 0;
  std::vector<Tradeoff> front;  // pareto only
  Certificate certificate;
  Infeasibility infeasibility;  // meaningful if nothing was found by an exhaustive search
  Refusal refusal;
};

// How far a search is. best and lower_bound are of the objective of the setting in work, as far as they are known: infinite and 0
// otherwise. The least of its mapspace lies between them; they say how near the search is when it is stopped.
struct SearchState {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  double best = std::numeric_limits<double>::infinity();
  double lower_bound = 0;
};

using Progress = std::function<void(const SearchState& state)>;

// Best mapping for each setting (bits per tensor, 0 = one element a word). Equal settings, also those that pack alike, are
// solved once. Ties: smaller objective, then smaller energy, then the order of the mapspace (chains of tile shapes: the first
// found; their lower bound leaves 1e-11 for the order of sums); the answer does not depend
// on the number of threads. Throws as Mapspace does, and Error(mapping) for bits that exceed a word. Settings that no method can
// finish are refused, each with the best that was found for it, unless a budget or a method is given; the others are solved.
// A requested stop throws nothing: results found so far come back with exhausted = false.
[[nodiscard]] std::vector<Optimum> optimize(const Arch& arch, const Workload& workload,
                                            const std::vector<std::vector<int>>& settings, const MapperOptions& options = {},
                                            std::stop_token stop = {}, const Progress& progress = {});

}  // namespace quantloom

// Branch and bound for one bit setting after the other over shared group lists. Private to the mapper.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include "exact_leaf.hpp"
#include "exact_lists.hpp"
#include "exact_overlap.hpp"
#include "exact_window.hpp"

namespace quantloom::exact {

inline constexpr int kMaxGroups = kMaxTensors + 1;

// One bucket of every group: with it all lanes, hence the steps of the units, are known.
struct Signature {
  std::array<int, kMaxGroups> bucket{};
  Count steps = 1;
  double leakage_pj = 0;       // per cycle
  int ratio = 0;               // number of the set of cluster ratios
  std::vector<double> instances;  // [level]: used
  std::vector<double> floor;      // elements that windows move at least, as OverlapBound::add_floor() writes them
  std::vector<Count> rest_tile;   // [group * tile parts + part]: least product over the groups further in
};

// Skeletons, lists and signatures of one choice of bypasses.
struct Plan {
  Plan(const Problem& problem, const KeepChoice& choice, CostModel model);

  KeepChoice keep;
  std::vector<Link> links;
  std::vector<TilePart> parts;                      // by level
  std::vector<std::unique_ptr<GroupLists>> groups;  // [group]
  std::vector<std::array<int, kMaxGroups>> skeletons;  // lists of each skeleton, [group]
  std::vector<Signature> signatures;
  std::vector<std::vector<double>> ratios;          // [ratio][level]: accesses paid for / accesses made
  std::vector<std::unique_ptr<WindowBound>> windows;    // of inputs without a closed form, compat
  std::vector<std::unique_ptr<OverlapBound>> overlaps;  // the same, default model
  bool is_plain = true;                                 // no tensor has tiles that are more than products
  std::vector<std::uint32_t> completed;  // [group]: tensors without plain tiles whose last dims are chosen here
  std::size_t windows_known = 0;         // group at which all dims of all windows are chosen

 private:
  void find_completed(const Problem& problem);
  void add_floors(const Problem& problem, Signature& signature) const;
  void add_signatures(const Problem& problem, CostModel model, std::size_t group, Signature& signature, std::vector<std::uint64_t>& lanes);
};

struct Effort {
  Count priced = 0;   // mappings evaluated exactly
  Count cut = 0;      // subtrees left out because of their bound
  bool complete = true;
  double open_bound = 0;  // if not complete: least bound among what was left
};

class Search {
 public:
  Search(const Problem& problem, const SettingTable& settings, const MapperOptions& options, std::size_t most_leaf_bytes = kMostLeafBytes);

  // Starts from what was found for the classes before. budget: mappings to price, 0 = no limit.
  Best solve(std::size_t setting_class, Count budget, const std::stop_token& stop, Effort& effort);
  [[nodiscard]] Mapping materialize(const Position& position) { return leaf_.materialize(position); }

 private:
  struct Candidate {
    double objective = 0;  // lower bounds
    double energy_pj = 0;
    int plan = 0;
    int skeleton = 0;
    int signature = 0;
  };
  // Weights of a group's components, and the number of this set of weights.
  struct Pricing {
    int number = 0;
    std::vector<double> weights;
  };
  // How many words a part of a tile takes, and whether it is the last one of its level.
  struct WordRule {
    int tensor = 0;
    bool is_regular = true;
    bool is_last = false;
    int shift = -1;          // elements per word are 1 << shift; -1 if no power of two
    Count elements = 1;      // per word
    Count capacity_words = 0;
  };
  // What a plan's bounds are made of for one class.
  struct PlanWeights {
    std::vector<std::vector<Pricing>> pricings;         // [ratio][group]
    std::vector<std::vector<double>> floor_element_pj;  // [ratio]
    std::vector<double> cycles;                         // [signature]
    std::vector<double> energy_pj;                      // [signature]: constant, and the floor of windows
    std::vector<WordRule> words;                        // [tile part]
  };
  struct Depth {
    const GroupVectors* vectors = nullptr;
    const PricedList* priced = nullptr;
    std::size_t bucket = 0;
    double rest_pj = 0;                 // least cost of the groups further in
    const Count* rest_tile = nullptr;   // [tile part]: least product over the groups not yet chosen
    std::vector<Count> chosen;          // [tile part]: product over the groups chosen so far
    int vector = 0;                     // chosen here
  };

  void weigh(std::size_t plan);
  [[nodiscard]] PricedList& priced_list(std::size_t plan, int skeleton, std::size_t group, int ratio);
  void collect(bool only_best, std::vector<Candidate>& out);
  // Compute cycles of the class, and the energy of arithmetic and leakage at least.
  [[nodiscard]] double cycles_of(const Signature& signature) const noexcept { return compute_cycles(signature.steps, mac_.rate); }
  [[nodiscard]] double constant_pj(const Signature& signature) const noexcept { return problem_.macs * mac_.energy_pj + signature.leakage_pj * cycles_of(signature); }
  // Energy that windows take at least, given the pJ of each element of the floor.
  [[nodiscard]] static double floor_pj(const Signature& signature, const std::vector<double>& element_pj) noexcept;
  [[nodiscard]] std::vector<double> floor_element_pj(const Plan& plan, int ratio) const;
  [[nodiscard]] double words_per_element(const Plan& plan, int tensor, int level, bool psum) const;
  void open(const Candidate& candidate);
  void weigh_windows(const std::vector<double>& ratios);
  void descend(std::size_t depth, double spent_pj);
  void load_rows(std::size_t depth);
  [[nodiscard]] bool choose(std::size_t depth, int vector);
  [[nodiscard]] Count spanned_tile(const TilePart& part) const;
  [[nodiscard]] bool overlaps_exceed(double room_pj);
  [[nodiscard]] bool windows_exceed_early(double room_pj);
  [[nodiscard]] bool windows_exceed(double room_pj);
  void visit_leaf(double energy_pj);

  const Problem& problem_;
  const SettingTable& settings_;
  const MapperOptions& options_;
  LeafPricer leaf_;
  std::vector<std::unique_ptr<Plan>> plans_;
  std::map<std::pair<std::size_t, std::vector<double>>, int> pricings_;  // by group and weights

  // Of the class being solved.
  std::vector<int> packing_;
  MacMode mac_;
  std::vector<PlanWeights> weights_;  // [plan]
  Best best_;
  Effort* effort_ = nullptr;
  Count priced_limit_ = 0;
  std::stop_token stop_;
  bool halted_ = false;
  std::uint64_t nodes_ = 0;

  // Of the candidate being searched.
  Plan* plan_ = nullptr;
  double cycles_ = 0;
  double limit_pj_ = 0;
  std::vector<std::vector<double>> window_weights_;  // [window][level]
  const WordRule* words_ = nullptr;                  // [tile part]
  const Signature* signature_ = nullptr;
  const std::vector<double>* overlap_element_pj_ = nullptr;  // as OverlapBound::add_element_energy() writes it
  double floor_pj_ = 0;                              // of the windows, part of the constant energy
  std::vector<Depth> depths_;
  std::array<std::uint32_t, kMaxDims> rows_{};
};

}  // namespace quantloom::exact

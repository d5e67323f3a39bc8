// Exact evaluation of one factorization: every different order and split of it, by the same counting and pricing as
// evaluate(). Private to the mapper.
#pragma once

#include <vector>

#include "exact_problem.hpp"
#include "nest.hpp"
#include "quantloom/mapper.hpp"
#include "settings.hpp"
#include "tensor_price.hpp"

namespace quantloom::exact {

// Where a mapping stands in the order of the mapspace: factorization, then permutations, splits and bypasses.
struct Position {
  std::array<std::uint32_t, kMaxDims> rows{};               // [dim], last dim most significant
  std::array<std::uint64_t, 2 * kMaxLevels> permutation{};  // [block], outermost most significant
  std::array<std::uint8_t, 2 * kMaxLevels> split{};
  std::uint64_t keep = 0;
};

[[nodiscard]] bool comes_before(const Position& a, const Position& b, const Problem& problem) noexcept;

struct Incumbent {
  bool found = false;
  double energy_pj = 0;
  double cycles = 0;
  double objective = 0;
  Position position;
};

class LeafPricer {
 public:
  LeafPricer(const Problem& problem, const SettingTable& settings, const MapperOptions& options);

  // Prices all orders and splits of the factorization that fit for one class and keeps the best; ties go to the mapping
  // that comes first in the mapspace.
  void update_best(const std::uint32_t* rows, const KeepChoice& keep, const std::vector<int>& packing, Incumbent& best);
  // The same for one known mapping.
  void try_mapping(const Position& position, const std::vector<int>& packing, Incumbent& best);
  [[nodiscard]] Mapping materialize(const Position& position);

  [[nodiscard]] Count priced() const noexcept { return priced_; }

 private:
  void load_factors(const std::uint32_t* rows, const KeepChoice& keep);
  void set_position(const Position& position);
  bool next_order();
  bool settle_order();
  void price(const std::vector<int>& packing, Incumbent& best);
  [[nodiscard]] bool fits(const std::vector<int>& packing);
  [[nodiscard]] double count_cycles() const;

  const Problem& problem_;
  const SettingTable& settings_;
  const MapperOptions& options_;
  detail::ViewStorage storage_;
  Position position_;
  std::vector<detail::BlockOrders> orders_;  // [block]
  double arithmetic_energy_pj_ = 0;
  bool has_bandwidth_ = false;
  Count priced_ = 0;
  Nest nest_;
  CompatScratch scratch_;
  TensorCounts counts_;
  std::vector<TensorPrice> prices_;  // [tensor]
};

}  // namespace quantloom::exact

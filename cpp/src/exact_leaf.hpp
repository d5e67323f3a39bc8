// Exact evaluation of one factorization: every different order and split of it, by the same counting and pricing as
// evaluate(). Private to the mapper.
#pragma once

#include <vector>

#include "exact_problem.hpp"
#include "incumbents.hpp"
#include "nest.hpp"
#include "quantloom/mapper.hpp"
#include "settings.hpp"
#include "tensor_price.hpp"

namespace quantloom::exact {

// Where a mapping stands in the order of the mapspace: factorization, then permutations, splits and bypasses.
struct Position {
  std::array<std::uint32_t, kMaxDims> rows{};               // [dim], last dim most significant
  std::array<std::uint64_t, std::size_t{2} * kMaxLevels> permutation{};  // [block], outermost most significant
  std::array<std::uint8_t, std::size_t{2} * kMaxLevels> split{};
  std::uint64_t keep = 0;
};

[[nodiscard]] bool comes_before(const Position& a, const Position& b, const Problem& problem) noexcept;

using Best = Incumbents<Position>;

class LeafPricer {
 public:
  LeafPricer(const Problem& problem, const SettingTable& settings);

  // Prices all orders and splits of the factorization that fit for one class and keeps the best; ties go to the mapping
  // that comes first in the mapspace.
  void update_best(const std::uint32_t* rows, const KeepChoice& keep, std::size_t setting_class, Best& best);
  // The same for one known mapping.
  void try_mapping(const Position& position, std::size_t setting_class, Best& best);
  [[nodiscard]] Mapping materialize(const Position& position);

  [[nodiscard]] Count priced() const noexcept { return priced_; }

 private:
  // False if the lanes of some spatial block fit under no order.
  bool load_factors(const std::uint32_t* rows, const KeepChoice& keep);
  void set_position(const Position& position);
  bool next_order();
  bool settle_order();
  void price(std::size_t setting_class, Best& best);
  [[nodiscard]] bool fits(const std::vector<int>& packing);
  [[nodiscard]] double count_cycles(const MacMode& mode) const;

  const Problem& problem_;
  const SettingTable& settings_;
  detail::ViewStorage storage_;
  Position position_;
  std::vector<detail::BlockOrders> orders_;  // [block]
  bool has_bandwidth_ = false;
  bool places_matter_ = true;  // where on the mesh a child stands makes a difference
  Count priced_ = 0;
  Nest nest_;
  CompatScratch scratch_;
  TensorCounts counts_;
  std::vector<TensorPrice> prices_;  // [tensor]
};

}  // namespace quantloom::exact

// Exact evaluation of one factorization: every different order and split of it, by the same counting and pricing as
// evaluate(). Counts do not depend on bits, and what a tensor costs depends on its own packing only: so each factorization is
// counted once for all classes, and remembered. Private to the mapper.
#pragma once

#include <unordered_map>
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

// What a factorization costs under each of its orders and splits, whatever the bits are: a class adds up what its packings take.
struct Leaf {
  // Orders and splits that cost the same at all packings; the first of them in the mapspace stands for them.
  struct Price {
    std::uint64_t order = 0;  // number, as LeafPricer::set_order() reads it
    Count times = 0;
  };
  // Orders and splits whose tiles take the same words. They are counted once a class comes in which they fit.
  struct Shape {
    std::array<std::uint32_t, kMaxTensors> partial{};  // levels that hold partial sums
    std::vector<Count> words;            // [packing of a tensor][level with a capacity]
    std::vector<std::uint64_t> uncounted;  // orders
    std::vector<Price> prices;
    std::vector<double> shares;          // [price][packing of a tensor]: energy, then reads and writes of levels with a bandwidth
  };
  std::vector<Shape> shapes;
  double leakage_pj = 0;  // per cycle
  Count steps = 1;
  std::size_t seen = 0;   // number of the class that last looked at it, counted from 1
};

// Leaves that take more are counted anew by each class.
inline constexpr std::size_t kMostLeafBytes = std::size_t{64} << 20;

class LeafPricer {
 public:
  LeafPricer(const Problem& problem, const SettingTable& settings, std::size_t most_bytes);

  // What follows is asked for this class.
  void begin_class(std::size_t setting_class);
  // Prices all orders and splits of the factorization that fit and keeps the best; ties go to the mapping that comes first in
  // the mapspace. Nothing if this class was asked for it before.
  void update_best(const std::uint32_t* rows, const KeepChoice& keep, Best& best);
  // Remembers a mapping for the classes that follow, which try_known() offers it to.
  void add_known(const Position& position);
  void try_known(Best& best);
  [[nodiscard]] Mapping materialize(const Position& position);

  [[nodiscard]] Count priced() const noexcept { return priced_; }

 private:
  struct Known {
    Position position;
    Leaf leaf;
  };

  // False if the lanes of some spatial block fit under no order.
  bool load_factors(const std::uint32_t* rows, const KeepChoice& keep);
  void set_position(const Position& position);
  void set_order(std::uint64_t number);
  bool next_order();
  bool settle_order();
  void list_orders(Leaf& leaf);
  void add_order(std::uint64_t number, Leaf& leaf);
  [[nodiscard]] std::vector<Count> count_words(const std::array<std::uint32_t, kMaxTensors>& partial) const;
  void count(std::uint64_t number, Leaf::Shape& shape);
  void count_shares();
  [[nodiscard]] bool fits(const Leaf::Shape& shape) const;
  [[nodiscard]] double count_cycles(const double* shares, Count steps) const;
  template <class GetPosition>
  void offer(const Leaf& leaf, const Leaf::Shape& shape, const GetPosition& get_position, Best& best);

  const Problem& problem_;
  const SettingTable& settings_;
  detail::ViewStorage storage_;
  Position position_;
  std::vector<detail::BlockOrders> orders_;  // [block]
  std::vector<int> bandwidth_levels_;
  bool places_matter_ = true;  // where on the mesh a child stands makes a difference
  Count priced_ = 0;
  Nest nest_;
  CompatScratch scratch_;
  TensorCounts counts_;
  TensorPrice price_;
  std::vector<double> shares_;                // of the order being counted
  std::size_t share_size_ = 1;                // numbers of each packing in shares_
  std::vector<std::size_t> first_packing_;    // [tensor]: its packings follow those of the tensors before
  std::size_t class_ = 0;
  std::vector<std::size_t> packing_;          // [tensor]: of the class, counted through all tensors
  std::size_t asked_ = 0;                     // number of the class, counted from 1
  std::vector<std::unordered_map<std::uint64_t, Leaf>> leaves_;  // [choice of bypasses], by factorization
  std::size_t most_bytes_ = 0;
  std::size_t bytes_ = 0;                     // that leaves take, about
  std::vector<Known> known_;
};

}  // namespace quantloom::exact

// Steps through the factorizations that a count must look at, group by group of equal spatial factors, with the tiles they
// make; what one factorization adds to the counts is left to the derived class. Private to the mapspace.
#pragma once

#include <array>
#include <atomic>
#include <stop_token>
#include <vector>

#include "mapspace_count_plan.hpp"

namespace quantloom::detail {

struct ClassTotals {
  Wide valid = 0;
  Wide fanout = 0;
  Wide parallelism = 0;
  std::array<Wide, kMaxLevels> utilization{};
  std::array<Wide, kMaxLevels> capacity{};
};

// Counts combinations of groups; one for each thread.
class CountWalk {
 public:
  CountWalk(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped);
  virtual ~CountWalk() = default;
  CountWalk(const CountWalk&) = delete;
  CountWalk& operator=(const CountWalk&) = delete;

  void run(std::uint64_t begin, std::uint64_t end);
  [[nodiscard]] bool overflowed() const noexcept { return overflow_; }
  [[nodiscard]] const ClassTotals& totals(std::size_t c) const noexcept { return totals_[c]; }

 protected:
  // The orders and splits of the spatial blocks for one combination of groups.
  struct Fanout {
    Wide pairs = 1;   // (order, split)
    Wide within = 1;  // those within the fanout
    std::array<std::array<std::uint32_t, kMaxDims>, kMaxLevels> factors{};
    std::array<BlockOrders, kMaxLevels> orders;
  };

  // A new combination of groups: its fanout() is known.
  virtual void begin_combination() {}
  // Adds the factorization whose tiles and entries are known. loops: the dims to permute by ordered block.
  virtual void count_factorization(std::uint64_t loops) = 0;

  [[nodiscard]] const CountPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] const Fanout& fanout() const noexcept { return fanout_; }
  [[nodiscard]] Count tile(std::size_t pair) const noexcept { return tiles_[pair]; }
  // Of the current factorization: the number of the entry in CountPlan::tables[table].
  [[nodiscard]] std::size_t entry(std::size_t table) const noexcept { return entries_[table]; }
  [[nodiscard]] ClassTotals& totals_of(std::size_t c) noexcept { return totals_[c]; }
  [[nodiscard]] Wide temporal_orders(std::uint64_t loops);
  [[nodiscard]] Wide multiply(Wide a, Wide b);
  void add(Wide& total, Wide value);

 private:
  bool should_stop();
  bool poll();
  void select(std::uint64_t combination);
  void count_combination();
  [[nodiscard]] int find_misused_level() const;
  void count_misused(int level);
  Wide sum_orders(std::size_t depth, std::uint64_t loops);
  void count_tiles(std::size_t depth, std::uint64_t loops);
  void count_last_dim(std::uint64_t loops);

  const CountPlan& plan_;
  const std::stop_token& stop_;
  std::atomic<bool>& stopped_;
  std::vector<const DimTable::Group*> group_;  // [table]
  std::vector<std::size_t> entries_;           // [table]
  Fanout fanout_;
  std::vector<Count> slots_;        // [depth][slot]: extents by the dims above depth
  std::vector<Count> outer_tiles_;  // [pair]: product of the ranks the last dim does not move
  std::vector<Count> tiles_;        // [pair]
  std::vector<ClassTotals> totals_;
  std::uint64_t polls_ = 0;
  bool leaving_ = false;
  bool overflow_ = false;
};

}  // namespace quantloom::detail

// Counting without visiting: for a given factorization the number of orders and splits is a product of factorials,
// those within the fanout follow from the spatial blocks alone, and capacity depends only on the factorization and on
// what is kept. So one step handles one factorization with all its orders, splits and bypasses, and factorizations that
// share their spatial factors share the fanout. Counts reach past 64 bits; they are kept in 128 and checked for
// overflow.
#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "mapspace_count_plan.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace detail {
namespace {

struct ClassTotals {
  Wide valid = 0;
  Wide fanout = 0;
  Wide parallelism = 0;
  std::array<Wide, kMaxLevels> utilization{};
  std::array<Wide, kMaxLevels> capacity{};
};

// Counts combinations of groups; one for each thread.
class Counter {
 public:
  Counter(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped)
      : plan_(plan),
        stop_(stop),
        stopped_(stopped),
        has_open_(!plan.parts.open.empty()),
        group_(plan.tables.size()),
        slots_((plan.tables.size() + 1) * plan.num_slots, 1),
        outer_tiles_(plan.pairs.size()),
        words_(plan.pairs.size()),
        fits_(plan.levels.size()),
        over_(plan.levels.size()),
        totals_(plan.classes.size()) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i].resize(plan.pairs[i].per_word.size());
    for (std::size_t i = 0; i < fits_.size(); ++i) {
      fits_[i].resize(plan.levels[i].packings.size());
      over_[i].resize(plan.levels[i].packings.size());
    }
  }

  void run(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end && !should_stop(); ++i) {
      select(i);
      count_combination();
    }
  }

  [[nodiscard]] bool overflowed() const noexcept { return overflow_; }
  [[nodiscard]] const ClassTotals& totals(std::size_t c) const noexcept { return totals_[c]; }

 private:
  // The orders and splits of the spatial blocks for one combination of groups.
  struct Fanout {
    Wide pairs = 1;   // (order, split)
    Wide within = 1;  // those within the fanout
    std::array<std::array<std::uint32_t, kMaxDims>, kMaxLevels> factors{};
    std::array<BlockOrders, kMaxLevels> orders;
  };

  bool should_stop() {
    if (stopped_.load(std::memory_order_relaxed)) return true;
    if (!stop_.stop_requested()) return false;
    stopped_ = true;
    return true;
  }

  // A combination can hold millions of factorizations, so it is left early too: once true, true at every depth.
  bool poll() {
    if (!leaving_ && (++polls_ & 0xFFFFU) == 0) leaving_ = should_stop();
    return leaving_;
  }

  Wide multiply(Wide a, Wide b) {
    if (!plan_.may_overflow) return a * b;
    Wide out = 0;
    overflow_ |= __builtin_mul_overflow(a, b, &out);
    return out;
  }

  void add(Wide& total, Wide value) {
    total += value;
    overflow_ |= total < value;
  }

  void select(std::uint64_t combination) {
    for (std::size_t d = 0; d < group_.size(); ++d) {
      const DimTable& table = plan_.tables[d];
      group_[d] = &table.groups[combination % table.groups.size()];
      combination /= table.groups.size();
    }
    fanout_.pairs = fanout_.within = 1;
    first_pair_.reset();
    for (std::size_t s = 0; s < plan_.spatial_blocks.size(); ++s) {
      const OrderRule& rule = plan_.parts.rules[plan_.spatial_blocks[s]];
      auto& factors = fanout_.factors[s];
      std::uint32_t units = 0;
      for (std::size_t d = 0; d < group_.size(); ++d) {
        const auto dim = static_cast<std::size_t>(plan_.tables[d].dim);
        factors[dim] = group_[d]->spatial[s];
        units |= static_cast<std::uint32_t>(factors[dim] == 1) << dim;
      }
      const BlockOrders& orders = fanout_.orders[s] = make_orders(rule, units, plan_.enumeration);
      fanout_.pairs = multiply(fanout_.pairs, static_cast<Wide>(orders.permutations()) * orders.splits());
      fanout_.within = multiply(fanout_.within, count_within_fanout(rule, orders, factors.data()));
    }
    if (plan_.enumeration == Enumeration::distinct) fanout_.pairs = fanout_.within;
  }

  void count_combination() {
    if (fanout_.within > 0) {
      const int misused = find_misused_level();
      if (misused == kUsedWell) {
        count_tiles(0, 0);
      } else {
        count_misused(misused);
      }
    } else if (fanout_.pairs > 0) {
      const Wide failures = multiply(fanout_.pairs, sum_orders(0, 0));
      for (ClassTotals& t : totals_) add(t.fanout, failures);
    }
  }

  static constexpr int kUsedWell = -1;
  static constexpr int kTooLittleParallelism = -2;

  // The innermost level of whose fanout the combination uses too little or too much.
  [[nodiscard]] int find_misused_level() const {
    Count units = 1;
    for (std::size_t s = 0; s < plan_.spatial_blocks.size(); ++s) {
      const Block& block = plan_.parts.constraints.blocks[plan_.spatial_blocks[s]];
      const UseLimit& limit = plan_.parts.constraints.use[static_cast<std::size_t>(block.level)];
      Count lanes = 1;
      for (std::size_t d = 0; d < plan_.tables.size(); ++d) lanes = saturating_mul(lanes, static_cast<Count>(fanout_.factors[s][d]));
      if (lanes < limit.min_lanes || lanes > limit.max_lanes) return block.level;
      units = saturating_mul(units, lanes);
    }
    return units < plan_.parts.constraints.min_units ? kTooLittleParallelism : kUsedWell;
  }

  void count_misused(int level) {
    const Wide orders = sum_orders(0, 0);
    const Wide outside = multiply(fanout_.pairs - fanout_.within, orders);
    Wide failures = multiply(fanout_.within, orders);
    if (plan_.enumeration == Enumeration::distinct) {
      for (const Wide choices : plan_.bypasses) failures = multiply(failures, choices);
    }
    for (ClassTotals& t : totals_) {
      add(t.fanout, outside);
      add(level == kTooLittleParallelism ? t.parallelism : t.utilization[static_cast<std::size_t>(level)], failures);
    }
  }

  // Sum over the combination's factorizations of their temporal orders.
  Wide sum_orders(std::size_t depth, std::uint64_t loops) {
    if (depth == plan_.tables.size()) return temporal_orders(loops);
    Wide sum = 0;
    for (const auto& [added, entries] : group_[depth]->loops) {
      add(sum, multiply(entries, sum_orders(depth + 1, loops + added)));
    }
    return sum;
  }

  Wide temporal_orders(std::uint64_t loops) {
    Wide orders = 1;
    for (; loops != 0; loops >>= kOrderBits) orders = multiply(orders, kFactorial[loops & ((1U << kOrderBits) - 1)]);
    return orders;
  }

  // Walks the combination's factorizations, building up tile extents dim by dim.
  void count_tiles(std::size_t depth, std::uint64_t loops) {
    if (depth + 1 == plan_.tables.size()) {
      count_last_dim(loops);
      return;
    }
    const DimTable& table = plan_.tables[depth];
    const std::size_t width = table.contributions.size();
    Count* const here = slots_.data() + depth * plan_.num_slots;
    Count* const next = here + plan_.num_slots;
    for (std::size_t e = group_[depth]->begin; e < group_[depth]->end && !poll(); ++e) {
      std::copy(here, next, next);
      for (std::size_t c = 0; c < width; ++c) {
        Count& slot = next[table.contributions[c].slot];
        slot = saturating_add(slot, table.extents[e * width + c]);
      }
      count_tiles(depth + 1, loops + table.free_loops[e]);
    }
  }

  // The innermost loop: only the ranks that the last dim moves are worked out anew.
  void count_last_dim(std::uint64_t loops) {
    const DimTable& table = plan_.tables.back();
    const std::size_t width = table.contributions.size();
    const Count* const slots = slots_.data() + (plan_.tables.size() - 1) * plan_.num_slots;
    std::size_t next = 0;
    for (std::size_t p = 0; p < plan_.pairs.size(); ++p) {
      Count tile = 1;
      for (std::size_t r = plan_.pairs[p].slot_begin; r < plan_.pairs[p].slot_end; ++r) {
        const bool moves = next < width && table.contributions[next].slot == r;
        next += moves ? 1 : 0;
        if (!moves) tile = saturating_mul(tile, slots[r]);
      }
      outer_tiles_[p] = tile;
    }
    for (std::size_t e = group_.back()->begin; e < group_.back()->end && !poll(); ++e) {
      const Count* const extents = table.extents.data() + e * width;
      std::size_t c = 0;
      for (std::size_t p = 0; p < plan_.pairs.size(); ++p) {
        Count tile = outer_tiles_[p];
        for (; c < width && table.contributions[c].slot < plan_.pairs[p].slot_end; ++c) {
          tile = saturating_mul(tile, saturating_add(slots[table.contributions[c].slot], extents[c]));
        }
        for (std::size_t w = 0; w < words_[p].size(); ++w) words_[p][w] = ceil_div(tile, plan_.pairs[p].per_word[w]);
      }
      count_factorization(loops + table.free_loops[e]);
    }
  }

  void count_factorization(std::uint64_t loops) {
    const Wide orders = temporal_orders(loops);
    const Wide within = multiply(fanout_.within, orders);
    const Wide outside = multiply(fanout_.pairs, orders) - within;
    for (std::size_t i = 0; i < plan_.levels.size(); ++i) find_fitting(i);
    for (std::size_t c = 0; c < totals_.size(); ++c) {
      const auto& packing = plan_.classes[c];
      bool is_valid = true;
      for (std::size_t i = 0; i < packing.size() && is_valid; ++i) is_valid = fits_[i][packing[i]] > 0;
      const bool is_skipped = !is_valid && plan_.enumeration == Enumeration::reference;
      add(totals_[c].fanout, is_skipped ? first_within_fanout(loops) : outside);
      if (is_valid && !has_open_) {
        add(totals_[c].valid, within);
      } else {
        count_bypasses(packing, is_skipped ? 1 : within, totals_[c]);
      }
    }
  }

  // For each packing of a checked level the number of choices of what is kept that fit it, and of those too large for it.
  void find_fitting(std::size_t i) {
    const CheckedLevel& level = plan_.levels[i];
    for (std::size_t k = 0; k < level.packings.size(); ++k) {
      Count kept = 0;
      std::array<Count, kMaxTensors> open{};
      unsigned num_open = 0;
      for (std::size_t p = level.pair_begin; p < level.pair_end; ++p) {
        const Count words = words_[p][level.packings[k][p - level.pair_begin]];
        if (plan_.pairs[p].open) {
          open[num_open++] = words;
        } else {
          kept = saturating_add(kept, words);
        }
      }
      std::uint64_t fits = 0;
      std::uint64_t over = 0;
      for (unsigned set = 0; set < 1U << num_open; ++set) {
        Count need = kept;
        for (unsigned t = 0; t < num_open; ++t) need = (set >> t & 1U) != 0 ? saturating_add(need, open[t]) : need;
        fits += need <= level.capacity && need >= level.min_words ? 1 : 0;
        over += need > level.capacity ? 1 : 0;
      }
      fits_[i][k] = fits;
      over_[i][k] = over;
    }
  }

  // Adds all choices of what is kept, times the orders they stand for; one that does not fit is counted at the
  // innermost level that is too small.
  void count_bypasses(const std::vector<std::size_t>& packing, Wide times, ClassTotals& t) {
    Wide fitting = times;
    std::size_t checked = 0;
    for (std::size_t l = 0; l < plan_.bypasses.size(); ++l) {
      Wide fits = plan_.bypasses[l];
      Wide over = 0;
      if (checked < plan_.levels.size() && plan_.levels[checked].level == l) {
        fits = fits_[checked][packing[checked]];
        over = over_[checked][packing[checked]];
        ++checked;
      }
      if (const Wide fails = plan_.bypasses[l] - fits; fails > 0) {
        Wide times_outside = fitting;
        for (std::size_t o = l + 1; o < plan_.bypasses.size(); ++o) times_outside = multiply(times_outside, plan_.bypasses[o]);
        add(t.capacity[l], multiply(times_outside, over));
        add(t.utilization[l], multiply(times_outside, fails - over));
      }
      fitting = multiply(fitting, fits);
    }
    add(t.valid, fitting);
  }

  // How many (order, split) pairs the reference tries before the first one within the fanout: its number when splits
  // run fastest and, among splits and orders, the innermost block.
  Wide first_within_fanout(std::uint64_t loops) {
    if (!first_pair_) {
      first_pair_.emplace();
      for (std::size_t s = 0; s < plan_.spatial_blocks.size(); ++s) {
        const OrderRule& rule = plan_.parts.rules[plan_.spatial_blocks[s]];
        first_pair_->push_back(find_first_within_fanout(rule, fanout_.orders[s], fanout_.factors[s].data()));
      }
    }
    Wide number = 0;
    Wide weight = 1;
    for (std::size_t s = 0; s < first_pair_->size(); ++s) {
      add(number, multiply(weight, (*first_pair_)[s].split));
      weight = multiply(weight, fanout_.orders[s].splits());
    }
    std::size_t spatial = 0;
    std::size_t ordered = 0;
    for (std::size_t b = 0; b < plan_.parts.rules.size(); ++b) {
      if (spatial < plan_.spatial_blocks.size() && plan_.spatial_blocks[spatial] == b) {
        add(number, multiply(weight, (*first_pair_)[spatial].permutation));
        weight = multiply(weight, fanout_.orders[spatial].permutations());
        ++spatial;
      } else if (ordered < plan_.ordered_blocks.size() && plan_.ordered_blocks[ordered] == b) {
        weight = multiply(weight, kFactorial[loops >> (ordered * kOrderBits) & ((1U << kOrderBits) - 1)]);
        ++ordered;
      }
    }
    return number;
  }

  const CountPlan& plan_;
  const std::stop_token& stop_;
  std::atomic<bool>& stopped_;
  bool has_open_;
  std::vector<const DimTable::Group*> group_;  // [table]
  Fanout fanout_;
  std::optional<std::vector<OrderAndSplit>> first_pair_;  // of the current combination, once asked for
  std::vector<Count> slots_;                              // [depth][slot]: extents by the dims above depth
  std::vector<Count> outer_tiles_;                        // [pair]: product of the ranks the last dim does not move
  std::vector<std::vector<Count>> words_;                 // [pair][packing]
  std::vector<std::vector<std::uint64_t>> fits_;          // [checked level][packing]
  std::vector<std::vector<std::uint64_t>> over_;          // the same
  std::vector<ClassTotals> totals_;
  std::uint64_t polls_ = 0;
  bool leaving_ = false;
  bool overflow_ = false;
};

MapspaceCount sum_up(const std::vector<Counter>& counters, std::size_t c, std::size_t num_levels) {
  MapspaceCount out;
  out.invalid_capacity_by_level.resize(num_levels);
  out.invalid_utilization_by_level.resize(num_levels);
  for (const Counter& counter : counters) {
    const ClassTotals& t = counter.totals(c);
    out.valid += BigUnsigned::from_128(t.valid);
    out.invalid_fanout += BigUnsigned::from_128(t.fanout);
    out.invalid_utilization += BigUnsigned::from_128(t.parallelism);
    for (std::size_t l = 0; l < num_levels; ++l) {
      const BigUnsigned failures = BigUnsigned::from_128(t.capacity[l]);
      out.invalid_capacity_by_level[l] += failures;
      out.invalid_capacity += failures;
      const BigUnsigned misuses = BigUnsigned::from_128(t.utilization[l]);
      out.invalid_utilization_by_level[l] += misuses;
      out.invalid_utilization += misuses;
    }
  }
  out.considered = out.valid;
  out.considered += out.invalid_fanout;
  out.considered += out.invalid_capacity;
  out.considered += out.invalid_utilization;
  return out;
}

}  // namespace
}  // namespace detail

MapspaceCount Mapspace::count(std::span<const int> bits, const CountOptions& options) const {
  return count_many({std::vector<int>(bits.begin(), bits.end())}, options).front();
}

std::vector<MapspaceCount> Mapspace::count_many(const std::vector<std::vector<int>>& bits,
                                                const CountOptions& options) const {
  if (options.threads < 1) {
    throw Error(ErrorKind::mapping, "threads is " + std::to_string(options.threads) + ", expected 1 or more");
  }
  if (options.enumeration == Enumeration::unpruned) {
    throw Error(ErrorKind::mapping, "counting follows the reference or the distinct enumeration, not the unpruned one");
  }
  const detail::CountPlan plan = detail::make_count_plan(*parts_, bits, options.enumeration);
  std::atomic<bool> stopped = false;
  const std::uint64_t end = plan.num_combinations;
  const std::uint64_t workers = std::min(static_cast<std::uint64_t>(options.threads), end);
  std::vector<detail::Counter> counters;
  for (std::uint64_t i = 0; i < workers; ++i) counters.emplace_back(plan, options.stop, stopped);
  // Combinations differ much in work, so chunks are handed out on demand. Sums do not depend on who adds what.
  const std::uint64_t chunk = std::max<std::uint64_t>(1, end / (64 * workers));
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&](detail::Counter& counter) {
    for (std::uint64_t begin = next.fetch_add(chunk); begin < end && !stopped; begin = next.fetch_add(chunk)) {
      counter.run(begin, std::min(begin + chunk, end));
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < counters.size(); ++i)
      threads.emplace_back([&work, &counters, i] { work(counters[i]); });
    work(counters.front());
  }
  if (std::any_of(counters.begin(), counters.end(), [](const detail::Counter& c) { return c.overflowed(); })) {
    throw Error(ErrorKind::mapping,
                "the mapspace of workload '" + workload().name() + "' holds more than 2^128 mappings",
                "add constraints");
  }
  std::vector<MapspaceCount> by_class;
  for (std::size_t c = 0; c < plan.classes.size(); ++c) {
    by_class.push_back(detail::sum_up(counters, c, plan.bypasses.size()));
    by_class.back().complete = !stopped;
  }
  std::vector<MapspaceCount> out;
  for (const std::size_t c : plan.class_of) out.push_back(by_class[c]);
  return out;
}

}  // namespace quantloom

#include "mapspace_count_walk.hpp"

#include <algorithm>

namespace quantloom::detail {
namespace {

constexpr int kUsedWell = -1;
constexpr int kTooLittleParallelism = -2;

}  // namespace

CountWalk::CountWalk(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped)
    : plan_(plan),
      stop_(stop),
      stopped_(stopped),
      group_(plan.tables.size()),
      entries_(plan.tables.size()),
      slots_((plan.tables.size() + 1) * plan.num_slots, 1),
      outer_tiles_(plan.pairs.size()),
      tiles_(plan.pairs.size()),
      totals_(plan.classes.size()) {}

void CountWalk::run(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t i = begin; i < end && !should_stop(); ++i) {
    select(i);
    count_combination();
  }
}

bool CountWalk::should_stop() {
  if (stopped_.load(std::memory_order_relaxed)) return true;
  if (!stop_.stop_requested()) return false;
  stopped_ = true;
  return true;
}

// A combination can hold millions of factorizations, so it is left early too: once true, true at every depth.
bool CountWalk::poll() {
  if (!leaving_ && (++polls_ & 0xFFFFU) == 0) leaving_ = should_stop();
  return leaving_;
}

Wide CountWalk::multiply(Wide a, Wide b) {
  if (!plan_.may_overflow) return a * b;
  Wide out = 0;
  overflow_ |= __builtin_mul_overflow(a, b, &out);
  return out;
}

void CountWalk::add(Wide& total, Wide value) {
  total += value;
  overflow_ |= total < value;
}

void CountWalk::select(std::uint64_t combination) {
  for (std::size_t d = 0; d < group_.size(); ++d) {
    const DimTable& table = plan_.tables[d];
    group_[d] = &table.groups[combination % table.groups.size()];
    combination /= table.groups.size();
  }
  fanout_.pairs = fanout_.within = 1;
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
  begin_combination();
}

void CountWalk::count_combination() {
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

// The innermost level of whose fanout the combination uses too little or too much.
int CountWalk::find_misused_level() const {
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

void CountWalk::count_misused(int level) {
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
Wide CountWalk::sum_orders(std::size_t depth, std::uint64_t loops) {
  if (depth == plan_.tables.size()) return temporal_orders(loops);
  Wide sum = 0;
  for (const auto& [added, entries] : group_[depth]->loops) {
    add(sum, multiply(entries, sum_orders(depth + 1, loops + added)));
  }
  return sum;
}

Wide CountWalk::temporal_orders(std::uint64_t loops) {
  Wide orders = 1;
  for (; loops != 0; loops >>= kOrderBits) orders = multiply(orders, kFactorial[loops & ((1U << kOrderBits) - 1)]);
  return orders;
}

// Walks the combination's factorizations, building up tile extents dim by dim.
void CountWalk::count_tiles(std::size_t depth, std::uint64_t loops) {
  if (depth + 1 == plan_.tables.size()) {
    count_last_dim(loops);
    return;
  }
  const DimTable& table = plan_.tables[depth];
  const std::size_t width = table.contributions.size();
  Count* const here = slots_.data() + depth * plan_.num_slots;
  Count* const next = here + plan_.num_slots;
  for (std::size_t e = group_[depth]->begin; e < group_[depth]->end && !poll(); ++e) {
    entries_[depth] = e;
    std::copy(here, next, next);
    for (std::size_t c = 0; c < width; ++c) {
      Count& slot = next[table.contributions[c].slot];
      slot = saturating_add(slot, table.extents[e * width + c]);
    }
    count_tiles(depth + 1, loops + table.free_loops[e]);
  }
}

// The innermost loop: only the ranks that the last dim moves are worked out anew.
void CountWalk::count_last_dim(std::uint64_t loops) {
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
    entries_.back() = e;
    const Count* const extents = table.extents.data() + e * width;
    std::size_t c = 0;
    for (std::size_t p = 0; p < plan_.pairs.size(); ++p) {
      Count tile = outer_tiles_[p];
      for (; c < width && table.contributions[c].slot < plan_.pairs[p].slot_end; ++c) {
        tile = saturating_mul(tile, saturating_add(slots[table.contributions[c].slot], extents[c]));
      }
      tiles_[p] = tile;
    }
    count_factorization(loops + table.free_loops[e]);
  }
}

}  // namespace quantloom::detail

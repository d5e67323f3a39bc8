// Counting without visiting: for a given factorization the number of orders and splits is a product of factorials,
// those within the fanout follow from the spatial blocks alone, and capacity depends only on the factorization and on
// what is kept. So one step handles one factorization with all its orders, splits and bypasses, and factorizations that
// share their spatial factors share the fanout. Counts reach past 64 bits; they are kept in 128 and checked for
// overflow.
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "mapspace_count_default.hpp"
#include "mapspace_count_walk.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace detail {
namespace {

// Tiles do not depend on orders: whole elements in a word, partial sums as wide as their tensor.
class CompatCounter : public CountWalk {
 public:
  CompatCounter(const CountPlan& plan, const std::stop_token& stop, std::atomic<bool>& stopped)
      : CountWalk(plan, stop, stopped), has_open_(!plan.parts.open.empty()), fits_(plan.levels.size()), over_(plan.levels.size()) {
    for (std::size_t i = 0; i < fits_.size(); ++i) {
      fits_[i].resize(plan.levels[i].packings.size());
      over_[i].resize(plan.levels[i].packings.size());
    }
  }

 private:
  void begin_combination() override { first_pair_.reset(); }

  void count_factorization(std::uint64_t loops) override {
    const Wide orders = temporal_orders(loops);
    const Wide within = multiply(fanout().within, orders);
    const Wide outside = multiply(fanout().pairs, orders) - within;
    for (std::size_t i = 0; i < plan().levels.size(); ++i) find_fitting(i);
    for (std::size_t c = 0; c < plan().classes.size(); ++c) {
      const auto& packing = plan().classes[c];
      bool is_valid = true;
      for (std::size_t i = 0; i < packing.size() && is_valid; ++i) is_valid = fits_[i][packing[i]] > 0;
      const bool is_skipped = !is_valid && plan().enumeration == Enumeration::reference;
      add(totals_of(c).fanout, is_skipped ? first_within_fanout(loops) : outside);
      if (is_valid && !has_open_) {
        add(totals_of(c).valid, within);
      } else {
        count_bypasses(packing, is_skipped ? 1 : within, totals_of(c));
      }
    }
  }

  // For each packing of a checked level the number of choices of what is kept that fit it, and of those too large for it.
  void find_fitting(std::size_t i) {
    const CheckedLevel& level = plan().levels[i];
    for (std::size_t k = 0; k < level.packings.size(); ++k) {
      Count kept = 0;
      std::array<Count, kMaxTensors> open{};
      unsigned num_open = 0;
      for (std::size_t p = level.pair_begin; p < level.pair_end; ++p) {
        const Count words = packed_words(tile(p), level.packings[k][p - level.pair_begin]);
        if (plan().pairs[p].open) {
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
    for (std::size_t l = 0; l < plan().bypasses.size(); ++l) {
      Wide fits = plan().bypasses[l];
      Wide over = 0;
      if (checked < plan().levels.size() && plan().levels[checked].level == l) {
        fits = fits_[checked][packing[checked]];
        over = over_[checked][packing[checked]];
        ++checked;
      }
      if (const Wide fails = plan().bypasses[l] - fits; fails > 0) {
        Wide times_outside = fitting;
        for (std::size_t o = l + 1; o < plan().bypasses.size(); ++o) times_outside = multiply(times_outside, plan().bypasses[o]);
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
      for (std::size_t s = 0; s < plan().spatial_blocks.size(); ++s) {
        const OrderRule& rule = plan().parts.rules[plan().spatial_blocks[s]];
        first_pair_->push_back(find_first_within_fanout(rule, fanout().orders[s], fanout().factors[s].data()));
      }
    }
    Wide number = 0;
    Wide weight = 1;
    for (std::size_t s = 0; s < first_pair_->size(); ++s) {
      add(number, multiply(weight, (*first_pair_)[s].split));
      weight = multiply(weight, fanout().orders[s].splits());
    }
    std::size_t spatial = 0;
    std::size_t ordered = 0;
    for (std::size_t b = 0; b < plan().parts.rules.size(); ++b) {
      if (spatial < plan().spatial_blocks.size() && plan().spatial_blocks[spatial] == b) {
        add(number, multiply(weight, (*first_pair_)[spatial].permutation));
        weight = multiply(weight, fanout().orders[spatial].permutations());
        ++spatial;
      } else if (ordered < plan().ordered_blocks.size() && plan().ordered_blocks[ordered] == b) {
        weight = multiply(weight, kFactorial[loops >> (ordered * kOrderBits) & ((1U << kOrderBits) - 1)]);
        ++ordered;
      }
    }
    return number;
  }

  bool has_open_;
  std::optional<std::vector<OrderAndSplit>> first_pair_;  // of the current combination, once asked for
  std::vector<std::vector<std::uint64_t>> fits_;          // [checked level][packing]
  std::vector<std::vector<std::uint64_t>> over_;          // the same
};

MapspaceCount sum_up(const std::vector<std::unique_ptr<CountWalk>>& counters, std::size_t c, std::size_t num_levels) {
  MapspaceCount out;
  out.invalid_capacity_by_level.resize(num_levels);
  out.invalid_utilization_by_level.resize(num_levels);
  for (const auto& counter : counters) {
    const ClassTotals& t = counter->totals(c);
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
  if (options.model == CostModel::default_model && options.enumeration != Enumeration::distinct) {
    throw Error(ErrorKind::spec, "the default model counts distinct mappings only",
                "the reference enumeration is that of the reference tool, which the compat model follows");
  }
  const detail::CountPlan plan = detail::make_count_plan(*parts_, bits, options);
  std::atomic<bool> stopped = false;
  const std::uint64_t end = plan.num_combinations;
  const std::uint64_t workers = std::min(static_cast<std::uint64_t>(options.threads), end);
  std::vector<std::unique_ptr<detail::CountWalk>> counters;
  for (std::uint64_t i = 0; i < workers; ++i) {
    if (options.model == CostModel::compat) {
      counters.push_back(std::make_unique<detail::CompatCounter>(plan, options.stop, stopped));
    } else {
      counters.push_back(detail::make_default_counter(plan, options.stop, stopped));
    }
  }
  // Combinations differ much in work, so chunks are handed out on demand. Sums do not depend on who adds what.
  const std::uint64_t chunk = std::max<std::uint64_t>(1, end / (64 * workers));
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&](detail::CountWalk& counter) {
    for (std::uint64_t begin = next.fetch_add(chunk); begin < end && !stopped; begin = next.fetch_add(chunk)) {
      counter.run(begin, std::min(begin + chunk, end));
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < counters.size(); ++i)
      threads.emplace_back([&work, &counters, i] { work(*counters[i]); });
    work(*counters.front());
  }
  if (std::any_of(counters.begin(), counters.end(), [](const auto& counter) { return counter->overflowed(); })) {
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

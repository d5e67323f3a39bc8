// Counting without visiting: for a given factorization the number of orders and splits is a product of factorials,
// those within the fanout follow from the spatial blocks alone, and capacity depends only on the factorization and on
// what is kept. So one step handles one factorization with all its orders, splits and bypasses, and factorizations that
// share their spatial factors share the fanout. Counts reach past 64 bits; they are kept in 128 and checked for
// overflow.
#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <thread>

#include "mapspace_parts.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace detail {
namespace {

using Wide = unsigned __int128;
constexpr int kOrderBits = 5;  // a count of up to kMaxDims dims; 12 levels of them fit 64 bits
static_assert(kMaxDims < 1 << kOrderBits && kMaxLevels * kOrderBits <= 64);

// A tensor at a level of limited capacity.
struct CheckedPair {
  int tensor = 0;
  bool open = false;
  std::size_t slot_begin = 0;  // its ranks' extents among the slots
  std::size_t slot_end = 0;
  std::vector<Count> per_word;  // distinct elements per word among the settings
};

// A level of limited capacity. Settings that pack its tensors alike share the check.
struct CheckedLevel {
  std::size_t level = 0;
  Count capacity = 0;
  std::size_t pair_begin = 0;
  std::size_t pair_end = 0;
  std::vector<std::vector<std::size_t>> packings;  // distinct ones: [pair] index into per_word
};

struct Contribution {
  std::size_t slot = 0;
  std::size_t level = 0;
  Count coefficient = 1;
};

// All factorizations of one dim, those with equal spatial factors next to each other.
struct DimTable {
  struct Group {
    std::vector<std::uint32_t> spatial;  // [spatial block]
    std::size_t begin = 0;
    std::size_t end = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> loops;  // distinct free_loops, how many entries have them
  };
  int dim = 0;
  std::vector<Group> groups;
  std::vector<Contribution> contributions;  // one for each slot it adds to, by slot
  std::vector<Count> extents;               // [entry][contribution]: what the dim adds to a slot
  std::vector<std::uint64_t> free_loops;    // [entry]: kOrderBits per block, 1 if the dim is a loop to be permuted there
};

struct Plan {
  const MapspaceParts& parts;
  Enumeration enumeration;
  std::vector<std::size_t> spatial_blocks;
  std::vector<std::size_t> ordered_blocks;  // temporal blocks with an order to search
  std::vector<CheckedPair> pairs;           // by level, innermost first
  std::vector<CheckedLevel> levels;
  std::size_t num_slots = 0;
  std::vector<std::vector<std::size_t>> classes;  // distinct settings: [checked level] index into packings
  std::vector<std::size_t> class_of;              // [setting]
  std::vector<DimTable> tables;                   // fewest factorizations first: the longest loop runs innermost
  std::vector<Wide> bypasses;                     // [level]: choices of what is kept
  bool may_overflow = false;
  std::uint64_t num_combinations = 1;             // of groups
};

struct SettingTotals {
  Wide valid = 0;
  Wide fanout = 0;
  std::vector<Wide> capacity;  // [level]
};

Count elements_per_word(Count word_bits, int bits) {
  return bits <= 0 || word_bits == 1 || bits == word_bits ? 1 : word_bits / bits;
}

void check_bits(const MapspaceParts& parts, const std::vector<int>& bits) {
  const auto fail = [](const std::string& what, const std::string& hint = {}) {
    throw Error(ErrorKind::mapping, what, hint);
  };
  if (static_cast<int>(bits.size()) != parts.workload.num_tensors()) {
    fail("bits: " + std::to_string(bits.size()) + " widths given, workload '" + parts.workload.name() + "' has " +
         std::to_string(parts.workload.num_tensors()) + " tensors");
  }
  for (std::size_t t = 0; t < bits.size(); ++t) {
    const std::string& tensor = parts.workload.tensors()[t].name;
    if (bits[t] < 0) fail("bits of " + tensor + ": " + std::to_string(bits[t]) + ", expected 0 or more");
    for (const Level& level : parts.arch.levels()) {
      if (level.word_bits == 1 || bits[t] <= level.word_bits) continue;
      fail("bits of " + tensor + ": " + std::to_string(bits[t]) + " bits do not fit the " +
               std::to_string(level.word_bits) + "-bit words of level '" + level.name + "'",
           "use at most " + std::to_string(level.word_bits) + " bits");
    }
  }
}

template <class T>
std::size_t position_or_append(std::vector<T>& values, const T& value) {
  const auto found = std::find(values.begin(), values.end(), value);
  if (found != values.end()) return static_cast<std::size_t>(found - values.begin());
  values.push_back(value);
  return values.size() - 1;
}

// Adds the pairs of one level; settings collects for each setting how it packs the level's tensors.
void make_level(Plan& plan, int l, const std::vector<std::vector<int>>& bits, std::vector<std::vector<std::size_t>>& settings) {
  const MapspaceParts& parts = plan.parts;
  const Level& level = parts.arch.level(l);
  plan.bypasses.push_back(1);
  CheckedLevel checked;
  checked.level = static_cast<std::size_t>(l);
  checked.pair_begin = plan.pairs.size();
  std::vector<std::vector<std::size_t>> packings(bits.size());
  for (int t = 0; t < parts.workload.num_tensors(); ++t) {
    const auto tensor = static_cast<std::size_t>(t);
    const Keep keep = parts.constraints.keep[checked.level][tensor];
    if (keep == Keep::open) plan.bypasses.back() *= 2;
    if (keep == Keep::no || !level.capacity_words) continue;
    CheckedPair pair;
    pair.tensor = t;
    pair.open = keep == Keep::open;
    pair.slot_begin = plan.num_slots;
    plan.num_slots += parts.workload.tensors()[tensor].ranks.size();
    pair.slot_end = plan.num_slots;
    for (std::size_t s = 0; s < bits.size(); ++s) {
      packings[s].push_back(position_or_append(pair.per_word, elements_per_word(level.word_bits, bits[s][tensor])));
    }
    plan.pairs.push_back(std::move(pair));
  }
  checked.pair_end = plan.pairs.size();
  if (checked.pair_begin == checked.pair_end) return;
  checked.capacity = *level.capacity_words;
  for (std::size_t s = 0; s < bits.size(); ++s) settings[s].push_back(position_or_append(checked.packings, packings[s]));
  plan.levels.push_back(std::move(checked));
}

void make_levels(Plan& plan, const std::vector<std::vector<int>>& bits) {
  std::vector<std::vector<std::size_t>> settings(bits.size());
  for (int l = 0; l < plan.parts.arch.num_levels(); ++l) make_level(plan, l, bits, settings);
  for (const auto& setting : settings) plan.class_of.push_back(position_or_append(plan.classes, setting));
}

void make_contributions(const Plan& plan, DimTable& table) {
  for (const CheckedLevel& level : plan.levels) {
    for (std::size_t p = level.pair_begin; p < level.pair_end; ++p) {
      const auto& ranks = plan.parts.workload.tensors()[static_cast<std::size_t>(plan.pairs[p].tensor)].ranks;
      for (std::size_t r = 0; r < ranks.size(); ++r) {
        Count coefficient = 0;
        for (const Term& term : ranks[r]) {
          if (term.dim == table.dim) coefficient = saturating_add(coefficient, term.coefficient);
        }
        if (coefficient > 0) table.contributions.push_back({plan.pairs[p].slot_begin + r, level.level, coefficient});
      }
    }
  }
}

// What one factorization of the dim adds to tiles and orders.
void append_entry(const Plan& plan, const std::uint32_t* row, DimTable& table) {
  const auto& blocks = plan.parts.constraints.blocks;
  std::array<Count, kMaxLevels> inside;  // product of the factors at a level and inside of it
  Count product = 1;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    product *= static_cast<Count>(row[b]);
    inside[static_cast<std::size_t>(blocks[b].level)] = product;
  }
  for (const Contribution& c : table.contributions) {
    table.extents.push_back(saturating_mul(inside[c.level] - 1, c.coefficient));
  }
  std::uint64_t loops = 0;
  for (std::size_t i = 0; i < plan.ordered_blocks.size(); ++i) {
    const std::size_t b = plan.ordered_blocks[i];
    const auto& infix = plan.parts.rules[b].infix;
    const bool free = std::find(infix.begin(), infix.end(), table.dim) != infix.end();
    if (free && row[b] > 1) loops |= std::uint64_t{1} << (i * kOrderBits);
  }
  table.free_loops.push_back(loops);
}

DimTable make_table(const Plan& plan, int dim, const std::vector<std::uint32_t>& rows) {
  DimTable table;
  table.dim = dim;
  make_contributions(plan, table);
  std::map<std::vector<std::uint32_t>, std::vector<const std::uint32_t*>> by_spatial;
  const std::size_t blocks = plan.parts.rules.size();
  for (std::size_t at = 0; at < rows.size(); at += blocks) {
    std::vector<std::uint32_t> spatial;
    for (const std::size_t b : plan.spatial_blocks) spatial.push_back(rows[at + b]);
    by_spatial[std::move(spatial)].push_back(&rows[at]);
  }
  for (const auto& [spatial, members] : by_spatial) {
    const std::size_t begin = table.free_loops.size();
    for (const std::uint32_t* row : members) append_entry(plan, row, table);
    table.groups.push_back({spatial, begin, table.free_loops.size()});
  }
  return table;
}

Plan make_plan(const MapspaceParts& parts, const std::vector<std::vector<int>>& bits, Enumeration enumeration) {
  Plan plan{parts, enumeration, {}, {}, {}, 0, {}, {}, {}, 1};
  for (std::size_t b = 0; b < parts.rules.size(); ++b) {
    if (parts.rules[b].spatial) plan.spatial_blocks.push_back(b);
    if (!parts.rules[b].spatial && parts.rules[b].infix.size() > 1) plan.ordered_blocks.push_back(b);
  }
  make_pairs(plan, bits);
  const auto lists = list_factorizations(parts, "count");
  for (int d = 0; d < parts.num_dims(); ++d)
    plan.tables.push_back(make_table(plan, d, lists[static_cast<std::size_t>(d)]));
  std::stable_sort(plan.tables.begin(), plan.tables.end(),
                   [](const DimTable& a, const DimTable& b) { return a.free_loops.size() < b.free_loops.size(); });
  for (const DimTable& table : plan.tables) plan.num_combinations *= table.groups.size();
  return plan;
}

// Counts combinations of groups; one for each thread.
class Counter {
 public:
  Counter(const Plan& plan, const std::stop_token& stop, std::atomic<bool>& stopped)
      : plan_(plan),
        stop_(stop),
        stopped_(stopped),
        group_(plan.tables.size()),
        slots_((plan.tables.size() + 1) * plan.num_slots, 1),
        words_(plan.pairs.size()),
        totals(plan.settings.size()) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i].resize(plan.pairs[i].per_word.size());
    for (SettingTotals& t : totals) t.capacity.resize(plan.bypasses.size());
    fits_.resize(plan.bypasses.size());
  }

  void run(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end && !should_stop(); ++i) {
      select(i);
      count_combination();
    }
  }

  [[nodiscard]] bool overflowed() const noexcept { return overflow_; }

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

  Wide multiply(Wide a, Wide b) {
    Wide out = 0;
    overflow_ |= __builtin_mul_overflow(a, b, &out);
    return out;
  }

  void add(Wide& total, Wide value) { overflow_ |= __builtin_add_overflow(total, value, &total); }

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
    if (fanout_.pairs == 0) return;
    if (fanout_.within > 0) {
      count_tiles(0, 0);
      return;
    }
    Wide failures = fanout_.pairs;
    if (plan_.ordered_blocks.empty()) {
      for (const DimTable::Group* group : group_) failures = multiply(failures, group->end - group->begin);
    } else {
      failures = multiply(failures, sum_orders(0, 0));
    }
    for (SettingTotals& t : totals) add(t.fanout, failures);
  }

  // Sum over the combination's factorizations of their temporal orders.
  Wide sum_orders(std::size_t depth, std::uint64_t loops) {
    if (depth == plan_.tables.size()) return temporal_orders(loops);
    const DimTable& table = plan_.tables[depth];
    Wide sum = 0;
    for (std::size_t e = group_[depth]->begin; e < group_[depth]->end && !poll(); ++e) {
      add(sum, sum_orders(depth + 1, loops + table.free_loops[e]));
    }
    return sum;
  }

  Wide temporal_orders(std::uint64_t loops) {
    Wide orders = 1;
    for (; loops != 0; loops >>= kOrderBits) orders = multiply(orders, kFactorial[loops & ((1U << kOrderBits) - 1)]);
    return orders;
  }

  // A combination can hold millions of factorizations, so it is left early too.
  bool poll() { return (++polls_ & 0xFFFFU) == 0 && should_stop(); }

  // Walks the combination's factorizations, building up tile extents dim by dim.
  void count_tiles(std::size_t depth, std::uint64_t loops) {
    if (depth == plan_.tables.size()) {
      count_factorization(loops);
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

  void count_factorization(std::uint64_t loops) {
    const Wide orders = temporal_orders(loops);
    const Wide within = multiply(fanout_.within, orders);
    const Wide outside = multiply(fanout_.pairs, orders) - within;
    const Count* const slots = slots_.data() + plan_.tables.size() * plan_.num_slots;
    for (std::size_t p = 0; p < plan_.pairs.size(); ++p) {
      Count tile = 1;
      for (std::size_t r = plan_.pairs[p].slot_begin; r < plan_.pairs[p].slot_end; ++r)
        tile = saturating_mul(tile, slots[r]);
      for (std::size_t w = 0; w < words_[p].size(); ++w) words_[p][w] = ceil_div(tile, plan_.pairs[p].per_word[w]);
    }
    for (std::size_t s = 0; s < totals.size(); ++s) {
      Wide fitting = 1;  // choices of what is kept that fit at all levels so far
      find_fitting(plan_.settings[s]);
      for (const Wide fits : fits_) fitting = multiply(fitting, fits);
      const bool is_skipped = fitting == 0 && plan_.enumeration == Enumeration::reference;
      add(totals[s].valid, multiply(within, fitting));
      add(totals[s].fanout, is_skipped ? first_within_fanout(loops) : outside);
      add_capacity_failures(totals[s], is_skipped ? 1 : within);
    }
  }

  // For each level the number of choices of what is kept that fit it.
  void find_fitting(const Setting& setting) {
    std::copy(plan_.bypasses.begin(), plan_.bypasses.end(), fits_.begin());
    for (std::size_t p = 0; p < plan_.pairs.size();) {
      const int level = plan_.pairs[p].level;
      const Count capacity = *plan_.parts.arch.level(level).capacity_words;
      Count kept = 0;
      std::array<Count, kMaxTensors> open{};
      unsigned num_open = 0;
      for (; p < plan_.pairs.size() && plan_.pairs[p].level == level; ++p) {
        const Count words = words_[p][setting.packing[p]];
        if (plan_.pairs[p].open) {
          open[num_open++] = words;
        } else {
          kept = saturating_add(kept, words);
        }
      }
      Wide fits = 0;
      for (unsigned set = 0; set < 1U << num_open; ++set) {
        Count need = kept;
        for (unsigned i = 0; i < num_open; ++i) need = (set >> i & 1U) != 0 ? saturating_add(need, open[i]) : need;
        fits += need <= capacity ? 1 : 0;
      }
      fits_[static_cast<std::size_t>(level)] = fits;
    }
  }

  // A choice that does not fit is counted at the innermost level that is too small.
  void add_capacity_failures(SettingTotals& t, Wide times) {
    Wide inner = times;
    for (std::size_t l = 0; l < fits_.size(); ++l) {
      const Wide fails = plan_.bypasses[l] - fits_[l];
      if (fails > 0) {
        Wide failures = multiply(inner, fails);
        for (std::size_t o = l + 1; o < fits_.size(); ++o) failures = multiply(failures, plan_.bypasses[o]);
        add(t.capacity[l], failures);
      }
      inner = multiply(inner, fits_[l]);
    }
  }

  // How many (order, split) pairs the reference tries before the first one within the fanout: their number in the order
  // of the numbering, splits fastest, innermost block fastest.
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

  const Plan& plan_;
  const std::stop_token& stop_;
  std::atomic<bool>& stopped_;
  std::vector<const DimTable::Group*> group_;  // [table]
  Fanout fanout_;
  std::optional<std::vector<OrderAndSplit>> first_pair_;  // of the current combination, once asked for
  std::vector<Count> slots_;                              // [depth][slot]: extents of the dims above depth
  std::vector<std::vector<Count>> words_;                 // [pair][packing]
  std::vector<Wide> fits_;                                // [level]
  std::uint64_t polls_ = 0;
  bool overflow_ = false;

 public:
  std::vector<SettingTotals> totals;
};

MapspaceCount sum_up(const std::vector<Counter>& counters, std::size_t setting, std::size_t num_levels) {
  MapspaceCount out;
  out.invalid_capacity_by_level.resize(num_levels);
  for (const Counter& counter : counters) {
    const SettingTotals& t = counter.totals[setting];
    out.valid += BigUnsigned::from_128(t.valid);
    out.invalid_fanout += BigUnsigned::from_128(t.fanout);
    for (std::size_t l = 0; l < num_levels; ++l) {
      const BigUnsigned failures = BigUnsigned::from_128(t.capacity[l]);
      out.invalid_capacity_by_level[l] += failures;
      out.invalid_capacity += failures;
    }
  }
  out.considered = out.valid;
  out.considered += out.invalid_fanout;
  out.considered += out.invalid_capacity;
  return out;
}

}  // namespace
}  // namespace detail

MapspaceCount Mapspace::count(std::span<const int> bits, const CountOptions& options) const {
  return count_many({std::vector<int>(bits.begin(), bits.end())}, options).front();
}

std::vector<MapspaceCount> Mapspace::count_many(const std::vector<std::vector<int>>& bits,
                                                const CountOptions& options) const {
  if (options.threads < 1)
    throw Error(ErrorKind::mapping, "threads is " + std::to_string(options.threads) + ", expected 1 or more");
  if (options.enumeration == Enumeration::unpruned)
    throw Error(ErrorKind::mapping, "counting skips duplicates: use the reference or the distinct enumeration");
  for (const std::vector<int>& setting : bits) detail::check_bits(*parts_, setting);
  detail::walkable_factorizations(*parts_, "count");
  const detail::Plan plan = detail::make_plan(*parts_, bits, options.enumeration);
  std::atomic<bool> stopped = false;
  const auto workers = static_cast<std::size_t>(
      std::min<std::uint64_t>(static_cast<std::uint64_t>(options.threads), plan.num_combinations));
  std::vector<detail::Counter> counters;
  counters.reserve(workers);
  for (std::size_t i = 0; i < workers; ++i) counters.emplace_back(plan, options.stop, stopped);
  // Many more chunks than workers, handed out on demand: combinations differ much in work. Sums do not depend on who
  // adds.
  const std::uint64_t chunk = std::max<std::uint64_t>(1, plan.num_combinations / (64 * workers));
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&](detail::Counter& counter) {
    for (std::uint64_t begin = next.fetch_add(chunk); begin < plan.num_combinations && !stopped;
         begin = next.fetch_add(chunk)) {
      counter.run(begin, std::min(begin + chunk, plan.num_combinations));
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < workers; ++i) threads.emplace_back([&work, &counters, i] { work(counters[i]); });
    if (workers > 0) work(counters[0]);
  }
  std::vector<MapspaceCount> out;
  for (std::size_t s = 0; s < bits.size(); ++s) {
    out.push_back(detail::sum_up(counters, s, plan.bypasses.size()));
    out.back().complete = !stopped;
  }
  for (const detail::Counter& counter : counters) {
    if (counter.overflowed())
      throw Error(ErrorKind::mapping,
                  "the mapspace of workload '" + workload().name() + "' holds more than 2^128 mappings",
                  "add constraints");
  }
  return out;
}

}  // namespace quantloom

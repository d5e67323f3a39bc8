#include "mapspace_count_plan.hpp"

#include <algorithm>
#include <map>

#include "quantloom/error.hpp"
#include "settings.hpp"
#include "tensor_price.hpp"

namespace quantloom::detail {
namespace {

template <class T>
std::size_t position_or_append(std::vector<T>& values, const T& value) {
  const auto found = std::find(values.begin(), values.end(), value);
  if (found != values.end()) return static_cast<std::size_t>(found - values.begin());
  values.push_back(value);
  return values.size() - 1;
}

// How the widths of a setting pack a pair; behind them, for outputs of the default model, its partial sums by accumulator.
struct Rates {
  std::vector<WordRate> of_pairs;
  std::vector<WordRate> partial;
};

void add_rates(const CountPlan& plan, const CountOptions& options, const std::vector<int>& bits, int tensor, const Level& level, Rates& out) {
  const EvaluateOptions packing{.model = options.model, .packing = options.packing, .psum_bits = options.psum_bits};
  const PackingRule rule = packing_rule(level, packing);
  out.of_pairs.push_back(word_rate(rule, level.word_bits, bits[static_cast<std::size_t>(tensor)]));
  if (tensor != plan.output) return;
  const TensorBits widths = tensor_bits(plan.parts.arch, plan.parts.workload, bits, tensor, packing);
  for (int variant = 0; variant < plan.num_accumulators; ++variant) {
    const auto found = std::find(plan.accumulator_of.begin(), plan.accumulator_of.end(), variant);
    const auto accumulator = static_cast<int>(found - plan.accumulator_of.begin());
    out.partial.push_back(word_rate(rule, level.word_bits, capped_psum(plan.parts.arch.level(accumulator), widths)));
  }
}

// Adds the pairs of one level; settings collects for each setting how it packs the level's tensors.
void make_level(CountPlan& plan, int l, const std::vector<std::vector<int>>& bits, const CountOptions& options,
                std::vector<std::vector<std::size_t>>& settings) {
  const MapspaceParts& parts = plan.parts;
  const Level& level = parts.arch.level(l);
  plan.bypasses.push_back(1);
  CheckedLevel checked;
  checked.level = static_cast<std::size_t>(l);
  checked.pair_begin = plan.pairs.size();
  std::vector<Rates> rates(bits.size());
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
    for (std::size_t s = 0; s < bits.size(); ++s) add_rates(plan, options, bits[s], t, level, rates[s]);
    plan.pairs.push_back(pair);
  }
  checked.pair_end = plan.pairs.size();
  checked.min_words = plan.parts.constraints.use[checked.level].min_words;
  if (checked.pair_begin == checked.pair_end && checked.min_words == 0) return;
  checked.capacity = *level.capacity_words;
  for (std::size_t s = 0; s < bits.size(); ++s) {
    std::vector<WordRate> packing = rates[s].of_pairs;
    packing.insert(packing.end(), rates[s].partial.begin(), rates[s].partial.end());
    settings[s].push_back(position_or_append(checked.packings, packing));
  }
  plan.levels.push_back(std::move(checked));
}

void make_levels(CountPlan& plan, const std::vector<std::vector<int>>& bits, const CountOptions& options) {
  const int levels = plan.parts.arch.num_levels();
  if (options.model == CostModel::default_model) {
    for (int t = 0; t < plan.parts.workload.num_tensors(); ++t) {
      if (plan.parts.workload.tensors()[static_cast<std::size_t>(t)].is_output) plan.output = t;
    }
    std::vector<Count> widths;
    for (int l = 0; l < levels; ++l) plan.accumulator_of.push_back(static_cast<int>(position_or_append(widths, plan.parts.arch.level(l).word_bits)));
    plan.num_accumulators = static_cast<int>(widths.size());
  }
  std::vector<std::vector<std::size_t>> settings(bits.size());
  for (int l = 0; l < levels; ++l) make_level(plan, l, bits, options, settings);
  for (const auto& setting : settings) plan.class_of.push_back(position_or_append(plan.classes, setting));
}

void make_contributions(const CountPlan& plan, DimTable& table) {
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
void append_entry(const CountPlan& plan, const std::uint32_t* row, DimTable& table) {
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
  std::uint32_t temporal = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (!blocks[b].spatial && row[b] > 1) temporal |= 1U << blocks[b].level;
  }
  table.temporal_levels.push_back(temporal);
  std::uint64_t loops = 0;
  for (std::size_t i = 0; i < plan.ordered_blocks.size(); ++i) {
    const std::size_t b = plan.ordered_blocks[i];
    const auto& infix = plan.parts.rules[b].infix;
    const bool free = std::find(infix.begin(), infix.end(), table.dim) != infix.end();
    if (free && row[b] > 1) loops |= std::uint64_t{1} << (i * kOrderBits);
  }
  table.free_loops.push_back(loops);
}

DimTable make_table(const CountPlan& plan, int dim, const std::vector<std::uint32_t>& rows) {
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
    std::map<std::uint64_t, std::uint64_t> loops;
    for (std::size_t e = begin; e < table.free_loops.size(); ++e) ++loops[table.free_loops[e]];
    table.groups.push_back({spatial, begin, table.free_loops.size(), {loops.begin(), loops.end()}});
  }
  return table;
}

// Whether some sum of the count could pass 2^128: none is above the number of points.
bool may_overflow(const MapspaceParts& parts) {
  BigUnsigned points = 1;
  for (const FactorSpace& space : parts.factors) points *= space.size();
  for (const OrderRule& rule : parts.rules) {
    const BlockOrders orders = make_orders(rule, 0, Enumeration::unpruned);
    points *= orders.permutations();
    points *= orders.splits();
  }
  for (std::size_t i = 0; i < parts.open.size(); ++i) points *= 2;
  return points >= BigUnsigned::from_128(static_cast<Wide>(1) << 126);
}

}  // namespace

CountPlan make_count_plan(const MapspaceParts& parts, const std::vector<std::vector<int>>& bits, const CountOptions& options) {
  for (const std::vector<int>& setting : bits) check_bits(parts.arch, parts.workload, setting, options.model);
  check_model(parts.arch, parts.workload, {.model = options.model, .packing = options.packing, .psum_bits = options.psum_bits});
  walkable_factorizations(parts, "count");
  CountPlan plan{parts, options.enumeration};
  for (std::size_t b = 0; b < parts.rules.size(); ++b) {
    if (parts.rules[b].spatial) plan.spatial_blocks.push_back(b);
    if (!parts.rules[b].spatial && parts.rules[b].infix.size() > 1) plan.ordered_blocks.push_back(b);
  }
  make_levels(plan, bits, options);
  const auto lists = list_factorizations(parts, "count");
  for (int d = 0; d < parts.num_dims(); ++d)
    plan.tables.push_back(make_table(plan, d, lists[static_cast<std::size_t>(d)]));
  std::stable_sort(plan.tables.begin(), plan.tables.end(),
                   [](const DimTable& a, const DimTable& b) { return a.free_loops.size() < b.free_loops.size(); });
  for (const DimTable& table : plan.tables) plan.num_combinations *= table.groups.size();
  plan.may_overflow = may_overflow(parts);
  return plan;
}

}  // namespace quantloom::detail

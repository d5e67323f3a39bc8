#include "exact_leaf.hpp"

#include <algorithm>

namespace quantloom::exact {

bool comes_before(const Position& a, const Position& b, const Problem& problem) noexcept {
  for (auto d = static_cast<std::size_t>(problem.parts.num_dims()); d-- > 0;) {
    if (a.rows[d] != b.rows[d]) return a.rows[d] < b.rows[d];
  }
  const auto blocks = static_cast<std::size_t>(problem.num_blocks());
  for (std::size_t i = blocks; i-- > 0;) {
    if (a.permutation[i] != b.permutation[i]) return a.permutation[i] < b.permutation[i];
  }
  for (std::size_t i = blocks; i-- > 0;) {
    if (a.split[i] != b.split[i]) return a.split[i] < b.split[i];
  }
  return a.keep < b.keep;
}

LeafPricer::LeafPricer(const Problem& problem, const SettingTable& settings)
    : problem_(problem),
      settings_(settings),
      storage_(problem.parts),
      orders_(static_cast<std::size_t>(problem.num_blocks())),
      prices_(static_cast<std::size_t>(problem.num_tensors())) {
  bool wires = false;
  for (const Level& level : problem.parts.arch.levels()) {
    wires = wires || level.hop_energy_pj > 0 || level.router_energy_pj > 0;
    has_bandwidth_ = has_bandwidth_ || level.read_bandwidth || level.write_bandwidth || level.shared_bandwidth;
  }
  places_matter_ = settings.options.model == CostModel::compat || wires;
}

bool LeafPricer::load_factors(const std::uint32_t* rows, const KeepChoice& keep) {
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  position_ = {};
  position_.keep = keep.index;
  std::copy(rows, rows + dims, position_.rows.begin());
  std::copy_n(keep.keep.begin(), problem_.num_levels(), storage_.keep.begin());
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    std::uint32_t units = 0;
    for (std::size_t d = 0; d < dims; ++d) {
      const std::uint32_t factor = problem_.factor(static_cast<int>(d), rows[d], static_cast<int>(b));
      storage_.factors[b * dims + d] = factor;
      units |= static_cast<std::uint32_t>(factor == 1) << d;
    }
    orders_[b] = make_orders(problem_.parts.rules[b], units, Enumeration::distinct);
    orders_[b].write(0, &storage_.order[b * dims]);
    storage_.split[b] = orders_[b].split_first;
    if (places_matter_ || !problem_.parts.rules[b].spatial) continue;
    // Every order and split within the fanout costs the same: the first stands for all.
    const detail::OrderRule& rule = problem_.parts.rules[b];
    if (count_within_fanout(rule, orders_[b], &storage_.factors[b * dims]) == 0) return false;
    const detail::OrderAndSplit first = find_first_within_fanout(rule, orders_[b], &storage_.factors[b * dims]);
    position_.permutation[b] = first.permutation;
    position_.split[b] = static_cast<std::uint8_t>(first.split);
    orders_[b].write(first.permutation, &storage_.order[b * dims]);
    storage_.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + first.split);
  }
  return true;
}

// In the order of the mapspace: splits run faster than permutations, inner blocks faster than outer ones.
bool LeafPricer::next_order() {
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  const auto is_settled = [&](std::size_t b) { return !places_matter_ && problem_.parts.rules[b].spatial; };
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    if (is_settled(b)) continue;
    const bool carries = position_.split[b] + 1U >= orders_[b].splits();
    position_.split[b] = carries ? 0 : static_cast<std::uint8_t>(position_.split[b] + 1);
    storage_.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + position_.split[b]);
    if (!carries) return true;
  }
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    if (is_settled(b)) continue;
    const bool carries = position_.permutation[b] + 1 >= orders_[b].permutations();
    position_.permutation[b] = carries ? 0 : position_.permutation[b] + 1;
    orders_[b].write(position_.permutation[b], &storage_.order[b * dims]);
    if (!carries) return true;
  }
  return false;
}

// Whether all spatial loops are within their axes.
bool LeafPricer::settle_order() {
  if (!places_matter_) return true;
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  for (const int block : problem_.lane_blocks) {
    const auto b = static_cast<std::size_t>(block);
    if (!fits_fanout(problem_.parts.rules[b], &storage_.order[b * dims], storage_.split[b], &storage_.factors[b * dims])) return false;
  }
  return true;
}

void LeafPricer::update_best(const std::uint32_t* rows, const KeepChoice& keep, std::size_t setting_class, Best& best) {
  if (!load_factors(rows, keep)) return;
  do {
    if (settle_order() && fits(settings_.classes[setting_class])) price(setting_class, best);
  } while (next_order());
}

void LeafPricer::set_position(const Position& position) {
  static_cast<void>(load_factors(position.rows.data(), problem_.keep_choice(position.keep)));
  position_ = position;
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    orders_[b].write(position.permutation[b], &storage_.order[b * dims]);
    storage_.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + position.split[b]);
  }
}

void LeafPricer::try_mapping(const Position& position, std::size_t setting_class, Best& best) {
  set_position(position);
  if (fits(settings_.classes[setting_class])) price(setting_class, best);
}

// Also builds the nest.
bool LeafPricer::fits(const std::vector<int>& packing) {
  build_nest(problem_.parts.constraints, storage_.view, nest_);
  std::array<std::uint32_t, kMaxTensors> partial{};
  for (std::size_t t = 0; t < prices_.size() && settings_.options.model == CostModel::default_model; ++t) {
    partial[t] = partial_levels(problem_.parts.arch, problem_.parts.workload, nest_, static_cast<int>(t));
  }
  for (const int l : problem_.bounded_levels) {
    const auto at = static_cast<std::size_t>(l);
    Count need = 0;
    for (std::size_t t = 0; t < prices_.size(); ++t) {
      if ((nest_.keep[at] >> t & 1U) == 0) continue;
      const Count tile = tile_elements(problem_.parts.workload.tensors()[t], nest_.extent[at]);
      need = saturating_add(need, tile_words(problem_.parts.arch, nest_, static_cast<int>(t), l, tile, partial[t],
                                             settings_.packings[t][static_cast<std::size_t>(packing[t])].bits, settings_.options));
    }
    if (need > *problem_.parts.arch.level(l).capacity_words) return false;
  }
  return true;
}

// The nest is that of the current position.
void LeafPricer::price(std::size_t setting_class, Best& best) {
  const Arch& arch = problem_.parts.arch;
  const std::vector<int>& packing = settings_.classes[setting_class];
  const MacMode& mode = settings_.class_mac[setting_class];
  ++priced_;
  double energy = problem_.macs * mode.energy_pj;
  for (std::size_t t = 0; t < prices_.size(); ++t) {
    count_tensor(arch, problem_.parts.workload, nest_, static_cast<int>(t), settings_.options, scratch_, counts_);
    price_tensor(arch, nest_, counts_, static_cast<int>(t), settings_.packings[t][static_cast<std::size_t>(packing[t])].bits, settings_.options,
                 prices_[t]);
    energy += prices_[t].energy_pj;
  }
  const double cycles = count_cycles(mode);
  energy += leakage_pj(arch, nest_, settings_.options.model) * cycles;
  best.offer(energy, cycles, [&] { return position_; }, [&](const Position& other) { return comes_before(position_, other, problem_); });
}

double LeafPricer::count_cycles(const MacMode& mode) const {
  const double steps = compute_cycles(nest_.temporal_steps, mode.rate);
  double cycles = steps;
  if (!has_bandwidth_) return cycles;
  for (int l = 0; l < problem_.num_levels(); ++l) {
    const Level& level = problem_.parts.arch.level(l);
    if (!level.read_bandwidth && !level.write_bandwidth && !level.shared_bandwidth) continue;
    LevelTraffic traffic;
    for (const TensorPrice& price : prices_) {
      const TensorLevelCost& storage = price.storage[static_cast<std::size_t>(l)];
      traffic.add(storage.reads, storage.fills + storage.updates, steps);
    }
    double slowdown = 1;
    cycles = std::max(cycles, level_cycles(settings_.options.model, level, steps, traffic, slowdown));
  }
  return cycles;
}

Mapping LeafPricer::materialize(const Position& position) {
  set_position(position);
  const MappingView& view = storage_.view;
  Mapping out;
  out.levels.resize(static_cast<std::size_t>(view.num_levels));
  for (int l = 0; l < view.num_levels; ++l) out.levels[static_cast<std::size_t>(l)].keep = view.keep[l];
  for (int b = 0; b < view.num_blocks; ++b) {
    const Block& block = problem_.parts.constraints.blocks[static_cast<std::size_t>(b)];
    LevelMapping& level = out.levels[static_cast<std::size_t>(block.level)];
    for (int i = view.num_dims; i-- > 0;) {
      const Loop loop{view.dim_at(b, i), static_cast<Count>(view.factor(b, view.dim_at(b, i)))};
      if (loop.bound == 1) continue;
      (!block.spatial ? level.temporal : i < view.split[b] ? level.spatial_x : level.spatial_y).push_back(loop);
    }
  }
  return out;
}

}  // namespace quantloom::exact

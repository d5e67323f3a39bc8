#include "exact_leaf.hpp"

#include <algorithm>

namespace quantloom::exact {
namespace {

std::size_t bytes_of(const Leaf& leaf) {
  std::size_t bytes = 2 * sizeof(Leaf);
  for (const Leaf::Shape& shape : leaf.shapes) {
    bytes += sizeof(shape) + shape.words.size() * sizeof(Count) + shape.uncounted.size() * sizeof(std::uint64_t) +
             shape.prices.size() * sizeof(Leaf::Price) + shape.shares.size() * sizeof(double);
  }
  return bytes;
}

}  // namespace

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

LeafPricer::LeafPricer(const Problem& problem, const SettingTable& settings, std::size_t most_bytes)
    : problem_(problem),
      settings_(settings),
      storage_(problem.parts),
      orders_(static_cast<std::size_t>(problem.num_blocks())),
      packing_(static_cast<std::size_t>(problem.num_tensors())),
      leaves_(problem.num_keep_choices()),
      most_bytes_(most_bytes) {
  bool wires = false;
  for (int l = 0; l < problem.num_levels(); ++l) {
    const Level& level = problem.parts.arch.level(l);
    wires = wires || level.hop_energy_pj > 0 || level.router_energy_pj > 0;
    if (level.read_bandwidth || level.write_bandwidth || level.shared_bandwidth) bandwidth_levels_.push_back(l);
  }
  places_matter_ = settings.options.model == CostModel::compat || wires;
  share_size_ = 1 + 2 * bandwidth_levels_.size();
  std::size_t packings = 0;
  for (const auto& of_tensor : settings.packings) {
    first_packing_.push_back(packings);
    packings += of_tensor.size();
  }
  shares_.resize(packings * share_size_);
}

void LeafPricer::begin_class(std::size_t setting_class) {
  class_ = setting_class;
  for (std::size_t t = 0; t < packing_.size(); ++t) packing_[t] = first_packing_[t] + static_cast<std::size_t>(settings_.classes[class_][t]);
  ++asked_;
  if (bytes_ <= most_bytes_) return;
  for (auto& of_choice : leaves_) of_choice.clear();
  bytes_ = 0;
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

void LeafPricer::set_order(std::uint64_t number) {
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  const auto is_settled = [&](std::size_t b) { return !places_matter_ && problem_.parts.rules[b].spatial; };
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    if (is_settled(b)) continue;
    position_.split[b] = static_cast<std::uint8_t>(number % orders_[b].splits());
    number /= orders_[b].splits();
    storage_.split[b] = static_cast<std::uint8_t>(orders_[b].split_first + position_.split[b]);
  }
  for (std::size_t b = 0; b < orders_.size(); ++b) {
    if (is_settled(b)) continue;
    position_.permutation[b] = number % orders_[b].permutations();
    number /= orders_[b].permutations();
    orders_[b].write(position_.permutation[b], &storage_.order[b * dims]);
  }
}

void LeafPricer::update_best(const std::uint32_t* rows, const KeepChoice& keep, Best& best) {
  std::uint64_t factorization = 0;
  for (int d = problem_.parts.num_dims(); d-- > 0;) factorization = factorization * problem_.num_rows(d) + rows[static_cast<std::size_t>(d)];
  const auto [it, is_new] = leaves_[keep.index].try_emplace(factorization);
  Leaf& leaf = it->second;
  if (leaf.seen == asked_) return;
  const std::size_t bytes_before = leaf.seen == 0 ? 0 : bytes_of(leaf);
  leaf.seen = asked_;
  bool is_loaded = leaf.shapes.empty() && load_factors(rows, keep);
  if (is_loaded) list_orders(leaf);
  for (Leaf::Shape& shape : leaf.shapes) {
    if (!fits(shape)) continue;
    if (!shape.uncounted.empty()) {
      if (!is_loaded) is_loaded = load_factors(rows, keep);
      for (const std::uint64_t number : shape.uncounted) {
        set_order(number);
        build_nest(problem_.parts.constraints, storage_.view, nest_);
        count(number, shape);
      }
      shape.uncounted = {};
    }
    const auto get_position = [&](std::uint64_t number) {
      load_factors(rows, keep);
      set_order(number);
      return position_;
    };
    offer(leaf, shape, get_position, best);
  }
  if (bytes_ > most_bytes_) leaf.shapes = {};
  bytes_ += bytes_of(leaf) - bytes_before;
}

void LeafPricer::add_known(const Position& position) {
  const auto is_it = [&](const Known& other) { return !comes_before(other.position, position, problem_) && !comes_before(position, other.position, problem_); };
  if (std::any_of(known_.begin(), known_.end(), is_it)) return;
  Known& known = known_.emplace_back();
  known.position = position;
  set_position(position);
  add_order(0, known.leaf);
}

void LeafPricer::try_known(Best& best) {
  for (Known& known : known_) {
    Leaf::Shape& shape = known.leaf.shapes.front();
    if (!fits(shape)) continue;
    if (!shape.uncounted.empty()) {
      set_position(known.position);
      build_nest(problem_.parts.constraints, storage_.view, nest_);
      count(0, shape);
      shape.uncounted = {};
    }
    offer(known.leaf, shape, [&](std::uint64_t) { return known.position; }, best);
  }
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

void LeafPricer::list_orders(Leaf& leaf) {
  std::uint64_t number = 0;
  do {
    if (settle_order()) add_order(number, leaf);
    ++number;
  } while (next_order());
}

// The order is the current one. Counts it if it fits for the class.
void LeafPricer::add_order(std::uint64_t number, Leaf& leaf) {
  build_nest(problem_.parts.constraints, storage_.view, nest_);
  std::array<std::uint32_t, kMaxTensors> partial{};
  for (std::size_t t = 0; t < packing_.size() && settings_.options.model == CostModel::default_model; ++t) {
    partial[t] = partial_levels(problem_.parts.arch, problem_.parts.workload, nest_, static_cast<int>(t));
  }
  auto shape = std::find_if(leaf.shapes.begin(), leaf.shapes.end(), [&](const Leaf::Shape& other) { return other.partial == partial; });
  if (shape == leaf.shapes.end()) {
    leaf.leakage_pj = quantloom::leakage_pj(problem_.parts.arch, nest_, settings_.options.model);
    leaf.steps = nest_.temporal_steps;
    leaf.shapes.push_back({partial, count_words(partial), {}, {}, {}});
    shape = leaf.shapes.end() - 1;
  }
  if (fits(*shape)) {
    count(number, *shape);
  } else {
    shape->uncounted.push_back(number);
  }
}

// Of the current nest's tiles.
std::vector<Count> LeafPricer::count_words(const std::array<std::uint32_t, kMaxTensors>& partial) const {
  std::vector<Count> words;
  for (std::size_t t = 0; t < packing_.size(); ++t) {
    for (const SettingTable::Packing& packing : settings_.packings[t]) {
      for (const int l : problem_.bounded_levels) {
        const auto at = static_cast<std::size_t>(l);
        const bool is_kept = (nest_.keep[at] >> t & 1U) != 0;
        const Count tile = is_kept ? tile_elements(problem_.parts.workload.tensors()[t], nest_.extent[at]) : 0;
        words.push_back(is_kept ? tile_words(problem_.parts.arch, nest_, static_cast<int>(t), l, tile, partial[t], packing.bits, settings_.options) : 0);
      }
    }
  }
  return words;
}

bool LeafPricer::fits(const Leaf::Shape& shape) const {
  const std::size_t levels = problem_.bounded_levels.size();
  for (std::size_t i = 0; i < levels; ++i) {
    Count need = 0;
    for (const std::size_t packing : packing_) need = saturating_add(need, shape.words[packing * levels + i]);
    if (need > *problem_.parts.arch.level(problem_.bounded_levels[i]).capacity_words) return false;
  }
  return true;
}

// The nest is that of the order with this number.
void LeafPricer::count(std::uint64_t number, Leaf::Shape& shape) {
  count_shares();
  for (std::size_t i = 0; i < shape.prices.size(); ++i) {
    if (!std::equal(shares_.begin(), shares_.end(), shape.shares.begin() + static_cast<std::ptrdiff_t>(i * shares_.size()))) continue;
    ++shape.prices[i].times;
    return;
  }
  shape.prices.push_back({number, 1});
  shape.shares.insert(shape.shares.end(), shares_.begin(), shares_.end());
}

void LeafPricer::count_shares() {
  const Arch& arch = problem_.parts.arch;
  auto out = shares_.begin();
  for (std::size_t t = 0; t < packing_.size(); ++t) {
    count_tensor(arch, problem_.parts.workload, nest_, static_cast<int>(t), settings_.options, scratch_, counts_);
    for (const SettingTable::Packing& packing : settings_.packings[t]) {
      price_tensor(arch, nest_, counts_, static_cast<int>(t), packing.bits, settings_.options, price_);
      *out++ = price_.energy_pj;
      for (const int l : bandwidth_levels_) {
        const TensorLevelCost& storage = price_.storage[static_cast<std::size_t>(l)];
        *out++ = storage.reads;
        *out++ = storage.fills + storage.updates;
      }
    }
  }
}

template <class GetPosition>
void LeafPricer::offer(const Leaf& leaf, const Leaf::Shape& shape, const GetPosition& get_position, Best& best) {
  const double arithmetic_pj = problem_.macs * settings_.class_mac[class_].energy_pj;
  const double* shares = shape.shares.data();
  for (const Leaf::Price& price : shape.prices) {
    priced_ += price.times;
    double energy = arithmetic_pj;
    for (const std::size_t packing : packing_) energy += shares[packing * share_size_];
    const double cycles = count_cycles(shares, leaf.steps);
    energy += leaf.leakage_pj * cycles;
    best.offer(energy, cycles, [&] { return get_position(price.order); }, [&](const Position& other) { return comes_before(get_position(price.order), other, problem_); });
    shares += shares_.size();
  }
}

double LeafPricer::count_cycles(const double* shares, Count temporal_steps) const {
  const double steps = compute_cycles(temporal_steps, settings_.class_mac[class_].rate);
  double cycles = steps;
  for (std::size_t i = 0; i < bandwidth_levels_.size(); ++i) {
    LevelTraffic traffic;
    for (const std::size_t packing : packing_) {
      const double* words = shares + packing * share_size_ + 1 + 2 * i;
      traffic.add(words[0], words[1], steps);
    }
    double slowdown = 1;
    cycles = std::max(cycles, level_cycles(settings_.options.model, problem_.parts.arch.level(bandwidth_levels_[i]), steps, traffic, slowdown));
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

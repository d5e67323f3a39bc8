#include "exact_window.hpp"

#include <algorithm>

namespace quantloom::exact {
namespace {

// More open orders than this, or more irrelevant loops, and the hop is left out of the bound.
constexpr std::uint64_t kMostOrders = 64;
constexpr std::size_t kMostFreeLoops = 4;

}  // namespace

std::size_t WindowBound::KeyHash::operator()(const std::vector<std::uint32_t>& key) const noexcept {
  std::uint64_t hash = 0x9e3779b97f4a7c15ULL;
  for (const std::uint32_t word : key) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 32;
  }
  return hash;
}

WindowBound::WindowBound(const Problem& problem, const KeepChoice& keep, int tensor)
    : problem_(problem), tensor_(tensor), storage_(problem.parts) {
  std::copy_n(keep.keep.begin(), problem.num_levels(), storage_.keep.begin());
  int child = -1;
  for (int l = 0; l < problem.num_levels(); ++l) {
    if ((keep.keep[static_cast<std::size_t>(l)] >> tensor & 1U) == 0) continue;
    if (child >= 0) add_hop(child, l);
    child = l;
  }
}

void WindowBound::add_hop(int child, int parent) {
  Hop hop;
  hop.child = child;
  hop.parent = parent;
  for (int d = 0; d < problem_.parts.num_dims(); ++d) {
    if (!problem_.is_irrelevant(tensor_, d)) continue;
    for (int b = 0; b < problem_.num_blocks(); ++b) {
      const Block& block = problem_.parts.constraints.blocks[static_cast<std::size_t>(b)];
      bool loops = false;
      for (std::uint32_t r = 0; r < problem_.num_rows(d) && !loops; ++r) loops = problem_.factor(d, r, b) > 1;
      if (loops && !block.spatial && block.level > child) hop.free_loops.push_back({d, b});
    }
  }
  // With too many of them the hop is left out of the bound.
  if (hop.free_loops.size() > kMostFreeLoops) return;
  hop.found.resize(std::size_t{1} << hop.free_loops.size());
  hops_.insert(hops_.begin(), std::move(hop));
}

void WindowBound::begin(const std::uint32_t* rows) {
  rows_ = rows;
  count_lanes();
  for (Hop& hop : hops_) std::fill(hop.found.begin(), hop.found.end(), nullptr);
}

// Everything the network of level child + 1 depends on; free loops only by being there.
void WindowBound::make_key(const Hop& hop, std::uint32_t looping) {
  key_.clear();
  key_.push_back(looping);
  for (int d = 0; d < problem_.parts.num_dims(); ++d) {
    if ((problem_.active >> d & 1U) == 0) continue;
    const bool relevant = !problem_.is_irrelevant(tensor_, d);
    if (relevant) key_.push_back(problem_.extent(d, rows_[d], hop.child));
    for (int b = 0; b < problem_.num_blocks(); ++b) {
      const Block& block = problem_.parts.constraints.blocks[static_cast<std::size_t>(b)];
      if (block.level <= hop.child) continue;
      if (relevant || (block.spatial && block.level == hop.child + 1)) key_.push_back(problem_.factor(d, rows_[d], b));
    }
  }
}

const WindowBound::Known& WindowBound::find(Hop& hop, std::uint32_t looping) {
  const Known*& found = hop.found[looping];
  if (found != nullptr) return *found;
  make_key(hop, looping);
  const auto [it, is_new] = hop.known.try_emplace(key_);
  if (is_new) step_all(hop, looping, it->second);
  found = &it->second;
  return *found;
}

void WindowBound::step_all(const Hop& hop, std::uint32_t looping, Known& out) {
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  for (std::size_t d = 0; d < dims; ++d) {
    for (int b = 0; b < problem_.num_blocks(); ++b) {
      storage_.factors[static_cast<std::size_t>(b) * dims + d] = problem_.factor(static_cast<int>(d), rows_[d], b);
    }
  }
  std::vector<std::uint32_t*> free_factors;
  for (std::size_t i = 0; i < hop.free_loops.size(); ++i) {
    std::uint32_t& factor = storage_.factors[static_cast<std::size_t>(hop.free_loops[i].block) * dims + static_cast<std::size_t>(hop.free_loops[i].dim)];
    factor = 1;
    if ((looping >> i & 1U) != 0) free_factors.push_back(&factor);
  }
  out.corners = 1 << free_factors.size();
  for (std::size_t corner = 0; corner < static_cast<std::size_t>(out.corners); ++corner) {
    for (std::size_t i = 0; i < free_factors.size(); ++i) *free_factors[i] = 2 + (corner >> i & 1U);
    step_orders(hop, corner, out);
  }
}

// Steps through the network under every order of the blocks it depends on.
void WindowBound::step_orders(const Hop& hop, std::size_t corner, Known& out) {
  const auto dims = static_cast<std::size_t>(problem_.parts.num_dims());
  std::vector<std::size_t> open;
  std::vector<detail::BlockOrders> orders;
  std::uint64_t count = 1;
  for (std::size_t b = 0; b < problem_.parts.rules.size(); ++b) {
    const Block& block = problem_.parts.constraints.blocks[b];
    std::uint32_t units = 0;
    for (std::size_t d = 0; d < dims; ++d) units |= static_cast<std::uint32_t>(storage_.factors[b * dims + d] == 1) << d;
    const detail::BlockOrders here = make_orders(problem_.parts.rules[b], units, Enumeration::distinct);
    here.write(0, &storage_.order[b * dims]);
    storage_.split[b] = here.split_first;
    const bool matters = block.spatial ? block.level == hop.child + 1 : block.level > hop.child;
    const std::uint64_t choices = here.permutations() * here.splits();
    if (!matters || choices == 1) continue;
    open.push_back(b);
    orders.push_back(here);
    count = count > kMostOrders ? count : count * choices;
  }
  if (count > kMostOrders) return;
  const int level = hop.child + 1;
  const Arch& arch = problem_.parts.arch;
  if (out.traffic.empty()) out.traffic.resize(static_cast<std::size_t>(count) * static_cast<std::size_t>(out.corners));
  for (std::uint64_t number = 0; number < count; ++number) {
    std::uint64_t rest = number;
    for (std::size_t i = 0; i < open.size(); ++i) {
      orders[i].write(rest / orders[i].splits() % orders[i].permutations(), &storage_.order[open[i] * dims]);
      storage_.split[open[i]] = static_cast<std::uint8_t>(orders[i].split_first + rest % orders[i].splits());
      rest /= orders[i].splits() * orders[i].permutations();
    }
    build_nest(problem_.parts.constraints, storage_.view, nest_);
    RankVector tile;
    tile.fill(1);
    grow_tile(problem_.parts.workload, nest_, tensor_, nest_.end(level), nest_.num_loops, tile);
    count_compat_accesses(problem_.parts.workload, nest_, tensor_, level, tile, arch.fanout_x(level), arch.fanout_y(level), false, scratch_, accesses_);
    out.traffic[number * static_cast<std::size_t>(out.corners) + corner] = {accesses_.total(), accesses_.received(), accesses_.link_transfers};
  }
}

// Multi-affine through the corners at 2 and 3.
WindowBound::Traffic WindowBound::interpolate(const Known& known, std::size_t order) const {
  Traffic out;
  const auto corners = static_cast<std::size_t>(known.corners);
  for (std::size_t corner = 0; corner < corners; ++corner) {
    double weight = 1;
    for (std::size_t i = 0; (std::size_t{1} << i) < corners; ++i) weight *= (corner >> i & 1U) != 0 ? free_bounds_[i] - 2 : 3 - free_bounds_[i];
    const Traffic& at = known.traffic[order * corners + corner];
    out.sent += weight * at.sent;
    out.received += weight * at.received;
    out.links += weight * at.links;
  }
  return out;
}

void WindowBound::count_lanes() {
  double replication = 1;
  for (int l = problem_.num_levels() - 1; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    replication_[at] = replication;
    lanes_[at] = groups_[at] = 1;
    const int b = problem_.spatial_block[at];
    if (b < 0) continue;
    bool diagonal = false;
    for (const auto& rank : problem_.parts.workload.tensors()[static_cast<std::size_t>(tensor_)].ranks) {
      int spread = 0;
      for (const Term& term : rank) spread += problem_.factor(term.dim, rows_[term.dim], b) > 1 ? 1 : 0;
      diagonal = diagonal || spread > 1;
    }
    for (int d = 0; d < problem_.parts.num_dims(); ++d) {
      const double factor = problem_.factor(d, rows_[d], b);
      lanes_[at] *= factor;
      if (!diagonal && !problem_.is_irrelevant(tensor_, d)) groups_[at] *= factor;
    }
    replication *= lanes_[at];
  }
}

// One element per instance is taken off each count, because the model rounds to whole elements. A bypassed level between
// child and parent hands on what it needs; neighbours helping each other there can only add accesses for each element
// received, so the number of different tiles among its children bounds it.
double WindowBound::hop_energy(const Hop& hop, const Traffic& traffic, const std::vector<double>& weights) const {
  const auto child = static_cast<std::size_t>(hop.child);
  const auto parent = static_cast<std::size_t>(hop.parent);
  const auto per_element = [&](std::size_t level, double access_pj) {
    const Level& hardware = problem_.parts.arch.level(static_cast<int>(level));
    return (access_pj / static_cast<double>(hardware.block_words) + hardware.address_energy_pj.value_or(0)) * weights[level];
  };
  double served = traffic.sent;
  for (std::size_t l = child + 2; l <= parent; ++l) served *= groups_[l];
  const double reads = std::max(0.0, (served - 1) * replication_[parent]);
  const double fills = std::max(0.0, traffic.received * replication_[child + 1] + traffic.links - replication_[child]);
  const double passed_on = std::max(0.0, traffic.links - replication_[child]);
  const AccessEnergy& child_pj = problem_.parts.arch.level(hop.child).energy;
  return reads * per_element(parent, problem_.parts.arch.level(hop.parent).energy.read_pj) + fills * per_element(child, child_pj.fill_pj) +
         passed_on * per_element(child, child_pj.read_pj);
}

double WindowBound::least_hop_energy(const Hop& hop, const Known& known, const std::vector<double>& weights) const {
  if (known.traffic.empty()) return 0;
  const std::size_t orders = known.traffic.size() / static_cast<std::size_t>(known.corners);
  double least = hop_energy(hop, interpolate(known, 0), weights);
  for (std::size_t order = 1; order < orders; ++order) least = std::min(least, hop_energy(hop, interpolate(known, order), weights));
  return least;
}

double WindowBound::least_energy(const std::vector<double>& weights, double room) {
  double energy = 0;
  for (Hop& hop : hops_) {
    free_bounds_.clear();
    std::uint32_t looping = 0;
    for (std::size_t i = 0; i < hop.free_loops.size(); ++i) {
      const std::uint32_t bound = problem_.factor(hop.free_loops[i].dim, rows_[hop.free_loops[i].dim], hop.free_loops[i].block);
      if (bound == 1) continue;
      looping |= 1U << i;
      free_bounds_.push_back(bound);
    }
    energy += least_hop_energy(hop, find(hop, looping), weights);
    if (energy > room) break;
  }
  return energy;
}

// More iterations of a free loop never lessen the traffic (its weights are positive), so 2 stands for all.
double WindowBound::least_outer_energy(const std::vector<double>& weights) {
  if (hops_.empty()) return 0;
  Hop& hop = hops_.front();
  double least = -1;
  for (std::uint32_t looping = 0; looping < hop.found.size(); ++looping) {
    const Known& known = find(hop, looping);
    free_bounds_.assign(hop.free_loops.size(), 2);
    const double here = least_hop_energy(hop, known, weights);
    least = least < 0 ? here : std::min(least, here);
  }
  return least;
}

}  // namespace quantloom::exact

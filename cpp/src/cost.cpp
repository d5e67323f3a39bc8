// From access counts to words, energy and cycles. Section numbers refer to docs/model.md.
#include "quantloom/cost.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "access_bins.hpp"
#include "nest.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace {

// The reference steps two iterations of each temporal loop: beyond this many loops that takes minutes.
constexpr int kMaxSteppedLoops = 24;

struct TensorCounts {
  std::array<LevelAccesses, kMaxLevels> accesses;
  std::array<Count, kMaxLevels> tile;
  std::array<double, kMaxLevels> content;
  std::array<double, kMaxLevels> partition;
  std::array<double, kMaxLevels> parent_share;
  std::array<double, kMaxLevels> peer;
};

// Section 7: elements are packed where a width is given that differs from the word; a word of one bit turns packing off.
[[nodiscard]] bool is_packed(Count word_bits, int bits) noexcept { return bits > 0 && word_bits > 1 && bits != word_bits; }

[[nodiscard]] Count elements_per_word(Count word_bits, int bits) noexcept {
  return is_packed(word_bits, bits) ? word_bits / bits : 1;
}

void check_bits(const Arch& arch, const Workload& workload, std::span<const int> bits) {
  if (static_cast<int>(bits.size()) != workload.num_tensors()) {
    throw Error(ErrorKind::mapping, "bits: " + std::to_string(bits.size()) + " widths given, workload '" + workload.name() +
                                        "' has " + std::to_string(workload.num_tensors()) + " tensors");
  }
  for (std::size_t t = 0; t < bits.size(); ++t) {
    const std::string& tensor = workload.tensors()[t].name;
    if (bits[t] < 0) throw Error(ErrorKind::mapping, "bits of " + tensor + ": " + std::to_string(bits[t]) + ", expected 0 or more");
    for (const Level& level : arch.levels()) {
      if (level.word_bits != 1 && bits[t] > level.word_bits) {
        throw Error(ErrorKind::mapping,
                    "bits of " + tensor + ": " + std::to_string(bits[t]) + " bits do not fit the " +
                        std::to_string(level.word_bits) + "-bit words of level '" + level.name + "'",
                    "use at most " + std::to_string(level.word_bits) + " bits");
      }
    }
  }
}

void check_stepped_loops(const Workload& workload, const Nest& nest, bool always_step) {
  int temporal = 0;
  for (int i = 0; i < nest.num_loops; ++i) temporal += nest.loops[static_cast<std::size_t>(i)].kind == LoopKind::temporal ? 1 : 0;
  bool steps = always_step || nest.mapped_fanout(0) > 1;
  for (int t = 0; t < workload.num_tensors(); ++t) steps = steps || workload.has_window(t);
  if (steps && temporal > kMaxSteppedLoops) {
    throw Error(ErrorKind::mapping, "mapping has " + std::to_string(temporal) + " temporal loops of bound above 1; the compat model steps through 2^loops iterations and takes at most " +
                                        std::to_string(kMaxSteppedLoops),
                "merge loops of one dim that stand next to each other");
  }
}

Fit check_capacity(const Arch& arch, const Workload& workload, const Nest& nest, std::span<const int> bits) {
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    if (!level.capacity_words) continue;
    Count need = 0;
    for (int t = 0; t < workload.num_tensors(); ++t) {
      if ((nest.keep[static_cast<std::size_t>(l)] >> t & 1U) == 0) continue;
      const Count tile = tile_elements(workload.tensors()[static_cast<std::size_t>(t)], nest.extent[static_cast<std::size_t>(l)]);
      need = saturating_add(need, ceil_div(tile, elements_per_word(level.word_bits, bits[static_cast<std::size_t>(t)])));
    }
    if (need > *level.capacity_words) {
      return {Fit::Reason::capacity, l, need, *level.capacity_words,
              "level '" + level.name + "': the tiles need " + std::to_string(need) + " words, capacity is " +
                  std::to_string(*level.capacity_words)};
    }
  }
  return {};
}

Fit check_instances(const std::string& name, int level, Count x, Count y, Count mesh_x, Count mesh_y) {
  const auto failure = [&](const char* what, Count need, Count have) {
    return Fit{Fit::Reason::fanout, level, need, have,
               "'" + name + "': the mapping uses " + std::to_string(need) + what + ", the hardware has " + std::to_string(have)};
  };
  if (saturating_mul(x, y) > mesh_x * mesh_y) return failure(" instances", saturating_mul(x, y), mesh_x * mesh_y);
  if (x > mesh_x) return failure(" instances along X", x, mesh_x);
  if (y > mesh_y) return failure(" instances along Y", y, mesh_y);
  return {};
}

Fit check_fanout(const Arch& arch, const Nest& nest) {
  const Arithmetic& units = arch.arithmetic();
  Fit fit = check_instances(units.name, -1, saturating_mul(nest.outer_x[0], nest.spatial_x[0]),
                            saturating_mul(nest.outer_y[0], nest.spatial_y[0]), units.mesh_x, units.mesh_y);
  for (int l = 0; l < arch.num_levels() && fit.fits(); ++l) {
    const Level& level = arch.level(l);
    fit = check_instances(level.name, l, nest.outer_x[static_cast<std::size_t>(l)], nest.outer_y[static_cast<std::size_t>(l)], level.mesh_x, level.mesh_y);
  }
  return fit;
}

// Section 6.2: distinct data that ever passes through one instance.
void count_partitions(const Workload& workload, const Nest& nest, int tensor, TensorCounts& counts) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  const int n = nest.num_levels;
  counts.partition[static_cast<std::size_t>(n - 1)] = static_cast<double>(counts.tile[static_cast<std::size_t>(n - 1)]);
  for (int l = n - 2; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    std::array<Count, kMaxDims> extent = nest.extent[at];
    for (int i = nest.spatial_begin[at + 1]; i < nest.end(l + 1); ++i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      extent[static_cast<std::size_t>(loop.dim)] *= loop.bound;
    }
    const __int128 product = static_cast<__int128>(counts.partition[at + 1]) * counts.tile[at];
    counts.partition[at] = static_cast<double>(product / tile_elements(spec, extent));
  }
}

// Sections 6.1 and 6.3 to 6.5: shares of the parents, bypassed levels hand their needs outwards, neighbours.
void resolve_bypass(const Nest& nest, int tensor, TensorCounts& counts) {
  const int n = nest.num_levels;
  const auto kept = [&](int l) { return (nest.keep[static_cast<std::size_t>(l)] >> tensor & 1U) != 0; };
  for (int l = 0; l < n; ++l) counts.content[static_cast<std::size_t>(l)] = counts.accesses[static_cast<std::size_t>(l)].total();
  for (int l = 0; l < n; ++l) {
    counts.parent_share[static_cast<std::size_t>(l)] =
        l + 1 == n ? 0 : counts.accesses[static_cast<std::size_t>(l + 1)].received() / static_cast<double>(nest.mapped_fanout(l + 1));
  }
  const auto clear = [&](std::size_t at) {
    counts.tile[at] = 0;
    counts.partition[at] = counts.content[at] = counts.parent_share[at] = 0;
  };
  int outermost = n - 1;
  while (outermost >= 0 && !kept(outermost)) {
    clear(static_cast<std::size_t>(outermost));
    counts.accesses[static_cast<std::size_t>(outermost)] = {};
    --outermost;
  }
  if (outermost >= 0) counts.parent_share[static_cast<std::size_t>(outermost)] = 0;
  for (int l = 0; l < outermost; ++l) {
    if (kept(l)) continue;
    const auto at = static_cast<std::size_t>(l);
    LevelAccesses& outer = counts.accesses[at + 1];
    const double received = outer.received();
    const double factor = received == 0 ? 0 : counts.content[at] * static_cast<double>(nest.mapped_fanout(l + 1)) / received;
    for (AccessBin& bin : outer.bins) bin.accesses *= factor;
    outer.link_transfers = 0;
    counts.content[at + 1] = outer.total();
    clear(at);
  }
  for (int l = 0; l < n; ++l) {
    const double links = l + 1 < n ? counts.accesses[static_cast<std::size_t>(l + 1)].link_transfers : 0;
    counts.peer[static_cast<std::size_t>(l)] = links > 0 ? links / static_cast<double>(nest.replication(l)) : 0;
  }
}

double pack(double count, Count per_word) { return std::ceil(count / static_cast<double>(per_word)); }

// Section 6.6 and 7: final counts of one tensor at one level, packed into words.
void fill_storage_counts(const Nest& nest, const Level& level, int l, bool kept, bool is_outermost, bool is_output,
                         Count per_word, const TensorCounts& counts, TensorLevelCost& out) {
  const auto at = static_cast<std::size_t>(l);
  out.kept = kept;
  out.elements_per_word = per_word;
  out.utilized_instances = nest.replication(l);
  out.utilized_clusters = std::min(out.utilized_instances, level.instances / level.cluster_size);
  if (!kept) return;
  out.tile_elements = counts.tile[at];
  out.utilized_words = ceil_div(counts.tile[at], per_word);
  out.partition_elements = static_cast<Count>(counts.partition[at]);
  const double content = counts.content[at];
  const double peer = counts.peer[at];
  const double share = counts.parent_share[at];
  if (is_output) {
    out.updates = pack(std::round(content), per_word);
    out.reads = out.temporal_reductions = pack(std::round(content + peer - counts.partition[at]), per_word);
    out.fills = pack(std::round(is_outermost ? share + peer : share + peer - counts.partition[at]), per_word);
  } else {
    out.reads = pack(std::round(content + peer), per_word);
    out.fills = pack(std::trunc(share + peer), per_word);
  }
}

// Section 8: storage energy over all instances.
void charge_storage(const Nest& nest, const Level& level, int l, bool is_output, TensorLevelCost& out) {
  if (!out.kept) return;
  const auto blocks = [&](double words) { return std::ceil(words / static_cast<double>(level.block_words)); };
  const double replication = static_cast<double>(nest.replication(l));
  const double clusters = static_cast<double>(out.utilized_clusters);
  const auto total = [&](double per_instance_pj) { return per_instance_pj / (replication / clusters) * replication; };
  out.read_energy_pj = total(blocks(out.reads) * level.energy.read_pj);
  out.fill_energy_pj = total(blocks(out.fills) * level.energy.fill_pj);
  out.update_energy_pj = total(blocks(out.updates) * level.energy.update_pj);
  out.energy_pj = total(blocks(out.reads) * level.energy.read_pj + blocks(out.fills) * level.energy.fill_pj +
                        blocks(out.updates) * level.energy.update_pj);
  const double addresses = (is_output ? out.updates : out.reads) + out.fills;
  out.address_energy_pj = addresses * level.address_energy_pj.value_or(0) * clusters;
}

// Sections 7 and 8: the network between this level and its children.
TensorNetworkCost charge_network(const Nest& nest, const Level& level, int l, bool is_output, bool packed,
                                 Count per_word, const TensorCounts& counts) {
  const LevelAccesses& accesses = counts.accesses[static_cast<std::size_t>(l)];
  TensorNetworkCost out;
  out.fanout = nest.mapped_fanout(l);
  out.link_transfers = pack(accesses.link_transfers, per_word);
  double wire = 0;
  double routers = 0;
  for (const AccessBin& bin : accesses.bins) {
    double words = bin.accesses;
    if (is_output && level.is_dram) words = 2 * words - counts.partition[static_cast<std::size_t>(l)];
    if (packed) words = std::ceil(words) / static_cast<double>(per_word);
    if (words <= 0) continue;
    out.multicast_factor = std::max(out.multicast_factor, bin.multicast);
    out.ingresses += words;
    wire += bin.hops;
    routers = std::trunc(routers + (1 + std::floor(bin.hops / words)) * words);
    if (is_output) out.spatial_reductions = std::trunc(out.spatial_reductions + static_cast<double>(bin.multicast - 1) * words);
  }
  out.num_hops = out.ingresses > 0 ? wire / out.ingresses : 0;
  out.energy_pj = (wire * level.hop_energy_pj + routers * level.router_energy_pj +
                   out.link_transfers * (level.hop_energy_pj + 2 * level.router_energy_pj)) *
                  static_cast<double>(nest.replication(l));
  return out;
}

// Section 9: cycles a level needs to serve the mapping, given its bandwidths.
void time_level(const Level& level, double steps, LevelCost& out) {
  double reads = 0;
  double writes = 0;
  for (const TensorLevelCost& tensor : out.tensors) {
    reads += tensor.reads / steps;
    writes += (tensor.fills + tensor.updates) / steps;
  }
  double slowdown = 1;
  if (level.read_bandwidth && *level.read_bandwidth < reads) slowdown = std::min(slowdown, *level.read_bandwidth / reads);
  if (level.write_bandwidth && *level.write_bandwidth < writes) slowdown = std::min(slowdown, *level.write_bandwidth / writes);
  if (level.shared_bandwidth && *level.shared_bandwidth < reads + writes) {
    slowdown = std::min(slowdown, *level.shared_bandwidth / (reads + writes));
  }
  out.slowdown = slowdown;
  out.cycles = std::ceil(steps / slowdown);
}

bool is_exact(const Cost& cost) {
  if (cost.macs == kSaturated || cost.compute_cycles > kLargestExactCount) return false;
  for (const LevelCost& level : cost.levels) {
    for (const TensorLevelCost& tensor : level.tensors) {
      if (tensor.utilized_words == kSaturated || tensor.reads > kLargestExactCount || tensor.fills > kLargestExactCount ||
          tensor.updates > kLargestExactCount) {
        return false;
      }
    }
  }
  return true;
}

// Operations or elements beyond 2^63: coordinates could not be counted at all.
bool overflows(const Workload& workload) {
  bool saturated = workload.macs() == kSaturated;
  for (int t = 0; t < workload.num_tensors(); ++t) saturated = saturated || workload.tensor_elements(t) == kSaturated;
  return saturated;
}

Cost infinite(const Arch& arch, const Workload& workload, Cost cost) {
  for (int l = 0; l < arch.num_levels(); ++l) {
    cost.levels[static_cast<std::size_t>(l)].tensors.resize(static_cast<std::size_t>(workload.num_tensors()));
    cost.levels[static_cast<std::size_t>(l)].network.resize(static_cast<std::size_t>(workload.num_tensors()));
  }
  cost.energy_pj = cost.cycles = cost.edp = cost.energy_per_mac_pj = std::numeric_limits<double>::infinity();
  return cost;
}

void sum_up(const Arch& arch, const Nest& nest, Cost& cost) {
  const Arithmetic& units = arch.arithmetic();
  cost.arithmetic_energy_pj = static_cast<double>(cost.macs) * units.energy_pj;
  cost.energy_pj = cost.arithmetic_energy_pj;
  cost.compute_cycles = static_cast<double>(nest.temporal_steps);
  cost.cycles = cost.compute_cycles;
  cost.area_um2 = static_cast<double>(static_cast<float>(units.area_um2)) * static_cast<double>(units.instances);
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    LevelCost& here = cost.levels[static_cast<std::size_t>(l)];
    time_level(level, cost.compute_cycles, here);
    for (const TensorLevelCost& tensor : here.tensors) here.energy_pj += tensor.energy_pj + tensor.address_energy_pj;
    for (const TensorNetworkCost& network : here.network) here.network_energy_pj += network.energy_pj;
    cost.cycles = std::max(cost.cycles, here.cycles);
    cost.area_um2 += static_cast<double>(static_cast<float>(level.area_um2)) * static_cast<double>(level.instances);
  }
  for (int l = 0; l < arch.num_levels(); ++l) {
    LevelCost& here = cost.levels[static_cast<std::size_t>(l)];
    here.leak_energy_pj = arch.level(l).leak_energy_pj * cost.cycles * static_cast<double>(nest.replication(l));
    here.energy_pj += here.leak_energy_pj;
    cost.energy_pj += here.energy_pj + here.network_energy_pj;
  }
  if (!is_exact(cost)) cost.energy_pj = cost.cycles = std::numeric_limits<double>::infinity();
  cost.edp = cost.energy_pj * cost.cycles;
  cost.utilization = static_cast<double>(cost.macs) / static_cast<double>(units.instances) / cost.cycles;
  cost.energy_per_mac_pj = cost.energy_pj / static_cast<double>(cost.macs);
}

}  // namespace

Fit check_fit(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits) {
  check_mapping(arch, workload, mapping);
  check_bits(arch, workload, bits);
  Nest nest;
  build_nest(workload, mapping, nest);
  const Fit fit = check_capacity(arch, workload, nest, bits);
  return fit.fits() ? check_fanout(arch, nest) : fit;
}

Cost evaluate(const Arch& arch, const Workload& workload, const Mapping& mapping, std::span<const int> bits,
              const EvaluateOptions& options) {
  const Fit fit = check_fit(arch, workload, mapping, bits);
  if (!fit.fits()) throw Error(ErrorKind::infeasible, "mapping does not fit: " + fit.message);
  Nest nest;
  build_nest(workload, mapping, nest);
  check_stepped_loops(workload, nest, options.always_step);

  Cost cost;
  cost.macs = workload.macs();
  cost.levels.resize(static_cast<std::size_t>(arch.num_levels()));
  if (overflows(workload)) return infinite(arch, workload, std::move(cost));
  CompatScratch scratch;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    const bool is_output = workload.tensors()[static_cast<std::size_t>(t)].is_output;
    TensorCounts counts;
    int outermost = -1;
    for (int l = 0; l < arch.num_levels(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      counts.tile[at] = tile_elements(workload.tensors()[static_cast<std::size_t>(t)], nest.extent[at]);
      count_compat_accesses(workload, nest, t, l, arch.fanout_x(l), arch.fanout_y(l), options.always_step, scratch, counts.accesses[at]);
      if ((nest.keep[at] >> t & 1U) != 0) outermost = l;
    }
    count_partitions(workload, nest, t, counts);
    resolve_bypass(nest, t, counts);
    for (int l = 0; l < arch.num_levels(); ++l) {
      const Level& level = arch.level(l);
      const bool kept = (nest.keep[static_cast<std::size_t>(l)] >> t & 1U) != 0;
      const Count per_word = elements_per_word(level.word_bits, bits[static_cast<std::size_t>(t)]);
      TensorLevelCost storage;
      fill_storage_counts(nest, level, l, kept, l == outermost, is_output, per_word, counts, storage);
      charge_storage(nest, level, l, is_output, storage);
      cost.levels[static_cast<std::size_t>(l)].tensors.push_back(storage);
      cost.levels[static_cast<std::size_t>(l)].network.push_back(charge_network(nest, level, l, is_output, is_packed(level.word_bits, bits[static_cast<std::size_t>(t)]), per_word, counts));
    }
  }
  sum_up(arch, nest, cost);
  return cost;
}

}  // namespace quantloom

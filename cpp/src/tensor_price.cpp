// Sections named in comments are those of docs/model.md.
#include "tensor_price.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "quantloom/error.hpp"

namespace quantloom {
namespace {

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
    counts.accesses[static_cast<std::size_t>(outermost)].bins.clear();
    counts.accesses[static_cast<std::size_t>(outermost)].link_transfers = 0;
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
void fill_storage_counts(const Nest& nest, const Level& level, int l, bool kept,
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
  const bool is_outermost = l == counts.outermost_kept;
  if (counts.is_output) {
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
TensorNetworkCost charge_network(const Nest& nest, const Level& level, int l, bool packed,
                                 Count per_word, const TensorCounts& counts) {
  const LevelAccesses& accesses = counts.accesses[static_cast<std::size_t>(l)];
  TensorNetworkCost out;
  out.fanout = nest.mapped_fanout(l);
  out.link_transfers = pack(accesses.link_transfers, per_word);
  double wire = 0;
  double routers = 0;
  for (const AccessBin& bin : accesses.bins) {
    double words = bin.accesses;
    if (counts.is_output && level.is_dram) words = 2 * words - counts.partition[static_cast<std::size_t>(l)];
    if (packed) words = std::ceil(words) / static_cast<double>(per_word);
    if (words <= 0) continue;
    out.multicast_factor = std::max(out.multicast_factor, bin.multicast);
    out.ingresses += words;
    wire += bin.hops;
    routers = std::trunc(routers + (1 + std::floor(bin.hops / words)) * words);
    if (counts.is_output) out.spatial_reductions = std::trunc(out.spatial_reductions + static_cast<double>(bin.multicast - 1) * words);
  }
  out.num_hops = out.ingresses > 0 ? wire / out.ingresses : 0;
  out.energy_pj = (wire * level.hop_energy_pj + routers * level.router_energy_pj +
                   out.link_transfers * (level.hop_energy_pj + 2 * level.router_energy_pj)) *
                  static_cast<double>(nest.replication(l));
  return out;
}

}  // namespace

bool is_packed(Count word_bits, int bits) noexcept { return bits > 0 && word_bits > 1 && bits != word_bits; }

Count elements_per_word(Count word_bits, int bits) noexcept { return is_packed(word_bits, bits) ? word_bits / bits : 1; }

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

// Section 9.
double level_cycles(const Level& level, double steps, double reads, double writes, double& slowdown) noexcept {
  slowdown = 1;
  if (level.read_bandwidth && *level.read_bandwidth < reads) slowdown = std::min(slowdown, *level.read_bandwidth / reads);
  if (level.write_bandwidth && *level.write_bandwidth < writes) slowdown = std::min(slowdown, *level.write_bandwidth / writes);
  if (level.shared_bandwidth && *level.shared_bandwidth < reads + writes) {
    slowdown = std::min(slowdown, *level.shared_bandwidth / (reads + writes));
  }
  return std::ceil(steps / slowdown);
}

void count_tensor(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, bool always_step,
                  CompatScratch& scratch, TensorCounts& out) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  out.is_output = spec.is_output;
  out.outermost_kept = -1;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    out.tile[at] = tile_elements(spec, nest.extent[at]);
    count_compat_accesses(workload, nest, tensor, l, arch.fanout_x(l), arch.fanout_y(l), always_step, scratch, out.accesses[at]);
    if ((nest.keep[at] >> tensor & 1U) != 0) out.outermost_kept = l;
  }
  count_partitions(workload, nest, tensor, out);
  resolve_bypass(nest, tensor, out);
}

void price_tensor(const Arch& arch, const Nest& nest, const TensorCounts& counts, int tensor, int bits, TensorPrice& out) noexcept {
  out.energy_pj = 0;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    const Level& level = arch.level(l);
    const bool kept = (nest.keep[at] >> tensor & 1U) != 0;
    const Count per_word = elements_per_word(level.word_bits, bits);
    TensorLevelCost& storage = out.storage[at];
    storage = {};
    fill_storage_counts(nest, level, l, kept, per_word, counts, storage);
    charge_storage(nest, level, l, counts.is_output, storage);
    out.network[at] = charge_network(nest, level, l, is_packed(level.word_bits, bits), per_word, counts);
    out.energy_pj += storage.energy_pj + storage.address_energy_pj + out.network[at].energy_pj;
  }
}

}  // namespace quantloom

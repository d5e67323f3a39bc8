// Sections named in comments are those of docs/model.md.
#include "tensor_price.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "quantloom/error.hpp"
#include "quantloom/mac_table.hpp"

namespace quantloom {
namespace {

// std::ceil, trunc and round without a call: nothing is left to round from 2^53 on.
double round_up(double value) {
  if (!(std::abs(value) < kLargestExactCount)) return value;
  const auto whole = static_cast<double>(static_cast<Count>(value));
  return whole < value ? whole + 1 : whole;
}

double round_to_zero(double value) {
  return std::abs(value) < kLargestExactCount ? static_cast<double>(static_cast<Count>(value)) : value;
}

double round_to_nearest(double value) {
  const double whole = round_to_zero(value);
  const double rest = value - whole;
  return rest >= 0.5 ? whole + 1 : rest <= -0.5 ? whole - 1 : whole;
}

// part * tile // spread, exactly.
double divided_part(double part, Count tile, Count spread) {
  if (tile == spread) return part;
  Count narrow = 0;  // nearly always enough, and a 128-bit division is slow
  if (part < kLargestExactCount && !__builtin_mul_overflow(static_cast<Count>(part), tile, &narrow)) {
    narrow /= spread;
    return static_cast<double>(narrow);
  }
  const __int128 wide = static_cast<__int128>(part) * tile / spread;
  return static_cast<double>(wide);
}

// Sections 4 to 5.4, and 6.2 (distinct data that ever passes through one instance).
void count_compat(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, const EvaluateOptions& options, CompatScratch& scratch,
                  TensorCounts& counts) {
  const int ranks = static_cast<int>(workload.tensors()[static_cast<std::size_t>(tensor)].ranks.size());
  std::array<Count, kMaxLevels> spread;  // tile of a level's children all together
  RankVector tile;
  tile.fill(1);
  for (int l = 0; l < nest.num_levels; ++l) {
    const auto at = static_cast<std::size_t>(l);
    const bool is_spread = nest.spatial_begin[at] < nest.end(l);
    const Count grid_x = is_spread ? arch.fanout_x(l) : 1;
    const Count grid_y = is_spread ? arch.fanout_y(l) : 1;
    if (options.always_step) {
      step_compat_accesses(workload, nest, tensor, l, grid_x, grid_y, counts.accesses[at]);
    } else {
      const bool with_hops = options.hops || arch.level(l).hop_energy_pj != 0 || arch.level(l).router_energy_pj != 0;
      count_compat_accesses(workload, nest, tensor, l, tile, grid_x, grid_y, with_hops, scratch, counts.accesses[at]);
    }
    grow_tile(workload, nest, tensor, nest.spatial_begin[at], nest.end(l), tile);
    spread[at] = is_spread ? tile_volume(tile, ranks) : l > 0 ? counts.tile[at - 1] : 1;
    grow_tile(workload, nest, tensor, nest.begin[at], nest.spatial_begin[at], tile);
    counts.tile[at] = tile_volume(tile, ranks);
  }
  int l = nest.num_levels - 1;
  counts.partition[static_cast<std::size_t>(l)] = static_cast<double>(counts.tile[static_cast<std::size_t>(l)]);
  for (--l; l >= 0; --l) {
    const auto at = static_cast<std::size_t>(l);
    counts.partition[at] = divided_part(counts.partition[at + 1], counts.tile[at], spread[at + 1]);
  }
}

// Sections 6.1 and 6.3 to 6.5: shares of the parents, bypassed levels hand their needs outwards, neighbours.
void resolve_bypass(const Nest& nest, int tensor, TensorCounts& counts) {
  const int n = nest.num_levels;
  const auto kept = [&](int l) { return (nest.keep[static_cast<std::size_t>(l)] >> tensor & 1U) != 0; };
  for (int l = 0; l < n; ++l) counts.content[static_cast<std::size_t>(l)] = counts.accesses[static_cast<std::size_t>(l)].total();
  for (int l = 0; l < n; ++l) {
    counts.parent_share[static_cast<std::size_t>(l)] =
        l + 1 == n ? 0 : counts.accesses[static_cast<std::size_t>(l + 1)].received_by_each(nest.mapped_fanout(l + 1));
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

double pack(double count, Count per_word) { return round_up(per_word == 1 ? count : count / static_cast<double>(per_word)); }

// Sections 6.6 and 7.1: final counts of one tensor at one level, packed into words.
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
    out.update_elements = round_to_nearest(content);
    // The box of an output with strides, or with a dim in two ranks, may hold more elements than ever get a sum.
    const auto but_first = [&](double accesses) { return std::max(0.0, round_to_nearest(accesses - counts.partition[at])); };
    out.read_elements = but_first(content + peer);
    out.fill_elements = is_outermost ? round_to_nearest(share + peer) : but_first(share + peer);
  } else {
    out.read_elements = round_to_nearest(content + peer);
    out.fill_elements = round_to_zero(share + peer);
  }
  out.reads = pack(out.read_elements, per_word);
  out.fills = pack(out.fill_elements, per_word);
  out.updates = pack(out.update_elements, per_word);
  if (counts.is_output) out.temporal_reductions = out.reads;
}

// Section 8: storage energy over all instances.
void charge_storage(const Nest& nest, const Level& level, int l, bool is_output, TensorLevelCost& out) {
  if (!out.kept) return;
  const auto blocks = [&](double words) { return level.block_words == 1 ? words : round_up(words / static_cast<double>(level.block_words)); };
  const double replication = static_cast<double>(nest.replication(l));
  const double clusters = static_cast<double>(out.utilized_clusters);
  const double shared = replication / clusters;
  const auto total = [&](double per_instance_pj) { return (shared == 1 ? per_instance_pj : per_instance_pj / shared) * replication; };
  const double read_pj = blocks(out.reads) * level.energy.read_pj;
  const double fill_pj = blocks(out.fills) * level.energy.fill_pj;
  const double update_pj = blocks(out.updates) * level.energy.update_pj;
  out.read_energy_pj = total(read_pj);
  out.fill_energy_pj = total(fill_pj);
  out.update_energy_pj = total(update_pj);
  out.energy_pj = total(read_pj + fill_pj + update_pj);
  const double addresses = (is_output ? out.updates : out.reads) + out.fills;
  out.address_energy_pj = addresses * level.address_energy_pj.value_or(0) * clusters;
}

// Sections 7.1 and 8, compat: the network between this level and its children.
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
    if (packed) words = round_up(words) / static_cast<double>(per_word);
    if (words <= 0) continue;
    out.multicast_factor = std::max(out.multicast_factor, bin.multicast);
    out.ingresses += words;
    wire += bin.hops;
    if (level.router_energy_pj != 0) routers = std::trunc(routers + (1 + std::floor(bin.hops / words)) * words);
    if (counts.is_output) out.spatial_reductions = round_to_zero(out.spatial_reductions + static_cast<double>(bin.multicast - 1) * words);
  }
  out.num_hops = out.ingresses > 0 ? wire / out.ingresses : 0;
  out.energy_pj = (wire * level.hop_energy_pj + routers * level.router_energy_pj +
                   out.link_transfers * (level.hop_energy_pj + 2 * level.router_energy_pj)) *
                  static_cast<double>(nest.replication(l));
  return out;
}

// Words per element of the output: once its reduction is complete, and before. Inputs: the same twice.
struct Widths {
  WordRate own;
  WordRate psum;
};

// What lists children one by one would take minutes and gigabytes past this many.
constexpr Count kMostListedChildren = Count{1} << 22;

void check_children(const Arch& arch, CostModel model) {
  if (arch.arithmetic().instances <= kMostListedChildren) return;
  const auto& levels = arch.levels();
  const auto hops = std::find_if(levels.begin(), levels.end(), [](const Level& level) { return level.hop_energy_pj != 0 || level.router_energy_pj != 0; });
  const bool compat = model == CostModel::compat;
  if (!compat && hops == levels.end()) return;
  const std::string who = compat ? "the compat model" : "the energy of hops and routers at level '" + hops->name + "'";
  throw Error(ErrorKind::spec,
              "architecture '" + arch.name() + "' has " + std::to_string(arch.arithmetic().instances) + " arithmetic units; " + who +
                  " looks at them one by one, at most " + std::to_string(kMostListedChildren),
              compat ? "use the cost model 'default'" : "leave these energies out, or describe a part of the array");
}

// Which elements neighbours hold is counted rank by rank: each dim must move one rank only.
void check_forwarding(const Arch& arch, const Workload& workload) {
  for (const Level& level : arch.levels()) {
    if (!level.forwarding) continue;
    for (const TensorSpec& tensor : workload.tensors()) {
      if (tensor.is_output || !ranks_share_dims(workload, tensor)) continue;
      throw Error(ErrorKind::workload,
                  "workload '" + workload.name() + "': a dim moves two ranks of '" + tensor.name + "', which the forwarding network of level '" + level.name +
                      "' cannot be counted for",
                  "declare the level without forwarding, or rewrite the workload");
    }
  }
}

// Words of so many sums, `complete` of which are final.
Count pack_sums(Count sums, Count complete, const Widths& widths) {
  if (sums == kSaturated) return kSaturated;
  return packed_words(sums - complete, widths.psum, complete, widths.own);
}

// Sections 6.7, 6.8 and 7.2: packed counts of one tensor at one level.
void fill_default_counts(const Nest& nest, const Level& level, int l, bool kept, const Widths& widths, const DefaultLevelCounts& counts,
                         bool is_output, TensorLevelCost& out) {
  out.kept = kept;
  out.utilized_instances = nest.replication(l);
  out.utilized_clusters = std::min(out.utilized_instances, level.instances / level.cluster_size);
  if (!kept) return;
  out.tile_elements = counts.tile;
  out.utilized_words = packed_words(counts.tile, out.holds_partial_sums ? widths.psum : widths.own);
  out.partition_elements = counts.distinct;
  out.read_elements = static_cast<double>(counts.reads);
  out.fill_elements = static_cast<double>(counts.fills);
  out.update_elements = static_cast<double>(counts.updates);
  out.final_update_elements = static_cast<double>(counts.final_updates);
  // Whatever is read or filled of an output is a partial sum.
  const WordRate rate = is_output ? widths.psum : widths.own;
  out.reads = static_cast<double>(packed_words(counts.reads, rate));
  out.fills = static_cast<double>(packed_words(counts.fills, rate));
  if (!is_output) return;
  out.updates = static_cast<double>(pack_sums(counts.updates, counts.final_updates, widths));
  out.temporal_reductions = out.reads;
}

// Sections 6.9 and 8, default model: the network between this level and its children.
TensorNetworkCost charge_default_network(const Nest& nest, const Level& level, int l, const Widths& widths,
                                         const DefaultLevelCounts& counts, bool is_output) {
  TensorNetworkCost out;
  out.fanout = nest.mapped_fanout(l);
  out.multicast_factor = counts.multicast;
  const Count down = packed_words(counts.down, is_output ? widths.psum : widths.own);
  const Count up = pack_sums(counts.up, counts.final_up, widths);
  out.ingresses = static_cast<double>(saturating_add(down, up));
  out.link_transfers = static_cast<double>(packed_words(counts.links, widths.own));
  out.spatial_reductions = static_cast<double>(counts.reductions);
  const double wire = static_cast<double>(down) * counts.hops_down + static_cast<double>(up) * counts.hops_up;
  out.num_hops = out.ingresses > 0 ? wire / out.ingresses : 0;
  out.energy_pj = (wire * level.hop_energy_pj + (out.ingresses + wire) * level.router_energy_pj +
                   out.link_transfers * (level.hop_energy_pj + level.router_energy_pj) + out.spatial_reductions * level.adder_energy_pj) *
                  static_cast<double>(nest.replication(l));
  return out;
}

}  // namespace

bool has_exact_counts(const TensorLevelCost& cost) noexcept {
  return cost.utilized_words != kSaturated && cost.reads <= kLargestExactCount && cost.fills <= kLargestExactCount &&
         cost.updates <= kLargestExactCount;
}

void check_bits(const Arch& arch, const Workload& workload, std::span<const int> bits, CostModel model) {
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
  static_cast<void>(mac_mode(arch, workload, bits, model));
}

// Section 9.
double level_cycles(CostModel model, const Level& level, double steps, const LevelTraffic& traffic, double& slowdown) noexcept {
  slowdown = 1;
  const double bits = level.bandwidth_in_bits ? static_cast<double>(level.word_bits) : 1;  // what the bandwidth counts, per word
  const auto limit = [&](const std::optional<double>& bandwidth, double per_step, double words) {
    if (!bandwidth) return steps;
    if (model == CostModel::compat) {
      if (*bandwidth < per_step * bits) slowdown = std::min(slowdown, *bandwidth / (per_step * bits));
      return steps;
    }
    const double needed = words * bits / *bandwidth;
    if (needed > steps) slowdown = std::min(slowdown, steps / needed);
    return std::max(steps, std::ceil(needed));
  };
  const double reads = limit(level.read_bandwidth, traffic.reads_per_step, traffic.reads);
  const double writes = limit(level.write_bandwidth, traffic.writes_per_step, traffic.writes);
  const double both = limit(level.shared_bandwidth, traffic.reads_per_step + traffic.writes_per_step, traffic.reads + traffic.writes);
  return model == CostModel::compat ? std::ceil(steps / slowdown) : std::max({reads, writes, both});
}

void check_model(const Arch& arch, const Workload& workload, const EvaluateOptions& options) {
  if (options.psum_bits < 0 || options.psum_bits > kMaxPsumBits) {
    throw Error(ErrorKind::spec, "psum_bits: " + std::to_string(options.psum_bits) + ", expected 1 to " + std::to_string(kMaxPsumBits) +
                                     ", or 0 to derive it from the inputs' bits");
  }
  check_children(arch, options.model);
  if (options.model == CostModel::compat) {
    const char* hint = "use the cost model 'default'";
    if (options.packing != PackingRule::word) throw Error(ErrorKind::spec, "the compat model packs by word only", hint);
    if (options.psum_bits != 0) throw Error(ErrorKind::spec, "the compat model stores partial sums as outputs, psum_bits has no meaning", hint);
    return;
  }
  check_forwarding(arch, workload);
  for (const TensorSpec& tensor : workload.tensors()) {
    if (!tensor.is_output || !ranks_share_dims(workload, tensor)) continue;
    throw Error(ErrorKind::workload,
                "workload '" + workload.name() + "': a dim moves two ranks of the output '" + tensor.name +
                    "', whose partial sums the default model cannot count",
                "rewrite the workload, or use the cost model 'compat'");
  }
}

double compute_cycles(Count steps, const MacRate& rate) noexcept { return static_cast<double>(packed_words(steps, {rate.cycles, rate.macs})); }

double level_leakage_pj(const Arch& arch, const Nest& nest, int level, CostModel model) noexcept {
  const Level& here = arch.level(level);
  const Count used = nest.replication(level);
  const double idle = model == CostModel::compat ? 0 : here.idle_energy_pj * static_cast<double>(here.instances - used);
  return here.leak_energy_pj * static_cast<double>(used) + idle;
}

double arithmetic_leakage_pj(const Arch& arch, const Nest& nest, CostModel model) noexcept {
  if (model == CostModel::compat) return 0;
  const Arithmetic& units = arch.arithmetic();
  const Count used = saturating_mul(nest.replication(0), nest.mapped_fanout(0));
  return units.leak_energy_pj * static_cast<double>(used) + units.idle_energy_pj * static_cast<double>(units.instances - used);
}

double leakage_pj(const Arch& arch, const Nest& nest, CostModel model) noexcept {
  double sum = arithmetic_leakage_pj(arch, nest, model);
  for (int l = 0; l < arch.num_levels(); ++l) sum += level_leakage_pj(arch, nest, l, model);
  return sum;
}

Count tile_words(const Arch& arch, const Nest& nest, int tensor, int level, Count tile, std::uint32_t partial, const TensorBits& bits,
                 const EvaluateOptions& options) noexcept {
  const int width = (partial >> level & 1U) != 0 ? psum_width(arch, nest, tensor, bits) : bits.own;
  return packed_words(tile, word_rate(packing_rule(arch.level(level), options), arch.level(level).word_bits, width));
}

void count_tensor(const Arch& arch, const Workload& workload, const Nest& nest, int tensor, const EvaluateOptions& options,
                  CompatScratch& scratch, TensorCounts& out) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  out.model = options.model;
  out.is_output = spec.is_output;
  out.outermost_kept = -1;
  for (int l = 0; l < arch.num_levels(); ++l) {
    if ((nest.keep[static_cast<std::size_t>(l)] >> tensor & 1U) != 0) out.outermost_kept = l;
  }
  if (options.model == CostModel::default_model) {
    count_default(arch, workload, nest, tensor, scratch.exact, out.exact);
    return;
  }
  count_compat(arch, workload, nest, tensor, options, scratch, out);
  resolve_bypass(nest, tensor, out);
}

void price_tensor(const Arch& arch, const Nest& nest, const TensorCounts& counts, int tensor, const TensorBits& bits,
                  const EvaluateOptions& options, TensorPrice& out) noexcept {
  out.energy_pj = 0;
  const int psum = counts.model == CostModel::default_model && counts.is_output ? psum_width(arch, nest, tensor, bits) : bits.own;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    const Level& level = arch.level(l);
    const bool kept = (nest.keep[at] >> tensor & 1U) != 0;
    TensorLevelCost& storage = out.storage[at];
    storage = {};
    if (counts.model == CostModel::default_model) {
      const PackingRule packing = packing_rule(level, options);
      const Widths widths{word_rate(packing, level.word_bits, bits.own), word_rate(packing, level.word_bits, psum)};
      storage.holds_partial_sums = (counts.exact.partial >> l & 1U) != 0;
      storage.stored_bits = storage.holds_partial_sums ? psum : bits.own;
      storage.elements_per_word = packing == PackingRule::none ? 1 : elements_per_word(level.word_bits, storage.stored_bits);
      fill_default_counts(nest, level, l, kept, widths, counts.exact.levels[at], counts.is_output, storage);
      out.network[at] = charge_default_network(nest, level, l, widths, counts.exact.levels[at], counts.is_output);
    } else {
      const Count per_word = elements_per_word(level.word_bits, bits.own);
      storage.stored_bits = bits.own;
      fill_storage_counts(nest, level, l, kept, per_word, counts, storage);
      out.network[at] = charge_network(nest, level, l, is_packed(level.word_bits, bits.own), per_word, counts);
    }
    charge_storage(nest, level, l, counts.is_output, storage);
    out.energy_pj += storage.energy_pj + storage.address_energy_pj + out.network[at].energy_pj;
    if (!has_exact_counts(storage)) out.energy_pj = std::numeric_limits<double>::infinity();
  }
}

}  // namespace quantloom

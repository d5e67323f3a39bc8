#include "batch_plan.hpp"

#include <algorithm>

#include "packing.hpp"
#include "quantloom/mac_table.hpp"

namespace quantloom {
namespace {

LaneRate lane_rate(WordRate rate) {
  const auto elements = static_cast<double>(rate.elements);
  return {static_cast<double>(rate.words) / elements, 0.5 - 0.5 / elements};
}

LaneMixedRate mixed_rate(WordRate partial, WordRate complete) {
  return {static_cast<double>(partial.words * complete.elements), static_cast<double>(complete.words * partial.elements),
          lane_rate({1, partial.elements * complete.elements})};
}

// Counts of a tensor never exceed MACs times this: a box of extents 1 + sum (e_d - 1) * c_d holds at most
// product e_d * largest c_d points a rank.
double stretch(const LaneTensor& tensor) {
  double product = 1;
  for (int r = 0; r < tensor.num_ranks; ++r) {
    double largest = 1;
    for (int i = 0; i < tensor.ranks[r].num_terms; ++i) largest = std::max(largest, tensor.ranks[r].terms[i].coefficient);
    product *= largest;
  }
  return product;
}

LaneRank merge_terms(const Workload& workload, const std::vector<Term>& terms) {
  LaneRank rank;
  for (const Term& term : terms) {
    if (workload.bound(term.dim) == 1) continue;
    LaneTerm* same = std::find_if(rank.terms, rank.terms + rank.num_terms, [&](const LaneTerm& known) { return known.dim == term.dim; });
    if (same == rank.terms + rank.num_terms) rank.terms[rank.num_terms++] = {term.dim, 0};
    same->coefficient += static_cast<double>(term.coefficient);
  }
  return rank;
}

LaneTensor plan_tensor(const Workload& workload, int t) {
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(t)];
  LaneTensor out;
  out.is_output = spec.is_output;
  for (const bool windows : {true, false}) {
    for (const auto& terms : spec.ranks) {
      const LaneRank rank = merge_terms(workload, terms);
      if (rank.num_terms == 0 || windows != (rank.num_terms > 1)) continue;
      out.ranks[out.num_ranks++] = rank;
      for (int i = 0; i < rank.num_terms; ++i) out.relevant |= 1U << rank.terms[i].dim;
      if (windows) {
        ++out.num_windows;
      } else {
        out.plain |= 1U << rank.terms[0].dim;
      }
    }
  }
  out.has_window = out.num_windows > 0;
  return out;
}

// Fills in the rates; returns how much larger words, or numbers on the way to them, get than counts of elements.
double plan_rates(const Arch& arch, const Workload& workload, int t, std::span<const int> bits, const EvaluateOptions& options, LaneTensor& out) {
  const TensorBits widths = tensor_bits(arch, workload, bits, t, options);
  double largest = 1;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const Level& level = arch.level(l);
    const PackingRule rule = packing_rule(level, options);
    const WordRate own = word_rate(rule, level.word_bits, widths.own);
    out.own[l] = lane_rate(own);
    largest = std::max(largest, static_cast<double>(own.words));
    if (!out.is_output) continue;
    Nest accumulator;  // only who keeps the output counts
    accumulator.num_levels = arch.num_levels();
    for (int a = 0; a < arch.num_levels(); ++a) {
      accumulator.keep.fill(0);
      accumulator.keep[static_cast<std::size_t>(a)] = 1U << t;
      const WordRate psum = word_rate(rule, level.word_bits, psum_width(arch, accumulator, t, widths));
      out.psum[a][l] = lane_rate(psum);
      out.mixed[a][l] = mixed_rate(psum, own);
      largest = std::max({largest, static_cast<double>(psum.words), out.mixed[a][l].partial, out.mixed[a][l].complete});
    }
  }
  return largest;
}

LaneLevel plan_level(const Arch& arch, int l, CostModel model) {
  const Level& level = arch.level(l);
  const bool compat = model == CostModel::compat;
  LaneLevel out;
  out.bounded = level.capacity_words.has_value();
  out.capacity = static_cast<double>(level.capacity_words.value_or(0));
  out.multicast = compat || level.multicast;
  out.clustered = level.cluster_size > 1;
  out.mesh_x = static_cast<double>(level.mesh_x);
  out.mesh_y = static_cast<double>(level.mesh_y);
  out.limits_each = !compat && level.instances > 1;
  out.fanout_x = static_cast<double>(arch.fanout_x(l));
  out.fanout_y = static_cast<double>(arch.fanout_y(l));
  out.instances = static_cast<double>(level.instances);
  const Count clusters = level.instances / level.cluster_size;  // whole ones
  out.clusters = static_cast<double>(clusters);
  out.blocks = lane_rate({1, level.block_words});
  out.read_pj = level.energy.read_pj;
  out.fill_pj = level.energy.fill_pj;
  out.update_pj = level.energy.update_pj;
  out.address_pj = level.address_energy_pj.value_or(0);
  out.leak_pj = level.leak_energy_pj;
  out.idle_pj = compat ? 0 : level.idle_energy_pj;
  out.bits_per_word = level.bandwidth_in_bits ? static_cast<double>(level.word_bits) : 1;
  out.read_bandwidth = level.read_bandwidth.value_or(0);
  out.write_bandwidth = level.write_bandwidth.value_or(0);
  out.shared_bandwidth = level.shared_bandwidth.value_or(0);
  out.throttles = level.read_bandwidth || level.write_bandwidth || level.shared_bandwidth;
  return out;
}

bool has_plain_networks(const Arch& arch, CostModel model) {
  return std::all_of(arch.levels().begin(), arch.levels().end(), [&](const Level& level) {
    if (level.hop_energy_pj != 0 || level.router_energy_pj != 0) return false;
    return model == CostModel::compat || (level.adder_energy_pj == 0 && level.reduction && !level.forwarding);
  });
}

// Every rank of the output is one dim: its tiles are equal or disjoint.
bool has_plain_output(const LanePlan& plan) {
  const LaneTensor& output = plan.tensors[plan.output];
  return std::all_of(output.ranks, output.ranks + output.num_ranks,
                     [](const LaneRank& rank) { return rank.num_terms == 1 && rank.terms[0].coefficient == 1; });
}

bool has_separate_ranks(const Workload& workload) {
  return std::none_of(workload.tensors().begin(), workload.tensors().end(),
                      [&](const TensorSpec& tensor) { return ranks_share_dims(workload, tensor); });
}

}  // namespace

LanePlan plan_lanes(const Arch& arch, const Workload& workload, std::span<const int> bits, const EvaluateOptions& options) {
  LanePlan out;
  out.num_dims = workload.num_dims();
  out.num_levels = arch.num_levels();
  out.num_tensors = workload.num_tensors();
  out.compat = options.model == CostModel::compat;
  if (!has_plain_networks(arch, options.model) || !has_separate_ranks(workload)) return out;
  const auto macs = static_cast<double>(workload.macs());
  double largest = macs;  // number the kernel may meet
  double words = 0;  // of all tensors, at most
  for (int d = 0; d < out.num_dims; ++d) out.bound[d] = static_cast<double>(workload.bound(d));
  for (int t = 0; t < out.num_tensors; ++t) {
    LaneTensor& tensor = out.tensors[t] = plan_tensor(workload, t);
    if (tensor.is_output) out.output = t;
    tensor.first_window = out.num_windows;
    out.num_windows += tensor.num_windows;
    words += macs * stretch(tensor) * plan_rates(arch, workload, t, bits, options, tensor);
  }
  largest = std::max(largest, words);
  for (int l = 0; l < out.num_levels; ++l) {
    const LaneLevel& level = out.levels[l] = plan_level(arch, l, options.model);
    for (const double bandwidth : {level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth}) {
      if (bandwidth > 0) largest = std::max(largest, 2 * words * level.bits_per_word / std::min(1.0, bandwidth));
    }
    out.leaks = out.leaks || level.leak_pj != 0 || level.idle_pj != 0;
  }
  const Arithmetic& units = arch.arithmetic();
  out.units_x = static_cast<double>(units.mesh_x);
  out.units_y = static_cast<double>(units.mesh_y);
  out.units = static_cast<double>(units.instances);
  const MacMode mode = mac_mode(arch, workload, bits, options.model);
  out.arithmetic_pj = macs * mode.energy_pj;
  out.compute = lane_rate({mode.rate.cycles, mode.rate.macs});
  largest = std::max(largest, macs * static_cast<double>(mode.rate.cycles));
  if (!out.compat) {
    out.unit_leak_pj = units.leak_energy_pj;
    out.unit_idle_pj = units.idle_energy_pj;
  }
  out.leaks = out.leaks || out.unit_leak_pj != 0 || out.unit_idle_pj != 0;
  out.usable = largest < kLaneLargest && out.num_windows <= kMaxLaneWindows && has_plain_output(out);
  return out;
}

}  // namespace quantloom

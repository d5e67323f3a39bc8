// Every number of the breakdown, summed over fixed random cases. The values are right as far as the recorded results
// and the simulator say (tests/oracle, compat_recorded_test.cpp); here any change of any of them shows at once, without
// either. A change that is meant changes the numbers.
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quantloom/cost.hpp"
#include "quantloom/mapspace.hpp"
#include "random_cases.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;

constexpr int kCases = 6000;
constexpr std::uint64_t kMappingsEach = 3;
constexpr std::uint32_t kFirstSeed = 9'000'000;

using Sums = std::map<std::string, double>;

void add_tensor(const TensorLevelCost& tensor, Sums& out) {
  out["holds_partial_sums"] += tensor.holds_partial_sums ? 1 : 0;
  out["stored_bits"] += tensor.stored_bits;
  out["elements_per_word"] += static_cast<double>(tensor.elements_per_word);
  out["tile_elements"] += static_cast<double>(tensor.tile_elements);
  out["utilized_words"] += static_cast<double>(tensor.utilized_words);
  out["partition_elements"] += static_cast<double>(tensor.partition_elements);
  out["reads"] += tensor.reads;
  out["fills"] += tensor.fills;
  out["updates"] += tensor.updates;
  out["temporal_reductions"] += tensor.temporal_reductions;
  out["read_elements"] += tensor.read_elements;
  out["fill_elements"] += tensor.fill_elements;
  out["update_elements"] += tensor.update_elements;
  out["final_update_elements"] += tensor.final_update_elements;
  out["utilized_instances"] += static_cast<double>(tensor.utilized_instances);
  out["utilized_clusters"] += static_cast<double>(tensor.utilized_clusters);
  out["read_energy_pj"] += tensor.read_energy_pj;
  out["fill_energy_pj"] += tensor.fill_energy_pj;
  out["update_energy_pj"] += tensor.update_energy_pj;
  out["address_energy_pj"] += tensor.address_energy_pj;
}

void add_network(const TensorNetworkCost& network, Sums& out) {
  out["network.fanout"] += static_cast<double>(network.fanout);
  out["network.multicast_factor"] += static_cast<double>(network.multicast_factor);
  out["network.ingresses"] += network.ingresses;
  out["network.link_transfers"] += network.link_transfers;
  out["network.spatial_reductions"] += network.spatial_reductions;
  out["network.num_hops"] += network.num_hops;
  out["network.energy_pj"] += network.energy_pj;
}

void add_cost(const Cost& cost, Sums& out) {
  out["mappings that fit"] += 1;
  out["cycles"] += cost.cycles;
  out["compute_cycles"] += cost.compute_cycles;
  out["utilization"] += cost.utilization;
  out["energy_per_mac_pj"] += cost.energy_per_mac_pj;
  out["arithmetic_energy_pj"] += cost.arithmetic_energy_pj;
  out["arithmetic_leak_energy_pj"] += cost.arithmetic_leak_energy_pj;
  out["limiting_level"] += cost.limiting_level;
  for (const LevelCost& level : cost.levels) {
    out["level.cycles"] += level.cycles;
    out["level.slowdown"] += level.slowdown;
    out["level.energy_pj"] += level.energy_pj;
    out["level.leak_energy_pj"] += level.leak_energy_pj;
    for (const TensorLevelCost& tensor : level.tensors) add_tensor(tensor, out);
    for (const TensorNetworkCost& network : level.network) add_network(network, out);
  }
}

void add_case(std::uint32_t seed, CostModel model, Sums& out) {
  CaseMaker maker(seed);
  const bool wide = seed % 4 == 0;
  const Workload workload = wide ? maker.strided_workload() : maker.workload();
  const Arch arch = wide ? maker.wide_arch(workload) : maker.arch(workload);
  const std::vector<int> bits = maker.settings().front();
  EvaluateOptions options{model};
  if (model == CostModel::default_model) {
    options.packing = static_cast<PackingRule>(seed % 3);
    options.psum_bits = seed % 5 == 0 ? 12 : 0;
  }
  // Without the constraints, which leave some of these spaces empty.
  for (const Mapping& mapping : Mapspace(arch, workload, Selection::free).sample(kMappingsEach, seed)) {
    const Fit fit = check_fit(arch, workload, mapping, bits, options);
    if (fit.fits()) {
      add_cost(evaluate(arch, workload, mapping, bits, options), out);
    } else {
      out["fit.need"] += static_cast<double>(fit.need);
      out["fit.have"] += static_cast<double>(fit.have);
      out["fit.level"] += fit.level;
    }
  }
}

void expect_sums(CostModel model, const Sums& expected) {
  Sums sums;
  for (std::uint32_t seed = 0; seed < kCases; ++seed) add_case(kFirstSeed + seed, model, sums);
  for (const auto& [name, sum] : sums) {
    SCOPED_TRACE(name);
    const auto it = expected.find(name);
    EXPECT_DOUBLE_EQ(sum, it == expected.end() ? 0 : it->second);
  }
  EXPECT_EQ(sums.size(), expected.size());
}

TEST(CostSums, DefaultModel) {
  expect_sums(CostModel::default_model, {{"address_energy_pj", 30262.5},
                                         {"arithmetic_energy_pj", 1182724.4375},
                                         {"arithmetic_leak_energy_pj", 326826.75},
                                         {"compute_cycles", 383811},
                                         {"cycles", 1570518},
                                         {"elements_per_word", 199369},
                                         {"energy_per_mac_pj", 224544.21880867385},
                                         {"fill_elements", 239040},
                                         {"fill_energy_pj", 663964},
                                         {"fills", 137611},
                                         {"final_update_elements", 156679},
                                         {"fit.have", 57746},
                                         {"fit.level", -2031},
                                         {"fit.need", 157776},
                                         {"holds_partial_sums", 6119},
                                         {"level.cycles", 2282877},
                                         {"level.energy_pj", 5781387.5},
                                         {"level.leak_energy_pj", 728106.75},
                                         {"level.slowdown", 16438.976208105174},
                                         {"limiting_level", 1181},
                                         {"mappings that fit", 7159},
                                         {"network.energy_pj", 44788.768749999996},
                                         {"network.fanout", 76044},
                                         {"network.ingresses", 1165892},
                                         {"network.link_transfers", 1182},
                                         {"network.multicast_factor", 64546},
                                         {"network.num_hops", 4141.2461229946475},
                                         {"network.spatial_reductions", 16638},
                                         {"partition_elements", 552247},
                                         {"read_elements", 980305},
                                         {"read_energy_pj", 3284630.25},
                                         {"reads", 604846},
                                         {"stored_bits", 422806},
                                         {"temporal_reductions", 178307},
                                         {"tile_elements", 418882},
                                         {"update_elements", 375316},
                                         {"update_energy_pj", 1074424},
                                         {"updates", 273482},
                                         {"utilization", 3279.7335400683673},
                                         {"utilized_clusters", 82650},
                                         {"utilized_instances", 83664},
                                         {"utilized_words", 255094}});
}

TEST(CostSums, Compat) {
  expect_sums(CostModel::compat, {{"address_energy_pj", 24935.75},
                                  {"arithmetic_energy_pj", 2121570.5},
                                  {"arithmetic_leak_energy_pj", 0},
                                  {"compute_cycles", 282864},
                                  {"cycles", 1132076},
                                  {"elements_per_word", 351933},
                                  {"energy_per_mac_pj", 183379.08040967412},
                                  {"fill_elements", 312510},
                                  {"fill_energy_pj", 595029.75},
                                  {"fills", 116103},
                                  {"final_update_elements", 0},
                                  {"fit.have", 44558},
                                  {"fit.level", -3357},
                                  {"fit.need", 118055},
                                  {"holds_partial_sums", 0},
                                  {"level.cycles", 1653247},
                                  {"level.energy_pj", 4379731},
                                  {"level.leak_energy_pj", 367273.5},
                                  {"level.slowdown", 21624.025606086656},
                                  {"limiting_level", -633},
                                  {"mappings that fit", 8563},
                                  {"network.energy_pj", 52754.625},
                                  {"network.fanout", 97722},
                                  {"network.ingresses", 879218.9875000038},
                                  {"network.link_transfers", 1529},
                                  {"network.multicast_factor", 80365},
                                  {"network.num_hops", 97743.42050167518},
                                  {"network.spatial_reductions", 12700},
                                  {"partition_elements", 737045},
                                  {"read_elements", 1218166},
                                  {"read_energy_pj", 2642351.5},
                                  {"reads", 474836},
                                  {"stored_bits", 472491},
                                  {"temporal_reductions", 97952},
                                  {"tile_elements", 538363},
                                  {"update_elements", 470835},
                                  {"update_energy_pj", 750140.5},
                                  {"updates", 180511},
                                  {"utilization", 2503.456367100697},
                                  {"utilized_clusters", 105069},
                                  {"utilized_instances", 106347},
                                  {"utilized_words", 217938}});
}

}  // namespace
}  // namespace quantloom

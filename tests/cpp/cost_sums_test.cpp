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

// Every third case with its constraints, by which the outermost level may bypass a tensor, unless they leave nothing.
std::vector<Mapping> draw_mappings(const Arch& arch, const Workload& workload, std::uint32_t seed) {
  try {
    return Mapspace(arch, workload, seed % 3 == 0 ? Selection::all : Selection::free).sample(kMappingsEach, seed);
  } catch (const Error&) {
    return {};
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
  for (const Mapping& mapping : draw_mappings(arch, workload, seed)) {
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
  expect_sums(CostModel::default_model, {{"address_energy_pj", 30692},
                                         {"arithmetic_energy_pj", 1170895.482421875},
                                         {"arithmetic_leak_energy_pj", 363212},
                                         {"compute_cycles", 402886},
                                         {"cycles", 1582007},
                                         {"elements_per_word", 197260},
                                         {"energy_per_mac_pj", 223369.83640568657},
                                         {"fill_elements", 242786},
                                         {"fill_energy_pj", 699530.25},
                                         {"fills", 143818},
                                         {"final_update_elements", 153647},
                                         {"fit.have", 58021},
                                         {"fit.level", -1841},
                                         {"fit.need", 159453},
                                         {"holds_partial_sums", 6038},
                                         {"level.cycles", 2356634},
                                         {"level.energy_pj", 5844945.625},
                                         {"level.leak_energy_pj", 751899.875},
                                         {"level.slowdown", 16305.63727233547},
                                         {"limiting_level", 1125},
                                         {"mappings that fit", 7103},
                                         {"network.energy_pj", 44058.281249999985},
                                         {"network.fanout", 75246},
                                         {"network.ingresses", 1163785},
                                         {"network.link_transfers", 1214},
                                         {"network.multicast_factor", 63079},
                                         {"network.num_hops", 3893.5211229946485},
                                         {"network.spatial_reductions", 15478},
                                         {"partition_elements", 541274},
                                         {"read_elements", 968661},
                                         {"read_energy_pj", 3273405},
                                         {"reads", 612632},
                                         {"stored_bits", 419524},
                                         {"temporal_reductions", 181633},
                                         {"tile_elements", 403536},
                                         {"update_elements", 372773},
                                         {"update_energy_pj", 1089418.5},
                                         {"updates", 275099},
                                         {"utilization", 3154.8954411560344},
                                         {"utilized_clusters", 81090},
                                         {"utilized_instances", 82110},
                                         {"utilized_words", 248297}});
}

TEST(CostSums, Compat) {
  expect_sums(CostModel::compat, {{"address_energy_pj", 24941.625},
                                  {"arithmetic_energy_pj", 2057477.5},
                                  {"arithmetic_leak_energy_pj", 0},
                                  {"compute_cycles", 277079},
                                  {"cycles", 1132109},
                                  {"elements_per_word", 350738},
                                  {"energy_per_mac_pj", 182819.64803361247},
                                  {"fill_elements", 312211},
                                  {"fill_energy_pj", 602735.5},
                                  {"fills", 118674},
                                  {"final_update_elements", 0},
                                  {"fit.have", 45242},
                                  {"fit.level", -3129},
                                  {"fit.need", 119359},
                                  {"holds_partial_sums", 0},
                                  {"level.cycles", 1646053},
                                  {"level.energy_pj", 4294646.375},
                                  {"level.leak_energy_pj", 363613.5},
                                  {"level.slowdown", 21560.20380166991},
                                  {"limiting_level", -697},
                                  {"mappings that fit", 8536},
                                  {"network.energy_pj", 51984},
                                  {"network.fanout", 97539},
                                  {"network.ingresses", 853497.9833333371},
                                  {"network.link_transfers", 1661},
                                  {"network.multicast_factor", 79041},
                                  {"network.num_hops", 97674.53869923347},
                                  {"network.spatial_reductions", 12409},
                                  {"partition_elements", 718155},
                                  {"read_elements", 1186666},
                                  {"read_energy_pj", 2579866.5},
                                  {"reads", 470228},
                                  {"stored_bits", 470870},
                                  {"temporal_reductions", 92874},
                                  {"tile_elements", 517916},
                                  {"update_elements", 457521},
                                  {"update_energy_pj", 723489.25},
                                  {"updates", 171913},
                                  {"utilization", 2471.0196992876918},
                                  {"utilized_clusters", 103671},
                                  {"utilized_instances", 104988},
                                  {"utilized_words", 210022}});
}

}  // namespace
}  // namespace quantloom

// Every recorded field, from C++. A field that no comparison knows fails the test.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "fixtures.hpp"
#include "quantloom/cost.hpp"
#include "recorded_cases.hpp"

namespace quantloom {
namespace {

using test::Json;

using Fields = std::map<std::string, double>;

void expect_exact(const std::string& where, double ours, double recorded) { EXPECT_EQ(ours, recorded) << where; }

void expect_close(const std::string& where, double ours, double recorded) {
  EXPECT_LE(std::abs(ours - recorded), 1e-9 * std::max(std::abs(ours), std::abs(recorded)))
      << where << ": " << ours << " and " << recorded;
}

// exact: fields compared with ==; close: to 1e-9; the fields in `parts` are compared elsewhere.
void expect_fields(const std::string& where, const Json& recorded, const Fields& exact, const Fields& close,
                   const std::vector<std::string>& parts = {}) {
  for (const auto& [field, value] : recorded.items()) {
    if (std::find(parts.begin(), parts.end(), field) != parts.end()) continue;
    const std::string name = where + "." + field;
    if (exact.contains(field)) {
      expect_exact(name, exact.at(field), value);
    } else if (close.contains(field)) {
      expect_close(name, close.at(field), value);
    } else {
      ADD_FAILURE() << name << " is compared with nothing";
    }
  }
}

void expect_storage(const std::string& where, const TensorLevelCost& ours, const Json& recorded) {
  expect_fields(where, recorded,
                {{"utilized_capacity", ours.utilized_words},
                 {"reads", ours.reads},
                 {"fills", ours.fills},
                 {"updates", ours.updates},
                 {"partition_size", ours.partition_elements},
                 {"temporal_reductions", ours.temporal_reductions},
                 {"operands_per_word", ours.elements_per_word},
                 {"utilized_instances", ours.utilized_instances},
                 {"utilized_clusters", ours.utilized_clusters}},
                {{"energy", ours.energy_pj}, {"addr_gen_energy", ours.address_energy_pj}});
}

void expect_network(const std::string& where, const TensorNetworkCost& ours, const Json& recorded) {
  expect_fields(where, recorded,
                {{"fanout", ours.fanout},
                 {"multicast_factor", ours.multicast_factor},
                 {"link_transfers", ours.link_transfers},
                 {"spatial_reductions", ours.spatial_reductions}},
                {{"num_hops", ours.num_hops}, {"energy", ours.energy_pj}}, {"ingresses_2dp"});
  if (recorded.contains("ingresses_2dp")) {
    const double ingresses = recorded["ingresses_2dp"];
    EXPECT_NEAR(ours.ingresses, ingresses, 0.005 + 1e-12 * ingresses) << where << ".ingresses";
  }
}

void expect_cost(const Arch& arch, const Workload& workload, const Cost& cost, const Json& recorded) {
  expect_fields("total", recorded,
                {{"cycles", cost.cycles}, {"macs", cost.macs}, {"compute_cycles", cost.compute_cycles}},
                {{"energy", cost.energy_pj},
                 {"edp", cost.edp},
                 {"utilization", cost.utilization},
                 {"energy_per_mac", cost.energy_per_mac_pj},
                 {"arithmetic_energy", cost.arithmetic_energy_pj}},
                {"area_csv_mm2", "levels", "networks"});
  EXPECT_EQ(std::round(cost.area_um2) / 1e6, recorded.at("area_csv_mm2").get<double>());
  ASSERT_EQ(recorded.at("levels").size(), cost.levels.size());
  const auto level_of = [&](const std::string& name) -> const LevelCost& {
    return cost.levels.at(static_cast<std::size_t>(arch.find_level(name)));
  };
  for (const auto& [name, level] : recorded.at("levels").items()) {
    const LevelCost& ours = level_of(name);
    expect_fields(name, level, {{"cycles", ours.cycles}}, {{"energy", ours.energy_pj}, {"slowdown", ours.slowdown}},
                  {"tensors"});
    for (const auto& [tensor, storage] : level.at("tensors").items()) {
      expect_storage(name + "." + tensor, ours.tensors[static_cast<std::size_t>(workload.find_tensor(tensor))],
                     storage);
    }
  }
  for (const auto& [name, network] : recorded.at("networks").items()) {
    const LevelCost& ours = level_of(name);
    expect_fields("below " + name, network, {}, {{"energy", ours.network_energy_pj}}, {"tensors"});
    for (const auto& [tensor, carried] : network.at("tensors").items()) {
      expect_network("below " + name + "." + tensor,
                     ours.network[static_cast<std::size_t>(workload.find_tensor(tensor))], carried);
    }
  }
}

void reproduce_all(bool always_step) {
  const auto archs = test::read_archs();
  const Json records = test::read_json("fixed_mappings.json.gz").at("records");
  EXPECT_EQ(records.size(), 319U);
  for (const Json& record : records) {
    SCOPED_TRACE(record.at("id").get<std::string>());
    const Arch& arch = archs.at(record.at("arch"));
    const Workload workload = test::read_workload(record.at("problem"));
    const Mapping mapping = test::read_mapping(workload, record.at("mapping"));
    const std::vector<int> bits = test::read_bits(workload, record.at("problem"));
    expect_cost(arch, workload, evaluate(arch, workload, mapping, bits, {CostModel::compat, always_step}),
                record.at("outputs"));
  }
}

TEST(CompatRecorded, EveryFieldByClosedForm) { reproduce_all(false); }

TEST(CompatRecorded, EveryFieldByStepping) { reproduce_all(true); }

// "mapped tile size 29 exceeds buffer capacity 16": the two numbers of the tool's message.
[[nodiscard]] std::pair<Count, Count> numbers_in(const std::string& reason) {
  std::vector<Count> numbers;
  for (std::size_t i = 0; i < reason.size(); ++i) {
    if (std::isdigit(static_cast<unsigned char>(reason[i])) == 0) continue;
    std::size_t length = 0;
    numbers.push_back(std::stoll(reason.substr(i), &length));
    i += length - 1;
  }
  return {numbers.at(0), numbers.at(1)};
}

TEST(CompatRecorded, WhatDoesNotFitFailsWhereTheReferenceFails) {
  const auto archs = test::read_archs();
  const Json records = test::read_json("invalid_mappings.json").at("records");
  EXPECT_EQ(records.size(), 46U);
  int too_wide = 0;
  for (const Json& record : records) {
    SCOPED_TRACE(record.at("id").get<std::string>());
    const Arch& arch = archs.at(record.at("arch"));
    const Workload workload = test::read_workload(record.at("problem"));
    const Mapping mapping = test::read_mapping(workload, record.at("mapping"));
    const std::vector<int> bits = test::read_bits(workload, record.at("problem"));
    if (record.at("kind") == "bitwidth_exceeds_word") {
      ++too_wide;
      const auto caught =
          test::caught_from([&] { (void)check_fit(arch, workload, mapping, bits, {CostModel::compat}); });
      EXPECT_EQ(caught.kind, ErrorKind::mapping);
      EXPECT_EQ(caught.message, "bits of Inputs: 24 bits do not fit the 16-bit words of level 'psum_spad'");
      continue;
    }
    const Fit fit = check_fit(arch, workload, mapping, bits, {CostModel::compat});
    EXPECT_EQ(fit.reason, record.at("kind") == "fanout" ? Fit::Reason::fanout : Fit::Reason::capacity);
    EXPECT_EQ(fit.level < 0 ? arch.arithmetic().name : arch.level(fit.level).name, record.at("fail_levels").at(0));
    const auto [need, have] = numbers_in(record.at("reasons").at(0));
    EXPECT_EQ(fit.need, need);
    EXPECT_EQ(fit.have, have);
    if (record.at("kind") == "fits_at_low_bitwidth") {
      EXPECT_TRUE(
          check_fit(arch, workload, mapping, test::read_bits(workload, record.at("valid_at")), {CostModel::compat})
              .fits());
    }
  }
  EXPECT_EQ(too_wide, 1);
}

}  // namespace
}  // namespace quantloom

// The exact mapper against the reference tool: equal to its exhaustive searches, never worse than its random search.
#include <gtest/gtest.h>

#include "exact_mapper.hpp"
#include "recorded_constraints.hpp"

namespace quantloom {
namespace {

using test::Json;

constexpr double kRelative = 1e-9;

Optimum solve(const Arch& arch, const Json& problem, Objective objective) {
  const Workload workload = test::read_workload(problem);
  MapperOptions options;
  options.objective = objective;
  options.model = CostModel::compat;
  options.model = CostModel::compat;
  const std::vector<Optimum> out =
      optimize_exactly(arch, workload, {test::read_bits(workload, problem)}, options, {}, {});
  // Whatever the search says, the checked evaluator must say too.
  const Cost cost =
      evaluate(arch, workload, out.front().mapping, test::read_bits(workload, problem), {CostModel::compat});
  EXPECT_NEAR(cost.energy_pj, out.front().energy_pj, kRelative * cost.energy_pj);
  EXPECT_EQ(cost.cycles, out.front().cycles);
  EXPECT_TRUE(out.front().certificate.exhausted);
  return out.front();
}

Objective objective_of(const std::string& metric) {
  return metric == "delay" ? Objective::cycles : parse_objective(metric);
}

TEST(ExactMapperRecorded, EqualsTheExhaustiveSearches) {
  const auto archs = test::read_constrained_archs();
  int checked = 0;
  for (const char* file :
       {"mapspace_optimum.json", "mapspace_full_tool.json", "mapspace_scaled.json", "mapspace_small.json"}) {
    const Json recorded = test::read_json(file);
    for (const Json& record : recorded.at("records")) {
      const auto arch = archs.find(record.at("arch").get<std::string>());
      if (arch == archs.end() || !record.at("constraints").is_string()) continue;
      SCOPED_TRACE(std::string(file) + ": " + record.at("name").get<std::string>() + " " + record.at("problem").dump());
      const Objective objective = objective_of(record.at("metric"));
      const Optimum best = solve(arch->second, record.at("problem"), objective);
      const double energy = record.at("best").at("energy");
      const double cycles = record.at("best").at("cycles");
      const double expected = objective_value(objective, energy, cycles);
      EXPECT_NEAR(best.objective, expected, kRelative * expected);
      ++checked;
    }
  }
  EXPECT_GE(checked, 20);
}

TEST(ExactMapperRecorded, IsNeverWorseThanTheRandomSearch) {
  const auto archs = test::read_constrained_archs();
  const Json recorded = test::read_json("mapper_random_search.json");
  std::map<std::string, double> known;  // each problem is solved once
  for (const Json& record : recorded.at("records")) {
    const std::string problem = record.at("arch").get<std::string>() + " " + record.at("problem").dump();
    SCOPED_TRACE(problem);
    if (!known.contains(problem))
      known[problem] = solve(archs.at(record.at("arch")), record.at("problem"), Objective::edp).objective;
    EXPECT_LE(known[problem], record.at("edp").get<double>() * (1 + kRelative));
  }
  EXPECT_GE(known.size(), 48U);
}

}  // namespace
}  // namespace quantloom

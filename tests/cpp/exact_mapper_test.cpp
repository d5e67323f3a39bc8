// The exact mapper against the exhaustive one: same optimum, same mapping, on thousands of small random cases.
#include "exact_mapper.hpp"

#include <algorithm>
#include <sstream>

#include "exact_search.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "random_cases.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;

constexpr double kLargestSpace = 60000;  // mappings of a random space, so that walking it stays quick
constexpr int kCases = test::some_of(400);
constexpr int kWideCases = test::some_of(120);

double points(const Mapspace& space) { return std::stod(space.size().to_string()); }

enum class Kind { layers, wide };

// Of a front, the point that stands for it is the one of least energy * cycles.
void check_tradeoffs(const Optimum& optimum) {
  double least = optimum.objective * 2;
  for (const Tradeoff& point : optimum.front) least = std::min(least, point.energy_pj * point.cycles);
  EXPECT_EQ(optimum.objective, least);
  EXPECT_EQ(optimum.energy_pj * optimum.cycles, least);
  const auto is_it = [&](const Tradeoff& point) {
    return point.mapping == optimum.mapping && point.energy_pj == optimum.energy_pj && point.cycles == optimum.cycles;
  };
  EXPECT_EQ(std::count_if(optimum.front.begin(), optimum.front.end(), is_it), 1);
  for (std::size_t i = 1; i < optimum.front.size(); ++i) {
    EXPECT_GT(optimum.front[i].cycles, optimum.front[i - 1].cycles);
    EXPECT_LT(optimum.front[i].energy_pj, optimum.front[i - 1].energy_pj);
  }
}

// Returns false if the case is too large or contradictory.
bool compare(Kind kind, std::uint32_t seed, Objective objective, CostModel model, int& found) {
  CaseMaker maker(seed);
  const Workload workload = kind == Kind::wide ? maker.strided_workload() : maker.workload();
  const Arch arch = kind == Kind::wide ? maker.wide_arch(workload) : maker.arch(workload);
  const auto settings = maker.settings();
  MapperOptions options;
  options.objective = objective;
  options.model = model;
  options.threads = 1;
  options.method = SearchMethod::exhaustive;
  try {
    const Mapspace space(arch, workload);
    if (points(space) > kLargestSpace * 5040 || space.sizes().bypass > 64) return false;
    Count visited = 0;
    for (MappingWalker walker(space, Enumeration::distinct); walker.next();) {
      if (++visited > static_cast<Count>(kLargestSpace)) return false;
    }
  } catch (const Error& error) {
    return false;
  }
  const std::vector<Optimum> expected = optimize(arch, workload, settings, options);
  CountOptions counting;
  counting.enumeration = Enumeration::distinct;
  counting.model = model;
  const std::vector<MapspaceCount> counts = Mapspace(arch, workload).count_many(settings, counting);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(counts[i].valid.to_string(), std::to_string(expected[i].certificate.fitting))
        << "seed " << seed << ", setting " << i;
  }
  const std::vector<Optimum> actual = optimize_exactly(arch, workload, settings, options, {}, {});
  EXPECT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    std::ostringstream where;
    where << "seed " << seed << ", objective " << static_cast<int>(objective) << ", bits " << settings[i][0] << "/"
          << settings[i][1] << "/" << settings[i][2];
    SCOPED_TRACE(where.str());
    EXPECT_EQ(actual[i].found, expected[i].found);
    EXPECT_TRUE(actual[i].certificate.exhausted);
    if (!expected[i].found || !actual[i].found) continue;
    ++found;
    EXPECT_EQ(actual[i].objective, expected[i].objective);
    EXPECT_EQ(actual[i].front.size(), expected[i].front.size());
    for (std::size_t p = 0; p < std::min(actual[i].front.size(), expected[i].front.size()); ++p) {
      EXPECT_EQ(actual[i].front[p].energy_pj, expected[i].front[p].energy_pj);
      EXPECT_EQ(actual[i].front[p].cycles, expected[i].front[p].cycles);
      EXPECT_EQ(actual[i].front[p].mapping, expected[i].front[p].mapping);
    }
    if (objective == Objective::pareto) check_tradeoffs(actual[i]);
    EXPECT_EQ(actual[i].energy_pj, expected[i].energy_pj);
    EXPECT_EQ(actual[i].cycles, expected[i].cycles);
    EXPECT_EQ(actual[i].mapping, expected[i].mapping)
        << describe_mapping(arch, workload, actual[i].mapping) << "\nexpected\n"
        << describe_mapping(arch, workload, expected[i].mapping);
  }
  return true;
}

// --gtest_random_seed=N draws other cases.
void compare_random_cases(Kind kind, CostModel model) {
  const auto first = static_cast<std::uint32_t>(GTEST_FLAG_GET(random_seed)) * 100000U;
  const int wanted = kind == Kind::wide ? kWideCases : kCases;
  int cases = 0;
  int found = 0;
  for (std::uint32_t i = 0; cases < wanted && !testing::Test::HasFailure(); ++i) {
    cases += compare(kind, first + i, static_cast<Objective>(i % 5), model, found) ? 1 : 0;
  }
  EXPECT_GT(found, 2 * wanted);
}

// All classes of a case, one line for each point and one for the effort.
std::vector<std::string> solve_all(const exact::Problem& problem, const SettingTable& table,
                                   const MapperOptions& options, std::size_t most_leaf_bytes) {
  exact::Search search(problem, table, options, most_leaf_bytes);
  std::vector<std::string> out;
  for (std::size_t c = 0; c < table.classes.size(); ++c) {
    exact::Effort effort;
    const exact::Best best = search.solve(c, 0, {}, effort);
    for (const auto& point : best.points()) {
      std::ostringstream line;
      line << std::hexfloat << point.energy_pj << ' ' << point.cycles << ' '
           << describe_mapping(problem.parts.arch, problem.parts.workload, search.materialize(point.place));
      out.push_back(line.str());
    }
    out.push_back(std::to_string(effort.priced) + " priced, " + std::to_string(effort.cut) + " cut");
  }
  return out;
}

// Factorizations that were counted for one class serve the others. Where there is no room to remember them, or for a
// few only, the answers and the effort are the same.
TEST(ExactMapper, AnswersDoNotDependOnTheRoomForWhatWasCounted) {
  const int wanted = test::some_of(100);
  int cases = 0;
  std::size_t lines = 0;
  for (std::uint32_t seed = 9'000'000; cases < wanted; ++seed) {
    CaseMaker maker(seed);
    const Workload workload = seed % 2 == 0 ? maker.strided_workload() : maker.workload();
    const Arch arch = seed % 2 == 0 ? maker.wide_arch(workload) : maker.arch(workload);
    MapperOptions options;
    options.objective = static_cast<Objective>(seed % 5);
    options.model = seed % 3 == 0 ? CostModel::compat : CostModel::default_model;
    const auto settings = maker.settings();
    try {
      if (points(Mapspace(arch, workload)) > kLargestSpace || !can_optimize_exactly(arch, workload, options)) continue;
    } catch (const Error& error) {
      continue;
    }
    SCOPED_TRACE(seed);
    const exact::Problem problem(arch, workload, options.selection);
    const SettingTable table = group_settings(arch, workload, settings, options);
    const std::vector<std::string> expected = solve_all(problem, table, options, exact::kMostLeafBytes);
    for (const std::size_t bytes : {0, 3000}) EXPECT_EQ(solve_all(problem, table, options, bytes), expected);
    lines += expected.size();
    ++cases;
  }
  EXPECT_GT(lines, static_cast<std::size_t>(3 * wanted));
}

TEST(ExactMapper, AgreesWithTheExhaustiveMapperOnRandomCases) { compare_random_cases(Kind::layers, CostModel::compat); }
TEST(ExactMapper, AgreesWithTheExhaustiveMapperInTheDefaultModel) {
  compare_random_cases(Kind::layers, CostModel::default_model);
}
TEST(ExactMapper, AgreesOnStridesAndWindowsSpreadOverLanes) { compare_random_cases(Kind::wide, CostModel::compat); }
TEST(ExactMapper, AgreesOnStridesAndWindowsSpreadOverLanesInTheDefaultModel) {
  compare_random_cases(Kind::wide, CostModel::default_model);
}

}  // namespace
}  // namespace quantloom

// The lattice mapper against the exhaustive one: the same optimum on small random spaces without constraints.
#include "lattice_mapper.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <sstream>

#include "exact_mapper.hpp"
#include "fixtures.hpp"
#include "lattice_cases.hpp"
#include "lattice_search.hpp"
#include "lattice_window_search.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;
using test::free_options;
using test::is_small;
using test::make_level;
using test::three_levels;

constexpr int kCases = test::some_of(120);
constexpr int kLongCases = test::some_of(60);

void expect_close(double actual, double expected) { EXPECT_NEAR(actual, expected, 2e-11 * expected); }

// The tables for the lanes of a mapping promise no more than it costs.
void expect_tables_below(const lattice::Problem& problem, lattice::Search& search, const Tradeoff& point) {
  lattice::Lanes lanes{};
  for (auto& level : lanes) level.fill(1);
  for (std::size_t l = 0; l < point.mapping.levels.size(); ++l) {
    const LevelMapping& level = point.mapping.levels[l];
    for (const auto* loops : {&level.spatial_x, &level.spatial_y}) {
      for (const Loop& loop : *loops) {
        for (std::size_t d = 0; d < problem.dims.size(); ++d) {
          const auto& members = problem.dims[d].members;
          if (std::find(members.begin(), members.end(), loop.dim) != members.end())
            lanes[l][d] *= static_cast<std::uint32_t>(loop.bound);
        }
      }
    }
  }
  ASSERT_TRUE(search.has_joint_bound(lanes));
  const double bound = search.joint_bound_pj({&lanes});
  EXPECT_GT(bound, 0);
  EXPECT_LE(bound, point.energy_pj * (1 + 1e-11));
}

// Returns false if the case is too large or of a kind that the lattice does not count.
bool compare(std::uint32_t seed, Objective objective, bool has_window, int& found) {
  CaseMaker maker(seed);
  const Workload workload = has_window ? maker.window_workload() : maker.workload();
  const Arch arch = maker.arch();
  const auto settings = maker.settings();
  MapperOptions options;
  options.objective = objective;
  options.selection = Selection::free;
  options.threads = 1;
  options.method = SearchMethod::exhaustive;
  if (!can_optimize_on_lattice(arch, workload, options) || !is_small(arch, workload)) return false;
  const std::vector<Optimum> expected = optimize(arch, workload, settings, options);
  // Without its tables of bounds the search has to give the same answers.
  const std::size_t most_entries = seed % 4 == 0 ? 0 : lattice::kMostEntries;
  const std::vector<Optimum> actual =
      optimize_on_lattice(arch, workload, settings, options, {}, {}, kMostLooks, most_entries);
  EXPECT_EQ(actual.size(), expected.size());
  MapperOptions hurried = options;
  hurried.budget = 5;
  const std::vector<Optimum> partial =
      optimize_on_lattice(arch, workload, settings, hurried, {}, {}, kMostLooks, most_entries);
  for (std::size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    std::ostringstream where;
    where << "seed " << seed << ", objective " << static_cast<int>(objective) << ", bits " << settings[i][0] << "/"
          << settings[i][1] << "/" << settings[i][2];
    SCOPED_TRACE(where.str());
    EXPECT_EQ(actual[i].found, expected[i].found);
    EXPECT_TRUE(actual[i].certificate.exhausted);
    if (!expected[i].found || !actual[i].found) continue;
    ++found;
    EXPECT_GT(actual[i].certificate.considered, 0);
    EXPECT_EQ(actual[i].certificate.considered, actual[i].certificate.fitting);
    EXPECT_GE(partial[i].objective * (1 + 2e-11), expected[i].objective);  // infinite if nothing was found
    EXPECT_LE(partial[i].certificate.lower_bound, expected[i].objective);
    if (partial[i].certificate.exhausted) expect_close(partial[i].objective, expected[i].objective);
    expect_close(actual[i].objective, expected[i].objective);
    if (objective != Objective::pareto) {
      expect_close(actual[i].certificate.lower_bound, expected[i].objective);
      EXPECT_LE(actual[i].certificate.lower_bound, actual[i].objective);
    }
    EXPECT_EQ(actual[i].front.size(), expected[i].front.size());
    if (has_window) {
      const SettingTable table = group_settings(arch, workload, {settings[i]}, options);
      const lattice::Problem problem(arch, workload, options.selection);
      lattice::WindowSearch search(problem, table, 0, lattice::kMostEntries);
      expect_tables_below(problem, search, {expected[i].mapping, expected[i].energy_pj, expected[i].cycles});
      for (const auto& point : expected[i].front) expect_tables_below(problem, search, point);
    }
    for (std::size_t p = 0; p < std::min(actual[i].front.size(), expected[i].front.size()); ++p) {
      expect_close(actual[i].front[p].energy_pj, expected[i].front[p].energy_pj);
      EXPECT_EQ(actual[i].front[p].cycles, expected[i].front[p].cycles);
    }
    EXPECT_TRUE(check_fit(arch, workload, actual[i].mapping, settings[i]).fits());
    const Cost cost = evaluate(arch, workload, actual[i].mapping, settings[i]);
    EXPECT_EQ(actual[i].energy_pj, cost.energy_pj) << describe_mapping(arch, workload, actual[i].mapping);
    EXPECT_EQ(actual[i].cycles, static_cast<double>(cost.cycles));
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << describe_mapping(arch, workload, actual[i].mapping) << "\nexpected\n"
                    << describe_mapping(arch, workload, expected[i].mapping);
    }
  }
  return true;
}

int compare_all(bool has_window) {
  const auto first = static_cast<std::uint32_t>(GTEST_FLAG_GET(random_seed)) * 100000U;
  int cases = 0;
  int found = 0;
  for (std::uint32_t i = 0; cases < kCases && !testing::Test::HasFailure(); ++i)
    cases += compare(first + i, static_cast<Objective>(i % 5), has_window, found) ? 1 : 0;
  return found;
}

// --gtest_random_seed=N draws other cases.
TEST(LatticeMapper, AgreesWithTheExhaustiveMapperOnRandomCases) { EXPECT_GT(compare_all(false), 2 * kCases); }

TEST(LatticeMapper, AgreesWithTheExhaustiveMapperOnRandomWindows) { EXPECT_GT(compare_all(true), 2 * kCases); }

// Chains of more levels than the exhaustive mapper can walk.
TEST(LatticeMapper, AgreesWithBranchAndBoundOnLongHierarchies) {
  const auto first = static_cast<std::uint32_t>(GTEST_FLAG_GET(random_seed)) * 100000U;
  int found = 0;
  for (std::uint32_t i = 0; found < kLongCases && !testing::Test::HasFailure(); ++i) {
    CaseMaker maker(first + i);
    const Workload workload = test::matmul(maker.pick({2, 4, 6}), maker.pick({2, 4, 6}), maker.pick({2, 3, 4}));
    const Arch arch = maker.long_arch();
    const std::vector<std::vector<int>> settings = {{16, 16, 16}, {8, 8, 8}, {2, 8, 4}};
    MapperOptions options;
    options.objective = static_cast<Objective>(i % 5);
    options.threads = 1;
    if (!can_optimize_on_lattice(arch, workload, options) || !can_optimize_exactly(arch, workload, options)) continue;
    options.method = SearchMethod::branch_and_bound;
    const std::vector<Optimum> expected = optimize(arch, workload, settings, options);
    const std::vector<Optimum> actual = optimize_on_lattice(arch, workload, settings, options, {}, {});
    for (std::size_t s = 0; s < settings.size(); ++s) {
      SCOPED_TRACE("seed " + std::to_string(first + i) + ", setting " + std::to_string(s));
      EXPECT_TRUE(actual[s].certificate.exhausted);
      EXPECT_EQ(actual[s].found, expected[s].found);
      if (!expected[s].found || !actual[s].found) continue;
      ++found;
      expect_close(actual[s].objective, expected[s].objective);
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << describe_mapping(arch, workload, actual[s].mapping) << "\nexpected\n"
                      << describe_mapping(arch, workload, expected[s].mapping);
        break;
      }
    }
  }
}

// Tables of chains outwards leave out rounding, bandwidths and widths of partial sums: without these they know the
// optimum. What they say of several choices of lanes together holds for each, and is no less than what is known without
// tables.
TEST(LatticeMapper, TablesKnowTheOptimumWhereNothingRounds) {
  std::vector<Level> levels = {make_level("spad", 4, 6), make_level("row", 4, 1), make_level("buffer", 1, 1),
                               make_level("DRAM", 1, 1)};
  const std::array<std::optional<Count>, 4> capacity = {6, 40, 150, std::nullopt};
  for (std::size_t l = 0; l < levels.size(); ++l) {
    levels[l].capacity_words = capacity[l];
    levels[l].energy = {static_cast<double>(1 + 4 * l * l),
                        1.5 + static_cast<double>(2 * l * l),
                        static_cast<double>(1 + 3 * l * l),
                        "",
                        "",
                        ""};
  }
  const Arch arch("plain", levels, test::make_macs(4, 6), {});
  for (const Workload& workload : {test::matmul(24, 12, 8), test::matmul(36, 1, 30), test::matmul(16, 16, 18)}) {
    MapperOptions options;
    options.objective = Objective::energy;
    options.selection = Selection::free;
    const SettingTable table = group_settings(arch, workload, {{16, 16, 16}}, options);
    const lattice::Problem problem(arch, workload, options.selection);
    lattice::Search search(problem, table, 0, lattice::kMostEntries);
    std::map<std::vector<Count>, std::vector<lattice::Lanes>> groups;
    const std::optional<std::vector<lattice::Lanes>> all = list_lanes(problem, 1U << 20);
    ASSERT_TRUE(all.has_value());
    for (const lattice::Lanes& lanes : *all) {
      std::vector<Count> product(problem.dims.size(), 1);
      for (const auto& level : lanes) {
        for (std::size_t d = 0; d < product.size(); ++d) product[d] *= std::max(level[d], 1U);
      }
      groups[product].push_back(lanes);
    }
    EXPECT_TRUE(std::any_of(groups.begin(), groups.end(), [](const auto& group) { return group.second.size() > 2; }));
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [product, choices] : groups) {
      std::vector<const lattice::Lanes*> together;
      double least_alone = std::numeric_limits<double>::infinity();
      for (const lattice::Lanes& lanes : choices) {
        together.push_back(&lanes);
        const double alone = search.joint_bound_pj({&lanes});
        EXPECT_GE(alone * (1 + 1e-11), search.bounds(lanes).energy_pj);
        least_alone = std::min(least_alone, alone);
      }
      EXPECT_LE(search.joint_bound_pj(together), least_alone * (1 + 1e-11));
      least = std::min(least, least_alone);
    }
    expect_close(optimize_on_lattice(arch, workload, {{16, 16, 16}}, options, {}, {}).front().energy_pj, least);
  }
}

// While it runs it tells between what the optimum lies, and closes in on it.
TEST(LatticeMapper, TellsBoundsOfTheOptimumOnTheWay) {
  int told = 0;
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CaseMaker maker(seed);
    const Workload workload = test::matmul(maker.pick({4, 6}), maker.pick({4, 6}), maker.pick({3, 4}));
    const Arch arch = maker.long_arch();
    MapperOptions options;
    options.threads = 1;
    if (!can_optimize_on_lattice(arch, workload, options)) continue;
    std::vector<SearchState> states;
    const Optimum best = optimize_on_lattice(arch, workload, {{8, 8, 8}}, options, {}, [&](const SearchState& state) {
                           states.push_back(state);
                         }).front();
    if (!best.found) continue;
    ASSERT_FALSE(states.empty());
    SearchState before;
    for (const SearchState& state : states) {
      EXPECT_LE(state.lower_bound, best.objective);
      EXPECT_GE(state.best * (1 + 1e-9), best.objective);
      EXPECT_LE(state.best, before.best);
      EXPECT_GE(state.lower_bound, before.lower_bound);
      EXPECT_GE(state.done, before.done);
      before = state;
    }
    EXPECT_EQ(before.done, before.total);
    expect_close(before.best, best.objective);
    ++told;
  }
  EXPECT_GT(told, 3);
}

// Two dims of 2^26 - 5 and 2^26 - 27, both prime, are one dim of the lattice.
TEST(LatticeMapper, DimsMergedIntoLargeNumbersHaveTheDivisorsOfTheirProduct) {
  const Count p = (Count{1} << 26) - 5;
  const Count q = (Count{1} << 26) - 27;
  const Workload workload("long", {{"P", p}, {"Q", q}, {"M", 2}},
                          {{"Weights", {{{2, 1}}}, false},
                           {"Inputs", {{{0, 1}}, {{1, 1}}}, false},
                           {"Outputs", {{{2, 1}}, {{0, 1}}, {{1, 1}}}, true}});
  const lattice::Problem problem(three_levels(), workload, Selection::free);
  ASSERT_EQ(problem.dims.size(), 2U);
  EXPECT_EQ(problem.dims[0].divisors, (std::vector<Count>{1, q, p, p * q}));
  EXPECT_EQ(problem.dims[0].primes, (std::vector<Count>{q, p}));
  const Optimum best = optimize_on_lattice(three_levels(), workload, {{16, 16, 16}}, free_options(0), {}, {}).front();
  EXPECT_TRUE(best.certificate.exhausted);
}

TEST(LatticeMapper, DivisorsAreThoseThatTrialFinds) {
  for (const Count a : {1, 2, 12, 36, 97, 720, 1024}) {
    for (const Count b : {1, 3, 8, 12, 49, 97}) {
      const lattice::Problem problem(three_levels(), test::matmul(a * b, 2, 5), Selection::free);
      const auto& divisors = problem.dims.front().divisors;
      std::vector<Count> expected;
      for (Count n = 1; n <= a * b; ++n) {
        if (a * b % n == 0) expected.push_back(n);
      }
      if (a * b > 1) {
        EXPECT_EQ(divisors, expected);
      }
    }
  }
}

// Elements of a tile must be numbers that doubles hold, as multiply-accumulates must.
TEST(LatticeMapper, WindowsThatSpanTooManyElementsAreNotForIt) {
  const auto is_taken = [](Count kernel) {
    return can_optimize_on_lattice(test::buffer_and_dram(), test::conv1d(Count{1} << 20, kernel, Count{1} << 31),
                                   free_options(0));
  };
  EXPECT_TRUE(is_taken(4));  // 2^22 multiply-accumulates, up to 2^31 elements apart
  EXPECT_FALSE(is_taken(5));
}

}  // namespace
}  // namespace quantloom

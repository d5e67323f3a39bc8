// The lattice mapper under budgets, stops, and limits of what it looks at.
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <thread>

#include "lattice_cases.hpp"
#include "lattice_mapper.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;
using test::dense_layer;
using test::free_options;
using test::is_small;
using test::three_levels;

constexpr std::uint32_t kSeeds = test::some_of(400);

struct SmallCase {
  Arch arch;
  Workload workload;
  MapperOptions options;
};

// The random case of a number, if chains of tile shapes can be searched and every mapping be walked.
std::optional<SmallCase> small_case(std::uint32_t seed, bool window, Objective objective = Objective::edp) {
  CaseMaker maker(seed);
  const Workload workload = window ? maker.window_workload() : maker.workload();
  const Arch arch = maker.arch();
  MapperOptions options;
  options.objective = objective;
  options.threads = 1;
  if (!can_optimize_on_lattice(arch, workload, options) || !is_small(arch, workload)) return std::nullopt;
  return SmallCase{arch, workload, options};
}

// What a limited search says holds for the optimum, however little work it was allowed, and for any number of threads.
void expect_sound_when_limited(const SmallCase& small) {
  const auto& [arch, workload, whole] = small;
  const std::vector<std::vector<int>> settings = {{8, 8, 8}};
  const Optimum best = optimize_on_lattice(arch, workload, settings, whole, {}, {}).front();
  ASSERT_TRUE(best.certificate.exhausted);
  const double least = best.found ? best.objective : std::numeric_limits<double>::infinity();
  for (const Count budget : {1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 100000}) {
    SCOPED_TRACE("budget " + std::to_string(budget));
    MapperOptions options = whole;
    options.budget = budget;
    const Optimum found = optimize_on_lattice(arch, workload, settings, options, {}, {}).front();
    EXPECT_LE(found.certificate.lower_bound, least);
    EXPECT_GT(found.certificate.lower_bound, 0);
    EXPECT_LE(least, (found.found ? found.objective : std::numeric_limits<double>::infinity()) * (1 + 1e-9));
    if (found.certificate.exhausted) {
      EXPECT_EQ(found.found, best.found);
    }
    options.threads = 3;
    const Optimum again = optimize_on_lattice(arch, workload, settings, options, {}, {}).front();
    EXPECT_EQ(again.mapping, found.mapping);
    EXPECT_EQ(again.certificate.lower_bound, found.certificate.lower_bound);
    EXPECT_EQ(again.certificate.considered, found.certificate.considered);
    EXPECT_EQ(again.certificate.pruned_by_bound, found.certificate.pruned_by_bound);
  }
}

TEST(LatticeLimits, BudgetsOfAnySizeGiveBoundsThatHold) {
  int seen = 0;
  for (std::uint32_t seed = 0; seed < kSeeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto objective = static_cast<Objective>(seed % 4);  // all but the front
    const std::optional<SmallCase> small = small_case(seed, seed % 2 != 0, objective);
    if (!small) continue;
    expect_sound_when_limited(*small);
    ++seen;
  }
  EXPECT_GT(seen, test::some_of(40));
}

// The same for a stop at any moment.
TEST(LatticeLimits, BoundsHoldWhereverItIsStopped) {
  int stopped = 0;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::optional<SmallCase> small = small_case(seed, true);
    if (!small) continue;
    const auto& [arch, workload, options] = *small;
    const Optimum best = optimize_on_lattice(arch, workload, {{8, 8, 8}}, options, {}, {}).front();
    if (!best.found) continue;
    for (int at = 0; at < 12; ++at) {
      std::stop_source source;
      if (at == 0) source.request_stop();
      int told = 0;
      const Optimum found =
          optimize_on_lattice(arch, workload, {{8, 8, 8}}, options, source.get_token(), [&](const SearchState&) {
            if (++told == at) source.request_stop();
          }).front();
      EXPECT_GT(found.certificate.lower_bound, 0);
      EXPECT_LE(found.certificate.lower_bound, best.objective);
      if (found.found) {
        EXPECT_GE(found.objective * (1 + 1e-9), best.objective);
      }
      stopped += found.certificate.exhausted ? 0 : 1;
    }
  }
  EXPECT_GT(stopped, test::some_of(50));
}

TEST(LatticeLimits, SaysForWhichBitsAndAfterHowMuchWorkNothingIsProven) {
  const std::vector<Optimum> found =
      optimize_on_lattice(three_levels(), dense_layer(), {{16, 8, 4}}, free_options(0), {}, {}, 3000);
  const Refusal& refusal = found.front().refusal;
  EXPECT_TRUE(found.front().found);
  EXPECT_FALSE(found.front().certificate.exhausted);
  EXPECT_GT(found.front().certificate.lower_bound, 0);
  const std::string begin =
      "workload 'dense' on 'three', bits Weights 16, Inputs 8, Outputs 4: the mapspace is too large to prove an "
      "optimum: after ";
  ASSERT_EQ(refusal.reason.substr(0, begin.size()), begin);
  const Count looked_at = std::stoll(refusal.reason.substr(begin.size()));  // quick looks have a width, no budget
  EXPECT_GE(looked_at, 3000);
  EXPECT_LT(looked_at, kMostLooks / 10);
  EXPECT_NE(refusal.reason.find(" beginnings of mappings the best mapping found costs at most "), std::string::npos)
      << refusal.reason;
  EXPECT_NE(refusal.way_out.find("give a budget"), std::string::npos);
}

// Narrow outputs take fewer words, so this layer is easier at some bits than at others; what is too hard for 100
// beginnings is refused, the rest is proven as if it were alone.
TEST(LatticeLimits, ARefusedSettingDoesNotEndTheOthers) {
  const std::vector<std::vector<int>> settings = {{16, 16, 16}, {8, 8, 8}, {4, 4, 4}, {2, 2, 2}};
  int refused = 0;
  int proven = 0;
  constexpr std::uint32_t kFirst = 50;  // the first that is refused in part
  for (std::uint32_t seed = kFirst; seed < kFirst + kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::optional<SmallCase> small = small_case(seed, true);
    if (!small) continue;
    const auto& [arch, workload, options] = *small;
    for (const Count most_looks : {10, 30, 100, 300, 1000, 3000}) {
      const std::vector<Optimum> together = optimize_on_lattice(arch, workload, settings, options, {}, {}, most_looks);
      ASSERT_EQ(together.size(), settings.size());
      int of_these = 0;
      for (std::size_t s = 0; s < settings.size(); ++s) {
        const Optimum alone = optimize_on_lattice(arch, workload, {settings[s]}, options, {}, {}, most_looks).front();
        EXPECT_EQ(together[s].refusal.reason.empty(), together[s].certificate.exhausted);
        EXPECT_EQ(together[s].certificate.exhausted, alone.certificate.exhausted);
        EXPECT_EQ(together[s].mapping, alone.mapping);
        of_these += together[s].certificate.exhausted ? 0 : 1;
      }
      const bool differ = of_these > 0 && of_these < static_cast<int>(settings.size());
      refused += differ ? of_these : 0;
      proven += differ ? static_cast<int>(settings.size()) - of_these : 0;
    }
  }
  EXPECT_GT(refused, 0);  // beside proven ones in one call
  EXPECT_GT(proven, 0);
}

// The only choice of lanes gets all of a budget.
TEST(LatticeLimits, ABudgetIsSharedAmongChoicesOfLanesThatAreLookedAt) {
  const std::vector<std::vector<int>> bits = {{16, 16, 16}};
  const auto labels = [&](Count budget) {
    const Certificate certificate =
        optimize_on_lattice(three_levels(), dense_layer(), bits, free_options(budget), {}, {}).front().certificate;
    EXPECT_FALSE(certificate.exhausted);
    return certificate.considered + certificate.pruned_by_bound;
  };
  const Count quick = labels(1);
  EXPECT_GT(labels(quick + 2'000'000) - quick, 1'000'000);
}

// Tables are work too: thousands of choices of lanes would have one each.
TEST(LatticeLimits, ASmallBudgetEndsBeforeTheTablesOfAllChoicesOfLanes) {
  const Arch narrow = three_levels();
  std::vector<Level> levels = narrow.levels();
  levels[0].instances = levels[0].mesh_x = 256;
  const Arch wide("wide", levels, test::make_macs(256, 1), {});
  const std::vector<std::vector<int>> bits = {{16, 16, 16}};
  std::vector<SearchState> told;
  const auto solve = [&](Count budget) {
    told.clear();
    MapperOptions options = free_options(budget);
    options.objective = Objective::energy;
    return optimize_on_lattice(wide, dense_layer(), bits, options, {},
                               [&](const SearchState& state) { told.push_back(state); })
        .front();
  };
  const Optimum first = solve(1);
  ASSERT_TRUE(first.found);
  EXPECT_FALSE(first.certificate.exhausted);
  EXPECT_GT(first.certificate.lower_bound, 0);
  EXPECT_GT(told.back().total, 300U);  // choices of lanes
  EXPECT_LE(told.size(), 3U);          // no batch of tables
  // The first gap is told before any batch of tables; then they narrow it.
  const Optimum later = solve(100'000);
  ASSERT_GT(told.size(), 3U);
  EXPECT_LT(told[1].best, std::numeric_limits<double>::infinity());
  EXPECT_GT(told[1].lower_bound, 0);
  EXPECT_EQ(told[1].done, 0U);
  EXPECT_GE(later.certificate.lower_bound, first.certificate.lower_bound);
  EXPECT_LE(later.objective, first.objective);
}

// Where all that is left costs as much as the best mapping, but for rounding, that one is proven. Dims of a square
// product can be swapped, and so can their lanes.
TEST(LatticeLimits, WhatCostsAsMuchAsTheBestIsNotLeftOpen) {
  const Workload workload = test::matmul(8, 8, 4);
  std::vector<Level> levels = three_levels().levels();
  levels[0].instances = levels[0].mesh_x = 4;
  const Arch arch("wide", levels, test::make_macs(4, 1), {});
  const auto solve = [&](Count budget) {
    MapperOptions options = free_options(budget);
    options.objective = Objective::energy;
    return optimize_on_lattice(arch, workload, {{16, 16, 16}}, options, {}, {}).front();
  };
  const auto work = [](const Optimum& found) {
    return found.certificate.considered + found.certificate.pruned_by_bound;
  };
  const Optimum whole = solve(0);
  ASSERT_TRUE(whole.certificate.exhausted);
  int early = 0;
  for (Count budget = 1; budget < 20'000; budget += budget / 8 + 1) {
    SCOPED_TRACE("budget " + std::to_string(budget));
    const Optimum found = solve(budget);
    if (!found.found) continue;
    EXPECT_EQ(found.certificate.exhausted, found.certificate.lower_bound > found.objective * (1 - 1e-10));
    early += found.certificate.exhausted && work(found) < work(whole) ? 1 : 0;
  }
  EXPECT_GT(early, 0);
}

// Listing bounds of thousands of choices of lanes takes its time: the first gap does not wait for it.
TEST(LatticeLimits, OfManyChoicesOfLanesOneGivesTheFirstGap) {
  const Arch narrow = three_levels();
  std::vector<Level> levels = narrow.levels();
  levels[0].instances = 256;
  levels[1].instances = levels[0].mesh_x = levels[1].mesh_x = 16;
  levels[0].mesh_y = 16;
  const Arch wide("wide", levels, test::make_macs(16, 16), {});
  std::vector<SearchState> told;
  const Optimum found = optimize_on_lattice(wide, test::matmul(5040, 5040, 16), {{16, 16, 16}}, free_options(0), {},
                                            [&](const SearchState& state) { told.push_back(state); })
                            .front();
  ASSERT_GT(told.size(), 1U);
  EXPECT_GT(told[0].total, 1000U);
  EXPECT_LT(told[0].best, std::numeric_limits<double>::infinity());
  EXPECT_GT(told[0].lower_bound, 0);
  EXPECT_LE(told[0].lower_bound, found.objective);
  EXPECT_GE(told[0].best * (1 + 1e-9), found.objective);
}

// In the middle of a search that would go on for minutes.
TEST(LatticeLimits, AStopIsSeenInTimeInALayerWithAWindow) {
  Arch arch = three_levels();
  std::vector<Level> levels = arch.levels();
  Level middle = test::make_level("middle", 1, 1);
  middle.energy = {3, 3, 3, "", "", ""};
  levels.insert(levels.begin() + 1, middle);
  arch = {"four", levels, test::make_macs(1, 1), {}};
  std::stop_source source;
  std::chrono::steady_clock::time_point requested;
  std::jthread timer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    requested = std::chrono::steady_clock::now();
    source.request_stop();
  });
  const Optimum best =
      optimize_on_lattice(arch, dense_layer(), {{16, 16, 16}}, free_options(0), source.get_token(), {}).front();
  const auto returned = std::chrono::steady_clock::now();
  timer.join();
  EXPECT_FALSE(best.certificate.exhausted);
  EXPECT_LT(returned - requested, std::chrono::seconds(5));
}

}  // namespace
}  // namespace quantloom

// The lattice mapper against the exhaustive one: the same optimum on small random spaces without constraints.
#include "lattice_mapper.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <thread>

#include "exact_mapper.hpp"
#include "fixtures.hpp"
#include "lattice_search.hpp"
#include "lattice_window_search.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mac_table.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::make_level;

constexpr Count kLargestSpace = 20000;  // mappings of a random space, so that walking it stays quick
constexpr int kCases = test::some_of(120);
constexpr int kLongCases = test::some_of(60);

class CaseMaker {
 public:
  explicit CaseMaker(std::uint32_t seed) : random_(seed) {}

  [[nodiscard]] Count pick(std::initializer_list<int> values) { return *(values.begin() + below(values.size())); }
  [[nodiscard]] bool one_in(int n) { return below(static_cast<std::size_t>(n)) == 0; }
  [[nodiscard]] double energy() { return 0.25 * static_cast<double>(1 + below(60)); }

  [[nodiscard]] Workload workload() {
    if (one_in(3))
      return test::matmul(pick({1, 2, 3, 4, 6, 8}), pick({1, 2, 3, 4, 6, 8, 12}), pick({1, 2, 3, 4, 6, 9}));
    // G: a group or a batch; two dims that every tensor sees alike; perhaps one that only the outputs lack.
    const std::vector<Dim> dims = {{"G", pick({1, 1, 1, 2, 3})},
                                   {"M", pick({1, 2, 4, 6})},
                                   {"C", pick({1, 2, 4, 6})},
                                   {"P", pick({1, 2, 3, 4})},
                                   {"Q", pick({1, 2, 2, 4})}};
    const auto rank = [](int dim) { return std::vector<Term>{{dim, 1}}; };
    return {"pointwise",
            dims,
            {{"Weights", {rank(0), rank(1), rank(2)}, false},
             {"Inputs", {rank(0), rank(2), rank(3), rank(4)}, false},
             {"Outputs", {rank(0), rank(1), rank(3), rank(4)}, true}}};
  }

  // One or two ranks with windows: strides, dilations, holes; channels, groups and batches or not.
  [[nodiscard]] Workload window_workload() {
    const bool is_flat = one_in(3);
    const std::vector<Dim> dims = {{"G", pick({1, 1, 2, 3})},
                                   {"M", pick({1, 1, 2, 3, 4})},
                                   {"C", pick({1, 1, 2, 3})},
                                   {"P", pick({2, 3, 4, 6, 8})},
                                   {"R", pick({1, 2, 3, 3, 4})},
                                   {"Q", is_flat ? pick({1, 2}) : pick({2, 3, 4})},
                                   {"S", is_flat ? 1 : pick({1, 2, 3})},
                                   {"N", pick({1, 1, 1, 2})}};
    const auto rank = [](int dim) { return std::vector<Term>{{dim, 1}}; };
    const auto window = [&](int out, int kernel) {
      return std::vector<Term>{{out, pick({1, 1, 1, 2, 3})}, {kernel, pick({1, 1, 1, 2})}};
    };
    return {"window",
            dims,
            {{"Weights", {rank(0), rank(1), rank(2), rank(4), rank(6)}, false},
             {"Inputs", {rank(7), rank(0), rank(2), window(3, 4), window(5, 6)}, false},
             {"Outputs", {rank(7), rank(0), rank(1), rank(3), rank(5)}, true}}};
  }

  [[nodiscard]] Arch arch() {
    const auto levels = static_cast<int>(pick({2, 3, 3, 4, 4}));
    std::vector<Level> out;
    Count x = 1;
    Count y = 1;
    for (int l = levels; l-- > 0;) {
      Level level = make_level("L" + std::to_string(l), x, y);
      describe(level, l == levels - 1);
      out.insert(out.begin(), level);
      if (one_in(2)) x *= pick({2, 3, 4});
      if (one_in(4)) y *= pick({2, 3});
    }
    Arithmetic units = test::make_macs(x, y);
    units.energy_pj = energy();
    if (one_in(4)) units.mac_table = bit_scalable_macs(16, static_cast<int>(pick({2, 4})), energy());
    if (one_in(6)) units.psum_bits = static_cast<int>(pick({8, 16, 20}));
    if (one_in(6)) units.leak_energy_pj = 0.25;
    if (one_in(6)) units.idle_energy_pj = 0.125;
    return {"random", out, units, {}};
  }

  // A long hierarchy in which most levels are for one or two tensors, so that branch and bound can list its copies;
  // small ones inside.
  [[nodiscard]] Arch long_arch() {
    constexpr int kLevels = 5;
    std::vector<Level> out;
    std::vector<Constraint> constraints;
    Count x = 1;
    int open = 0;
    for (int l = kLevels; l-- > 0;) {
      const bool outermost = l == kLevels - 1;
      Level level = make_level("L" + std::to_string(l), x, 1);
      describe(level, outermost);
      level.energy.read_pj *= l + 1;
      if (!outermost) level.capacity_words = l < 3 ? pick({1, 2, 3, 4, 6, 8, 12, 16}) : pick({24, 32, 48, 64});
      out.insert(out.begin(), level);
      if (one_in(3)) x *= pick({2, 3});
      if (outermost) continue;
      Constraint copies;
      copies.level = level.name;
      copies.target = ConstraintTarget::keep;
      for (const char* tensor : {"Weights", "Inputs", "Outputs"}) {
        if (open == 6 || one_in(2)) {
          copies.bypass.emplace_back(tensor);
        } else {
          ++open;
        }
      }
      constraints.push_back(copies);
    }
    Arithmetic units = test::make_macs(x, 1);
    units.energy_pj = energy();
    return {"long", out, units, constraints};
  }

  [[nodiscard]] std::vector<std::vector<int>> settings() {
    std::vector<std::vector<int>> out;
    const auto bits = [&] { return static_cast<int>(pick({16, 8, 5, 4, 2})); };
    for (int i = 0; i < 3; ++i) out.push_back({bits(), bits(), bits()});
    return out;
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }

  void describe(Level& level, bool outermost) {
    level.energy = {energy(), energy(), energy(), "", "", ""};
    level.is_dram = outermost && one_in(2);
    level.word_bits = pick({16, 16, 24, 32});
    level.block_words = pick({1, 1, 2, 4});
    if (level.instances % 2 == 0 && one_in(3)) level.cluster_size = 2;
    if (!outermost && !one_in(8)) level.capacity_words = pick({2, 4, 8, 12, 16, 24, 48});
    if (one_in(4)) level.read_bandwidth = 0.5 * static_cast<double>(pick({1, 2, 3, 4}));
    if (one_in(4)) level.write_bandwidth = 0.5 * static_cast<double>(pick({1, 2, 3, 4}));
    if (one_in(6)) level.shared_bandwidth = 0.5 * static_cast<double>(pick({1, 2, 3, 4}));
    level.bandwidth_in_bits = one_in(8);
    if (one_in(4)) level.address_energy_pj = 0.125;
    if (one_in(5)) level.packing = one_in(2) ? PackingRule::dense : PackingRule::none;
    if (one_in(6)) level.leak_energy_pj = 0.5;
    if (one_in(6)) level.idle_energy_pj = 0.125;
  }

  std::mt19937 random_;
};

bool is_small(const Arch& arch, const Workload& workload) {
  const Mapspace space(arch, workload, Selection::free);
  if (std::stod(space.size().to_string()) > 1e13) return false;
  Count visited = 0;
  for (MappingWalker walker(space, Enumeration::distinct); walker.next();) {
    if (++visited > kLargestSpace) return false;
  }
  return true;
}

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

// What a limited search says holds for the optimum, however little work it was allowed, and for any number of threads.
void expect_sound_when_limited(const Arch& arch, const Workload& workload, const MapperOptions& whole) {
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

TEST(LatticeMapper, BudgetsOfAnySizeGiveBoundsThatHold) {
  int seen = 0;
  for (std::uint32_t seed = 0; seed < 400 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CaseMaker maker(seed);
    const Workload workload = seed % 2 == 0 ? maker.workload() : maker.window_workload();
    const Arch arch = maker.arch();
    MapperOptions options;
    options.objective = static_cast<Objective>(seed % 4);  // all but the front
    options.threads = 1;
    if (!can_optimize_on_lattice(arch, workload, options) || !is_small(arch, workload)) continue;
    expect_sound_when_limited(arch, workload, options);
    ++seen;
  }
  EXPECT_GT(seen, 40);
}

// The same for a stop at any moment.
TEST(LatticeMapper, BoundsHoldWhereverItIsStopped) {
  int stopped = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CaseMaker maker(seed);
    const Workload workload = maker.window_workload();
    const Arch arch = maker.arch();
    MapperOptions options;
    options.threads = 1;
    if (!can_optimize_on_lattice(arch, workload, options) || !is_small(arch, workload)) continue;
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
  EXPECT_GT(stopped, 50);
}

// A layer with a window on three levels, too much for a few thousand beginnings.
Workload dense_layer() {
  const auto at = [](int dim) { return std::vector<Term>{{dim, 1}}; };
  return {"dense",
          {{"M", 256}, {"C", 256}, {"P", 12}, {"Q", 12}, {"R", 3}, {"S", 3}},
          {{"Weights", {at(0), at(1), at(4), at(5)}, false},
           {"Inputs", {at(1), {{2, 1}, {4, 1}}, {{3, 1}, {5, 1}}}, false},
           {"Outputs", {at(0), at(2), at(3)}, true}}};
}

Arch three_levels() {
  Level spad = make_level("spad", 1, 1);
  spad.capacity_words = 256;
  Level buffer = make_level("buffer", 1, 1);
  buffer.capacity_words = 16384;
  buffer.energy = {6, 6, 6, "", "", ""};
  Level dram = make_level("DRAM", 1, 1);
  dram.is_dram = true;
  dram.energy = {200, 200, 200, "", "", ""};
  return {"three", {spad, buffer, dram}, test::make_macs(1, 1), {}};
}

MapperOptions free_options(Count budget, int threads = 1) {
  MapperOptions options;
  options.selection = Selection::free;
  options.threads = threads;
  options.budget = budget;
  return options;
}

TEST(LatticeMapper, SaysForWhichBitsAndAfterHowMuchWorkNothingIsProven) {
  const auto caught = test::caught_from([] {
    (void)optimize_on_lattice(three_levels(), dense_layer(), {{16, 8, 4}, {8, 8, 8}}, free_options(0), {}, {}, 3000);
  });
  EXPECT_EQ(caught.kind, ErrorKind::mapping);
  const std::string begin =
      "workload 'dense' on 'three', bits Weights 16, Inputs 8, Outputs 4: the mapspace is too large to prove an "
      "optimum: after ";
  ASSERT_EQ(caught.message.substr(0, begin.size()), begin);
  const Count looked_at = std::stoll(caught.message.substr(begin.size()));  // quick looks have a width, no budget
  EXPECT_GE(looked_at, 3000);
  EXPECT_LT(looked_at, kMostLooks / 10);
  EXPECT_NE(caught.message.find(" beginnings of mappings the best mapping found costs at most "), std::string::npos)
      << caught.message;
  EXPECT_NE(caught.hint.find("give a budget"), std::string::npos);
}

// The only choice of lanes gets all of a budget.
TEST(LatticeMapper, ABudgetIsSharedAmongChoicesOfLanesThatAreLookedAt) {
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
TEST(LatticeMapper, ASmallBudgetEndsBeforeTheTablesOfAllChoicesOfLanes) {
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

// In the middle of a search that would go on for minutes.
TEST(LatticeMapper, AStopIsSeenInTimeInALayerWithAWindow) {
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

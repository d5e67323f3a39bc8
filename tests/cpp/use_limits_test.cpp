// Limits on the use of fanouts, capacities and units: the mappers against a look at every mapping, and the limits by
// hand.
#include "use_limits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "exact_mapper.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "random_cases.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;
using test::caught_from;
using test::make_level;
using test::make_macs;

constexpr int kCases = test::some_of(100);
constexpr int kMostVisited = 3000;

// 6 instances of L0 below the only L1, 2 units below each of them.
Arch limited(const std::vector<std::pair<const char*, Utilization>>& limits) {
  Level inner = make_level("L0", 3, 2);
  inner.capacity_words = 50;
  std::vector<Constraint> constraints;
  for (const auto& [level, use] : limits) {
    Constraint& constraint = constraints.emplace_back();
    constraint.level = level;
    constraint.target = ConstraintTarget::utilization;
    constraint.use = use;
  }
  return {"limited", {inner, make_level("L1", 1, 1)}, make_macs(6, 2), constraints, false};
}

ResolvedConstraints resolved(const std::vector<std::pair<const char*, Utilization>>& limits) {
  return resolve_constraints(limited(limits), test::matmul(4, 4, 4));
}

Utilization fanout(std::optional<double> least, std::optional<double> most) { return {least, most, {}, {}, {}}; }

TEST(UseLimits, SharesBecomeNumbers) {
  EXPECT_EQ(resolved({{"L1", fanout(0.5, 1)}}).use[1], (UseLimit{3, 6, 0}));
  EXPECT_EQ(resolved({{"L1", fanout(0.51, 0.9)}}).use[1], (UseLimit{4, 5, 0}));
  EXPECT_EQ(resolved({{"L1", fanout(0.6666666667, 0.8333333333)}}).use[1], (UseLimit{4, 5, 0}));  // digits cut off
  EXPECT_EQ(resolved({{"L1", fanout({}, 0.01)}}).use[1], (UseLimit{1, 1, 0}));
  EXPECT_EQ(resolved({{"L0", fanout(0.5, {})}}).use[0], (UseLimit{1, 2, 0}));
  EXPECT_EQ(resolved({{"L0", fanout(0.5, {})}}).use[1], UseLimit{});
  EXPECT_EQ(resolved({{"L1", fanout(0.5, {})}, {"L1", fanout(0.2, 0.6)}}).use[1], (UseLimit{3, 3, 0}));
  EXPECT_EQ(resolved({{"L0", {{}, {}, 0.35, {}, {}}}}).use[0], (UseLimit{1, kSaturated, 18}));
  EXPECT_EQ(resolved({{"L0", {{}, {}, {}, 0.35, {}}}}).use[0], UseLimit{});
  EXPECT_EQ(resolved({{"L0", {{}, {}, {}, {}, 0.5}}, {"L1", {{}, {}, {}, {}, 0.75}}}).min_units, 9);
  EXPECT_EQ(resolved({}).min_units, 1);
}

TEST(UseLimits, WhatCannotHoldIsRefused) {
  const auto message = [](const char* level, const Utilization& use) {
    return caught_from([&] { (void)resolved({{level, use}}); }).message;
  };
  EXPECT_EQ(message("L1", fanout(0, {})),
            "constraint on 'L1': min_fanout is 0.000000, expected a share above 0, at most 1");
  EXPECT_EQ(message("L1", fanout({}, 1.5)),
            "constraint on 'L1': max_fanout is 1.500000, expected a share above 0, at most 1");
  EXPECT_EQ(message("L1", fanout({}, 0)),
            "constraint on 'L1': max_fanout is 0.000000, expected a share above 0, at most 1");
  EXPECT_EQ(message("L1", fanout(0.6, 0.5)), "constraint on 'L1': min_fanout is above max_fanout");
  EXPECT_EQ(message("L1", fanout(0.55, 0.6)),
            "constraint on 'L1': its limits on the fanout leave nothing together with others");
  EXPECT_EQ(message("L1", {{}, {}, 0.5, {}, {}}),
            "constraint on 'L1': limits the use of a capacity, but the level has no limit");
  EXPECT_EQ(message("L1", {{}, {}, {}, 0.5, {}}),
            "constraint on 'L1': limits the use of a capacity, but the level has no limit");
  EXPECT_EQ(message("L0", {{}, {}, 0.5, 0.4, {}}), "constraint on 'L0': min_capacity is above max_capacity");
  EXPECT_EQ(message("L0", {{}, {}, {}, {}, 2}),
            "constraint on 'L0': min_parallelism is 2.000000, expected a share above 0, at most 1");
  Constraint one;
  one.level = "L1";
  one.target = ConstraintTarget::utilization;
  one.use = fanout(0.5, {});
  one.where = "a.yaml:7";
  const Arch single("single", {make_level("L0", 1, 1), make_level("L1", 1, 1)}, make_macs(1, 1), {one}, false);
  const auto caught = caught_from([&] { (void)resolve_constraints(single, test::matmul(4, 4, 4)); });
  EXPECT_EQ(caught.message, "a.yaml:7: constraint on 'L1': limits the use of a fanout, but one instance lies below");
  EXPECT_EQ(caught.hint, "remove the limit");
}

TEST(UseLimits, ACapacityIsCapped) {
  const auto words = [](double share, const char* origin, Selection selection) {
    Arch arch = limited({{"L0", {{}, {}, {}, share, {}}}});
    std::vector<Constraint> constraints = arch.constraints();
    constraints[0].origin = origin;
    arch = {"limited", arch.levels(), arch.arithmetic(), constraints, false};
    return *Mapspace(arch, test::matmul(4, 4, 4), selection).arch().level(0).capacity_words;
  };
  EXPECT_EQ(words(0.5, "architecture", Selection::all), 25);
  EXPECT_EQ(words(0.35, "architecture", Selection::all), 17);
  EXPECT_EQ(words(0.001, "architecture", Selection::all), 1);
  EXPECT_EQ(words(1, "architecture", Selection::all), 50);
  EXPECT_EQ(words(0.5, "mapspace", Selection::all), 25);
  EXPECT_EQ(words(0.5, "mapspace", Selection::architecture), 50);
  EXPECT_EQ(words(0.5, "architecture", Selection::architecture), 25);
  EXPECT_EQ(words(0.5, "architecture", Selection::free), 50);
}

struct Limits {
  int level = 0;
  double least = 0;
  double most = 1;
  double units = 0;
  double words = 0;  // of the level's capacity
};

bool holds(const Limits& limits, const Arch& arch, const Mapping& mapping, const Cost& cost) {
  double all = 1;
  for (int l = 0; l < arch.num_levels(); ++l) {
    const LevelMapping& level = mapping.levels[static_cast<std::size_t>(l)];
    double lanes = 1;
    for (const auto* loops : {&level.spatial_x, &level.spatial_y}) {
      for (const Loop& loop : *loops) lanes *= static_cast<double>(loop.bound);
    }
    const auto whole = static_cast<double>(arch.fanout_x(l) * arch.fanout_y(l));
    if (l == limits.level && (lanes < limits.least * whole || lanes > std::max(1.0, limits.most * whole))) return false;
    all *= lanes;
  }
  if (all < limits.units * static_cast<double>(arch.arithmetic().instances)) return false;
  if (limits.words == 0) return true;
  Count used = 0;
  for (const TensorLevelCost& tensor : cost.levels[static_cast<std::size_t>(limits.level)].tensors)
    used += tensor.utilized_words;
  return static_cast<double>(used) >= limits.words * static_cast<double>(*arch.level(limits.level).capacity_words);
}

// Nothing if the case is too large, contradictory, or has no level to limit.
std::optional<Limits> draw_limits(CaseMaker& maker, const Arch& arch) {
  Limits out;
  out.level = maker.pick({0, 1, arch.num_levels() - 1});
  if (arch.fanout_x(out.level) * arch.fanout_y(out.level) == 1) return std::nullopt;
  out.least = 0.125 * maker.pick({0, 1, 2, 4});
  out.most = 0.125 * maker.pick({4, 6, 8, 8});
  out.units = 0.125 * maker.pick({0, 0, 1, 3});
  if (arch.level(out.level).capacity_words) out.words = 0.125 * maker.pick({0, 0, 1, 2});
  return out;
}

Arch with_limits(const Arch& arch, const Limits& limits) {
  const auto share = [](double value) { return value == 0 ? std::nullopt : std::optional(value); };
  std::vector<Constraint> constraints = arch.constraints();
  Constraint& constraint = constraints.emplace_back();
  constraint.level = arch.level(limits.level).name;
  constraint.target = ConstraintTarget::utilization;
  constraint.use = {share(limits.least), limits.most, share(limits.words), {}, share(limits.units)};
  return {arch.name(), arch.levels(), arch.arithmetic(), constraints, arch.relax_indivisible_factors()};
}

// Returns whether the case was one.
bool compare(std::uint32_t seed, CostModel model, int& found) {
  CaseMaker maker(seed);
  const Workload workload = maker.strided_workload();
  const Arch arch = maker.wide_arch(workload);
  const std::vector<int> bits = maker.settings().front();
  const auto limits = draw_limits(maker, arch);
  if (!limits) return false;
  MapperOptions options;
  options.model = model;
  options.threads = 1;
  options.method = SearchMethod::exhaustive;
  double least = std::numeric_limits<double>::infinity();
  try {
    const Mapspace space(arch, workload);
    int visited = 0;
    for (MappingWalker walker(space, Enumeration::distinct); walker.next();) {
      if (++visited > kMostVisited) return false;
      const Mapping mapping = space.materialize(walker.view());
      if (!check_fit(arch, workload, mapping, bits, {model}).fits()) continue;
      const Cost cost = evaluate(arch, workload, mapping, bits, {model});
      if (holds(*limits, arch, mapping, cost)) least = std::min(least, cost.edp);
    }
    (void)Mapspace(with_limits(arch, *limits), workload);
  } catch (const Error&) {
    return false;
  }
  const Arch narrow = with_limits(arch, *limits);
  const Optimum walked = optimize(narrow, workload, {bits}, options).front();
  EXPECT_EQ(walked.found, std::isfinite(least)) << "seed " << seed;
  found += walked.found ? 1 : 0;
  if (walked.found) {
    EXPECT_NEAR(walked.objective, least, 1e-12 * least) << "seed " << seed;
  }
  if (limits->words > 0) {
    EXPECT_FALSE(can_optimize_exactly(narrow, workload, options));
    return true;
  }
  const Optimum exact = optimize_exactly(narrow, workload, {bits}, options, {}, {}).front();
  EXPECT_EQ(exact.found, walked.found) << "seed " << seed;
  if (exact.found) {
    EXPECT_EQ(exact.objective, walked.objective) << "seed " << seed;
  }
  return true;
}

void compare_random_cases(CostModel model) {
  int cases = 0;
  int found = 0;
  for (std::uint32_t seed = 5'000'000; cases < kCases && !testing::Test::HasFailure(); ++seed)
    cases += compare(seed, model, found) ? 1 : 0;
  EXPECT_GT(found, kCases / 3);
  EXPECT_LT(found, kCases);
}

TEST(UseLimits, TheBestMappingsWithinThemInTheDefaultModel) { compare_random_cases(CostModel::default_model); }
TEST(UseLimits, TheBestMappingsWithinThemInCompat) { compare_random_cases(CostModel::compat); }

}  // namespace
}  // namespace quantloom

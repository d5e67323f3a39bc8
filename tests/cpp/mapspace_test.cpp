#include "quantloom/mapspace.hpp"

#include <memory>
#include <ostream>
#include <stop_token>

#include "fixtures.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {

// How GoogleTest shows a number that differs.
void PrintTo(const BigUnsigned& value, std::ostream* out) { *out << value.to_string(); }

namespace {

using test::caught_from;
using test::make_level;
using test::make_macs;

// Dims of a dense convolution with kernel 1, or with a group dim in front.
[[nodiscard]] Workload conv(Count c, Count m, Count p, Count group = 0) {
  std::vector<Dim> dims;
  if (group > 0) dims.push_back({"G", group});
  const int first = static_cast<int>(dims.size());
  for (const Dim& dim : {Dim{"C", c}, Dim{"M", m}, Dim{"R", 1}, Dim{"S", 1}, Dim{"N", 1}, Dim{"P", p}, Dim{"Q", 1}}) {
    dims.push_back(dim);
  }
  std::vector<TensorSpec> tensors = {{"Weights", {{{first, 1}}, {{first + 1, 1}}}, false},
                                     {"Inputs", {{{first, 1}}, {{first + 5, 1}}}, false},
                                     {"Outputs", {{{first + 1, 1}}, {{first + 5, 1}}}, true}};
  if (group > 0) {
    for (TensorSpec& tensor : tensors) tensor.ranks.push_back({{0, 1}});
  }
  return {"conv", dims, tensors};
}

// Registers of 16 words in 4 x 3 PEs below a DRAM.
[[nodiscard]] Arch array_and_dram(std::vector<Constraint> constraints, bool relax = false) {
  Level regs = make_level("regs", 4, 3);
  regs.capacity_words = 16;
  Level dram = make_level("DRAM", 1, 1);
  dram.is_dram = true;
  return {"array", {regs, dram}, make_macs(4, 3), std::move(constraints), relax};
}

[[nodiscard]] Constraint on(std::string level, ConstraintTarget target, std::string where) {
  Constraint out;
  out.level = std::move(level);
  out.target = target;
  out.where = std::move(where);
  return out;
}

[[nodiscard]] Constraint fix(std::string level, ConstraintTarget target, std::vector<FactorConstraint> factors,
                             std::string where = "a.yaml:1") {
  Constraint out = on(std::move(level), target, std::move(where));
  out.factors = std::move(factors);
  return out;
}

[[nodiscard]] Constraint order(std::string level, ConstraintTarget target, std::vector<std::string> inner,
                               std::optional<int> split = {}, std::string where = "a.yaml:1") {
  Constraint out = on(std::move(level), target, std::move(where));
  out.permutation_inner = std::move(inner);
  out.has_permutation = true;
  out.split = split;
  return out;
}

constexpr auto kEqual = FactorRelation::equal;
constexpr auto kAtMost = FactorRelation::at_most;
constexpr auto kAtLeast = FactorRelation::at_least;
constexpr auto kTemporal = ConstraintTarget::temporal;
constexpr auto kSpatial = ConstraintTarget::spatial;

TEST(Constraints, BlocksStandInnermostFirst) {
  const ResolvedConstraints resolved = resolve_constraints(array_and_dram({}), conv(2, 2, 2));
  ASSERT_EQ(resolved.blocks.size(), 3U);
  EXPECT_EQ(find_block(resolved, 0, false), 0);
  EXPECT_EQ(find_block(resolved, 0, true), -1);
  EXPECT_EQ(find_block(resolved, 1, true), 1);
  EXPECT_EQ(find_block(resolved, 1, false), 2);
  EXPECT_EQ(resolved.blocks[1].fanout_x, 4);
  EXPECT_EQ(resolved.blocks[1].fanout_y, 3);
  EXPECT_EQ(resolved.keep[0], std::vector<Keep>(3, Keep::open));
  EXPECT_EQ(resolved.keep[1], std::vector<Keep>(3, Keep::yes));
}

TEST(Constraints, ZeroIsTheWholeBoundAndTooMuchIsDropped) {
  const Arch arch = array_and_dram(
      {fix("regs", kTemporal, {{"C", kEqual, 0}, {"M", kEqual, 4}, {"P", kAtMost, 9}, {"Q", kAtLeast, 2}})});
  const ResolvedConstraints resolved = resolve_constraints(arch, conv(6, 2, 4));
  const auto& limits = resolved.blocks[0].limits;
  EXPECT_EQ(limits[0].fixed, 6);
  EXPECT_FALSE(limits[1].fixed);
  EXPECT_EQ(limits[5].max, 4);
  EXPECT_EQ(resolved.notes,
            (std::vector<std::string>{"a.yaml:1: regs, temporal: M = 4 dropped: larger than the bound M = 2",
                                      "a.yaml:1: regs, temporal: Q >= 2 dropped: larger than the bound Q = 1"}));
}

TEST(Constraints, FixedFactorsMustDivideOrAreLowered) {
  const std::vector<Constraint> four = {fix("DRAM", kSpatial, {{"C", kEqual, 4}})};
  const auto caught = caught_from([&] { (void)resolve_constraints(array_and_dram(four), conv(6, 1, 1)); });
  EXPECT_EQ(caught.kind, ErrorKind::infeasible);
  EXPECT_EQ(caught.message, "the fixed factors of C, 4 (DRAM, spatial), do not divide its bound 6");
  EXPECT_EQ(caught.hint, "change the layer or the constraint, or set relax_indivisible_factors in the architecture");
  const ResolvedConstraints relaxed = resolve_constraints(array_and_dram(four, true), conv(6, 1, 1));
  EXPECT_EQ(relaxed.blocks[1].limits[0].fixed, 3);
  EXPECT_EQ(relaxed.notes, std::vector<std::string>{"a.yaml:1: DRAM, spatial: C = 4 lowered to 3: the fixed factors "
                                                    "do not divide the bound C = 6"});
}

TEST(Constraints, NothingLeftForADimIsInfeasible) {
  const auto caught = caught_from([] {
    (void)resolve_constraints(
        array_and_dram({fix("DRAM", kTemporal, {{"C", kEqual, 1}}), fix("DRAM", kSpatial, {{"C", kEqual, 2}}),
                        fix("regs", kTemporal, {{"C", kAtMost, 2}})}),
        conv(12, 1, 1));
  });
  EXPECT_EQ(caught.kind, ErrorKind::infeasible);
  EXPECT_EQ(caught.message, "no factorization of C = 12 satisfies the constraints of architecture 'array'");
}

TEST(Constraints, FixingTwiceNamesBothPlaces) {
  const auto message = [](std::vector<Constraint> constraints) {
    const auto caught = caught_from([&] { (void)resolve_constraints(array_and_dram(constraints), conv(4, 4, 4)); });
    EXPECT_EQ(caught.kind, ErrorKind::spec);
    return caught.message;
  };
  EXPECT_EQ(
      message({fix("regs", kTemporal, {{"C", kEqual, 2}}), fix("regs", kTemporal, {{"C", kEqual, 2}}, "b.yaml:7")}),
      "b.yaml:7: regs, temporal: the factor of C is already fixed by a.yaml:1");
  EXPECT_EQ(message({order("DRAM", kTemporal, {"C"}), order("DRAM", kTemporal, {"M"}, {}, "b.yaml:7")}),
            "b.yaml:7: DRAM, temporal: the permutation is already fixed by a.yaml:1");
  EXPECT_EQ(message({order("DRAM", kSpatial, {"C"}, 1),
                     [] {
                       Constraint split = on("DRAM", kSpatial, "b.yaml:7");
                       split.split = 2;
                       return split;
                     }()}),
            "b.yaml:7: DRAM, spatial: the split is already fixed by a.yaml:1");
  Constraint keep = on("regs", ConstraintTarget::keep, "a.yaml:1");
  keep.keep = {"Inputs"};
  Constraint bypass = on("regs", ConstraintTarget::keep, "");
  bypass.bypass = {"Inputs"};
  EXPECT_EQ(message({bypass, keep}),
            "a.yaml:1: level 'regs': keep or bypass of Inputs is already fixed by an earlier constraint on 'regs'");
  EXPECT_EQ(
      message({fix("regs", kTemporal, {{"C", kEqual, 4}, {"C", kAtMost, 2}})}),
      "a.yaml:1: regs, temporal: the constraints on C contradict each other: it is fixed to 4 and limited to 1..2");
}

TEST(Constraints, UnknownNames) {
  const auto caught = [](Constraint constraint) {
    return caught_from([&] { (void)resolve_constraints(array_and_dram({constraint}), test::matmul(2, 2, 2)); });
  };
  // A matmul need not have a convolution's dims.
  EXPECT_NO_THROW(
      (void)resolve_constraints(array_and_dram({fix("regs", kTemporal, {{"R", kEqual, 3}})}), test::matmul(2, 2, 2)));
  auto unknown = caught(fix("regs", kTemporal, {{"m", kEqual, 1}}));
  EXPECT_EQ(unknown.message, "a.yaml:1: constraint on 'regs': unknown dim 'm'");
  EXPECT_EQ(unknown.hint, "did you mean `M`?");
  unknown = caught(order("regs", kTemporal, {"K"}));
  EXPECT_EQ(unknown.hint, "expected one of: M, C, N, R, S, P, Q, G");
  unknown = caught([] {
    Constraint keep = on("regs", ConstraintTarget::keep, "a.yaml:1");
    keep.bypass = {"Input"};
    return keep;
  }());
  EXPECT_EQ(unknown.message, "a.yaml:1: constraint on 'regs': unknown tensor 'Input'");
  EXPECT_EQ(unknown.hint, "did you mean `Inputs`?");
  EXPECT_EQ(caught(order("regs", kTemporal, {"M", "C", "M"})).message,
            "a.yaml:1: constraint on 'regs': permutation names M twice");
  EXPECT_EQ(caught(fix("regs", kSpatial, {})).message,
            "a.yaml:1: spatial constraint on level 'regs', which has no fanout");
  EXPECT_EQ(caught(fix("regs", kTemporal, {{"M", kAtMost, 0}})).message,
            "a.yaml:1: regs, temporal: M <= 0 is not a factor");
}

TEST(Constraints, SelectionsNarrowWhatHolds) {
  Constraint mapspace = fix("regs", kTemporal, {{"C", kEqual, 2}});
  mapspace.origin = "mapspace";
  Constraint keep = on("regs", ConstraintTarget::keep, "a.yaml:2");
  keep.bypass = {"Weights"};
  const Arch arch = array_and_dram({mapspace, keep});
  const auto all = resolve_constraints(arch, conv(4, 4, 4), Selection::all);
  const auto architecture = resolve_constraints(arch, conv(4, 4, 4), Selection::architecture);
  const auto free = resolve_constraints(arch, conv(4, 4, 4), Selection::free);
  EXPECT_TRUE(all.blocks[0].limits[0].fixed);
  EXPECT_FALSE(architecture.blocks[0].limits[0].fixed);
  EXPECT_EQ(architecture.keep[0][0], Keep::no);
  EXPECT_EQ(free.keep[0][0], Keep::open);
  EXPECT_EQ(free.keep[1][0], Keep::yes);
  const auto caught = caught_from([] { (void)parse_selection("al"); });
  EXPECT_EQ(caught.message, "unknown selection of constraints 'al'");
  EXPECT_EQ(caught.hint, "did you mean `all`?");
}

// G=8 in front; M is dim 2.
TEST(Constraints, AGroupOfADepthwiseLayerStandsForItsOutputChannel) {
  const Arch arch =
      array_and_dram({fix("regs", kTemporal, {{"M", kEqual, 1}}), fix("DRAM", kSpatial, {{"M", kEqual, 4}}),
                      order("DRAM", kSpatial, {"N", "C", "M", "R", "S", "P", "Q"}, 3)});
  const ResolvedConstraints resolved = resolve_constraints(arch, conv(1, 1, 6, 8));
  EXPECT_EQ(resolved.blocks[0].limits[0].fixed, 1);
  EXPECT_EQ(resolved.blocks[1].limits[0].fixed, 4);
  EXPECT_FALSE(resolved.blocks[1].limits[2].fixed);
  EXPECT_EQ(resolved.blocks[1].inner, (std::vector<int>{5, 1, 0, 2, 3, 4, 6, 7}));
  EXPECT_EQ(resolved.blocks[1].split, 4);  // N, C, M were on X: N, C, G, M are
  EXPECT_TRUE(resolved.notes.empty());
}

TEST(Constraints, AGroupStandsBesideTheOutputChannelsOfAGroupedLayer) {
  const Arch arch = array_and_dram({fix("regs", kTemporal, {{"M", kEqual, 2}}),
                                    fix("DRAM", kSpatial, {{"M", kAtMost, 4}, {"M", kAtLeast, 2}}),
                                    order("DRAM", kSpatial, {"N", "C", "P", "R", "S", "Q", "M"}, 7)});
  const ResolvedConstraints resolved = resolve_constraints(arch, conv(1, 8, 6, 8));
  EXPECT_EQ(resolved.blocks[0].limits[2].fixed, 2);
  EXPECT_EQ(resolved.blocks[0].limits[0].fixed, 1);  // the lanes are M's
  EXPECT_EQ(resolved.blocks[1].limits[0], (FactorLimit{{}, 1, 4}));
  EXPECT_EQ(resolved.blocks[1].limits[2], (FactorLimit{{}, 2, 4}));
  EXPECT_EQ(resolved.blocks[1].inner, (std::vector<int>{5, 1, 6, 3, 4, 7, 2, 0}));
  EXPECT_EQ(resolved.blocks[1].split, 8);  // all on X stays all on X
}

TEST(Constraints, ANamedGroupIsLeftAlone) {
  const Arch arch = array_and_dram({fix("regs", kTemporal, {{"M", kEqual, 1}, {"G", kEqual, 2}})});
  const ResolvedConstraints resolved = resolve_constraints(arch, conv(1, 1, 6, 8));
  EXPECT_EQ(resolved.blocks[0].limits[0].fixed, 2);
  EXPECT_EQ(resolved.blocks[0].limits[2].fixed, 1);
}

TEST(Constraints, ASplitCountsTheDimsThatAreThere) {
  const Arch arch = array_and_dram({order("DRAM", kSpatial, {"N", "P", "Q", "R", "S", "C", "M"}, 4)});
  EXPECT_EQ(resolve_constraints(arch, test::matmul(2, 2, 2)).blocks[1].split, 1);  // of N, P, Q, R only N
}

TEST(BigUnsigned, ArithmeticAndText) {
  BigUnsigned factorial = 1;
  for (std::uint64_t i = 1; i <= 40; ++i) factorial *= i;
  EXPECT_EQ(factorial.to_string(), "815915283247897734345611269596115894272000000000");
  EXPECT_EQ(BigUnsigned::from_decimal(factorial.to_string()), factorial);
  EXPECT_EQ(factorial.divide(1000007), 110229U);
  EXPECT_EQ(BigUnsigned(0).to_string(), "0");
  BigUnsigned sum = UINT64_MAX;
  sum += 1;
  EXPECT_EQ(sum.to_string(), "18446744073709551616");
  EXPECT_GT(sum, BigUnsigned(UINT64_MAX));
  EXPECT_EQ(sum, BigUnsigned::from_128(static_cast<unsigned __int128>(1) << 64));
  EXPECT_EQ(caught_from([] { (void)BigUnsigned::from_decimal("-1"); }).message,
            "'-1' is not a whole number of 0 or more");
}

TEST(Mapspace, FreeSpacesAreCountedExactly) {
  const Mapspace space(array_and_dram({}), conv(32, 32, 112), Selection::free);
  const MapspaceSizes sizes = space.sizes();
  EXPECT_EQ(sizes.factorizations, (std::vector<std::uint64_t>{21, 21, 1, 1, 1, 45, 1}));
  EXPECT_EQ(sizes.permutation.to_string(), "25401600");  // 7! in two blocks: innermost order does not matter
  EXPECT_EQ(sizes.split.to_string(), "8");
  EXPECT_EQ(sizes.bypass.to_string(), "8");
  EXPECT_EQ(space.size().to_string(), "32262064128000");
  const auto caught = caught_from([&] { (void)space.at(space.size()); });
  EXPECT_EQ(caught.kind, ErrorKind::mapping);
  EXPECT_EQ(caught.message, "mapspace index 32262064128000 is out of range, the size is 32262064128000");
}

TEST(Mapspace, SpacesPastTwoToThe128HaveASizeAndMappings) {
  std::vector<Level> levels;
  for (int l = 0; l < 10; ++l) levels.push_back(make_level("L" + std::to_string(l), 1, 1));
  const Arch arch("deep", levels, make_macs(1, 1), {});
  const Mapspace space(arch, conv(1 << 20, 1 << 20, 1 << 20), Selection::free);
  const BigUnsigned size = space.size();
  EXPECT_GT(size, BigUnsigned::from_128(~static_cast<unsigned __int128>(0)));
  BigUnsigned product = 1;
  for (const std::uint64_t factorizations : space.sizes().factorizations) product *= factorizations;
  EXPECT_EQ(product, space.sizes().factorization);
  for (const Mapping& mapping : space.sample(50, 1)) EXPECT_NO_THROW(check_mapping(arch, space.workload(), mapping));
  const auto caught = caught_from([&] { (void)space.count(std::vector<int>{0, 0, 0}); });
  EXPECT_EQ(caught.kind, ErrorKind::mapping);
  EXPECT_EQ(caught.message, "the mapspace of workload 'conv' on 'deep' is too large to count: too many factorizations");
}

// Visits every mapping and counts as the header says, with the reference's skipping.
[[nodiscard]] MapspaceCount count_slowly(const Mapspace& space, const std::vector<int>& bits, Enumeration enumeration) {
  std::uint64_t valid = 0;
  std::uint64_t fanout = 0;
  std::uint64_t capacity = 0;
  std::uint64_t bypass_choices = 1;
  for (BigUnsigned left = space.sizes().bypass; left > BigUnsigned(1); left.divide(2)) bypass_choices *= 2;
  std::uint64_t seen = 0;
  std::uint64_t failed = 0;
  MappingWalker walker(space, enumeration);
  while (walker.next()) {
    if (!walker.view().fits_fanout) {
      ++fanout;
      walker.skip_bypasses();
      continue;
    }
    const Mapping mapping = space.materialize(walker.view());
    check_mapping(space.arch(), space.workload(), mapping);
    EvaluateOptions options;
    options.model = CostModel::compat;  // whose packing the space counts with
    const Fit fit = check_fit(space.arch(), space.workload(), mapping, bits, options);
    EXPECT_NE(fit.reason, Fit::Reason::fanout);
    (fit.fits() ? valid : capacity) += 1;
    failed += fit.fits() ? 0 : 1;
    if (++seen < bypass_choices) continue;
    if (failed == bypass_choices && enumeration == Enumeration::reference) walker.skip_factorization();
    seen = failed = 0;
  }
  MapspaceCount out;
  out.valid = valid;
  out.invalid_fanout = fanout;
  out.invalid_capacity = capacity;
  return out;
}

TEST(Mapspace, CountingEqualsWalking) {
  Constraint keep = on("regs", ConstraintTarget::keep, "a.yaml:3");
  keep.keep = {"Outputs"};
  const std::vector<std::vector<Constraint>> cases = {
      {order("DRAM", kTemporal, {"C", "M"}), keep},
      {order("DRAM", kTemporal, {"N", "C", "M", "P"}), order("DRAM", kSpatial, {"C", "M"}, 2), keep},
      {fix("DRAM", kSpatial, {{"M", kEqual, 1}, {"C", kAtMost, 2}})}};
  for (const auto& constraints : cases) {
    const Mapspace space(array_and_dram(constraints), conv(4, 6, 2));
    for (const Enumeration enumeration : {Enumeration::reference, Enumeration::distinct}) {
      for (const std::vector<int>& bits : {std::vector<int>{0, 0, 0}, {8, 4, 8}, {2, 2, 2}}) {
        const MapspaceCount slow = count_slowly(space, bits, enumeration);
        for (const int threads : {1, 3}) {
          const MapspaceCount count = space.count(bits, {threads, enumeration, {}});
          EXPECT_EQ(count.valid, slow.valid);
          // The distinct walk does not show what is outside of the fanout.
          if (enumeration == Enumeration::reference) {
            EXPECT_EQ(count.invalid_fanout, slow.invalid_fanout);
          }
          EXPECT_EQ(count.invalid_capacity, slow.invalid_capacity);
          EXPECT_TRUE(count.complete);
        }
      }
    }
  }
}

TEST(Mapspace, ManySettingsInOnePassEqualOneByOne) {
  const Mapspace space(array_and_dram({order("DRAM", kTemporal, {"C", "M"})}), conv(8, 6, 4));
  const std::vector<std::vector<int>> settings = {{16, 16, 16}, {8, 8, 8}, {7, 7, 7}, {2, 3, 4}, {16, 16, 16}};
  const auto counts = space.count_many(settings);
  ASSERT_EQ(counts.size(), settings.size());
  for (std::size_t i = 0; i < settings.size(); ++i) {
    EXPECT_EQ(counts[i].valid, space.count(settings[i]).valid);
    EXPECT_EQ(counts[i].invalid_capacity_by_level, space.count(settings[i]).invalid_capacity_by_level);
  }
  EXPECT_LT(counts[0].valid, counts[3].valid);
}

TEST(Mapspace, BadArgumentsOfCount) {
  const Mapspace space(array_and_dram({}), conv(2, 2, 2));
  const auto message = [&](std::vector<int> bits, CountOptions options = {}) {
    const auto caught = caught_from([&] { (void)space.count(bits, options); });
    EXPECT_EQ(caught.kind, ErrorKind::mapping);
    return caught.message;
  };
  EXPECT_EQ(message({8, 8}), "bits: 2 widths given, workload 'conv' has 3 tensors");
  EXPECT_EQ(message({8, -1, 8}), "bits of Inputs: -1, expected 0 or more");
  EXPECT_EQ(message({8, 8, 17}), "bits of Outputs: 17 bits do not fit the 16-bit words of level 'regs'");
  EXPECT_EQ(message({8, 8, 8}, {0, Enumeration::reference, {}}), "threads is 0, expected 1 or more");
  EXPECT_EQ(message({8, 8, 8}, {1, Enumeration::unpruned, {}}),
            "counting follows the reference or the distinct enumeration, not the unpruned one");
}

TEST(Mapspace, CountingStopsOnRequest) {
  const Mapspace space(array_and_dram({}), conv(1 << 10, 1 << 10, 1 << 10), Selection::free);
  std::stop_source source;
  source.request_stop();
  const MapspaceCount count = space.count(std::vector<int>{0, 0, 0}, {2, Enumeration::reference, source.get_token()});
  EXPECT_FALSE(count.complete);
}

TEST(MappingWalker, RangesOfFactorizationsJoinToTheWhole) {
  const Mapspace space(array_and_dram({order("DRAM", kTemporal, {"C", "M"})}), conv(4, 2, 3));
  const auto walk = [&](std::uint64_t first, std::uint64_t count, std::vector<Mapping>& out) {
    MappingWalker walker(space, Enumeration::distinct, first, count);
    while (walker.next()) {
      EXPECT_GE(walker.factorization(), first);
      out.push_back(space.materialize(walker.view()));
    }
  };
  std::vector<Mapping> whole;
  walk(0, UINT64_MAX, whole);
  std::vector<Mapping> joined;
  for (std::uint64_t first = 0; first < 1000; first += 7) walk(first, 7, joined);
  EXPECT_EQ(joined, whole);
  EXPECT_GT(whole.size(), 100U);
}

TEST(MappingWalker, OutlivesItsSpace) {
  auto space = std::make_unique<Mapspace>(array_and_dram({}), conv(2, 1, 1));
  MappingWalker walker(*space, Enumeration::distinct);
  space.reset();
  EXPECT_TRUE(walker.next());
  EXPECT_EQ(walker.view().num_blocks, 3);
}

TEST(Mapspace, TheSameSeedGivesTheSameMappings) {
  const Mapspace space(array_and_dram({}), conv(8, 8, 8));
  EXPECT_EQ(space.sample(20, 5), space.sample(20, 5));
  EXPECT_NE(space.sample(20, 5), space.sample(20, 6));
}

}  // namespace
}  // namespace quantloom

// Bounds up to 2^31 multiply to far more than 64 bits: a count may be unknown then, but never small, negative or NaN.
#include <array>
#include <cmath>
#include <random>

#include "fixtures.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {
namespace {

using test::caught_from;
using test::kKeepAll;
using test::make_level;
using test::make_macs;
using test::matmul;

constexpr Count kLargest = Count{1} << 31;
constexpr std::array kModels{CostModel::compat, CostModel::default_model};

[[nodiscard]] Arch unlimited() {
  Level dram = make_level("DRAM", 1, 1);
  dram.is_dram = true;
  dram.hop_energy_pj = 0.5;
  return {"unlimited", {make_level("near", 4, 2), dram}, make_macs(8, 2), {}};
}

// What has to hold for any cost, however large: totals are positive or infinite, and agree with each other.
void expect_sound(const Cost& cost) {
  EXPECT_GT(cost.energy_pj, 0);
  EXPECT_GT(cost.cycles, 0);
  EXPECT_GT(cost.edp, 0);
  EXPECT_EQ(std::isinf(cost.energy_pj), std::isinf(cost.cycles));
  EXPECT_EQ(std::isinf(cost.edp), std::isinf(cost.energy_pj));
  EXPECT_GE(cost.utilization, 0);
  EXPECT_LE(cost.utilization, 1);
  if (std::isinf(cost.energy_pj)) {
    EXPECT_EQ(cost.utilization, 0);
    return;
  }
  EXPECT_LE(cost.compute_cycles, kLargestExactCount);
  for (const LevelCost& level : cost.levels) {
    for (const TensorLevelCost& tensor : level.tensors) {
      EXPECT_GE(tensor.reads, 0);
      EXPECT_GE(tensor.fills, 0);
      EXPECT_GE(tensor.updates, 0);
      EXPECT_GE(tensor.energy_pj, 0);
    }
  }
}

TEST(Overflow, MoreOperationsThan64BitsCostInfinity) {
  const Workload workload = matmul(kLargest, kLargest, kLargest);
  const Mapping mapping{{{{{0, kLargest}, {1, kLargest}, {2, kLargest}}, {}, {}, kKeepAll}, {{}, {}, {}, kKeepAll}}};
  for (const EvaluateOptions& options :
       {EvaluateOptions{CostModel::compat, false}, EvaluateOptions{CostModel::compat, true},
        EvaluateOptions{CostModel::default_model, false}}) {
    const Cost cost = evaluate(unlimited(), workload, mapping, std::array{8, 8, 8}, options);
    EXPECT_TRUE(std::isinf(cost.energy_pj));
    EXPECT_EQ(cost.macs, kSaturated);
    expect_sound(cost);
  }
}

// 2^62 operations still have a number, but the counts are beyond what a double holds exactly.
TEST(Overflow, InexactCountsCostInfinity) {
  const Workload workload = matmul(kLargest, kLargest, 1);
  const Mapping mapping{{{{{0, kLargest}}, {}, {}, kKeepAll}, {{{1, kLargest}}, {}, {}, kKeepAll}}};
  for (const CostModel model : kModels) {
    const Cost cost = evaluate(unlimited(), workload, mapping, std::array{0, 0, 0}, {model});
    EXPECT_EQ(cost.macs, Count{1} << 62);
    EXPECT_TRUE(std::isinf(cost.energy_pj));
    expect_sound(cost);
  }
}

TEST(Overflow, TheLargestExactCountsAreFinite) {
  const Workload workload = matmul(kLargest, Count{1} << 21, 1);
  const Mapping mapping{{{{{0, kLargest}}, {}, {}, kKeepAll}, {{{1, Count{1} << 21}}, {}, {}, kKeepAll}}};
  for (const CostModel model : kModels) {
    const Cost cost = evaluate(unlimited(), workload, mapping, std::array{0, 0, 0}, {model});
    EXPECT_EQ(cost.compute_cycles, kLargestExactCount / 2);
    EXPECT_TRUE(std::isfinite(cost.edp));
    expect_sound(cost);
  }
}

TEST(Overflow, ATileBeyond64BitsDoesNotFit) {
  std::vector<Level> levels = unlimited().levels();
  levels[0].capacity_words = Count{1} << 40;
  const Arch arch("limited", levels, make_macs(8, 2), {});
  const Workload workload("cube", {{"a", kLargest}, {"b", kLargest}, {"c", kLargest}},
                          {{"x", {{{0, 1}}, {{1, 1}}, {{2, 1}}}, false}, {"y", {{{0, 1}}}, true}});
  const Mapping mapping{{{{{0, kLargest}, {1, kLargest}, {2, kLargest}}, {}, {}, 0b11}, {{}, {}, {}, 0b11}}};
  for (const CostModel model : kModels) {
    const Fit fit = check_fit(arch, workload, mapping, std::array{0, 0}, {model});
    EXPECT_EQ(fit.reason, Fit::Reason::capacity);
    EXPECT_EQ(fit.need, kSaturated);
    EXPECT_EQ(fit.have, Count{1} << 40);
  }
}

TEST(Overflow, SpatialLoopsBeyond64BitsDoNotFit) {
  const Workload workload = matmul(kLargest, kLargest, kLargest);
  const Mapping mapping{{{{}, {{0, kLargest}, {2, kLargest}}, {}, kKeepAll}, {{}, {{1, kLargest}}, {}, kKeepAll}}};
  for (const CostModel model : kModels) {
    const Fit fit = check_fit(unlimited(), workload, mapping, std::array{0, 0, 0}, {model});
    EXPECT_EQ(fit.reason, Fit::Reason::fanout);
    EXPECT_EQ(fit.need, kSaturated);
  }
}

// Random powers of two up to 2^31 in a strided, dilated convolution, cut at random between the levels; the sanitizers
// look for arithmetic that overflows on the way.
TEST(Overflow, RandomHugeConvolutionsAreSound) {
  std::mt19937 random(20240611);
  const auto pick = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  const Arch arch = unlimited();
  int infinite = 0;
  int finite = 0;
  for (int round = 0; round < 400; ++round) {
    const int largest = 1 + pick(31);
    LevelMapping inner{{}, {}, {}, static_cast<std::uint32_t>(pick(8))};
    LevelMapping outer{{}, {}, {}, kKeepAll};
    std::vector<Dim> dims;
    for (int d = 0; d < 5; ++d) {
      const int exponent = pick(largest + 1);
      const int inside = pick(exponent + 1);
      dims.push_back({std::string(1, static_cast<char>('a' + d)), Count{1} << exponent});
      inner.temporal.insert(inner.temporal.begin() + pick(d + 1), Loop{d, Count{1} << inside});
      outer.temporal.insert(outer.temporal.begin() + pick(d + 1), Loop{d, Count{1} << (exponent - inside)});
    }
    const Count stride = Count{1} << pick(32);
    const Count dilation = Count{1} << pick(32);
    const Workload workload("huge", dims,
                            {{"Weights", {{{0, 1}}, {{1, 1}}, {{2, 1}}}, false},
                             {"Inputs", {{{0, 1}}, {{3, stride}, {2, dilation}}, {{4, 1}}}, false},
                             {"Outputs", {{{1, 1}}, {{3, 1}}, {{4, 1}}}, true}});
    const std::array bits{pick(17), pick(17), pick(17)};
    const EvaluateOptions compat{CostModel::compat, pick(2) == 1};
    for (const EvaluateOptions& options : {compat, EvaluateOptions{CostModel::default_model}}) {
      const Cost cost = evaluate(arch, workload, {{inner, outer}}, bits, options);
      expect_sound(cost);
      ++(std::isinf(cost.energy_pj) ? infinite : finite);
    }
  }
  EXPECT_GT(infinite, 100);
  EXPECT_GT(finite, 100);
}

}  // namespace
}  // namespace quantloom

// The compat model by hand; compat_recorded_test.cpp holds it against the reference.
#include "quantloom/cost.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <thread>

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::buffer_and_dram;
using test::caught_from;
using test::kKeepAll;
using test::make_level;
using test::make_macs;
using test::matmul;

constexpr EvaluateOptions kCompat{CostModel::compat};
constexpr std::array<int, 3> kUnpacked{0, 0, 0};
constexpr std::size_t kWeights = 0;
constexpr std::size_t kInputs = 1;
constexpr std::size_t kOutputs = 2;

// M=4 C=3 N=2, two rows of M at a time. Tiles in the buffer: 6 weights, 6 inputs, 4 outputs; 24 steps.
[[nodiscard]] Mapping two_tiles() {
  return {{{{{1, 3}, {0, 2}, {2, 2}}, {}, {}, kKeepAll}, {{{0, 2}}, {}, {}, kKeepAll}}};
}

// The buffer serves one operand a step; DRAM sends the weights twice (M walks them), the inputs once (M leaves them)
// and collects each output once.
TEST(Cost, CountsByHand) {
  const Cost cost = evaluate(buffer_and_dram(), matmul(4, 3, 2), two_tiles(), kUnpacked, kCompat);
  const auto& buffer = cost.levels[0].tensors;
  EXPECT_EQ(buffer[kWeights].reads, 24);
  EXPECT_EQ(buffer[kWeights].fills, 12);
  EXPECT_EQ(buffer[kWeights].updates, 0);
  EXPECT_EQ(buffer[kInputs].reads, 24);
  EXPECT_EQ(buffer[kInputs].fills, 6);
  EXPECT_EQ(buffer[kOutputs].updates, 24);
  EXPECT_EQ(buffer[kOutputs].reads, 16);  // each but the first of the 8 sums in the buffer is read before
  EXPECT_EQ(buffer[kOutputs].fills, 0);
  const auto& dram = cost.levels[1].tensors;
  EXPECT_EQ(dram[kWeights].reads, 12);
  EXPECT_EQ(dram[kInputs].reads, 6);
  EXPECT_EQ(dram[kOutputs].updates, 8);
  EXPECT_EQ(dram[kOutputs].reads, 0);
  EXPECT_DOUBLE_EQ(cost.levels[0].energy_pj, 24 * 1 + 12 * 2 + 24 * 1 + 6 * 2 + 16 * 1 + 24 * 3);
  EXPECT_DOUBLE_EQ(cost.levels[1].energy_pj, 12 * 10 + 6 * 10 + 8 * 30);
  EXPECT_DOUBLE_EQ(cost.arithmetic_energy_pj, 12);
  EXPECT_DOUBLE_EQ(cost.energy_pj, 604);
  EXPECT_EQ(cost.cycles, 24);
  EXPECT_EQ(cost.utilization, 1);
  EXPECT_DOUBLE_EQ(cost.edp, 604 * 24);
}

TEST(Cost, PackedWordsRoundUp) {
  const std::array<int, 3> bits{5, 8, 4};  // 3, 2 and 4 elements in a word of 16 bits
  const Cost cost = evaluate(buffer_and_dram(), matmul(4, 3, 2), two_tiles(), bits, kCompat);
  const auto& buffer = cost.levels[0].tensors;
  EXPECT_EQ(buffer[kWeights].elements_per_word, 3);
  EXPECT_EQ(buffer[kWeights].reads, 8);
  EXPECT_EQ(buffer[kWeights].utilized_words, 2);
  EXPECT_EQ(buffer[kInputs].fills, 3);
  EXPECT_EQ(buffer[kOutputs].utilized_words, 1);
  const auto& dram = cost.levels[1].tensors;
  EXPECT_EQ(dram[kWeights].reads, 4);
  EXPECT_EQ(dram[kInputs].reads, 3);
  EXPECT_EQ(dram[kOutputs].updates, 2);
}

TEST(Cost, WordsOfOneBitAreNotPacked) {
  Level bits_only = make_level("wires", 1, 1);
  bits_only.word_bits = 1;
  const Arch arch("a", {bits_only}, make_macs(1, 1), {});
  const Mapping mapping{{{{{0, 4}, {1, 3}, {2, 2}}, {}, {}, kKeepAll}}};
  const Cost cost = evaluate(arch, matmul(4, 3, 2), mapping, std::array{32, 32, 32}, kCompat);
  EXPECT_EQ(cost.levels[0].tensors[kWeights].elements_per_word, 1);
  EXPECT_EQ(cost.levels[0].tensors[kWeights].reads, 24);
}

TEST(Cost, ABypassedLevelMovesNothing) {
  Mapping mapping = two_tiles();
  mapping.levels[0].keep = 0b110;
  const Cost cost = evaluate(buffer_and_dram(), matmul(4, 3, 2), mapping, kUnpacked, kCompat);
  const TensorLevelCost& bypassed = cost.levels[0].tensors[kWeights];
  EXPECT_FALSE(bypassed.kept);
  EXPECT_EQ(bypassed.reads + bypassed.fills + bypassed.updates + bypassed.energy_pj, 0);
  EXPECT_EQ(bypassed.utilized_words, 0);
  EXPECT_EQ(cost.levels[1].tensors[kWeights].reads, 24);
}

// The network of a DRAM carries every sum there and back, but for the first of each that the level holds: none where
// it passes them on to the DRAM behind it.
TEST(Cost, CompatCountsSumsOnTheirWayThroughADram) {
  std::vector<Level> levels = buffer_and_dram().levels();
  levels.push_back(levels[1]);
  levels[1].name = "near";
  const Arch arch("two", levels, make_macs(1, 1), {});
  Mapping mapping = two_tiles();
  mapping.levels.insert(mapping.levels.begin() + 1, {{}, {}, {}, 0b011});
  const Cost cost = evaluate(arch, matmul(4, 3, 2), mapping, kUnpacked, kCompat);
  EXPECT_EQ(cost.levels[1].network[kOutputs].ingresses, 2 * 8);
  EXPECT_EQ(cost.levels[2].network[kOutputs].ingresses, 2 * 8 - 8);
  EXPECT_EQ(cost.levels[2].tensors[kOutputs].updates, 8);
  EXPECT_FALSE(cost.levels[1].tensors[kOutputs].kept);
}

TEST(Cost, BandwidthSlowsALevelDown) {
  std::vector<Level> levels = buffer_and_dram().levels();
  levels[1].read_bandwidth = 0.5;  // 18 words in 24 steps are wanted
  const Arch arch("slow", levels, make_macs(1, 1), {});
  const Cost cost = evaluate(arch, matmul(4, 3, 2), two_tiles(), kUnpacked, kCompat);
  EXPECT_DOUBLE_EQ(cost.levels[1].slowdown, 0.5 / 0.75);
  EXPECT_EQ(cost.levels[1].cycles, 36);
  EXPECT_EQ(cost.levels[0].cycles, 24);
  EXPECT_EQ(cost.cycles, 36);
  EXPECT_EQ(cost.compute_cycles, 24);
}

TEST(Cost, LeakageCountsCyclesAndUsedInstances) {
  std::vector<Level> levels{make_level("inner", 4, 1), make_level("outer", 1, 1)};
  levels[0].leak_energy_pj = 0.25;
  const Arch arch("leaky", levels, make_macs(4, 1), {});
  const Mapping mapping{{{{{1, 3}}, {}, {}, kKeepAll}, {{{2, 2}}, {{0, 3}}, {}, kKeepAll}}};
  const Cost cost = evaluate(arch, matmul(3, 3, 2), mapping, kUnpacked, kCompat);
  EXPECT_EQ(cost.cycles, 6);
  EXPECT_DOUBLE_EQ(cost.levels[0].leak_energy_pj, 0.25 * 6 * 3);
  EXPECT_EQ(cost.levels[1].leak_energy_pj, 0);
}

// Diagonals of 4 x 5 children, of 1 to 4 members: the reference adds up accesses * multicast / 20 size by size in
// doubles and cuts off, which leaves 6 of 7 elements.
TEST(Cost, CompatCutsOffRoundedSharesOfTheParent) {
  const Workload workload("diagonals", {{"C", 7}, {"R", 4}, {"P", 5}},
                          {{"Weights", {{{0, 1}}, {{1, 1}}}, false},
                           {"Inputs", {{{0, 1}}, {{1, 1}, {2, 1}}}, false},
                           {"Outputs", {{{2, 1}}}, true}});
  const Arch arch("grid", {make_level("inner", 5, 4), make_level("outer", 1, 1)}, make_macs(5, 4), {});
  const Mapping mapping{{{{{0, 7}}, {}, {}, kKeepAll}, {{}, {{2, 5}}, {{1, 4}}, kKeepAll}}};
  const auto fills_of = [&](CostModel model) {
    return evaluate(arch, workload, mapping, kUnpacked, {model}).levels[0].tensors[1].fills;
  };
  EXPECT_EQ(fills_of(CostModel::compat), 6);
  EXPECT_EQ(fills_of(CostModel::default_model), 7);
}

// Sums at 0, 3, 6 and 9 lie in a box of 10 elements: 4 of them are written, none is read before.
TEST(Cost, CompatReadsNoOutputLessThanNever) {
  const Workload workload("strided", {{"M", 4}}, {{"Weights", {{{0, 1}}}, false}, {"Outputs", {{{0, 3}}}, true}});
  const Arch arch("a", {make_level("only", 1, 1)}, make_macs(1, 1), {});
  const Cost cost = evaluate(arch, workload, {{{{{0, 4}}, {}, {}, 0b11}}}, std::array{0, 0}, kCompat);
  EXPECT_EQ(cost.levels[0].tensors[1].partition_elements, 10);
  EXPECT_EQ(cost.levels[0].tensors[1].updates, 4);
  EXPECT_EQ(cost.levels[0].tensors[1].reads, 0);
  EXPECT_DOUBLE_EQ(cost.energy_pj, 4 * 1 + 4 * 3 + 4 * 0.5);
}

TEST(Cost, TilesThatAreTooLargeAreNamed) {
  const Workload workload = matmul(8, 8, 2);
  const Mapping mapping{{{{{0, 8}, {1, 8}, {2, 2}}, {}, {}, kKeepAll}, {{}, {}, {}, kKeepAll}}};
  const Fit fit = check_fit(buffer_and_dram(), workload, mapping, kUnpacked, kCompat);
  EXPECT_EQ(fit.reason, Fit::Reason::capacity);
  EXPECT_EQ(fit.level, 0);
  EXPECT_EQ(fit.need, 64 + 16 + 16);
  EXPECT_EQ(fit.have, 64);
  EXPECT_EQ(fit.message, "level 'buffer': the tiles need 96 words, capacity is 64 (Weights 64, Inputs 16, Outputs 16)");
  EXPECT_TRUE(check_fit(buffer_and_dram(), workload, mapping, std::array{8, 8, 16}, kCompat).fits());
  const auto caught = caught_from([&] { (void)evaluate(buffer_and_dram(), workload, mapping, kUnpacked, kCompat); });
  EXPECT_EQ(caught.kind, ErrorKind::infeasible);
  EXPECT_EQ(caught.message, "mapping does not fit: " + fit.message);
}

// 8 units below 2 instances: 4 below each. Six loops of the inner level are within the total, but not below one
// instance.
TEST(Cost, LoopsBeyondTheFanoutOfOneInstanceAreNamed) {
  const Arch arch("grid", {make_level("inner", 2, 1), make_level("outer", 1, 1)}, make_macs(4, 2), {});
  const auto fit_of = [&](Count x, Count y, Count outer_x, CostModel model) {
    const Mapping mapping{{{{}, {{0, x}}, {{1, y}}, kKeepAll}, {{}, {{2, outer_x}}, {}, kKeepAll}}};
    return check_fit(arch, matmul(x, y, outer_x), mapping, kUnpacked, {model});
  };
  EXPECT_TRUE(fit_of(2, 2, 2, CostModel::default_model).fits());
  const Fit wide = fit_of(4, 2, 1, CostModel::default_model);
  EXPECT_EQ(wide.reason, Fit::Reason::fanout);
  EXPECT_EQ(wide.level, -1);
  EXPECT_EQ(wide.need, 8);
  EXPECT_EQ(wide.have, 4);
  EXPECT_EQ(wide.message, "'mac': the mapping uses 8 instances below one 'inner', the hardware has 4");
  EXPECT_EQ(fit_of(3, 1, 1, CostModel::default_model).message,
            "'mac': the mapping uses 3 instances along X below one 'inner', the hardware has 2");
  EXPECT_TRUE(fit_of(4, 2, 1, CostModel::compat).fits());
}

TEST(Cost, LoopsBeyondTheFanoutAreNamed) {
  const Arch arch("grid", {make_level("inner", 4, 2), make_level("outer", 1, 1)}, make_macs(4, 2), {});
  const auto fit_of = [&](Count m_on_x, Count c_on_y) {
    const Mapping mapping{{{{}, {}, {}, kKeepAll}, {{}, {{0, m_on_x}}, {{1, c_on_y}}, kKeepAll}}};
    return check_fit(arch, matmul(m_on_x, c_on_y, 1), mapping, kUnpacked, kCompat);
  };
  EXPECT_TRUE(fit_of(4, 2).fits());
  EXPECT_EQ(fit_of(3, 3).message, "'mac': the mapping uses 9 instances, the hardware has 8");
  EXPECT_EQ(fit_of(8, 1).message, "'mac': the mapping uses 8 instances along X, the hardware has 4");
  EXPECT_EQ(fit_of(2, 4).message, "'mac': the mapping uses 4 instances along Y, the hardware has 2");
  EXPECT_EQ(fit_of(2, 4).reason, Fit::Reason::fanout);
  EXPECT_EQ(fit_of(2, 4).level, -1);
}

TEST(Cost, BitsAreChecked) {
  const auto error_of = [](std::span<const int> bits) {
    const auto caught =
        caught_from([&] { (void)check_fit(buffer_and_dram(), matmul(4, 3, 2), two_tiles(), bits, kCompat); });
    EXPECT_EQ(caught.kind, ErrorKind::mapping);
    return caught.message;
  };
  EXPECT_EQ(error_of(std::array{8, 8}), "bits: 2 widths given, workload 'matmul' has 3 tensors");
  EXPECT_EQ(error_of(std::array{8, -1, 8}), "bits of Inputs: -1, expected 0 or more");
  EXPECT_EQ(error_of(std::array{8, 8, 17}), "bits of Outputs: 17 bits do not fit the 16-bit words of level 'buffer'");
  EXPECT_TRUE(check_fit(buffer_and_dram(), matmul(4, 3, 2), two_tiles(), std::array{16, 16, 16}, kCompat).fits());
}

// 13 dims of 4, each as two loops of 2; the dims 0 and 1 slide over the input.
TEST(Cost, ManyLoopsAreCountedButNotStepped) {
  std::vector<Dim> dims;
  LevelMapping inner{{}, {}, {}, 0b11};
  LevelMapping outer{{}, {}, {}, 0b11};
  for (int d = 0; d < 13; ++d) {
    dims.push_back({"d" + std::to_string(d), 4});
    inner.temporal.push_back({d, 2});
    outer.temporal.push_back({d, 2});
  }
  const Workload workload("deep", dims, {{"x", {{{0, 1}, {1, 1}}}, false}, {"y", {{{0, 1}}}, true}});
  const Arch arch("a", {make_level("inner", 1, 1), make_level("outer", 1, 1)}, make_macs(1, 1), {});
  const std::array<int, 2> bits{0, 0};
  const Cost cost = evaluate(arch, workload, {{inner, outer}}, bits, kCompat);
  EXPECT_EQ(cost.levels[0].tensors[0].reads, 1 << 26);
  // A tile of 3: at first, and twice when d1 moves it by 2, because the irrelevant loop inside did not. d0 brings d1
  // back as far as it goes itself, so that it stays where it was.
  EXPECT_EQ(cost.levels[1].tensors[0].reads, 3 * 3);
  EXPECT_EQ(cost.levels[1].tensors[1].updates, 2 * 2);
  const auto caught = caught_from([&] {
    (void)evaluate(arch, workload, {{inner, outer}}, bits, {CostModel::compat, true});
  });
  EXPECT_EQ(caught.kind, ErrorKind::mapping);
  EXPECT_EQ(caught.message,
            "mapping has 26 temporal loops of bound above 1; stepping (always_step) takes 2^loops steps and at most 24 "
            "loops");
  EXPECT_EQ(caught.hint, "leave out always_step: the count in closed form is the same");
}

// evaluate() is pure: many threads may share all its arguments.
TEST(Cost, ThreadsMayShareTheArguments) {
  const Arch arch = buffer_and_dram();
  const Workload workload = matmul(4, 3, 2);
  const Mapping mapping = two_tiles();
  std::array<double, 4> energies{};
  std::vector<std::thread> threads;
  for (double& energy : energies) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) energy = evaluate(arch, workload, mapping, kUnpacked, kCompat).energy_pj;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const double energy : energies) EXPECT_DOUBLE_EQ(energy, 604);
}

}  // namespace
}  // namespace quantloom

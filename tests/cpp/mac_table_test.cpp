#include "quantloom/mac_table.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fixtures.hpp"
#include "quantloom/error.hpp"

namespace quantloom {
namespace {

Arch with_table(MacTable table) {
  Arch plain = test::buffer_and_dram();
  Arithmetic units = plain.arithmetic();
  units.mac_table = std::move(table);
  return {"tabled", plain.levels(), units, {}};
}

MacMode mode_at(const MacTable& table, std::vector<int> bits) {
  return mac_mode(with_table(table), test::matmul(2, 2, 2), bits, CostModel::default_model);
}

TEST(MacTable, BitScalableUnitsShareTheirBricks) {
  const MacTable table = bit_scalable_macs(8, 2, 1.6);
  // 8 x 8 bits: all 16 bricks; 2 x 2: one of them; 3 bits count as 4; 16 x 16 take four cycles.
  EXPECT_EQ(mode_at(table, {8, 8, 16}), (MacMode{1.6, {1, 1}}));
  EXPECT_EQ(mode_at(table, {2, 2, 16}), (MacMode{1.6 * 4 / 64, {16, 1}}));
  EXPECT_EQ(mode_at(table, {3, 8, 16}), (MacMode{1.6 * 32 / 64, {2, 1}}));
  EXPECT_EQ(mode_at(table, {16, 16, 16}), (MacMode{1.6 * 4, {1, 4}}));
  EXPECT_THROW(mode_at(table, {17, 2, 16}), Error);
  EXPECT_THROW(bit_scalable_macs(8, 3, 1), Error);
}

TEST(MacTable, BitSerialUnitsTakeAsManyCyclesAsBits) {
  const MacTable one = bit_serial_macs(16, SerialOperand::second, 0, 3.2);
  EXPECT_EQ(mode_at(one, {16, 4, 16}), (MacMode{3.2 * 4 / 16, {16, 4}}));
  EXPECT_EQ(mode_at(one, {2, 5, 16}), (MacMode{3.2 * 5 / 16, {16, 5}}));
  const MacTable both = bit_serial_macs(8, SerialOperand::both, 1, 6.4);
  EXPECT_EQ(mode_at(both, {3, 5, 16}), (MacMode{6.4 * 15 / 64, {1, 15}}));
}

TEST(MacTable, UnknownWidthsCountAsTheWidest) {
  const MacTable table = bit_scalable_macs(8, 2, 1);
  EXPECT_EQ(mode_at(table, {0, 2, 0}), mode_at(table, {16, 2, 0}));
}

TEST(MacTable, CompatKnowsNone) {
  const Arch arch = with_table(bit_scalable_macs(8, 2, 7));
  EXPECT_EQ(mac_mode(arch, test::matmul(2, 2, 2), std::vector<int>{2, 2, 2}, CostModel::compat),
            (MacMode{0.5, {1, 1}}));
}

TEST(MacTable, MoreBitsAreNeverCheaperOrFaster) {
  EXPECT_NO_THROW(with_table({{4, 8}, {8}, {1, 2}, {{2, 1}, {1, 1}}}));
  EXPECT_THROW(with_table({{4, 8}, {8}, {2, 1}, {{2, 1}, {1, 1}}}), Error);
  EXPECT_THROW(with_table({{4, 8}, {8}, {1, 2}, {{1, 1}, {2, 1}}}), Error);
  EXPECT_THROW(with_table({{8, 4}, {8}, {1, 2}, {{2, 1}, {1, 1}}}), Error);
  EXPECT_THROW(with_table({{4, 8}, {8}, {1}, {{2, 1}}}), Error);
  EXPECT_THROW(with_table({{4, 8}, {}, {}, {}}), Error);
}

std::string refusal_of(MacTable table) {
  return test::caught_from([&] { (void)with_table(std::move(table)); }).message;
}

TEST(MacTable, RefusalsNameThePair) {
  const std::string begins = "architecture 'tabled': MAC table: ";
  // rows are the first operand's widths, columns the second's
  EXPECT_EQ(refusal_of({{4, 8}, {2, 6}, {1, 2, 3, 2}, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}}),
            begins + "8 x 6 bits take less energy than 8 x 2 bits");
  EXPECT_EQ(refusal_of({{4, 8}, {2, 6}, {1, 4, 2, 3}, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}}),
            begins + "8 x 6 bits take less energy than 4 x 6 bits");
  EXPECT_EQ(refusal_of({{4, 8}, {2, 6}, {1, 1, 1, 1}, {{2, 1}, {1, 1}, {1, 3}, {1, 2}}}),
            begins + "8 x 6 bits are faster than 8 x 2 bits");
  EXPECT_EQ(refusal_of({{4, 8}, {2, 6}, {1, 1, 1, 1}, {{1, 1}, {1, 1}, {1, 1}, {3, 2}}}),
            begins + "8 x 6 bits are faster than 8 x 2 bits");
  EXPECT_NO_THROW(with_table({{4, 8}, {2, 6}, {1, 1, 1, 1}, {{3, 2}, {3, 2}, {3, 2}, {6, 4}}}));
  EXPECT_EQ(refusal_of({{4, 4}, {8}, {1, 1}, {{1, 1}, {1, 1}}}),
            begins + "widths of the first operand must ascend from 1, 4 does not");
  EXPECT_EQ(refusal_of({{8}, {0}, {1}, {{1, 1}}}),
            begins + "widths of the second operand must ascend from 1, 0 does not");
  EXPECT_NO_THROW(with_table({{1, 2}, {1}, {0, 0}, {{1, 1}, {1, 1}}}));
  EXPECT_EQ(refusal_of({{}, {8}, {}, {}}), begins + "no widths of the first operand");
  EXPECT_EQ(refusal_of({{8}, {}, {}, {}}), begins + "no widths of the second operand");
  EXPECT_EQ(refusal_of({{4, 8}, {8}, {1, 1}, {{1, 1}}}),
            begins + "2 pairs of widths need as many energies and rates, there are 2 and 1");
  EXPECT_EQ(refusal_of({{4, 8}, {8}, {1}, {{1, 1}, {1, 1}}}),
            begins + "2 pairs of widths need as many energies and rates, there are 1 and 2");
  EXPECT_EQ(refusal_of({{8}, {8}, {-1}, {{1, 1}}}), begins + "energies must be 0 or more");
  EXPECT_EQ(refusal_of({{8}, {8}, {std::numeric_limits<double>::quiet_NaN()}, {{1, 1}}}),
            begins + "energies must be 0 or more");
  EXPECT_EQ(refusal_of({{8}, {8}, {2e100}, {{1, 1}}}), begins + "energies must be at most 1e100");
  EXPECT_NO_THROW(with_table({{8}, {8}, {1e100}, {{1, 1}}}));
  EXPECT_EQ(refusal_of({{8}, {8}, {1}, {{0, 1}}}), begins + "rates must be above 0");
  EXPECT_EQ(refusal_of({{8}, {8}, {1}, {{1, 0}}}), begins + "rates must be above 0");
  constexpr Count kMost = Count{1} << 40;
  EXPECT_NO_THROW(with_table({{8}, {8}, {1}, {{kMost, kMost}}}));
  EXPECT_EQ(refusal_of({{8}, {8}, {1}, {{kMost + 1, 1}}}), begins + "rates must be at most 2^40 operations and cycles");
  EXPECT_EQ(refusal_of({{8}, {8}, {1}, {{1, kMost + 1}}}), begins + "rates must be at most 2^40 operations and cycles");
}

TEST(MacTable, WidthsOfUnitsHaveLimits) {
  EXPECT_EQ(bit_scalable_macs(1, 1, 1).first_bits, (std::vector<int>{1, 2}));
  EXPECT_EQ(bit_scalable_macs(4, 1, 1).first_bits, (std::vector<int>{1, 2, 4, 8}));
  EXPECT_NO_THROW((void)bit_scalable_macs(1024, 1024, 1));
  EXPECT_THROW((void)bit_scalable_macs(2048, 2048, 1), Error);
  EXPECT_THROW((void)bit_scalable_macs(1025, 1025, 1), Error);
  EXPECT_THROW((void)bit_scalable_macs(8, 0, 1), Error);
  EXPECT_THROW((void)bit_scalable_macs(2, 4, 1), Error);
  EXPECT_THROW((void)bit_scalable_macs(12, 2, 1), Error);
  const auto caught = test::caught_from([] { (void)bit_serial_macs(33, SerialOperand::both, 2, 1); });
  EXPECT_EQ(caught.message, "bit-serial units of 33 bits with 2 lanes");
  EXPECT_EQ(caught.hint, "expected 1 to 32 bits and at least one lane");
  EXPECT_THROW((void)bit_serial_macs(0, SerialOperand::both, 2, 1), Error);
  EXPECT_THROW((void)bit_serial_macs(8, SerialOperand::both, -1, 1), Error);
  const MacTable least = bit_serial_macs(1, SerialOperand::first, 0, 3);
  EXPECT_EQ(least.first_bits.size(), 32U);
  EXPECT_EQ(least.second_bits, (std::vector<int>{1}));
  EXPECT_EQ(least.energy_pj[4], 3 * 5);
  EXPECT_EQ(least.rate[4], (MacRate{1, 5}));
  EXPECT_EQ(bit_serial_macs(32, SerialOperand::second, 4, 1).second_bits.back(), 32);
}

// The first input is the first operand, of the others the widest the second; 0 is wider than any.
TEST(MacTable, SeveralInputsShareTheSecondOperand) {
  const Workload three(
      "three", {{"M", 2}},
      {{"a", {{{0, 1}}}, false}, {"b", {{{0, 1}}}, false}, {"y", {{{0, 1}}}, true}, {"c", {{{0, 1}}}, false}});
  const Workload one("one", {{"M", 2}}, {{"a", {{{0, 1}}}, false}, {"y", {{{0, 1}}}, true}});
  const Arch arch =
      with_table({{4, 8}, {2, 6, 7}, {1, 2, 3, 4, 5, 6}, {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}});
  const auto energy = [&](const Workload& workload, const std::vector<int>& bits) {
    return mac_mode(arch, workload, bits, CostModel::default_model).energy_pj;
  };
  EXPECT_EQ(energy(three, {8, 2, 16, 1}), 4);
  EXPECT_EQ(energy(three, {4, 2, 16, 3}), 2);
  EXPECT_EQ(energy(three, {4, 5, 16, 2}), 2);
  EXPECT_EQ(energy(three, {4, 0, 16, 2}), 3);
  EXPECT_EQ(energy(three, {4, 2, 16, 0}), 3);
  EXPECT_EQ(energy(one, {8, 16}), 4);
  const auto caught = test::caught_from([&] { (void)energy(three, {4, 8, 16, 2}); });
  EXPECT_EQ(caught.message, "'mac' multiplies operands of at most 7 bits, 8 are asked for");
}

}  // namespace
}  // namespace quantloom

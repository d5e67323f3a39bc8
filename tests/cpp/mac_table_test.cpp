#include "quantloom/mac_table.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace quantloom

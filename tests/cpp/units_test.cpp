#include "quantloom/units.hpp"

#include <gtest/gtest.h>

namespace quantloom {
namespace {

TEST(Units, SmallProductsAndSumsAreExact) {
  for (Count a = 0; a <= 300; ++a) {
    for (Count b = 0; b <= 300; ++b) {
      ASSERT_EQ(saturating_mul(a, b), a * b);
      ASSERT_EQ(saturating_add(a, b), a + b);
    }
  }
}

TEST(Units, CeilDivRoundsUp) {
  for (Count a = 0; a <= 300; ++a) {
    for (Count b = 1; b <= 300; ++b) {
      const Count quotient = ceil_div(a, b);
      ASSERT_GE(quotient * b, a);
      ASSERT_LT((quotient - 1) * b, a);
    }
  }
}

// Around every power of two: exact below 2^63, saturated from there on.
TEST(Units, ProductsSaturateExactlyWhereTheyOverflow) {
  for (int i = 0; i < 63; ++i) {
    for (int j = 0; j < 63; ++j) {
      for (const Count a : {(Count{1} << i) - 1, Count{1} << i, (Count{1} << i) + 1}) {
        for (const Count b : {(Count{1} << j) - 1, Count{1} << j, (Count{1} << j) + 1}) {
          const unsigned __int128 exact = static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b);
          const Count expected =
              exact >= static_cast<unsigned __int128>(kSaturated) ? kSaturated : static_cast<Count>(exact);
          ASSERT_EQ(saturating_mul(a, b), expected) << a << " * " << b;
        }
      }
    }
  }
}

TEST(Units, SumsSaturate) {
  EXPECT_EQ(saturating_add(kSaturated - 1, 1), kSaturated);
  EXPECT_EQ(saturating_add(kSaturated, 0), kSaturated);
  EXPECT_EQ(saturating_add(kSaturated, 1), kSaturated);
  EXPECT_EQ(saturating_add(kSaturated, kSaturated), kSaturated);
  EXPECT_EQ(saturating_add(kSaturated - 2, 1), kSaturated - 1);
}

TEST(Units, SaturatedStaysSaturated) {
  for (Count b = 1; b <= 300; ++b) {
    EXPECT_EQ(saturating_mul(kSaturated, b), kSaturated);
    EXPECT_EQ(saturating_mul(b, kSaturated), kSaturated);
    EXPECT_EQ(ceil_div(kSaturated, b), kSaturated);
  }
}

}  // namespace
}  // namespace quantloom

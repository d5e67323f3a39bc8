// Words against fractions added up in 128 bits, and the widths of partial sums by hand.
#include "packing.hpp"

#include <random>
#include <vector>

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::make_level;
using test::make_macs;
using test::matmul;

constexpr Count kWide = Count{1} << 62;

TEST(Packing, AWidthThatDiffersFromTheWordIsPacked) {
  EXPECT_FALSE(is_packed(16, 0));
  EXPECT_TRUE(is_packed(16, 1));
  EXPECT_FALSE(is_packed(16, 16));
  EXPECT_TRUE(is_packed(16, 17));
  EXPECT_FALSE(is_packed(1, 4));
  EXPECT_TRUE(is_packed(2, 1));
  EXPECT_EQ(elements_per_word(16, 5), 3);
  EXPECT_EQ(elements_per_word(16, 20), 1);
  EXPECT_EQ(elements_per_word(16, 0), 1);
  EXPECT_EQ(elements_per_word(1, 8), 1);
}

TEST(Packing, RatesOfEachRule) {
  EXPECT_EQ(word_rate(PackingRule::word, 16, 5), (WordRate{1, 3}));
  EXPECT_EQ(word_rate(PackingRule::none, 16, 5), (WordRate{1, 1}));
  EXPECT_EQ(word_rate(PackingRule::dense, 16, 5), (WordRate{5, 16}));
  EXPECT_EQ(word_rate(PackingRule::word, 16, 33), (WordRate{3, 1}));
  EXPECT_EQ(word_rate(PackingRule::none, 16, 17), (WordRate{2, 1}));
  EXPECT_EQ(word_rate(PackingRule::dense, 16, 33), (WordRate{33, 16}));
  for (const PackingRule rule : {PackingRule::word, PackingRule::dense, PackingRule::none}) {
    EXPECT_EQ(word_rate(rule, 16, 16), (WordRate{1, 1}));
    EXPECT_EQ(word_rate(rule, 16, 0), (WordRate{1, 1}));
  }
}

TEST(Packing, TheRuleOfALevelComesBeforeTheOneOfTheEvaluation) {
  Level level = make_level("L", 1, 1);
  EvaluateOptions options;
  options.packing = PackingRule::dense;
  EXPECT_EQ(packing_rule(level, options), PackingRule::dense);
  level.packing = PackingRule::none;
  EXPECT_EQ(packing_rule(level, options), PackingRule::none);
  options.model = CostModel::compat;
  EXPECT_EQ(packing_rule(level, options), PackingRule::word);
}

TEST(Packing, WordsRoundUpOnceAndSaturate) {
  EXPECT_EQ(packed_words(0, {5, 16}), 0);
  EXPECT_EQ(packed_words(16, {5, 16}), 5);
  EXPECT_EQ(packed_words(17, {5, 16}), 6);
  EXPECT_EQ(packed_words(kSaturated, {1, 4}), kSaturated);
  // 2^62 * 7 is beyond 64 bits
  EXPECT_EQ(packed_words(kWide, {7, 16}), kWide / 16 * 7);
  EXPECT_EQ(packed_words(kWide + 1, {7, 16}), kWide / 16 * 7 + 1);
  EXPECT_EQ(packed_words(kWide, {3, 1}), kSaturated);
  EXPECT_EQ(packed_words(kWide, {2, 1}), kSaturated);           // 2^63 is one more than a count holds
  EXPECT_EQ(packed_words(kWide - 1, {2, 1}), 2 * (kWide - 1));  // 64 bits hold it
  EXPECT_EQ(packed_words((kWide - 1) / 3 * 4, {3, 2}), (kWide - 1) / 3 * 6);
}

TEST(Packing, TwoWidthsShareTheirLastWord) {
  EXPECT_EQ(packed_words(3, {1, 2}, 1, {1, 4}), 2);  // 1.5 + 0.25
  EXPECT_EQ(packed_words(3, {1, 2}, 2, {1, 4}), 2);  // 1.5 + 0.5
  EXPECT_EQ(packed_words(3, {1, 2}, 3, {1, 4}), 3);
  EXPECT_EQ(packed_words(3, {1, 2}, 0, {1, 4}), 2);
  EXPECT_EQ(packed_words(0, {1, 2}, 5, {1, 4}), 2);
  EXPECT_EQ(packed_words(3, {1, 2}, 2, {1, 2}), 3);
  EXPECT_EQ(packed_words(kSaturated, {1, 2}, 1, {1, 4}), kSaturated);
  EXPECT_EQ(packed_words(1, {1, 2}, kSaturated, {1, 4}), kSaturated);
  EXPECT_EQ(packed_words(kWide, {1, 1}, kWide, {2, 2}), kSaturated);
  EXPECT_EQ(packed_words(kWide, {1, 2}, kWide, {1, 4}), kWide / 2 + kWide / 4);
  std::mt19937_64 random(1);
  for (int n = 0; n < 20000; ++n) {
    const auto below = [&](std::uint64_t most) { return static_cast<Count>(1 + random() % most); };
    const WordRate rate{below(9), below(32)};
    const WordRate other{below(9), below(32)};
    const Count a = below(n % 2 == 0 ? 50 : 1ULL << 57);
    const Count b = below(n % 2 == 0 ? 50 : 1ULL << 57);
    using Wide = unsigned __int128;
    const Wide common = static_cast<Wide>(rate.elements) * static_cast<Wide>(other.elements);
    const Wide parts = static_cast<Wide>(a) * static_cast<Wide>(rate.words) * static_cast<Wide>(other.elements) +
                       static_cast<Wide>(b) * static_cast<Wide>(other.words) * static_cast<Wide>(rate.elements);
    ASSERT_EQ(packed_words(a, rate, b, other), static_cast<Count>((parts + common - 1) / common)) << "case " << n;
    const Wide whole = static_cast<Wide>(a) * static_cast<Wide>(rate.words);
    const auto each = static_cast<Wide>(rate.elements);
    ASSERT_EQ(packed_words(a, rate), static_cast<Count>((whole + each - 1) / each)) << "case " << n;
  }
}

TensorBits widths(const Workload& workload, std::vector<int> bits, int tensor, EvaluateOptions options = {},
                  int arch_psum = 0) {
  Arithmetic macs = make_macs(1, 1);
  macs.psum_bits = arch_psum;
  return tensor_bits(Arch("a", {make_level("L", 1, 1)}, macs, {}), workload, bits, tensor, options);
}

TEST(Packing, PartialSumsHoldTheirReduction) {
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 6, 7}, 0), (TensorBits{5, 0, true}));
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 6, 7}, 2), (TensorBits{7, 5 + 6 + 3, true}));
  EXPECT_EQ(widths(matmul(4, 9, 2), {5, 6, 7}, 2), (TensorBits{7, 5 + 6 + 4, true}));
  EXPECT_EQ(widths(matmul(4, 1, 2), {5, 6, 7}, 2), (TensorBits{7, 5 + 6, true}));
  EXPECT_EQ(widths(matmul(4, 8, 2), {0, 6, 7}, 2), (TensorBits{7, 0, true}));
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 0, 7}, 2).psum, 0);
  // the arch's width, the options' before it; compat knows none
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 6, 7}, 2, {}, 20), (TensorBits{7, 20, false}));
  EvaluateOptions options;
  options.psum_bits = 1;
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 6, 7}, 2, options, 20), (TensorBits{7, 1, false}));
  EXPECT_EQ(widths(matmul(4, 8, 2), {5, 6, 7}, 2, {CostModel::compat}), (TensorBits{7, 7, false}));
  // Outputs[p + r] sum up 4 * (all choices of the smaller dim, 3) products at most
  const Workload window("window", {{"C", 4}, {"P", 5}, {"R", 3}},
                        {{"x", {{{0, 1}}}, false}, {"y", {{{1, 1}, {2, 1}}}, true}});
  EXPECT_EQ(widths(window, {8, 8}, 1), (TensorBits{8, 8 + 4, true}));
  const Workload turned("window", {{"C", 4}, {"P", 3}, {"R", 5}},
                        {{"x", {{{0, 1}}}, false}, {"y", {{{1, 1}, {2, 1}}}, true}});
  EXPECT_EQ(widths(turned, {8, 8}, 1), (TensorBits{8, 8 + 4, true}));
}

TEST(Packing, PartialSumsAreNoWiderThanTheAccumulator) {
  Level inner = make_level("inner", 1, 1);
  inner.word_bits = 12;
  const auto width = [&](Count word_bits, std::uint32_t inner_keeps, const TensorBits& bits) {
    inner.word_bits = word_bits;
    const Arch arch("a", {inner, make_level("outer", 1, 1)}, make_macs(1, 1), {});
    Nest nest;
    build_nest({{{{}, {}, {}, inner_keeps}, {{{0, 2}}, {}, {}, test::kKeepAll}}}, nest);
    return psum_width(arch, nest, 2, bits);
  };
  EXPECT_EQ(width(12, 0b111, {8, 14, true}), 12);
  EXPECT_EQ(width(12, 0b111, {8, 10, true}), 10);
  EXPECT_EQ(width(12, 0b011, {8, 14, true}), 14);  // the outer level, of 16 bits, accumulates
  EXPECT_EQ(width(12, 0b011, {8, 17, true}), 16);
  EXPECT_EQ(width(12, 0b111, {8, 14, false}), 14);
  EXPECT_EQ(width(1, 0b111, {8, 14, true}), 14);  // words of one bit are not packed
  EXPECT_EQ(width(2, 0b111, {8, 14, true}), 2);
}

}  // namespace
}  // namespace quantloom

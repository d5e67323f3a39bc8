#include "quantloom/mapping.hpp"

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::buffer_and_dram;
using test::caught_from;
using test::kKeepAll;
using test::matmul;

// M=4 C=3 N=2: the buffer works on two rows of M at a time.
[[nodiscard]] Mapping two_tiles() {
  return {{{{{1, 3}, {0, 2}, {2, 2}}, {}, {}, kKeepAll}, {{{0, 2}}, {}, {}, kKeepAll}}};
}

[[nodiscard]] std::string error_of(const Mapping& mapping, std::string* hint = nullptr) {
  const auto caught = caught_from([&] { check_mapping(buffer_and_dram(), matmul(4, 3, 2), mapping); });
  EXPECT_EQ(caught.kind, ErrorKind::mapping);
  if (hint != nullptr) *hint = caught.hint;
  return caught.message;
}

TEST(Mapping, AProperMappingPasses) { EXPECT_NO_THROW(check_mapping(buffer_and_dram(), matmul(4, 3, 2), two_tiles())); }

TEST(Mapping, LevelsAreCounted) {
  Mapping mapping = two_tiles();
  mapping.levels.pop_back();
  EXPECT_EQ(error_of(mapping), "mapping has 1 levels, architecture 'small' has 2");
}

TEST(Mapping, LoopsAreChecked) {
  Mapping mapping = two_tiles();
  mapping.levels[1].temporal = {{3, 2}};
  EXPECT_EQ(error_of(mapping), "mapping, level 'DRAM', temporal: dim number 3 does not exist");
  mapping.levels[1].temporal = {{0, 0}};
  EXPECT_EQ(error_of(mapping), "mapping, level 'DRAM', temporal: loop M has bound 0, expected 1 or more");
  mapping = two_tiles();
  mapping.levels[0].spatial_x = {{-1, 2}};
  EXPECT_EQ(error_of(mapping), "mapping, level 'buffer', spatial x: dim number -1 does not exist");
  mapping.levels[0].spatial_x.clear();
  mapping.levels[0].spatial_y = {{2, 1}, {2, 1}};
  std::string hint;
  EXPECT_EQ(error_of(mapping, &hint), "mapping, level 'buffer', spatial y: dim N has two loops on one axis");
  EXPECT_EQ(hint, "merge them into one loop whose bound is the product");
}

TEST(Mapping, FactorsMultiplyToTheBounds) {
  Mapping mapping = two_tiles();
  mapping.levels[1].temporal = {};
  EXPECT_EQ(error_of(mapping), "mapping: the factors of dim M multiply to 2, its bound is 4");
  mapping.levels[1].temporal = {{0, 2}, {1, 5}};
  EXPECT_EQ(error_of(mapping), "mapping: the factors of dim C multiply to 15, its bound is 3");
}

TEST(Mapping, FactorsBeyondAnyBoundDoNotWrap) {
  Mapping mapping = two_tiles();
  mapping.levels[0].temporal = {{0, Count{1} << 62}};
  mapping.levels[1].temporal = {{0, 4}};  // 2^64, which is 0 in 64 bits
  EXPECT_EQ(error_of(mapping),
            "mapping: the factors of dim M multiply to " + std::to_string(kSaturated) + ", its bound is 4");
}

TEST(Mapping, KeptTensorsExist) {
  Mapping mapping = two_tiles();
  mapping.levels[1].keep = 0b1111;
  EXPECT_EQ(error_of(mapping), "mapping, level 'DRAM': keeps a tensor that does not exist");
}

TEST(Mapping, TextShowsTheNestFromTheOutside) {
  Mapping mapping = two_tiles();
  mapping.levels[0].spatial_x = {{2, 2}};
  mapping.levels[0].temporal = {{1, 3}, {0, 2}, {2, 1}};
  mapping.levels[0].keep = 0b101;
  EXPECT_EQ(describe_mapping(buffer_and_dram(), matmul(4, 3, 2), mapping),
            "[DRAM: Weights Inputs Outputs]\n"
            "for M in 0..1\n"
            "  [buffer: Weights Outputs]\n"
            "  for C in 0..2\n"
            "    for M in 0..1\n"
            "      parallel-for-X N in 0..1\n");
}

}  // namespace
}  // namespace quantloom

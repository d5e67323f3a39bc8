#include "nest.hpp"

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::kKeepAll;
using test::matmul;

// M = 2 * 3 * 4, C = 5, N = 2: spatial loops at both levels.
[[nodiscard]] Mapping spread() {
  LevelMapping inner{{{1, 5}, {0, 1}}, {{0, 2}}, {}, kKeepAll};
  LevelMapping outer{{{0, 4}}, {{2, 2}}, {{0, 3}}, 0b011};
  return {{inner, outer}};
}

TEST(Nest, LoopsStandFromTheOutsideWithoutUnitLoops) {
  Nest nest;
  build_nest(spread(), nest);
  ASSERT_EQ(nest.num_levels, 2);
  ASSERT_EQ(nest.num_loops, 5);
  const struct {
    int dim;
    int level;
    LoopKind kind;
    Count bound;
    Count stride;
  } expected[] = {{0, 1, LoopKind::temporal, 4, 6},
                  {0, 1, LoopKind::spatial_y, 3, 2},
                  {2, 1, LoopKind::spatial_x, 2, 1},
                  {1, 0, LoopKind::temporal, 5, 1},
                  {0, 0, LoopKind::spatial_x, 2, 1}};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(nest.loops[i].dim, expected[i].dim) << i;
    EXPECT_EQ(nest.loops[i].level, expected[i].level) << i;
    EXPECT_EQ(nest.loops[i].kind, expected[i].kind) << i;
    EXPECT_EQ(nest.loops[i].bound, expected[i].bound) << i;
    EXPECT_EQ(nest.loops[i].stride, expected[i].stride) << i;
  }
  EXPECT_EQ(nest.begin[1], 0);
  EXPECT_EQ(nest.spatial_begin[1], 1);
  EXPECT_EQ(nest.end(1), 3);
  EXPECT_EQ(nest.begin[0], 3);
  EXPECT_EQ(nest.spatial_begin[0], 4);
  EXPECT_EQ(nest.end(0), 5);
}

TEST(Nest, ProductsOfBounds) {
  Nest nest;
  build_nest(spread(), nest);
  EXPECT_EQ(nest.temporal_steps, 20);
  EXPECT_EQ(nest.mapped_fanout(0), 2);
  EXPECT_EQ(nest.mapped_fanout(1), 6);
  EXPECT_EQ(nest.replication(1), 1);
  EXPECT_EQ(nest.replication(0), 6);
  EXPECT_EQ(nest.outer_x[0], 2);
  EXPECT_EQ(nest.outer_y[0], 3);
  const Count inner[] = {2, 5, 1};
  const Count outer[] = {24, 5, 2};
  for (std::size_t d = 0; d < 3; ++d) {
    EXPECT_EQ(nest.extent[0][d], inner[d]);
    EXPECT_EQ(nest.extent[1][d], outer[d]);
  }
  EXPECT_EQ(nest.keep[0], kKeepAll);
  EXPECT_EQ(nest.keep[1], 0b011U);
}

TEST(Nest, ANestOfUnitLoopsIsEmpty) {
  Nest nest;
  build_nest({{{{{0, 1}}, {}, {}, kKeepAll}, {{}, {}, {{1, 1}}, kKeepAll}}}, nest);
  EXPECT_EQ(nest.num_loops, 0);
  EXPECT_EQ(nest.temporal_steps, 1);
  EXPECT_EQ(nest.mapped_fanout(1), 1);
}

TEST(Nest, TilesAreBoundingBoxes) {
  const Workload workload = test::conv1d(8, 3, 2);
  const Count extent[] = {4, 3};
  EXPECT_EQ(tile_elements(workload.tensors()[0], extent), 3);
  EXPECT_EQ(tile_elements(workload.tensors()[1], extent), 9);
  EXPECT_EQ(tile_elements(workload.tensors()[2], extent), 4);
}

TEST(Nest, ProductsSaturate) {
  const Count large = Count{1} << 31;
  Nest nest;
  build_nest({{{{{0, large}, {1, large}, {2, large}}, {}, {}, kKeepAll}}}, nest);
  EXPECT_EQ(nest.temporal_steps, kSaturated);
  EXPECT_EQ(nest.extent[0][2], large);
}

}  // namespace
}  // namespace quantloom

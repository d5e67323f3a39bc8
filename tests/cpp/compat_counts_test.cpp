// The compat count in closed form against stepping, on random nests: every bin and every link transfer must be equal.
#include <algorithm>
#include <random>

#include "access_bins.hpp"
#include "fixtures.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

constexpr int kNests = test::some_of(8000);
constexpr int kMostTemporal = 12;
constexpr Count kMostChildren = 40;
constexpr Count kMostMacs = Count{1} << 36;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  Count between(Count low, Count high) {
    return low + static_cast<Count>(random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool happens(int one_in) { return between(1, one_in) == 1; }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[static_cast<std::size_t>(between(0, static_cast<Count>(i) - 1))]);
  }

 private:
  std::mt19937_64 random_;
};

// Factors of every dim at random places; bounds follow from them. Few temporal loops so that stepping ends.
Mapping draw_mapping(Draw& draw, int dims, std::vector<Count>& bounds) {
  const int levels = static_cast<int>(draw.between(1, 4));
  Mapping mapping;
  mapping.levels.resize(static_cast<std::size_t>(levels));
  bounds.assign(static_cast<std::size_t>(dims), 1);
  Count macs = 1;
  const auto put = [&](std::vector<Loop>& loops, Count factor) {
    const int dim = static_cast<int>(draw.between(0, dims - 1));
    const bool twice = std::any_of(loops.begin(), loops.end(), [&](const Loop& loop) { return loop.dim == dim; });
    if (twice || macs * factor > kMostMacs) return;
    loops.push_back({dim, factor});
    bounds[static_cast<std::size_t>(dim)] *= factor;
    macs *= factor;
  };
  const auto level = [&]() -> LevelMapping& {
    return mapping.levels[static_cast<std::size_t>(draw.between(0, levels - 1))];
  };
  for (Count n = draw.between(0, kMostTemporal); n > 0; --n)
    put(level().temporal, draw.happens(2) ? 2 : draw.between(2, 7));
  for (LevelMapping& here : mapping.levels) {
    here.keep = 0b111;
    if (draw.happens(2)) continue;
    Count children = 1;
    for (Count n = draw.between(1, 4); n > 0; --n) {
      const Count factor = draw.between(2, 6);
      if (children * factor > kMostChildren) break;
      children *= factor;
      put(draw.happens(2) ? here.spatial_x : here.spatial_y, factor);
    }
    draw.shuffle(here.temporal);
  }
  return mapping;
}

// One to three terms a rank: plain dims, windows with strides and dilations, dims that stand in several ranks.
TensorSpec draw_tensor(Draw& draw, const std::string& name, int dims, bool is_output) {
  TensorSpec tensor{name, {}, is_output};
  for (Count ranks = draw.between(1, 4); ranks > 0; --ranks) {
    std::vector<Term> terms;
    for (Count n = draw.between(1, draw.happens(2) ? 1 : 3); n > 0; --n) {
      const int dim = static_cast<int>(draw.between(0, dims - 1));
      const bool twice = std::any_of(terms.begin(), terms.end(), [&](const Term& term) { return term.dim == dim; });
      if (!twice) terms.push_back({dim, draw.happens(2) ? 1 : draw.between(1, 4)});
    }
    tensor.ranks.push_back(terms);
  }
  return tensor;
}

// Dims C M R S P Q G; depthwise if C and M are left out of the ranks.
std::vector<TensorSpec> convolution(Draw& draw) {
  const Count stride = draw.between(1, 3);
  const Count dilation = draw.between(1, 3);
  const bool depthwise = draw.happens(3);
  const int channel = depthwise ? 6 : 0;
  const int kernel = depthwise ? 6 : 1;
  return {{"Weights", {{{channel, 1}}, {{kernel, 1}}, {{2, 1}}, {{3, 1}}}, false},
          {"Inputs", {{{channel, 1}}, {{2, dilation}, {4, stride}}, {{3, dilation}, {5, stride}}}, false},
          {"Outputs", {{{kernel, 1}}, {{4, 1}}, {{5, 1}}}, true}};
}

std::string describe(const LevelAccesses& accesses) {
  std::string text;
  for (const AccessBin& bin : accesses.bins) {
    text += "(" + std::to_string(bin.multicast) + ", " + std::to_string(bin.scatter) +
            "): " + std::to_string(bin.accesses) + ", " + std::to_string(bin.hops) + " hops; ";
  }
  return text + std::to_string(accesses.link_transfers) + " links";
}

bool same(const LevelAccesses& a, const LevelAccesses& b, bool with_hops) {
  return a.link_transfers == b.link_transfers &&
         std::equal(a.bins.begin(), a.bins.end(), b.bins.begin(), b.bins.end(),
                    [&](const AccessBin& x, const AccessBin& y) {
                      return x.multicast == y.multicast && x.scatter == y.scatter && x.accesses == y.accesses &&
                             x.hops == (with_hops ? y.hops : 0);
                    });
}

struct Seen {
  int counts = 0;
  int links = 0;
  int several_bins = 0;
};

void compare_all(Draw& draw, const Arch& arch, const Workload& workload, const Mapping& mapping, CompatScratch& scratch,
                 Seen& seen) {
  Nest nest;
  build_nest(mapping, nest);
  LevelAccesses counted;
  LevelAccesses stepped;
  for (int t = 0; t < workload.num_tensors(); ++t) {
    RankVector tile;
    tile.fill(1);
    for (int l = 0; l < nest.num_levels; ++l) {
      const Count grid_x = draw.between(1, 8);  // a mapping narrower than the grid is packed into its rows
      const Count grid_y = draw.between(1, 8);
      step_compat_accesses(workload, nest, t, l, grid_x, grid_y, stepped);
      for (const bool with_hops : {true, false}) {
        count_compat_accesses(workload, nest, t, l, tile, grid_x, grid_y, with_hops, scratch, counted);
        ASSERT_TRUE(same(counted, stepped, with_hops))
            << describe_mapping(arch, workload, mapping) << "tensor " << t << ", level " << l << ", grid " << grid_x
            << " x " << grid_y << "\nclosed form: " << describe(counted) << "\nstepping:    " << describe(stepped);
      }
      grow_tile(workload, nest, t, nest.begin[static_cast<std::size_t>(l)], nest.end(l), tile);
      ++seen.counts;
      seen.links += stepped.link_transfers > 0 ? 1 : 0;
      seen.several_bins += stepped.bins.size() > 1 ? 1 : 0;
    }
  }
}

// A window of 3 slides by 2 over 5 places: 3 elements at first, then 2 new ones at each of the 4 steps.
TEST(CompatCounts, StepsOfASlidingTileByHand) {
  const Workload line("line", {{"P", 5}, {"R", 3}}, {{"in", {{{0, 2}, {1, 1}}}, false}, {"out", {{{0, 1}}}, true}});
  Nest nest;
  build_nest(Mapping{{{{{1, 3}}, {}, {}, 0b11}, {{{0, 5}}, {}, {}, 0b11}}}, nest);
  LevelAccesses stepped;
  step_compat_accesses(line, nest, 0, 1, 1, 1, stepped);
  EXPECT_EQ(stepped.total(), 3 + 4 * 2);
  step_compat_accesses(line, nest, 1, 1, 1, 1, stepped);
  EXPECT_EQ(stepped.total(), 5);
  step_compat_accesses(line, nest, 0, 0, 1, 1, stepped);
  EXPECT_EQ(stepped.total(), 15);
  // Two ranks of 3 that move together along a diagonal: 9, then 9 - 1 * 1 = 8 at each of the 4 steps.
  const Workload square("square", {{"P", 5}, {"R", 3}},
                        {{"in", {{{0, 2}, {1, 1}}, {{0, 2}, {1, 1}}}, false}, {"out", {{{0, 1}}}, true}});
  step_compat_accesses(square, nest, 0, 1, 1, 1, stepped);
  EXPECT_EQ(stepped.total(), 9 + 4 * 8);
}

TEST(CompatCounts, ClosedFormEqualsStepping) {
  CompatScratch scratch;
  Seen seen;
  for (std::uint64_t seed = 0; seed < kNests && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Draw draw(seed);
    const bool is_convolution = draw.happens(2);
    const int num_dims = is_convolution ? 7 : static_cast<int>(draw.between(1, 6));
    std::vector<Count> bounds;
    const Mapping mapping = draw_mapping(draw, num_dims, bounds);
    std::vector<TensorSpec> tensors = is_convolution ? convolution(draw) : std::vector<TensorSpec>{};
    if (!is_convolution) {
      for (const char* name : {"first", "second", "output"})
        tensors.push_back(draw_tensor(draw, name, num_dims, tensors.size() == 2));
    }
    std::vector<Dim> dims;
    for (const Count bound : bounds) dims.push_back({"d" + std::to_string(dims.size()), bound});
    const Workload workload("random", dims, tensors);
    std::vector<Level> levels;
    for (std::size_t l = 0; l < mapping.levels.size(); ++l)
      levels.push_back(test::make_level("level" + std::to_string(l), 1, 1));
    compare_all(draw, Arch("any", levels, test::make_macs(1, 1), {}), workload, mapping, scratch, seen);
  }
  EXPECT_GT(seen.counts, 6 * kNests);
  EXPECT_GT(seen.links, kNests / 6);
  EXPECT_GT(seen.several_bins, kNests / 16);
}

}  // namespace
}  // namespace quantloom

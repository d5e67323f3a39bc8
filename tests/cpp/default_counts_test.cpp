// The closed forms of the default model against lists of every element: sums, tiles that slide, arrays that pass on.
#include "default_counts.hpp"

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "fixtures.hpp"
#include "nest.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

constexpr int kSums = test::some_of(30000);
constexpr int kNests = test::some_of(4000);
constexpr Count kMostSteps = 20000;  // of one random nest, its lanes included

class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  [[nodiscard]] int between(int low, int high) {
    return low + static_cast<int>(random_() % static_cast<unsigned>(high - low + 1));
  }
  [[nodiscard]] bool one_in(int n) { return between(1, n) == 1; }

 private:
  std::mt19937 random_;
};

TEST(DistinctSums, EqualAListOfAllSums) {
  DefaultScratch scratch;
  Draw draw(7);
  for (int n = 0; n < kSums; ++n) {
    std::vector<SumStep> steps;
    for (int k = draw.between(0, 4); k > 0; --k) steps.push_back({draw.between(1, 14), draw.between(2, 5)});
    std::set<Count> sums{0};
    std::string text;
    for (const SumStep& step : steps) {
      text += std::to_string(step.bound) + " steps of " + std::to_string(step.step) + ", ";
      const std::set<Count> before = sums;
      for (Count i = 1; i < step.bound; ++i) {
        for (const Count sum : before) sums.insert(sum + i * step.step);
      }
    }
    ASSERT_EQ(distinct_sums(steps, scratch), static_cast<Count>(sums.size())) << text;
  }
}

// Runs of 3 values, 2 apart, every 4: each shares its last value with the next one's first.
TEST(DistinctSums, RunsThatOverlapInPartAreCountedOnce) {
  DefaultScratch scratch;
  std::vector<SumStep> steps{{2, 3}, {4, 2}, {5, 2}};
  EXPECT_EQ(distinct_sums(steps, scratch), 10);  // 0 2 4 6 8 and 5 7 9 11 13
  steps = {{3, 4}, {7, 3}, {8, 2}};
  std::set<Count> sums;
  for (Count a = 0; a < 4; ++a) {
    for (Count b = 0; b < 3; ++b) {
      for (Count c = 0; c < 2; ++c) sums.insert(3 * a + 7 * b + 8 * c);
    }
  }
  EXPECT_EQ(distinct_sums(steps, scratch), static_cast<Count>(sums.size()));
}

// However many they are: nothing is listed.
TEST(DistinctSums, SumsOfStepsOnOneGridAreCountedWithoutAList) {
  DefaultScratch scratch;
  constexpr Count kBound = Count{1} << 20;
  std::vector<SumStep> steps{{6, kBound}, {2, kBound}};
  EXPECT_EQ(distinct_sums(steps, scratch), kBound + 3 * (kBound - 1));  // 0 2 4 ... to the largest sum
  steps = {{5, kBound}, {5, kBound}, {1, 7}};
  EXPECT_EQ(distinct_sums(steps, scratch), 7 + 2 * 5 * (kBound - 1));
}

TEST(DistinctSums, MoreRunsThanCanBeListedAreUnknown) {
  DefaultScratch scratch;
  std::vector<SumStep> steps{{7, 3}, {1000, 2049}, {1001, 2049}};
  EXPECT_EQ(distinct_sums(steps, scratch), kSaturated);
}

struct Case {
  Workload workload;
  Nest nest;
  int levels = 1;
  std::string text;
};

// Two to four dims; the first tensor's ranks are sums of them, with coefficients, the second's ranks may share a dim.
Case draw_case(Draw& draw) {
  Case out;
  const int dims = draw.between(2, 4);
  out.levels = draw.between(2, 3);
  Mapping mapping;
  mapping.levels.resize(static_cast<std::size_t>(out.levels));
  std::vector<Count> bounds(static_cast<std::size_t>(dims), 1);
  Count steps = 1;
  const auto put = [&](std::vector<Loop>& loops, int most) {
    const int dim = draw.between(0, dims - 1);
    const Count bound = draw.between(2, most);
    const bool is_there = std::any_of(loops.begin(), loops.end(), [&](const Loop& loop) { return loop.dim == dim; });
    if (is_there || steps * bound > kMostSteps) return;
    loops.push_back({dim, bound});
    bounds[static_cast<std::size_t>(dim)] *= bound;
    steps *= bound;
  };
  for (LevelMapping& level : mapping.levels) {
    level.keep = 0b1111;
    for (int n = draw.between(0, 3); n > 0; --n) put(level.temporal, 4);
    for (int n = draw.between(0, 2); n > 0; --n) put(draw.one_in(2) ? level.spatial_x : level.spatial_y, 3);
  }
  const auto rank = [&](int terms) {
    std::vector<Term> found;
    for (int n = terms; n > 0; --n) {
      const int dim = draw.between(0, dims - 1);
      if (std::none_of(found.begin(), found.end(), [&](const Term& term) { return term.dim == dim; })) {
        found.push_back({dim, draw.one_in(2) ? 1 : draw.between(2, 4)});
      }
    }
    return found;
  };
  std::vector<Dim> named;
  for (const Count bound : bounds) named.push_back({"d" + std::to_string(named.size()), bound});
  // Sliding: a rank of the first two dims, the others alone. Tied: anything.
  TensorSpec sliding{"sliding", {{{0, draw.between(1, 3)}, {1, draw.between(1, 3)}}}, false};
  for (int d = 2; d < dims; ++d) {
    if (draw.one_in(2)) sliding.ranks.push_back({{d, draw.one_in(3) ? 2 : 1}});
  }
  const TensorSpec tied{"tied", {rank(2), rank(2)}, false};
  const TensorSpec plain{"plain", {{{draw.between(0, dims - 1), 1}}}, false};
  out.workload = Workload("random", named, {sliding, tied, plain, {"output", {{{0, 1}}}, true}});
  build_nest(mapping, out.nest);
  std::vector<Level> levels;
  for (int l = 0; l < out.levels; ++l) levels.push_back(test::make_level("L" + std::to_string(l), 1, 1));
  out.text = describe_mapping(Arch("any", levels, test::make_macs(1, 1), {}), out.workload, mapping);
  return out;
}

using Coordinates = std::vector<Count>;

// Coordinates of the tensor at each index of the chosen loops, in the order of the nest.
void for_each_index(const Case& of, int tensor, const std::function<bool(int)>& is_chosen, int end,
                    const std::function<void(const Coordinates& at, const std::vector<Count>& index)>& visit) {
  const TensorSpec& spec = of.workload.tensors()[static_cast<std::size_t>(tensor)];
  std::vector<int> chosen;
  for (int i = 0; i < end; ++i) {
    if (is_chosen(i)) chosen.push_back(i);
  }
  std::vector<Count> index(chosen.size(), 0);
  while (true) {
    Coordinates at(spec.ranks.size(), 0);
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const NestLoop& loop = of.nest.loops[static_cast<std::size_t>(chosen[k])];
      for (std::size_t r = 0; r < spec.ranks.size(); ++r) {
        for (const Term& term : spec.ranks[r]) {
          if (term.dim == loop.dim) at[r] += index[k] * loop.stride * term.coefficient;
        }
      }
    }
    visit(at, index);
    std::size_t k = chosen.size();
    while (k > 0 && ++index[k - 1] == of.nest.loops[static_cast<std::size_t>(chosen[k - 1])].bound) index[--k] = 0;
    if (k == 0) return;
  }
}

[[nodiscard]] bool is_temporal(const Case& of, int i) {
  return of.nest.loops[static_cast<std::size_t>(i)].kind == LoopKind::temporal;
}

// Width of the child's tile along each rank.
Coordinates tile_of(const Case& of, int tensor, int child) {
  Coordinates out;
  for (const auto& rank : of.workload.tensors()[static_cast<std::size_t>(tensor)].ranks) {
    Count width = 1;
    for (const Term& term : rank) {
      if (child >= 0) {
        width += (of.nest.extent[static_cast<std::size_t>(child)][static_cast<std::size_t>(term.dim)] - 1) *
                 term.coefficient;
      }
    }
    out.push_back(width);
  }
  return out;
}

int end_outside(const Case& of, int child) {
  return child < 0 ? of.nest.num_loops : of.nest.begin[static_cast<std::size_t>(child)];
}

// Elements of the box that are not in the one before, advance by advance.
Count slide(const Case& of, int tensor, int child) {
  const Coordinates tile = tile_of(of, tensor, child);
  Count traffic = 0;
  Coordinates before;
  for_each_index(
      of, tensor, [&](int i) { return is_temporal(of, i); }, end_outside(of, child),
      [&](const Coordinates& at, const std::vector<Count>&) {
        Count all = 1;
        Count shared = before.empty() ? 0 : 1;
        for (std::size_t r = 0; r < tile.size(); ++r) {
          all *= tile[r];
          if (!before.empty()) shared *= std::max<Count>(0, tile[r] - std::abs(at[r] - before[r]));
        }
        traffic += all - shared;
        before = at;
      });
  return traffic;
}

// The same for all that the children between two levels hold together, as a product of what they hold of each rank.
Count slide_together(const Case& of, int tensor, int child, int parent) {
  const Coordinates tile = tile_of(of, tensor, child);
  std::vector<std::set<Count>> held(tile.size());
  const int begin = of.nest.begin[static_cast<std::size_t>(parent)];
  for_each_index(
      of, tensor, [&](int i) { return i >= begin && !is_temporal(of, i); }, end_outside(of, child),
      [&](const Coordinates& at, const std::vector<Count>&) {
        for (std::size_t r = 0; r < tile.size(); ++r) {
          for (Count i = 0; i < tile[r]; ++i) held[r].insert(at[r] + i);
        }
      });
  Count traffic = 0;
  Coordinates before;
  for_each_index(
      of, tensor, [&](int i) { return is_temporal(of, i); }, end_outside(of, child),
      [&](const Coordinates& at, const std::vector<Count>&) {
        Count all = 1;
        Count shared = before.empty() ? 0 : 1;
        for (std::size_t r = 0; r < tile.size(); ++r) {
          all *= static_cast<Count>(held[r].size());
          if (before.empty()) continue;
          const Count move = at[r] - before[r];
          shared *= std::count_if(held[r].begin(), held[r].end(), [&](Count x) { return held[r].contains(x + move); });
        }
        traffic += all - shared;
        before = at;
      });
  return traffic;
}

// Different tiles among the children that the lanes of levels inner..outer make; places in `apart` tell them apart too.
Count list_children(const Case& of, int tensor, int inner, int outer, std::uint32_t apart) {
  const int begin = of.nest.begin[static_cast<std::size_t>(outer)];
  const auto is_lane = [&](int i) { return i >= begin && !is_temporal(of, i); };
  std::vector<int> lanes;
  for (int i = 0; i < of.nest.end(inner); ++i) {
    if (is_lane(i)) lanes.push_back(i);
  }
  std::set<std::pair<Coordinates, std::vector<Count>>> found;
  for_each_index(of, tensor, is_lane, of.nest.end(inner), [&](const Coordinates&, const std::vector<Count>& index) {
    const TensorSpec& spec = of.workload.tensors()[static_cast<std::size_t>(tensor)];
    std::vector<Count> places;
    Coordinates shared(spec.ranks.size(), 0);
    for (std::size_t k = 0; k < lanes.size(); ++k) {
      const NestLoop& loop = of.nest.loops[static_cast<std::size_t>(lanes[k])];
      if ((apart >> loop.level & 1U) != 0) {
        places.push_back(index[k]);
        continue;
      }
      for (std::size_t r = 0; r < spec.ranks.size(); ++r) {
        for (const Term& term : spec.ranks[r]) {
          if (term.dim == loop.dim) shared[r] += index[k] * loop.stride * term.coefficient;
        }
      }
    }
    found.insert({shared, places});
  });
  return static_cast<Count>(found.size());
}

// Along each rank, all values that any tile below one instance of `top` ever has; then their product.
Count list_elements(const Case& of, int tensor, int child, int top) {
  const Coordinates tile = tile_of(of, tensor, child);
  std::vector<std::set<Count>> values(tile.size());
  const auto counts = [&](int i) {
    return is_temporal(of, i) || of.nest.loops[static_cast<std::size_t>(i)].level <= top;
  };
  for_each_index(of, tensor, counts, end_outside(of, child), [&](const Coordinates& at, const std::vector<Count>&) {
    for (std::size_t r = 0; r < tile.size(); ++r) {
      for (Count i = 0; i < tile[r]; ++i) values[r].insert(at[r] + i);
    }
  });
  Count product = 1;
  for (const auto& of_rank : values) product *= static_cast<Count>(of_rank.size());
  return product;
}

TEST(DefaultCounts, EqualListsOfEveryElementOnRandomNests) {
  DefaultScratch scratch;
  int slid = 0;
  int apart = 0;
  for (std::uint32_t seed = 0; seed < kNests && !HasFatalFailure(); ++seed) {
    Draw draw(seed);
    const Case of = draw_case(draw);
    for (int t = 0; t < of.workload.num_tensors(); ++t) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", tensor " + std::to_string(t) + "\n" + of.text);
      const int child = draw.between(0, of.levels - 1);
      ASSERT_EQ(tile_traffic(of.workload, of.nest, t, child), slide(of, t, child)) << "child " << child;
      slid += of.workload.has_window(t) &&
              slide(of, t, child) !=
                  tile_elements(of.workload.tensors()[static_cast<std::size_t>(t)], of.nest.extent.back());
      const int outer = draw.between(child, of.levels - 1);
      const int top = draw.between(0, of.levels);
      ASSERT_EQ(elements_below(of.workload, of.nest, t, child, top, scratch), list_elements(of, t, child, top))
          << "child " << child << ", top " << top;
      ASSERT_EQ(elements_below(of.workload, of.nest, t, -1, top, scratch), list_elements(of, t, -1, top))
          << "top " << top;
      const auto places = static_cast<std::uint32_t>(draw.between(0, 7));
      const Count children = list_children(of, t, child, outer, places);
      ASSERT_EQ(distinct_children(of.workload, of.nest, t, child, outer, places, scratch), children)
          << "levels " << child << " to " << outer << ", apart " << places;
      apart += children != list_children(of, t, child, outer, 0) ? 1 : 0;
      if (child == outer) continue;
      ASSERT_EQ(array_traffic(of.workload, of.nest, t, child, outer), slide_together(of, t, child, outer))
          << "child " << child << ", parent " << outer;
    }
  }
  EXPECT_GT(slid, kNests / 4);
  EXPECT_GT(apart, kNests / 20);
}

}  // namespace
}  // namespace quantloom

// The least that a copy of a tensor with a window moves, against section 5.5 of docs/model.md applied to every order of
// loops.
#include "lattice_sweeps.hpp"

#include <algorithm>
#include <limits>
#include <random>

#include "fixtures.hpp"
#include "lattice_groups.hpp"

namespace quantloom {
namespace {

using lattice::Extents;
using lattice::Lanes;
using lattice::Shape;

constexpr int kLevels = 3;
constexpr std::size_t kMostLoops = 5;

Workload window(std::mt19937& random) {
  const auto pick = [&](std::initializer_list<int> values) {
    return static_cast<Count>(*(values.begin() + random() % values.size()));
  };
  const auto at = [](int dim) { return std::vector<Term>{{dim, 1}}; };
  const auto both = [&](int out, int kernel) {
    return std::vector<Term>{{out, pick({1, 1, 1, 2, 3})}, {kernel, pick({1, 1, 1, 2})}};
  };
  const std::vector<Dim> dims = {{"M", pick({1, 2, 3, 4})}, {"C", pick({1, 1, 2, 3})}, {"P", pick({2, 3, 4, 6, 8})},
                                 {"R", pick({1, 2, 3, 4})}, {"Q", pick({1, 2, 3, 4})}, {"S", pick({1, 1, 2, 3})}};
  return {"window",
          dims,
          {{"Weights", {at(0), at(1), at(3), at(5)}, false},
           {"Inputs", {at(1), both(2, 3), both(4, 5)}, false},
           {"Outputs", {at(0), at(2), at(4)}, true}}};
}

Arch three_levels() {
  return {"three",
          {test::make_level("a", 64, 1), test::make_level("b", 8, 1), test::make_level("c", 1, 1)},
          test::make_macs(64, 1),
          {}};
}

struct Loop {
  std::size_t dim = 0;
  Count bound = 1;
};

// Of one copy at level 0 with a fixed tile and fixed lanes.
class Orders {
 public:
  Orders(const lattice::Problem& problem, lattice::Sweeps& sweeps, const Lanes& lanes, const Shape& tile)
      : problem_(problem), sweeps_(sweeps), lanes_(lanes), tile_(sweeps.code(tile)), shape_(tile) {
    for (std::size_t d = 0; d < problem.dims.size(); ++d) extents_[d] = problem.dims[d].divisors[tile[d]];
    sweep_ = problem.window.begin(extents_);
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      Count rest = problem.dims[d].bound / (extents_[d] * lanes[1][d] * lanes[2][d]);
      for (Count p = 2; rest > 1; ++p) {
        for (; rest % p == 0; rest /= p) loops_.push_back({d, p});
      }
    }
  }

  [[nodiscard]] std::size_t num_loops() const { return loops_.size(); }

  // Every order, and every place in it where lanes are crossed.
  void walk() {
    used_.assign(loops_.size(), false);
    step(0, sweep_, 0, true, false);
  }

  double least = std::numeric_limits<double>::infinity();  // of orders whose innermost loop moves the tensor
  double told = 0;
  int walked = 0;

 private:
  [[nodiscard]] Count rest(bool (*counts)(const lattice::Window&, std::size_t), const lattice::Window& window) const {
    Count product = 1;
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      if (!used_[i] && counts(window, loops_[i].dim)) product *= loops_[i].bound;
    }
    return product;
  }

  void step(int level, const lattice::Window::Sweep& sweep, std::size_t placed, bool is_first, bool has_settled) {
    const lattice::Window& window = problem_.window;
    const Count irrelevant = rest([](const lattice::Window& w, std::size_t d) { return w.is_irrelevant(d); }, window);
    const Count alone = rest([](const lattice::Window& w, std::size_t d) { return w.is_alone(d); }, window);
    const Count all = rest([](const lattice::Window&, std::size_t) { return true; }, window);
    const double bound = has_settled ? 0
                                     : static_cast<double>(all * sweep.fresh + alone * sweep.tile) +
                                           static_cast<double>(alone * sweep.alone) *
                                               sweeps_.least_more(0, tile_, level, sweeps_.code(shape_), irrelevant);
    if (placed == loops_.size() && level + 1 == kLevels) {
      const auto moves = static_cast<double>(sweep.tile + sweep.fresh);
      EXPECT_LE(bound, moves);
      total_ = moves;
      ++walked;
      if (starts_moving_) least = std::min(least, moves);
      return;
    }
    double least_from_here = std::numeric_limits<double>::infinity();
    if (level + 1 < kLevels) {
      const Shape shape = shape_;
      const Extents extents = extents_;
      for (std::size_t d = 0; d < problem_.dims.size(); ++d) {
        extents_[d] *= lanes_[static_cast<std::size_t>(level) + 1][d];
        shape_[d] = problem_.dims[d].index(extents_[d]);
      }
      step(level + 1, sweep, placed, is_first, has_settled);
      least_from_here = total_;
      shape_ = shape;
      extents_ = extents;
    }
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      if (used_[i]) continue;
      const auto [d, n] = loops_[i];
      lattice::Window::Sweep next = sweep;
      if (has_settled || window.is_alone(d)) {
        next.fresh = n * next.fresh + (n - 1) * next.tile;
      } else {
        window.add_loop(next, d, n, extents_[d]);
      }
      if (is_first) starts_moving_ = !window.is_irrelevant(d);
      if (is_first && starts_moving_)
        told = static_cast<double>(alone * sweep.alone) * sweeps_.least(0, tile_, irrelevant);
      used_[i] = true;
      extents_[d] *= n;
      shape_[d] = problem_.dims[d].index(extents_[d]);
      step(level, next, placed + 1, false, has_settled || window.is_alone(d));
      least_from_here = std::min(least_from_here, total_);
      used_[i] = false;
      extents_[d] /= n;
      shape_[d] = problem_.dims[d].index(extents_[d]);
    }
    EXPECT_LE(bound, least_from_here);
    total_ = least_from_here;
  }

  const lattice::Problem& problem_;
  lattice::Sweeps& sweeps_;
  const Lanes& lanes_;
  std::uint32_t tile_;
  Shape shape_;
  Extents extents_{};
  lattice::Window::Sweep sweep_;
  std::vector<Loop> loops_;
  std::vector<bool> used_;
  bool starts_moving_ = false;
  double total_ = 0;  // least of the orders walked last
};

TEST(LatticeSweeps, NoOrderOfLoopsMovesLessAndWithoutLanesOneMovesNoMore) {
  int exact = 0;
  int with_lanes = 0;
  int between = 0;  // irrelevant loops with loops of the window on both sides are among the orders
  for (std::uint32_t seed = static_cast<std::uint32_t>(GTEST_FLAG_GET(random_seed)) * 10000U, cases = 0; cases < 1000;
       ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const Workload workload = window(random);
    const Arch arch = three_levels();
    const lattice::Problem problem(arch, workload, Selection::free);
    if (problem.window.tensor() < 0) continue;
    Lanes lanes{};
    for (auto& level : lanes) level.fill(1);
    Shape tile{};
    bool has_lanes = false;
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      const lattice::LatticeDim& dim = problem.dims[d];
      Count rest = dim.bound;
      const auto draw = [&](int one_in) {
        std::vector<Count> fitting;
        for (const Count n : dim.divisors) {
          if (rest % n == 0) fitting.push_back(n);
        }
        const Count n = random() % static_cast<unsigned>(one_in) == 0 ? fitting[random() % fitting.size()] : 1;
        rest /= n;
        return n;
      };
      for (const std::size_t l : {1U, 2U}) {
        lanes[l][d] = static_cast<std::uint32_t>(draw(seed % 2 == 0 ? 3 : 1000));
        has_lanes = has_lanes || lanes[l][d] > 1;
      }
      tile[d] = dim.index(draw(2));
    }
    lattice::Sweeps sweeps(problem);
    ASSERT_TRUE(sweeps.is_small());
    sweeps.plan(lanes);
    Orders orders(problem, sweeps, lanes, tile);
    if (orders.num_loops() > kMostLoops) continue;
    ++cases;
    orders.walk();
    EXPECT_GT(orders.walked, 0);
    if (orders.told == 0) continue;
    EXPECT_LE(orders.told, orders.least);
    with_lanes += has_lanes ? 1 : 0;
    if (!has_lanes) {
      EXPECT_EQ(orders.told, orders.least);
    }
    exact += has_lanes ? 0 : 1;
    between += orders.told > 0 && workload.bound(0) > 1 ? 1 : 0;
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(exact, 250);
  EXPECT_GT(with_lanes, 250);
  EXPECT_GT(between, 250);
}

// Lanes of P (stride 2) and R: how many differ depends on what lies inside of them.
TEST(LatticeSweeps, LanesOfTwoDimsDifferAtLeastAsTheBestLoopsInsideLeaveThem) {
  const Workload workload = test::conv1d(28, 3, 2);
  const Arch arch("two", {test::make_level("a", 84, 1), test::make_level("b", 1, 1)}, test::make_macs(84, 1), {});
  const lattice::Problem problem(arch, workload, Selection::free);
  lattice::LaneGroups groups(problem);
  Lanes lanes{};
  for (auto& level : lanes) level.fill(1);
  for (std::size_t d = 0; d < problem.dims.size(); ++d) lanes[1][d] = static_cast<std::uint32_t>(problem.dims[d].bound);
  EXPECT_EQ(groups.least(0, lanes, 0, 2), 57);  // 0, 2 .. 54 and 0, 1, 2
  EXPECT_EQ(groups.least(0, lanes, 0, 1), 1);
  for (std::size_t d = 0; d < problem.dims.size(); ++d) {
    if (problem.dims[d].bound == 28) lanes[1][d] = 14;
  }
  EXPECT_EQ(groups.least(0, lanes, 0, 2), 29);  // steps of 2: no loop inside
}

}  // namespace
}  // namespace quantloom

// Everything that uses threads, on small spaces: the same answer for 1, 2, 8 and 64 of them, and stops and errors in
// the middle. The preset tsan runs this file in CI.
#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "fixtures.hpp"
#include "lattice_mapper.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/heuristics.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "quantloom/parallel.hpp"

namespace quantloom {
namespace {

constexpr std::array kThreads{2, 8, 64};
const std::vector<std::vector<int>> kSettings{{8, 8, 16}, {4, 8, 16}, {16, 16, 16}, {8, 8, 16}};

// A buffer over 4 x 2 units.
Arch grid() {
  Level buffer = test::make_level("buffer", 1, 1);
  buffer.capacity_words = 24;
  Level dram = test::make_level("DRAM", 1, 1);
  dram.energy = {10, 20, 30, "", "", ""};
  return {"grid", {buffer, dram}, test::make_macs(4, 2), {}};
}

void expect_equal(const std::vector<Optimum>& a, const std::vector<Optimum>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].found, b[i].found);
    EXPECT_EQ(a[i].mapping, b[i].mapping);
    EXPECT_EQ(a[i].energy_pj, b[i].energy_pj);
    EXPECT_EQ(a[i].cycles, b[i].cycles);
    EXPECT_EQ(a[i].front.size(), b[i].front.size());
    EXPECT_EQ(a[i].certificate.considered, b[i].certificate.considered);
    EXPECT_EQ(a[i].certificate.exhausted, b[i].certificate.exhausted);
  }
}

class Searches : public testing::TestWithParam<SearchMethod> {};

TEST_P(Searches, GiveTheSameForAnyNumberOfThreads) {
  for (const Objective objective : {Objective::edp, Objective::pareto}) {
    MapperOptions options;
    options.objective = objective;
    options.method = GetParam();
    options.threads = 1;
    const Workload workload = test::matmul(6, 4, 6);
    const std::vector<Optimum> alone = optimize(grid(), workload, kSettings, options);
    EXPECT_TRUE(alone.front().found);
    EXPECT_TRUE(alone.front().certificate.exhausted);
    for (const int threads : kThreads) {
      options.threads = threads;
      std::atomic<int> reports{0};
      expect_equal(optimize(grid(), workload, kSettings, options, {}, [&](const SearchState&) { ++reports; }), alone);
      EXPECT_GT(reports, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, Searches,
                         testing::Values(SearchMethod::automatic, SearchMethod::exhaustive,
                                         SearchMethod::branch_and_bound));

TEST(Threads, ChainsOfTileShapesAreTheSame) {
  MapperOptions options;
  options.selection = Selection::free;
  options.threads = 1;
  const Workload workload = test::conv1d(24, 3);
  ASSERT_TRUE(can_optimize_on_lattice(grid(), workload, options));
  const std::vector<Optimum> alone = optimize_on_lattice(grid(), workload, kSettings, options, {}, {});
  for (const int threads : kThreads) {
    options.threads = threads;
    expect_equal(optimize_on_lattice(grid(), workload, kSettings, options, {}, {}), alone);
  }
}

TEST(Threads, ASearchStopsWhileItRuns) {
  for (const SearchMethod method :
       {SearchMethod::automatic, SearchMethod::exhaustive, SearchMethod::branch_and_bound}) {
    MapperOptions options;
    options.threads = 4;
    options.method = method;
    std::stop_source source;
    const std::jthread timer([&] { source.request_stop(); });
    const std::vector<Optimum> optima =
        optimize(grid(), test::matmul(8, 8, 12), kSettings, options, source.get_token());
    EXPECT_EQ(optima.size(), kSettings.size());
  }
}

TEST(Threads, CountsAreTheSame) {
  const Mapspace space(grid(), test::matmul(6, 4, 6));
  for (const Enumeration enumeration : {Enumeration::reference, Enumeration::distinct}) {
    CountOptions options;
    options.enumeration = enumeration;
    const std::string alone = space.count(kSettings[0], options).valid.to_string();
    for (const int threads : kThreads) {
      options.threads = threads;
      EXPECT_EQ(space.count(kSettings[0], options).valid.to_string(), alone);
    }
  }
}

TEST(Threads, HeuristicsAreTheSame) {
  for (const Heuristic heuristic : {Heuristic::random, Heuristic::random_pruned, Heuristic::annealing}) {
    HeuristicOptions options;
    options.heuristic = heuristic;
    options.streams = 8;
    options.budget = 400;
    options.threads = 1;
    const HeuristicResult alone = search_heuristically(grid(), test::matmul(6, 4, 6), kSettings[0], options);
    for (const int threads : kThreads) {
      options.threads = threads;
      const HeuristicResult together = search_heuristically(grid(), test::matmul(6, 4, 6), kSettings[0], options);
      EXPECT_EQ(together.mapping, alone.mapping);
      EXPECT_EQ(together.trace, alone.trace);
      EXPECT_EQ(together.looked_at, alone.looked_at);
    }
  }
}

// One evaluator copied for each thread, one batch for all of them.
TEST(Threads, CopiesOfABatchEvaluatorShareWhatDoesNotChange) {
  const Workload workload = test::matmul(6, 4, 6);
  const Mapspace space(grid(), workload);
  const MappingColumns columns = space.sample_columns(2000, 1);
  for (const CostModel model : {CostModel::default_model, CostModel::compat}) {
    const BatchEvaluator evaluator(grid(), workload, kSettings[0], {model});
    std::array<std::vector<double>, 4> energies;
    {
      std::vector<std::jthread> threads;
      for (std::vector<double>& energy : energies) {
        threads.emplace_back([&] {
          BatchEvaluator mine(evaluator);
          energy.resize(columns.count);
          std::vector<double> cycles(columns.count);
          std::vector<std::uint8_t> status(columns.count);
          mine.evaluate(columns.batch(), {energy.data(), cycles.data(), status.data()});
        });
      }
    }
    for (const std::vector<double>& energy : energies) EXPECT_EQ(energy, energies[0]);
  }
}

TEST(Threads, TheFirstErrorOfALoopIsTheOneThatComesOut) {
  for (const int threads : {1, 4, 64}) {
    std::atomic<int> begun{0};
    EXPECT_THROW(for_each_chunk(1000, threads, {},
                                [&](int chunk, int) {
                                  ++begun;
                                  if (chunk == 10) throw std::runtime_error("chunk 10");
                                }),
                 std::runtime_error);
    EXPECT_GE(begun, 11);
  }
}

TEST(Threads, ManySearchesAtOnce) {
  MapperOptions options;
  options.threads = 2;
  const std::vector<Optimum> alone = optimize(grid(), test::matmul(6, 4, 6), kSettings, options);
  std::array<std::vector<Optimum>, 4> found;
  {
    std::vector<std::jthread> threads;
    for (auto& optima : found)
      threads.emplace_back([&] { optima = optimize(grid(), test::matmul(6, 4, 6), kSettings, options); });
  }
  for (const auto& optima : found) expect_equal(optima, alone);
}

}  // namespace
}  // namespace quantloom

// The heuristics: their stops on spaces made for them, the same answer for any number of threads, never above the
// optimum.
#include "quantloom/heuristics.hpp"

#include "fixtures.hpp"
#include "quantloom/mapspace.hpp"

namespace quantloom {
namespace {

constexpr std::array kAll{Heuristic::random, Heuristic::random_pruned, Heuristic::annealing};
const std::vector<int> kOneWord{0, 0, 0};

HeuristicOptions options_of(Heuristic heuristic, Count budget) {
  HeuristicOptions out;
  out.heuristic = heuristic;
  out.budget = budget;
  return out;
}

Constraint keep_everything(const std::string& level) {
  Constraint out;
  out.level = level;
  out.target = ConstraintTarget::keep;
  out.keep = {"Weights", "Inputs", "Outputs"};
  return out;
}

// A buffer of so many words that keeps all tensors, over a row of multipliers.
Arch keeping_arch(Count words, Count multipliers = 1) {
  const Arch open = test::buffer_and_dram();
  Level buffer = open.level(0);
  buffer.capacity_words = words;
  return {"keeping", {buffer, open.level(1)}, test::make_macs(multipliers, 1), {keep_everything("buffer")}};
}

TEST(Heuristics, TimeoutCountsFailuresInARow) {
  for (const Heuristic heuristic : kAll) {
    for (const Count timeout : {0, 1, 5}) {  // three tensors need three words
      HeuristicOptions options = options_of(heuristic, 1000);
      options.timeout = timeout;
      const HeuristicResult result = search_heuristically(keeping_arch(2), test::matmul(4, 4, 4), kOneWord, options);
      EXPECT_FALSE(result.found);
      EXPECT_TRUE(result.trace.empty());
      EXPECT_EQ(result.fitting, 0);
      EXPECT_EQ(result.looked_at, std::max<Count>(timeout, 1)) << "0 stops at the first failure";
      EXPECT_EQ(result.streams.at(0).stop, HeuristicStop::timeout);
    }
  }
}

TEST(Heuristics, WithoutTimeoutFailuresUseUpTheBudget) {
  const HeuristicResult result =
      search_heuristically(keeping_arch(2), test::matmul(4, 4, 4), kOneWord, options_of(Heuristic::random_pruned, 777));
  EXPECT_EQ(result.looked_at, 777);
  EXPECT_EQ(result.streams.at(0).stop, HeuristicStop::budget);
}

TEST(Heuristics, VictoryCountsFittingMappingsWithoutImprovement) {
  HeuristicOptions options = options_of(Heuristic::random, 1000);
  options.victory = 7;  // a single mapping: the first look improves, the others do not
  for (const Heuristic heuristic : kAll) {
    options.heuristic = heuristic;
    const HeuristicResult result = search_heuristically(keeping_arch(64), test::matmul(1, 1, 1), kOneWord, options);
    EXPECT_EQ(result.looked_at, 8);
    EXPECT_EQ(result.fitting, 8);
    EXPECT_EQ(result.trace, (std::vector<TracePoint>{{1, result.objective}}));
    EXPECT_EQ(result.streams.at(0).stop, HeuristicStop::victory);
  }
}

TEST(Heuristics, FurtherBypassesDoNotCountForVictory) {
  HeuristicOptions options = options_of(Heuristic::random_pruned, 1000);
  options.victory = 2;  // eight choices of bypasses a visit; only the first one of the second and third visit counts
  const HeuristicResult result =
      search_heuristically(test::buffer_and_dram(), test::matmul(1, 1, 1), kOneWord, options);
  EXPECT_EQ(result.looked_at, 8 + 8 + 1);
}

TEST(Heuristics, FailingBypassesDoNotCountForTimeout) {
  // Two words: what keeps all three tensors fails, seven of eight choices fit. The last choice of a visit is the
  // failing one.
  const Arch open = test::buffer_and_dram();
  Level buffer = open.level(0);
  buffer.capacity_words = 2;
  const Arch arch{"two words", {buffer, open.level(1)}, test::make_macs(1, 1), {}};
  HeuristicOptions options = options_of(Heuristic::random_pruned, 80);
  options.timeout = 0;
  const HeuristicResult result = search_heuristically(arch, test::matmul(1, 1, 1), kOneWord, options);
  EXPECT_EQ(result.looked_at, 80);
  EXPECT_EQ(result.fitting, 70);
}

TEST(Heuristics, FanoutFailuresCountAndSkipTheBypasses) {
  // Eight copies along the only axis with fanout 4: the constraint leaves nothing else.
  Constraint spatial;
  spatial.level = "buffer";
  spatial.target = ConstraintTarget::spatial;
  spatial.factors = {{"M", FactorRelation::equal, 8}};
  const Arch open = test::buffer_and_dram();
  const Arch arch{"narrow", {open.level(0), open.level(1)}, test::make_macs(4, 1), {spatial}};
  HeuristicOptions options = options_of(Heuristic::random_pruned, 1000);
  options.timeout = 9;
  const HeuristicResult result = search_heuristically(arch, test::matmul(8, 1, 1), kOneWord, options);
  EXPECT_FALSE(result.found);
  EXPECT_EQ(result.looked_at, 9);
}

TEST(Heuristics, SearchSizeAndBudgetAreSharedOutAmongStreams) {
  HeuristicOptions options = options_of(Heuristic::random, 0);
  options.timeout = 1000;
  options.search_size = 10;
  options.streams = 4;
  const HeuristicResult sized = search_heuristically(keeping_arch(64), test::matmul(2, 2, 2), kOneWord, options);
  EXPECT_EQ(sized.fitting, 12) << "rounded up";
  for (const StreamEnd& stream : sized.streams) EXPECT_EQ(stream.stop, HeuristicStop::search_size);
  options = options_of(Heuristic::random, 10);
  options.streams = 4;
  const HeuristicResult limited = search_heuristically(keeping_arch(64), test::matmul(2, 2, 2), kOneWord, options);
  EXPECT_EQ(limited.looked_at, 10);
  EXPECT_EQ(limited.streams.at(1).looked_at, 3);
  EXPECT_EQ(limited.streams.at(2).looked_at, 2);
}

TEST(Heuristics, DoNotDependOnThreadsButOnTheSeed) {
  const Arch arch = keeping_arch(40, 4);
  const Workload workload = test::matmul(12, 8, 6);
  for (const Heuristic heuristic : kAll) {
    HeuristicOptions options = options_of(heuristic, 500);
    options.streams = 5;
    options.threads = 1;
    const HeuristicResult one = search_heuristically(arch, workload, kOneWord, options);
    options.threads = 4;
    const HeuristicResult four = search_heuristically(arch, workload, kOneWord, options);
    ASSERT_TRUE(one.found);
    EXPECT_EQ(one.trace, four.trace);
    EXPECT_EQ(one.mapping, four.mapping);
    EXPECT_EQ(one.fitting, four.fitting);
    options.seed = 2;
    EXPECT_NE(search_heuristically(arch, workload, kOneWord, options).trace, one.trace);
  }
}

TEST(Heuristics, TheirTraceFallsToTheBestWhichIsNotAboveTheOptimum) {
  const Arch arch = keeping_arch(40, 4);
  const Workload workload = test::matmul(12, 8, 6);
  for (const Objective objective : {Objective::edp, Objective::energy, Objective::cycles, Objective::ed2p}) {
    MapperOptions exhaustive;
    exhaustive.objective = objective;
    exhaustive.method = SearchMethod::exhaustive;
    const Optimum best = optimize(arch, workload, {kOneWord}, exhaustive).front();
    for (const Heuristic heuristic : kAll) {
      HeuristicOptions options = options_of(heuristic, 3000);
      options.objective = objective;
      options.streams = 2;
      const HeuristicResult result = search_heuristically(arch, workload, kOneWord, options);
      ASSERT_TRUE(result.found);
      EXPECT_GE(result.objective, best.objective * (1 - 1e-12));
      const Cost cost = evaluate(arch, workload, result.mapping, kOneWord);
      EXPECT_EQ(cost.energy_pj, result.energy_pj);
      EXPECT_EQ(cost.cycles, result.cycles);
      EXPECT_EQ(result.trace.back().objective, result.objective);
      for (std::size_t i = 1; i < result.trace.size(); ++i) {
        EXPECT_LT(result.trace[i - 1].looked_at, result.trace[i].looked_at);
        EXPECT_GT(result.trace[i - 1].objective, result.trace[i].objective);
      }
    }
  }
}

TEST(Heuristics, AnnealingReachesTheOptimumOfASmallSpace) {
  const Arch arch = keeping_arch(40, 4);
  const Workload workload = test::matmul(12, 8, 6);
  const Optimum best = optimize(arch, workload, {kOneWord}).front();
  HeuristicOptions options = options_of(Heuristic::annealing, 20000);
  options.streams = 4;
  EXPECT_NEAR(search_heuristically(arch, workload, kOneWord, options).objective, best.objective, 1e-9 * best.objective);
}

TEST(Heuristics, ARequestedStopReturnsWhatWasFound) {
  std::stop_source stop;
  stop.request_stop();
  HeuristicOptions options = options_of(Heuristic::annealing, 1000000);
  const HeuristicResult result =
      search_heuristically(keeping_arch(40, 4), test::matmul(12, 8, 6), kOneWord, options, stop.get_token());
  EXPECT_EQ(result.looked_at, 0);
  EXPECT_FALSE(result.found);
}

TEST(Heuristics, RefuseOptionsThatNeverEnd) {
  const auto refuse = [](const HeuristicOptions& options) {
    return test::caught_from(
        [&] { (void)search_heuristically(keeping_arch(64), test::matmul(2, 2, 2), kOneWord, options); });
  };
  HeuristicOptions endless = options_of(Heuristic::random, 0);
  endless.victory = 5;
  EXPECT_EQ(refuse(endless).message, "the search may never end");
  endless.timeout = 5;
  endless.victory = 0;
  EXPECT_EQ(refuse(endless).message, "the search may never end");
  EXPECT_EQ(refuse(options_of(Heuristic::annealing, 0)).message, "annealing cools down over its budget and needs one");
  HeuristicOptions front = options_of(Heuristic::random, 5);
  front.objective = Objective::pareto;
  EXPECT_EQ(refuse(front).message, "objective 'pareto': heuristics look for one best mapping");
  HeuristicOptions streams = options_of(Heuristic::random, 5);
  streams.streams = 0;
  EXPECT_EQ(refuse(streams).message, "streams: expected 1 to 65536, got 0");
  EXPECT_EQ(refuse(options_of(Heuristic::random, -1)).message,
            "budget, victory, timeout and search_size must not be negative");
  EXPECT_EQ(test::caught_from([] { (void)parse_heuristic("greedy"); }).message, "unknown heuristic 'greedy'");
}

}  // namespace
}  // namespace quantloom

// How much the mappers look at, on fixed cases: a bound that is lower than it could be, an order that is worse or a
// check that comes too late leaves the answers as they are and shows here alone, whatever the clock says. A change that
// is meant changes the numbers; less is better.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <ostream>
#include <vector>

#include "exact_mapper.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/mapspace.hpp"
#include "random_cases.hpp"
#include "some_of.hpp"

namespace quantloom {
namespace {

using test::CaseMaker;

constexpr int kCasesEach = 20;
constexpr Count kBudget = 30;  // mappings, where a search is stopped early
constexpr double kMostFactorizations = 4000;
constexpr std::uint64_t kMostPoints = 100'000'000;
constexpr std::uint32_t kFirstSeed = 7'000'000;

// Sums over the settings of the cases.
struct Work {
  Count priced = 0;   // mappings that branch and bound evaluated
  Count cut = 0;      // branches that it left out
  Count pruned = 0;   // mappings that the walk did not evaluate, as arithmetic alone costs more than the best
  Count fitting = 0;  // mappings that fit, of those that the walk met
  Count missing = 0;  // words that the nearest mapping has too many, where none fits
  Count stopped = 0;  // lower bounds of both after kBudget mappings, in thousandths of the optimum
  bool operator==(const Work&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Work& work) {
  return out << '{' << work.priced << ", " << work.cut << ", " << work.pruned << ", " << work.fitting << ", "
             << work.missing << ", " << work.stopped << '}';
}

bool is_small(const Mapspace& space) {
  double factorizations = 1;
  for (const std::uint64_t size : space.sizes().factorizations) factorizations *= static_cast<double>(size);
  return factorizations <= kMostFactorizations && space.size() <= BigUnsigned(kMostPoints);
}

// Whatever a search that was stopped says, the optimum is not below it.
void add_bounds(const std::vector<Optimum>& optima, const std::vector<Optimum>& stopped, Work& work) {
  for (std::size_t i = 0; i < optima.size(); ++i) {
    if (!optima[i].found) continue;
    const double share = stopped[i].certificate.lower_bound / optima[i].objective;
    EXPECT_LE(share, 1);
    EXPECT_TRUE(!stopped[i].found || stopped[i].objective >= optima[i].objective);
    work.stopped += std::llround(1000 * share);
  }
}

// Cases that have no mapspace, or a large one, are passed over.
bool add_case(bool wide, std::uint32_t seed, MapperOptions options, Work& work) {
  CaseMaker maker(seed);
  const Workload workload = wide ? maker.strided_workload() : maker.workload();
  const Arch arch = wide ? maker.wide_arch(workload) : maker.arch(workload);
  const auto settings = maker.settings();
  try {
    if (!is_small(Mapspace(arch, workload)) || !can_optimize_exactly(arch, workload, options)) return false;
  } catch (const Error& error) {
    return false;
  }
  for (const Optimum& optimum : optimize_exactly(arch, workload, settings, options, {}, {})) {
    work.priced += optimum.certificate.considered;
    work.cut += optimum.certificate.pruned_by_bound;
  }
  MapperOptions walk = options;
  walk.method = SearchMethod::exhaustive;
  const std::vector<Optimum> optima = optimize(arch, workload, settings, walk);
  for (const Optimum& optimum : optima) {
    work.pruned += optimum.certificate.pruned_by_bound;
    work.fitting += optimum.certificate.fitting;
    if (!optimum.found) work.missing += optimum.infeasibility.need_words - optimum.infeasibility.have_words;
  }
  options.budget = walk.budget = kBudget;
  add_bounds(optima, optimize_exactly(arch, workload, settings, options, {}, {}), work);
  add_bounds(optima, optimize(arch, workload, settings, walk), work);
  return true;
}

// By objective, of which a sanitizer's build has time for the first.
using Pinned = std::array<Work, 5>;

void expect_work(bool wide, CostModel model, Pinned expected) {
  Pinned found;
  MapperOptions options;
  options.model = model;
  options.threads = 1;
  std::uint32_t seed = kFirstSeed;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (test::kIsSanitized && i > 0) {
      expected[i] = Work{};
      continue;
    }
    options.objective = static_cast<Objective>(i);
    for (int cases = 0; cases < kCasesEach; ++seed) cases += add_case(wide, seed, options, found[i]) ? 1 : 0;
  }
  EXPECT_EQ(found, expected);
}

TEST(ExactEffort, LayersInTheDefaultModel) {
  expect_work(false, CostModel::default_model,
              {{{3860, 2721, 0, 24768, 211, 95250},
                {2068, 193, 465, 4758, 27, 120598},
                {21114, 1055, 71, 44566, 5, 96340},
                {8209, 374, 221, 14832, 32, 60109},
                {7782, 1578, 0, 32718, 2, 0}}});
}
TEST(ExactEffort, LayersInCompat) {
  expect_work(false, CostModel::compat,
              {{{3548, 2563, 0, 24823, 227, 105099},
                {1649, 500, 686, 4978, 24, 123592},
                {22084, 1245, 6121, 47041, 0, 106124},
                {7460, 336, 312, 15020, 32, 69111},
                {9397, 1199, 0, 35913, 2, 0}}});
}
TEST(ExactEffort, WindowsOverLanesInTheDefaultModel) {
  expect_work(true, CostModel::default_model,
              {{{15901, 2100, 0, 24225, 0, 92115},
                {21815, 2958, 7627, 42694, 0, 96928},
                {5182, 1393, 171, 13667, 0, 76393},
                {13244, 2114, 8029, 43406, 0, 44535},
                {5881, 476, 0, 6207, 0, 0}}});
}
TEST(ExactEffort, WindowsOverLanesInCompat) {
  expect_work(true, CostModel::compat,
              {{{14471, 4076, 0, 26324, 0, 95659},
                {10106, 1757, 24751, 55381, 0, 125425},
                {4066, 1330, 310, 14822, 0, 83575},
                {16064, 2611, 10040, 47191, 0, 43625},
                {6171, 589, 0, 6442, 0, 0}}});
}

}  // namespace
}  // namespace quantloom

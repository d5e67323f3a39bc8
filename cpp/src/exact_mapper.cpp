#include "exact_mapper.hpp"

#include <algorithm>
#include <numeric>

#include "exact_search.hpp"
#include "quantities.hpp"
#include "use_limits.hpp"

namespace quantloom {
namespace {

// Classes that pack more elements into a word allow every mapping that a coarser class allows: solve the coarser first.
std::vector<std::size_t> coarsest_first(const SettingTable& table) {
  std::vector<std::size_t> order(table.classes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto elements = [&](std::size_t c) {
    Count sum = 0;
    for (std::size_t t = 0; t < table.packings.size(); ++t) {
      for (const Count n : table.packings[t][static_cast<std::size_t>(table.classes[c][t])].elements_per_word) sum += n;
    }
    return sum;
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return elements(a) < elements(b); });
  return order;
}

// Beyond these the lists or the orders of one leaf take longer than it is worth.
constexpr std::uint64_t kMostVectors = std::uint64_t{1} << 18;  // of one group
constexpr std::uint64_t kMostOrders = 4096;                     // orders and splits of one factorization
constexpr std::size_t kMostOpenPairs = 8;                       // tensors that a level may keep or bypass

std::uint64_t count_orders(const exact::Problem& problem) {
  std::uint64_t count = 1;
  for (int b = 0; b < problem.num_blocks(); ++b) {
    std::uint32_t units = 0;
    for (int d = 0; d < problem.parts.num_dims(); ++d) {
      bool loops = false;
      for (std::uint32_t r = 0; r < problem.num_rows(d) && !loops; ++r) loops = problem.factor(d, r, b) > 1;
      units |= static_cast<std::uint32_t>(!loops) << d;
    }
    const detail::BlockOrders orders = make_orders(problem.parts.rules[static_cast<std::size_t>(b)], units, Enumeration::distinct);
    if (__builtin_mul_overflow(count, orders.permutations() * orders.splits(), &count)) return UINT64_MAX;
  }
  return count;
}

bool can_list(const exact::Problem& problem) {
  for (const exact::Group& group : problem.groups) {
    std::uint64_t vectors = 1;
    for (const int d : group.dims) {
      vectors *= problem.num_rows(d);
      if (vectors > kMostVectors) return false;
    }
  }
  return problem.parts.open.size() <= kMostOpenPairs && count_orders(problem) <= kMostOrders;
}

bool exceeds_doubles(const Workload& workload) {
  bool out = static_cast<double>(workload.macs()) > kLargestExactCount;
  for (int t = 0; t < workload.num_tensors(); ++t) out = out || static_cast<double>(workload.tensor_elements(t)) > kLargestExactCount;
  return out;
}

}  // namespace

bool can_optimize_exactly(const Arch& arch, const Workload& workload, const MapperOptions& options) {
  if (exceeds_doubles(workload)) return false;
  const Mapspace space(arch, workload, options.selection);
  if (limits_words(space.constraints())) return false;  // lists drop tiles that no best mapping needs, but a limit may
  std::uint64_t rows = 0;
  for (const std::uint64_t size : space.sizes().factorizations) rows += std::min(size, kMostVectors + 1);
  return rows <= kMostVectors && can_list(exact::Problem(arch, workload, options.selection));
}

std::vector<Optimum> optimize_exactly(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings,
                                      const MapperOptions& options, std::stop_token stop, const Progress& progress) {
  const SettingTable table = group_settings(arch, workload, settings, options);
  const exact::Problem problem(arch, workload, options.selection);
  exact::Search search(problem, table, options);
  const std::string size = Mapspace(arch, workload, options.selection).size().to_string();
  std::vector<Optimum> by_class(table.classes.size());
  std::uint64_t done = 0;
  for (const std::size_t c : coarsest_first(table)) {
    exact::Effort effort;
    const exact::Best best = search.solve(c, options.budget, stop, effort);
    Optimum& optimum = by_class[c];
    optimum.certificate.method = "branch and bound over loop-order skeletons, lanes and factor vectors";
    optimum.certificate.space_size = size;
    optimum.certificate.considered = effort.priced;
    optimum.certificate.fitting = effort.priced;
    optimum.certificate.pruned_by_bound = effort.cut;
    optimum.certificate.exhausted = effort.complete;
    std::vector<Tradeoff> points;
    for (const auto& point : best.points()) points.push_back({search.materialize(point.place), point.energy_pj, point.cycles});
    set_points(std::move(points), options.objective, optimum);
    if (options.objective != Objective::pareto) {
      const double bound = effort.complete ? kInfinity : effort.open_bound;
      optimum.certificate.lower_bound = optimum.found || !effort.complete ? std::min(optimum.objective, bound) : 0;
    }
    if (progress) progress({++done, table.classes.size()});
  }
  std::vector<Optimum> out;
  for (const int c : table.class_of) out.push_back(by_class[static_cast<std::size_t>(c)]);
  return out;
}

}  // namespace quantloom

#include "exact_mapper.hpp"

#include <algorithm>
#include <numeric>

#include "exact_search.hpp"

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

}  // namespace

std::vector<Optimum> optimize_exactly(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings,
                                      const MapperOptions& options, std::stop_token stop, const Progress& progress) {
  const SettingTable table = group_settings(arch, workload, settings, options);
  const exact::Problem problem(arch, workload, options.selection);
  exact::Search search(problem, table, options);
  const std::string size = Mapspace(arch, workload, options.selection).size().to_string();
  std::vector<Optimum> by_class(table.classes.size());
  std::vector<exact::Position> seeds;
  std::uint64_t done = 0;
  for (const std::size_t c : coarsest_first(table)) {
    exact::Effort effort;
    const exact::Incumbent best = search.solve(table.classes[c], seeds, options.budget, stop, effort);
    Optimum& optimum = by_class[c];
    optimum.found = best.found;
    optimum.certificate.method = "branch and bound";
    optimum.certificate.space_size = size;
    optimum.certificate.considered = effort.priced;
    optimum.certificate.fitting = effort.priced;
    optimum.certificate.pruned_by_bound = effort.cut;
    optimum.certificate.exhausted = effort.complete;
    optimum.certificate.lower_bound = effort.complete ? best.objective : std::min(best.found ? best.objective : effort.open_bound, effort.open_bound);
    if (best.found) {
      optimum.mapping = search.materialize(best.position);
      optimum.energy_pj = best.energy_pj;
      optimum.cycles = best.cycles;
      optimum.objective = best.objective;
      const auto same = [&](const exact::Position& other) { return !exact::comes_before(other, best.position, problem) && !exact::comes_before(best.position, other, problem); };
      if (std::none_of(seeds.begin(), seeds.end(), same)) seeds.push_back(best.position);
    }
    if (progress) progress(++done, table.classes.size());
  }
  std::vector<Optimum> out;
  for (const int c : table.class_of) out.push_back(by_class[static_cast<std::size_t>(c)]);
  return out;
}

}  // namespace quantloom

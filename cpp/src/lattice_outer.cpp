#include "lattice_outer.hpp"

#include <algorithm>
#include <limits>

namespace quantloom::lattice {

OuterCosts::OuterCosts(const Problem& problem, const Prices& prices) {
  const int top = problem.num_levels() - 1;
  const int level = top - 1;
  const auto tensors = static_cast<std::size_t>(problem.num_tensors());
  const std::uint32_t all = (1U << tensors) - 1;
  const auto& capacity = problem.parts.arch.level(level).capacity_words;
  const std::uint64_t shapes = problem.num_shapes();
  entries_.resize(all + 1);
  least_.assign(all + 1, std::vector<double>(shapes, std::numeric_limits<double>::infinity()));
  least_[0].assign(shapes, 0);
  for (std::uint64_t s = 0; s < shapes; ++s) {
    const Shape shape = problem.shape(s);
    std::array<Count, kMaxLatticeTensors> tile{};
    std::array<Count, kMaxLatticeTensors> irrelevant{};
    tile.fill(1);
    irrelevant.fill(1);
    Count outside = 1;
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      const LatticeDim& dim = problem.dims[d];
      const Count extent = dim.divisors[shape[d]];
      outside *= dim.bound / extent;
      for (std::size_t t = 0; t < tensors; ++t) ((dim.relevant >> t & 1U) != 0 ? tile[t] : irrelevant[t]) *= (dim.relevant >> t & 1U) != 0 ? extent : dim.bound / extent;
    }
    Count window_moves = 0;
    if (problem.window.tensor() >= 0) {
      Extents extents{};
      Extents bounds{};
      for (std::size_t d = 0; d < problem.dims.size(); ++d) {
        extents[d] = problem.dims[d].divisors[shape[d]];
        bounds[d] = problem.dims[d].bound / extents[d];
      }
      tile[static_cast<std::size_t>(problem.window.tensor())] = problem.window.tile(extents);
      window_moves = problem.window.least_moves(extents, bounds);
    }
    // Each copy with and without its run; one with a window in the best order for it.
    std::array<std::array<double, 2>, kMaxLatticeTensors> cost{};
    double ignored = 0;
    for (std::size_t t = 0; t < tensors; ++t) {
      for (const std::size_t runs : {0U, 1U}) {
        const int tensor = static_cast<int>(t);
        const Count moves = tensor == problem.window.tensor() ? window_moves : tile[t] * outside / (runs == 1 ? irrelevant[t] : 1);
        cost[t][runs] = prices.filled_pj(tensor, level, kUnits, moves, ignored) + prices.taken_pj(tensor, top, kUnits, moves, ignored, ignored);
      }
    }
    for (std::uint32_t keep = 1; keep <= all; ++keep) {
      if ((keep & ~(problem.open[static_cast<std::size_t>(level)] | problem.forced[static_cast<std::size_t>(level)])) != 0) continue;
      double sum = 0;
      double saved = 0;
      Count words = 0;
      for (std::size_t t = 0; t < tensors; ++t) {
        if ((keep >> t & 1U) == 0) continue;
        words = saturating_add(words, prices.least_tile_words(static_cast<int>(t), level, tile[t]));
        sum += cost[t][0];
        saved = std::max(saved, cost[t][0] - cost[t][1]);
      }
      if (capacity && words > *capacity) continue;
      entries_[keep].push_back({sum - saved, static_cast<std::uint32_t>(s)});
      least_[keep][s] = sum - saved;
    }
  }
  for (auto& list : entries_) {
    std::stable_sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) { return a.energy_pj < b.energy_pj; });
  }
  // From the largest shape down.
  for (std::uint64_t s = shapes; s-- > 0;) {
    const Shape shape = problem.shape(s);
    for (std::size_t d = 0; d < problem.dims.size(); ++d) {
      for (const std::uint8_t index : problem.dims[d].multiples[shape[d]]) {
        if (index == shape[d]) continue;
        Shape wider = shape;
        wider[d] = index;
        const std::uint64_t other = problem.code(wider);
        for (auto& list : least_) list[s] = std::min(list[s], list[other]);
      }
    }
  }
}

}  // namespace quantloom::lattice

#include "default_hops.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace quantloom {
namespace {

struct Place {
  Count column = 0;
  Count row = 0;
};

using Offset = std::array<Count, kMaxRanks>;

Offset moved(const TensorSpec& tensor, Offset from, const NestLoop& loop, Count index) {
  for (std::size_t r = 0; r < tensor.ranks.size(); ++r) {
    for (const Term& term : tensor.ranks[r]) {
      if (term.dim == loop.dim) from[r] += index * loop.stride * term.coefficient;
    }
  }
  return from;
}

// Different offsets of the tiles below one child of the level.
std::vector<Offset> inner_offsets(const TensorSpec& tensor, const Nest& nest, int begin, int end, std::uint32_t apart) {
  std::vector<Offset> offsets(1);
  offsets[0].fill(0);
  for (int i = begin; i < end; ++i) {
    const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
    // Places that share nothing move other elements, but equally many the same way.
    if (loop.kind == LoopKind::temporal || (apart >> loop.level & 1U) != 0) continue;
    const std::size_t before = offsets.size();
    for (Count k = 1; k < loop.bound; ++k) {
      for (std::size_t o = 0; o < before; ++o) offsets.push_back(moved(tensor, offsets[o], loop, k));
    }
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
  }
  return offsets;
}

// From column 0 of the centre row along that row to the furthest column, and up and down to the members of each column.
double group_hops(const std::vector<Place>& group, Count rows) {
  const double centre = static_cast<double>(rows - 1) / 2.0;
  struct Reach {
    double above = 0;
    double below = 0;
  };
  std::map<Count, Reach> columns;
  for (const Place& place : group) {
    Reach& reach = columns[place.column];
    reach.above = std::max(reach.above, static_cast<double>(place.row) - centre);
    reach.below = std::max(reach.below, centre - static_cast<double>(place.row));
  }
  double hops = static_cast<double>(columns.rbegin()->first);
  for (const auto& [column, reach] : columns) hops += reach.above + reach.below;
  return hops;
}

}  // namespace

double mean_hops(const Arch& arch, const TensorSpec& tensor, const Nest& nest, int child, int level, std::uint32_t apart) {
  const Level& here = arch.level(level);
  if ((here.hop_energy_pj == 0 && here.router_energy_pj == 0) || nest.mapped_fanout(level) == 1) return 0;
  const auto at = static_cast<std::size_t>(level);
  const int end = child < 0 ? nest.num_loops : nest.begin[static_cast<std::size_t>(child)];
  const std::vector<Offset> inside = inner_offsets(tensor, nest, nest.end(level), std::max(end, nest.end(level)), apart);
  const bool is_shared = (apart >> level & 1U) == 0;
  std::map<std::pair<Count, Offset>, std::vector<Place>> groups;  // by child where nothing is shared
  const Count children = nest.mapped_fanout(level);
  for (Count c = 0; c < children; ++c) {
    Place place;
    Offset offset;
    offset.fill(0);
    Count rest = c;
    Count x = 1;
    Count y = 1;
    for (int i = nest.end(level) - 1; i >= nest.spatial_begin[at]; --i) {
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
      const Count index = rest % loop.bound;
      rest /= loop.bound;
      offset = moved(tensor, offset, loop, index);
      Count& axis = loop.kind == LoopKind::spatial_x ? place.column : place.row;
      Count& radix = loop.kind == LoopKind::spatial_x ? x : y;
      axis += index * radix;
      radix *= loop.bound;
    }
    for (const Offset& inner : inside) {
      Offset sum = offset;
      for (std::size_t r = 0; r < tensor.ranks.size(); ++r) sum[r] += inner[r];
      groups[{is_shared ? 0 : c, sum}].push_back(place);
    }
  }
  const Count rows = std::max(arch.fanout_y(level), nest.spatial_y[at]);
  double hops = 0;
  for (const auto& [tile, group] : groups) hops += group_hops(group, rows);
  return hops / static_cast<double>(groups.size());
}

}  // namespace quantloom

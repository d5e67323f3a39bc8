// How the reference counts accesses: every temporal loop is stepped at iterations 0 and 1 only, a tensor's tile is
// compared with the tile of the step before, and reuse is forgotten when the translation changes. Counted here without
// stepping, in one pass over the loops; compat_stepping.cpp steps. Sections 5.1 to 5.4 of docs/model.md.
//
// Steps are binary numbers, the innermost loop the lowest digit. Step s is reached by advancing loop k, the number of
// trailing zeros of s, while all loops inside it return to 0: by the same move m_k for all these steps, whose weights add
// up to W_k = (N_k - 1) * the bounds of all loops outside k. Every other step is one of loop 0. So the delta rule forgets
// at each even step whose move is not m_0, and starts anew at the odd step behind it:
//   odd steps, and even steps with m_k = m_0    the part of the tile that is new after m_0
//   step 0, and all other even steps            the whole tile
#include <algorithm>
#include <cmath>

#include "access_bins.hpp"

namespace quantloom {
namespace {

constexpr int kMostSpatialLoops = 2 * kMaxDims;  // of one level: each dim once on X and on Y

// One tensor between one level and its children.
struct Edge {
  const Workload& workload;
  const Nest& nest;
  int tensor = 0;
  int level = 0;

  [[nodiscard]] int num_ranks() const { return static_cast<int>(workload.tensors()[static_cast<std::size_t>(tensor)].ranks.size()); }
  [[nodiscard]] const NestLoop& loop(int i) const { return nest.loops[static_cast<std::size_t>(i)]; }
  // Next temporal loop outside loop i, -1 if there is none.
  [[nodiscard]] int next_out(int i) const {
    do --i;
    while (i >= 0 && loop(i).kind != LoopKind::temporal);
    return i;
  }
  [[nodiscard]] int innermost() const { return next_out(nest.end(level)); }
  // How far one iteration of loop i moves the tile, added to `sum`; returns the ranks that it moves.
  std::uint32_t add_step(int i, RankVector& sum) const {
    std::uint32_t ranks = 0;
    for (const RankMove& move : workload.moves(tensor, loop(i).dim)) {
      sum[static_cast<std::size_t>(move.rank)] += loop(i).stride * move.coefficient;
      ranks |= 1U << move.rank;
    }
    return ranks;
  }
  // Product of the bounds outside loop i, and W of the loop.
  [[nodiscard]] double outside(int i) const { return loop(i).steps / static_cast<double>(loop(i).bound); }
  [[nodiscard]] double weight(int i) const { return static_cast<double>(loop(i).bound - 1) * outside(i); }
};

double volume(const RankVector& extents, int ranks) {
  double product = 1;
  for (int r = 0; r < ranks; ++r) product *= static_cast<double>(extents[static_cast<std::size_t>(r)]);
  return product;
}

// Elements of the tile that it holds again after a move.
double overlap_after(RankVector tile, const RankVector& move, int ranks) {
  for (int r = 0; r < ranks; ++r) {
    const auto at = static_cast<std::size_t>(r);
    tile[at] = std::max<Count>(0, tile[at] - std::abs(move[at]));
  }
  return volume(tile, ranks);
}

// A tensor without a sliding window: its tiles are equal or disjoint, so a level hands out one tile for each iteration of
// the loops from the innermost relevant one outwards.
double tile_changes(const Edge& edge) {
  const std::uint32_t relevant = edge.workload.relevant_dims(edge.tensor);
  int i = edge.innermost();
  while (i >= 0 && (relevant >> edge.loop(i).dim & 1U) == 0) i = edge.next_out(i);
  return i < 0 ? 1 : edge.loop(i).steps;
}

// Sum of W_k over the loops k with m_k = m_0 but the innermost one: those whose step is that of the innermost loop plus
// the steps of all loops inside them.
double weight_of_same_moves(const Edge& edge, int innermost) {
  double weight = 0;
  RankVector same{};
  edge.add_step(innermost, same);
  std::uint32_t ranks = edge.add_step(innermost, same);
  for (int i = edge.next_out(innermost); i >= 0; i = edge.next_out(i)) {
    RankVector step{};
    const std::uint32_t moved = edge.add_step(i, step);
    if (moved == ranks && step == same) weight += edge.weight(i);
    ranks |= edge.add_step(i, same);
  }
  return weight;
}

// The level's spatial loops as one tensor sees them.
class Spread {
 public:
  Spread(const Edge& edge, Count grid_x, Count grid_y, bool with_hops, CompatScratch& scratch, LevelAccesses& out)
      : edge_(edge), grid_x_(grid_x), grid_y_(grid_y), with_hops_(with_hops), scratch_(scratch), out_(out) {}

  // Elements that each group of children with equal data needs, handed out once a group.
  void hand_out(double elements) {
    if (!with_hops_ && hand_out_product(elements)) return;
    distribute(elements, groups().bins());
  }

  // The same, where the children have moved by `move` and their new data has the same shape as in the step before: what a
  // neighbour received then is taken from it.
  void hand_out_moved(const RankVector& move, double elements) {
    if (!is_within_reach(move)) return hand_out(elements);
    const LinkedChildren& linked = groups().after_move(move);
    if (linked.linked == 0) return hand_out(elements);
    distribute(elements, linked.bins);
    out_.link_transfers += linked.linked * elements;
  }

 private:
  // If each rank is moved by one dim only, offsets are equal exactly if the relevant indices are; false otherwise.
  bool hand_out_product(double elements) {
    Count multicast = 1;
    Count scatter = 1;
    std::uint32_t dims = 0;
    std::uint32_t ranks = 0;
    for (int i = begin(); i < end(); ++i) {
      const NestLoop& loop = edge_.loop(i);
      const auto moves = edge_.workload.moves(edge_.tensor, loop.dim);
      (moves.empty() ? multicast : scatter) *= loop.bound;
      if ((dims >> loop.dim & 1U) != 0) continue;  // Y and X of one dim: its strides are nested
      dims |= 1U << loop.dim;
      for (const RankMove& move : moves) {
        if ((ranks >> move.rank & 1U) != 0) return false;
        ranks |= 1U << move.rank;
      }
    }
    out_.add(multicast, scatter, elements * static_cast<double>(scatter), 0);
    return true;
  }

  void distribute(double elements, const std::vector<GroupBin>& bins) {
    // Hops are the mean over the groups times the accesses; the number of groups cancels out.
    for (const GroupBin& bin : bins) out_.add(bin.size, bin.groups, elements * bin.groups, with_hops_ ? bin.hops * elements : 0);
  }

  // False if no two children are that far apart.
  bool is_within_reach(const RankVector& move) {
    if (!has_reach_) {
      has_reach_ = true;
      for (int i = begin(); i < end(); ++i) {
        for (const RankMove& along : edge_.workload.moves(edge_.tensor, edge_.loop(i).dim)) {
          reach_[static_cast<std::size_t>(along.rank)] += (edge_.loop(i).bound - 1) * edge_.loop(i).stride * along.coefficient;
        }
      }
    }
    for (int r = 0; r < edge_.num_ranks(); ++r) {
      if (std::abs(move[static_cast<std::size_t>(r)]) > reach_[static_cast<std::size_t>(r)]) return false;
    }
    return true;
  }

  ChildGroups& groups() {
    if (groups_ != nullptr) return *groups_;
    std::array<SpatialLoop, kMostSpatialLoops> loops;
    std::size_t count = 0;
    for (int i = begin(); i < end(); ++i) {
      loops[count].bound = edge_.loop(i).bound;
      loops[count].step.fill(0);
      edge_.add_step(i, loops[count++].step);
    }
    const auto at = static_cast<std::size_t>(edge_.level);
    groups_ = &scratch_.children.find({loops.data(), count}, edge_.num_ranks(), std::max(grid_x_, edge_.nest.spatial_x[at]),
                                      std::max(grid_y_, edge_.nest.spatial_y[at]));
    return *groups_;
  }

  [[nodiscard]] int begin() const { return edge_.nest.spatial_begin[static_cast<std::size_t>(edge_.level)]; }
  [[nodiscard]] int end() const { return edge_.nest.end(edge_.level); }

  const Edge& edge_;
  Count grid_x_;
  Count grid_y_;
  bool with_hops_;
  CompatScratch& scratch_;
  LevelAccesses& out_;
  ChildGroups* groups_ = nullptr;
  bool has_reach_ = false;
  RankVector reach_{};  // largest distance of two children, per rank
};

// One child: `whole` steps of the whole tile, all others of its new part.
double count_one_child(const Edge& edge, const RankVector& tile, int innermost) {
  const double elements = volume(tile, edge.num_ranks());
  if (innermost < 0) return elements;
  RankVector move{};
  edge.add_step(innermost, move);
  const double overlap = overlap_after(tile, move, edge.num_ranks());
  if (overlap == 0) return elements * edge.loop(innermost).steps;
  const double same = weight_of_same_moves(edge, innermost);
  return elements * (edge.outside(innermost) - same) + (elements - overlap) * (edge.weight(innermost) + same);
}

// Tiles, all of one shape, that never overlap the one before: any move may bring a child to its neighbour's last tile.
void count_whole_tiles(const Edge& edge, double elements, int innermost, Spread& spread) {
  spread.hand_out(elements);
  RankVector inside{};
  for (int i = innermost; i >= 0; i = edge.next_out(i)) {
    RankVector move{};
    edge.add_step(i, move);
    for (std::size_t r = 0; r < move.size(); ++r) move[r] -= inside[r];
    spread.hand_out_moved(move, elements * edge.weight(i));
    edge.add_step(i, inside);
  }
}

void count_children(const Edge& edge, const RankVector& tile, int innermost, Spread& spread) {
  const double elements = volume(tile, edge.num_ranks());
  if (innermost < 0) return spread.hand_out(elements);
  RankVector move{};
  edge.add_step(innermost, move);
  const double overlap = overlap_after(tile, move, edge.num_ranks());
  if (overlap == 0 || edge.level == 0) return count_whole_tiles(edge, elements, innermost, spread);
  const double part = elements - overlap;
  const double same = weight_of_same_moves(edge, innermost);
  const double whole = edge.outside(innermost) - same;
  const auto bound = static_cast<double>(edge.loop(innermost).bound);
  // The new part has the shape of the one before unless that was a whole tile: the step behind each of them.
  spread.hand_out(whole * (elements + (bound - 1) * part));
  if (part > 0 && same > 0) spread.hand_out_moved(move, bound * same * part);
}

}  // namespace

double LevelAccesses::total() const noexcept {
  double sum = 0;
  for (const AccessBin& bin : bins) sum += bin.accesses;
  return sum;
}

double LevelAccesses::received() const noexcept {
  double sum = 0;
  for (const AccessBin& bin : bins) sum += bin.accesses * static_cast<double>(bin.multicast);
  return sum;
}

double LevelAccesses::received_by_each(Count children) const noexcept {
  double sum = 0;
  for (const AccessBin& bin : bins) sum += bin.accesses * static_cast<double>(bin.multicast) / static_cast<double>(children);
  return sum;
}

void LevelAccesses::add(Count multicast, Count scatter, double accesses, double hops) {
  const auto before = [](const AccessBin& bin, std::pair<Count, Count> key) {
    return std::pair{bin.multicast, bin.scatter} < key;
  };
  const auto it = std::lower_bound(bins.begin(), bins.end(), std::pair{multicast, scatter}, before);
  if (it != bins.end() && it->multicast == multicast && it->scatter == scatter) {
    it->accesses += accesses;
    it->hops += hops;
    return;
  }
  bins.insert(it, {multicast, scatter, accesses, hops});
}

void count_compat_accesses(const Workload& workload, const Nest& nest, int tensor, int level, const RankVector& tile, Count grid_x, Count grid_y,
                           bool with_hops, CompatScratch& scratch, LevelAccesses& out) {
  out.bins.clear();
  out.link_transfers = 0;
  const Edge edge{workload, nest, tensor, level};
  const bool one_child = nest.mapped_fanout(level) == 1;
  if (level == 0 && one_child) {
    out.bins.push_back({1, 1, static_cast<double>(nest.temporal_steps), 0});
    return;
  }
  const bool disjoint = level > 0 && !workload.has_window(tensor);
  const double changed = disjoint ? volume(tile, edge.num_ranks()) * tile_changes(edge) : 0;
  if (one_child) {
    out.bins.push_back({1, 1, disjoint ? changed : count_one_child(edge, tile, edge.innermost()), 0});
    return;
  }
  Spread spread(edge, grid_x, grid_y, with_hops, scratch, out);
  if (disjoint) return spread.hand_out(changed);
  count_children(edge, tile, edge.innermost(), spread);
}

}  // namespace quantloom

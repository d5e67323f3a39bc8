// The reference's count as it does it: every temporal loop is stepped at iterations 0 and 1, which takes 2^loops steps. Kept
// to check compat_counts.cpp, with which it shares no code. Sections 5.1 to 5.4 of docs/model.md.
#include <algorithm>
#include <cmath>

#include "access_bins.hpp"

namespace quantloom {
namespace {

using Point = std::array<Count, kMaxRanks>;

struct Box {
  Point low;
  Point high;  // exclusive
};

// New data of one step relative to the tile's own low corner: at most two boxes a rank.
struct Delta {
  int num_boxes = 0;
  std::array<Box, std::size_t{2} * kMaxRanks> boxes;
  double volume = 0;
};

struct Projection {
  int num_ranks = 0;
  Point tile;  // extent of a child's tile
};

double box_volume(const Box& box, int ranks) {
  double volume = 1;
  for (int r = 0; r < ranks; ++r) volume *= static_cast<double>(box.high[r] - box.low[r]);
  return volume;
}

void push_box(Delta& delta, const Box& box, int ranks) {
  delta.boxes[static_cast<std::size_t>(delta.num_boxes++)] = box;
  delta.volume += box_volume(box, ranks);
}

void whole_tile(const Projection& projection, Delta& delta) {
  delta.num_boxes = 0;
  delta.volume = 0;
  Box box;
  box.low.fill(0);
  box.high = projection.tile;
  push_box(delta, box, projection.num_ranks);
}

// Tile minus the same tile displaced by -move, sliced rank by rank.
void subtract_previous(const Projection& projection, const Point& move, Delta& delta) {
  delta.num_boxes = 0;
  delta.volume = 0;
  for (int r = 0; r < projection.num_ranks; ++r) {
    if (std::abs(move[r]) >= projection.tile[r]) {
      whole_tile(projection, delta);
      return;
    }
  }
  Box rest;
  rest.low.fill(0);
  rest.high = projection.tile;
  for (int r = 0; r < projection.num_ranks; ++r) {
    const Count previous_low = -move[r];
    const Count previous_high = previous_low + projection.tile[r];
    if (previous_low > rest.low[r]) {
      Box below = rest;
      below.high[r] = previous_low;
      push_box(delta, below, projection.num_ranks);
      rest.low[r] = previous_low;
    }
    if (previous_high < rest.high[r]) {
      Box above = rest;
      above.low[r] = previous_high;
      push_box(delta, above, projection.num_ranks);
      rest.high[r] = previous_high;
    }
  }
}

// The displacement that carries `delta` onto `previous` if they have the same shape.
bool same_shape(const Delta& delta, const Delta& previous, int ranks, Point& shift) {
  if (delta.num_boxes != previous.num_boxes || delta.num_boxes == 0) return false;
  for (int r = 0; r < ranks; ++r) shift[r] = previous.boxes[0].low[r] - delta.boxes[0].low[r];
  for (int b = 0; b < delta.num_boxes; ++b) {
    const Box& here = delta.boxes[static_cast<std::size_t>(b)];
    const Box& there = previous.boxes[static_cast<std::size_t>(b)];
    for (int r = 0; r < ranks; ++r) {
      if (there.low[r] - here.low[r] != shift[r] || there.high[r] - here.high[r] != shift[r]) return false;
    }
  }
  return true;
}

void move_along(const TensorSpec& tensor, const NestLoop& loop, Count iterations, Point& point) {
  for (std::size_t r = 0; r < tensor.ranks.size(); ++r) {
    for (const Term& term : tensor.ranks[r]) {
      if (term.dim == loop.dim) point[r] += iterations * loop.stride * term.coefficient;
    }
  }
}

struct SteppedScratch {
  std::vector<Count> offsets;        // child x rank
  std::vector<int> group;            // child -> its multicast group (children with equal offsets)
  std::vector<int> group_size;
  std::vector<int> live_size;        // group sizes without the children served by a neighbour
  std::vector<std::uint8_t> linked;  // child is served by a neighbour
};

// The spatial children of one level: where their tiles lie, who shares data, where they sit on the grid.
class Children {
 public:
  Children(const TensorSpec& tensor, const Nest& nest, int level, Count grid_x, Count grid_y, SteppedScratch& scratch)
      : ranks_(static_cast<int>(tensor.ranks.size())), scratch_(scratch) {
    const auto at = static_cast<std::size_t>(level);
    columns_ = std::max(grid_x, nest.spatial_x[at]);
    rows_ = std::max(grid_y, nest.spatial_y[at]);
    count_ = static_cast<int>(nest.mapped_fanout(level));
    place(tensor, nest, nest.spatial_begin[at], nest.end(level));
    group_equal();
  }

  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] int num_groups() const { return static_cast<int>(scratch_.group_size.size()); }

  // Marks children whose data equals what a grid neighbour received in the step before; returns how many.
  int mark_linked(const Point& move, const Point& shift) {
    scratch_.linked.assign(static_cast<std::size_t>(count_), 0);
    int linked = 0;
    for (int child = 0; child < count_; ++child) {
      const Count column = child % columns_;
      const Count row = child / columns_;
      const bool found = (column > 0 && served_by(child, child - 1, move, shift)) ||
                         (column + 1 < columns_ && served_by(child, child + 1, move, shift)) ||
                         (row > 0 && served_by(child, child - columns_, move, shift)) ||
                         (row + 1 < rows_ && served_by(child, child + columns_, move, shift));
      scratch_.linked[static_cast<std::size_t>(child)] = found ? 1 : 0;
      linked += found ? 1 : 0;
    }
    return linked;
  }

  // Group sizes left when linked children drop out; returns the number of groups that remain.
  int regroup_without_linked() {
    scratch_.live_size.assign(scratch_.group_size.size(), 0);
    for (int child = 0; child < count_; ++child) {
      if (scratch_.linked[static_cast<std::size_t>(child)] == 0) {
        ++scratch_.live_size[static_cast<std::size_t>(scratch_.group[static_cast<std::size_t>(child)])];
      }
    }
    return static_cast<int>(std::count_if(scratch_.live_size.begin(), scratch_.live_size.end(), [](int n) { return n > 0; }));
  }

  // Puts one step's data into the bins, one access per group; without the linked children if `live_only`.
  void distribute(double elements_per_group, bool live_only, LevelAccesses& out) {
    const std::vector<int>& sizes = live_only ? scratch_.live_size : scratch_.group_size;
    for (std::size_t g = 0; g < sizes.size(); ++g) {
      const int size = sizes[g];
      const auto end_seen = sizes.begin() + static_cast<std::ptrdiff_t>(g);
      if (size == 0 || std::find(sizes.begin(), end_seen, size) != end_seen) continue;
      int groups = 0;
      double hops = 0;
      for (std::size_t other = g; other < sizes.size(); ++other) {
        if (sizes[other] != size) continue;
        ++groups;
        hops += group_hops(static_cast<int>(other), live_only);
      }
      // The mean over the groups times the accesses; the number of groups cancels out.
      out.add(size, groups, elements_per_group * groups, hops * elements_per_group);
    }
  }

 private:
  void place(const TensorSpec& tensor, const Nest& nest, int begin, int end) {
    auto& offsets = scratch_.offsets;
    offsets.assign(static_cast<std::size_t>(count_) * static_cast<std::size_t>(ranks_), 0);
    for (int child = 0; child < count_; ++child) {
      Point point;
      point.fill(0);
      Count rest = child;
      for (int i = end - 1; i >= begin; --i) {
        const NestLoop& loop = nest.loops[static_cast<std::size_t>(i)];
        move_along(tensor, loop, rest % loop.bound, point);
        rest /= loop.bound;
      }
      std::copy_n(point.begin(), ranks_, offsets.begin() + static_cast<std::ptrdiff_t>(child) * ranks_);
    }
  }

  [[nodiscard]] const Count* offset(Count child) const {
    return scratch_.offsets.data() + static_cast<std::size_t>(child) * static_cast<std::size_t>(ranks_);
  }

  void group_equal() {
    scratch_.group.assign(static_cast<std::size_t>(count_), 0);
    scratch_.group_size.clear();
    for (int child = 0; child < count_; ++child) {
      int group = -1;
      for (int before = 0; before < child && group < 0; ++before) {
        if (std::equal(offset(child), offset(child) + ranks_, offset(before))) group = scratch_.group[static_cast<std::size_t>(before)];
      }
      if (group < 0) {
        group = num_groups();
        scratch_.group_size.push_back(0);
      }
      scratch_.group[static_cast<std::size_t>(child)] = group;
      ++scratch_.group_size[static_cast<std::size_t>(group)];
    }
  }

  [[nodiscard]] bool served_by(int child, Count neighbour, const Point& move, const Point& shift) const {
    if (neighbour < 0 || neighbour >= count_) return false;
    for (int r = 0; r < ranks_; ++r) {
      if (move[r] + offset(child)[r] - offset(neighbour)[r] != shift[r]) return false;
    }
    return true;
  }

  // Furthest column, plus for each column with a member the reach above and below the centre row.
  [[nodiscard]] double group_hops(int group, bool live_only) const {
    const double centre = static_cast<double>(rows_ - 1) / 2.0;
    double furthest = 0;
    double reach = 0;
    for (Count column = 0; column < columns_; ++column) {
      double above = 0;
      double below = 0;
      bool used = false;
      for (Count child = column; child < count_; child += columns_) {
        const auto c = static_cast<std::size_t>(child);
        if (scratch_.group[c] != group || (live_only && scratch_.linked[c] != 0)) continue;
        const Count row = child / columns_;
        const double from_centre = static_cast<double>(row) - centre;
        used = true;
        above = std::max(above, from_centre);
        below = std::max(below, -from_centre);
      }
      if (!used) continue;
      furthest = static_cast<double>(column);
      reach += above + below;
    }
    return furthest + reach;
  }

  int ranks_ = 0;
  int count_ = 0;
  Count columns_ = 1;
  Count rows_ = 1;
  SteppedScratch& scratch_;
};

// Walks the two iterations of every temporal loop outside the children and reports each step's new data.
template <class OnStep>
void for_each_step(const TensorSpec& tensor, const Nest& nest, int level, const Projection& projection, bool reuse,
                   OnStep&& on_step) {
  std::array<int, Nest::kMaxLoops> stepped;
  int depth = 0;
  for (int i = 0; i < nest.end(level); ++i) {
    if (nest.loops[static_cast<std::size_t>(i)].kind == LoopKind::temporal) stepped[static_cast<std::size_t>(depth++)] = i;
  }
  Point position;
  Point previous_position;
  Point previous_move;
  bool has_previous = false;
  bool has_move = false;
  Delta delta;
  const std::uint64_t steps = std::uint64_t{1} << depth;
  for (std::uint64_t step = 0; step < steps; ++step) {
    position.fill(0);
    double weight = 1;
    for (int k = 0; k < depth; ++k) {
      if ((step >> (depth - 1 - k) & 1U) == 0) continue;
      const NestLoop& loop = nest.loops[static_cast<std::size_t>(stepped[static_cast<std::size_t>(k)])];
      weight *= static_cast<double>(loop.bound - 1);
      move_along(tensor, loop, 1, position);
    }
    Point move;
    move.fill(0);
    if (has_previous) {
      for (int r = 0; r < projection.num_ranks; ++r) move[r] = position[r] - previous_position[r];
    }
    if (!reuse || !has_previous) {
      whole_tile(projection, delta);
    } else if (!has_move || std::equal(move.begin(), move.begin() + projection.num_ranks, previous_move.begin())) {
      subtract_previous(projection, move, delta);
      previous_move = move;
      has_move = true;
    } else {
      whole_tile(projection, delta);
      has_move = false;
    }
    on_step(weight, move, delta);
    previous_position = position;
    has_previous = true;
  }
}

}  // namespace

void step_compat_accesses(const Workload& workload, const Nest& nest, int tensor, int level, Count grid_x, Count grid_y, LevelAccesses& out) {
  out.bins.clear();
  out.link_transfers = 0;
  const TensorSpec& spec = workload.tensors()[static_cast<std::size_t>(tensor)];
  Projection projection;
  projection.num_ranks = static_cast<int>(spec.ranks.size());
  projection.tile.fill(1);
  if (level > 0) {
    const auto& extent = nest.extent[static_cast<std::size_t>(level - 1)];
    for (std::size_t r = 0; r < spec.ranks.size(); ++r) {
      for (const Term& term : spec.ranks[r]) {
        projection.tile[r] += (extent[static_cast<std::size_t>(term.dim)] - 1) * term.coefficient;
      }
    }
  }
  const bool reuse = level > 0;  // arithmetic units hold nothing
  if (nest.mapped_fanout(level) == 1) {
    double accesses = 0;
    for_each_step(spec, nest, level, projection, reuse,
                  [&](double weight, const Point&, const Delta& delta) { accesses += weight * delta.volume; });
    out.add(1, 1, accesses, 0);
    return;
  }

  SteppedScratch scratch;
  Children children(spec, nest, level, grid_x, grid_y, scratch);
  Delta previous;
  for_each_step(spec, nest, level, projection, reuse, [&](double weight, const Point& move, const Delta& delta) {
    if (delta.num_boxes > 0) {
      const double elements = weight * delta.volume;
      Point shift;
      int linked = 0;
      if (same_shape(delta, previous, projection.num_ranks, shift)) linked = children.mark_linked(move, shift);
      if (linked > 0 && children.regroup_without_linked() < children.num_groups()) {
        children.distribute(elements, true, out);
        out.link_transfers += linked * elements;
      } else {
        children.distribute(elements, false, out);
      }
    }
    previous = delta;
  });
}

}  // namespace quantloom

#include "compat_children.hpp"

#include <algorithm>

namespace quantloom {
namespace {

bool same_steps(const SpatialLoop& a, const SpatialLoop& b, int ranks) {
  return a.bound == b.bound && std::equal(a.step.begin(), a.step.begin() + ranks, b.step.begin());
}

std::size_t slot_of(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows) {
  std::uint64_t hash = static_cast<std::uint64_t>(columns) * 31 + static_cast<std::uint64_t>(rows);
  const auto mix = [&](Count value) { hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15ULL; };
  for (const SpatialLoop& loop : loops) {
    mix(loop.bound);
    for (int r = 0; r < ranks; ++r) mix(loop.step[static_cast<std::size_t>(r)]);
  }
  return hash >> 32;
}

}  // namespace

bool ChildGroups::is_built_from(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows) const noexcept {
  return ranks_ == ranks && columns_ == columns && rows_ == rows &&
         std::equal(loops_.begin(), loops_.end(), loops.begin(), loops.end(),
                    [&](const SpatialLoop& a, const SpatialLoop& b) { return same_steps(a, b, ranks); });
}

void ChildGroups::build(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows) {
  loops_.assign(loops.begin(), loops.end());
  ranks_ = ranks;
  columns_ = columns;
  rows_ = rows;
  num_moves_ = 0;
  place();
  group_equal();
  measure(false, bins_);
}

void ChildGroups::place() {
  count_ = 1;
  for (const SpatialLoop& loop : loops_) count_ *= static_cast<int>(loop.bound);
  const auto ranks = static_cast<std::size_t>(ranks_);
  offsets_.assign(static_cast<std::size_t>(count_) * ranks, 0);
  // Fastest loop first: the children placed so far are repeated for each further iteration of the next one.
  std::size_t placed = 1;
  for (std::size_t i = loops_.size(); i-- > 0;) {
    for (Count iteration = 1; iteration < loops_[i].bound; ++iteration) {
      const std::size_t to = placed * static_cast<std::size_t>(iteration);
      for (std::size_t child = 0; child < placed; ++child) {
        for (std::size_t r = 0; r < ranks; ++r) offsets_[(to + child) * ranks + r] = offsets_[child * ranks + r] + iteration * loops_[i].step[r];
      }
    }
    placed *= static_cast<std::size_t>(loops_[i].bound);
  }
}

void ChildGroups::group_equal() {
  const auto offset = [&](int child) { return offsets_.data() + static_cast<std::ptrdiff_t>(child) * ranks_; };
  order_.resize(static_cast<std::size_t>(count_));
  for (int child = 0; child < count_; ++child) order_[static_cast<std::size_t>(child)] = child;
  std::sort(order_.begin(), order_.end(), [&](int a, int b) {
    return std::lexicographical_compare(offset(a), offset(a) + ranks_, offset(b), offset(b) + ranks_);
  });
  group_.resize(static_cast<std::size_t>(count_));
  num_groups_ = 0;
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (i == 0 || !std::equal(offset(order_[i]), offset(order_[i]) + ranks_, offset(order_[i - 1]))) ++num_groups_;
    group_[static_cast<std::size_t>(order_[i])] = num_groups_ - 1;
  }
}

// Hops of a group: its furthest column, plus for each column with a member the reach above and below the centre row.
void ChildGroups::measure(bool live_only, std::vector<GroupBin>& bins) {
  reach_.assign(static_cast<std::size_t>(num_groups_), {});
  const double centre = static_cast<double>(rows_ - 1) / 2.0;
  for (Count column = 0; column < std::min<Count>(columns_, count_); ++column) {
    for (Count child = column; child < count_; child += columns_) {
      const auto c = static_cast<std::size_t>(child);
      if (live_only && linked_[c] != 0) continue;
      Reach& group = reach_[static_cast<std::size_t>(group_[c])];
      if (group.column != column) {
        group.sum += group.above + group.below;
        group.above = group.below = 0;
        group.column = column;
      }
      const Count row = child / columns_;
      const double from_centre = static_cast<double>(row) - centre;
      group.above = std::max(group.above, from_centre);
      group.below = std::max(group.below, -from_centre);
      ++group.size;
    }
  }
  bins.clear();
  for (const Reach& group : reach_) {
    if (group.size == 0) continue;
    auto bin = std::find_if(bins.begin(), bins.end(), [&](const GroupBin& known) { return known.size == group.size; });
    if (bin == bins.end()) bin = bins.insert(bin, {group.size, 0, 0});
    ++bin->groups;
    bin->hops += static_cast<double>(group.column) + group.sum + group.above + group.below;
  }
}

bool ChildGroups::is_moved(int child, Count neighbour, const RankVector& move) const noexcept {
  if (neighbour < 0 || neighbour >= count_) return false;
  const Count* here = offsets_.data() + static_cast<std::ptrdiff_t>(child) * ranks_;
  const Count* there = offsets_.data() + neighbour * ranks_;
  for (int r = 0; r < ranks_; ++r) {
    if (here[r] + move[static_cast<std::size_t>(r)] != there[r]) return false;
  }
  return true;
}

// Marks children whose data a grid neighbour received in the step before; returns how many.
int ChildGroups::mark_linked(const RankVector& move) {
  linked_.assign(static_cast<std::size_t>(count_), 0);
  int linked = 0;
  for (int child = 0; child < count_; ++child) {
    const Count column = child % columns_;
    const Count row = child / columns_;
    const bool found = (column > 0 && is_moved(child, child - 1, move)) || (column + 1 < columns_ && is_moved(child, child + 1, move)) ||
                       (row > 0 && is_moved(child, child - columns_, move)) || (row + 1 < rows_ && is_moved(child, child + columns_, move));
    linked_[static_cast<std::size_t>(child)] = found ? 1 : 0;
    linked += found ? 1 : 0;
  }
  return linked;
}

const LinkedChildren& ChildGroups::after_move(const RankVector& move) {
  const std::size_t known = std::min(num_moves_, kMoves);
  for (std::size_t i = 0; i < known; ++i) {
    if (std::equal(move.begin(), move.begin() + ranks_, moves_[i].move.begin())) return moves_[i];
  }
  moves_.resize(kMoves);
  LinkedChildren& out = moves_[num_moves_++ % kMoves];
  out.move = move;
  out.bins.clear();
  out.linked = mark_linked(move);
  if (out.linked == 0) return out;
  measure(true, out.bins);
  int groups = 0;
  for (const GroupBin& bin : out.bins) groups += bin.groups;
  if (groups >= num_groups_) out.linked = 0;
  return out;
}

ChildGroups& ChildrenCache::find(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows) {
  std::unique_ptr<ChildGroups>& slot = slots_[slot_of(loops, ranks, columns, rows) % kSlots];
  if (slot && slot->is_built_from(loops, ranks, columns, rows)) return *slot;
  Count wanted = 1;
  for (const SpatialLoop& loop : loops) wanted *= loop.bound;
  if (children_ + wanted > kMostChildren) {
    for (std::unique_ptr<ChildGroups>& other : slots_) other.reset();
    children_ = 0;
  }
  if (!slot) slot = std::make_unique<ChildGroups>();
  children_ += wanted - slot->count();
  slot->build(loops, ranks, columns, rows);
  return *slot;
}

}  // namespace quantloom

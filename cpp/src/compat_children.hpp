// The spatial children of one level in the compat model: which of them share data, how far away they are, and which can take
// theirs from a grid neighbour. Section 5.4 of docs/model.md. Internal to the core.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nest.hpp"

namespace quantloom {

struct SpatialLoop {
  Count bound;
  RankVector step;  // how far one iteration moves the tile
};

// `groups` groups of `size` children with equal data each; `hops` of all these groups together.
struct GroupBin {
  int size = 0;
  int groups = 0;
  double hops = 0;
};

// What is left to hand out when children that a neighbour serves drop out.
struct LinkedChildren {
  RankVector move{};
  int linked = 0;       // children served by a neighbour; 0 if that does not lower the number of accesses
  std::vector<GroupBin> bins;
};

// Children in the order of the loops, the last loop fastest, in rows of `columns`.
class ChildGroups {
 public:
  // loops: outermost first, the steps' ranks from `ranks` on are 0.
  void build(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows);
  [[nodiscard]] int count() const noexcept { return count_; }
  [[nodiscard]] bool is_built_from(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows) const noexcept;
  // All groups.
  [[nodiscard]] const std::vector<GroupBin>& bins() const noexcept { return bins_; }
  // If every child's tile moves by `move` and its new data looks as in the step before.
  [[nodiscard]] const LinkedChildren& after_move(const RankVector& move);

 private:
  void place();
  void group_equal();
  void measure(bool live_only, std::vector<GroupBin>& bins);
  int mark_linked(const RankVector& move);
  [[nodiscard]] bool is_moved(int child, Count neighbour, const RankVector& move) const noexcept;

  // Different moves after which children were linked; older ones are overwritten.
  static constexpr std::size_t kMoves = 16;

  std::vector<SpatialLoop> loops_;
  int ranks_ = -1;  // not built
  Count columns_ = 1;
  Count rows_ = 1;
  int count_ = 0;                     // children
  std::vector<Count> offsets_;        // child x rank
  std::vector<int> order_;            // children by offset
  std::vector<int> group_;            // child -> its multicast group (children with equal offsets)
  int num_groups_ = 0;
  std::vector<std::uint8_t> linked_;  // child is served by a neighbour
  std::vector<GroupBin> bins_;
  std::vector<LinkedChildren> moves_;
  std::size_t num_moves_ = 0;

  struct Reach {
    int size = 0;
    Count column = -1;  // last one with a member
    double above = 0;   // the centre row, in that column
    double below = 0;
    double sum = 0;     // over the columns before
  };
  std::vector<Reach> reach_;  // [group]
};

// The last used children, so that mappings with equal spatial loops place and group them once.
class ChildrenCache {
 public:
  ChildGroups& find(std::span<const SpatialLoop> loops, int ranks, Count columns, Count rows);

 private:
  static constexpr std::size_t kSlots = 128;
  static constexpr Count kMostChildren = Count{1} << 22;  // of all slots together, some 50 bytes each
  Count children_ = 0;
  std::array<std::unique_ptr<ChildGroups>, kSlots> slots_;
};

}  // namespace quantloom

// Mappings of a mapspace as columns for the batch door. Private to the mapspace.
#pragma once

#include <cstddef>
#include <vector>

#include "mapspace_parts.hpp"
#include "quantloom/batch.hpp"

namespace quantloom::detail {

// Which slots the mappings of a space need, and how one gets into them. A loop whose place in the order is given has a slot
// of its own, so that a slot holds one dim: that is what the batch door is fast at. So have two loops in any order, in three
// slots: first, second, first. Longer open orders fill a row of slots from the outermost one.
class ColumnWriter {
 public:
  ColumnWriter(const MapspaceParts& parts, std::size_t count);
  void write(const MappingView& view, std::size_t column);
  // The first `count` columns.
  [[nodiscard]] MappingColumns take(std::size_t count) &&;

 private:
  // Slots first .. first + slots - 1 hold the loops at positions begin .. end - 1 of a block's order.
  struct Run {
    int block = 0;
    LoopKind kind = LoopKind::temporal;
    int begin = 0;
    int end = 0;
    std::size_t first = 0;
    std::size_t slots = 0;
    int swapped = -1;  // two loops in any order: the dim of the slot between those of the other one
  };

  void add_runs(const MapspaceParts& parts, int block, LoopKind kind);
  void add_run(const MapspaceParts& parts, int block, LoopKind kind, const BlockOrders& orders, int begin, int end);

  std::vector<Run> runs_;
  std::size_t capacity_;
  MappingColumns columns_;
};

}  // namespace quantloom::detail

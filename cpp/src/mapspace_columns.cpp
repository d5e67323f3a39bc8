#include "mapspace_columns.hpp"

#include <algorithm>

namespace quantloom::detail {

ColumnWriter::ColumnWriter(const MapspaceParts& parts, std::size_t count) : capacity_(count) {
  for (int b = parts.num_blocks() - 1; b >= 0; --b) {
    if (parts.constraints.blocks[static_cast<std::size_t>(b)].spatial) {
      add_runs(parts, b, LoopKind::spatial_y);
      add_runs(parts, b, LoopKind::spatial_x);
    } else {
      add_runs(parts, b, LoopKind::temporal);
    }
  }
  columns_.dims.assign(columns_.slots.size() * count, 0);
  columns_.bounds.assign(columns_.slots.size() * count, 1);
  columns_.keep.assign(static_cast<std::size_t>(parts.arch.num_levels()) * count, 0);
}

void ColumnWriter::add_runs(const MapspaceParts& parts, int block, LoopKind kind) {
  const BlockOrders orders = make_orders(parts.rules[static_cast<std::size_t>(block)], 0, Enumeration::unpruned);
  const int begin = kind == LoopKind::spatial_y ? orders.split_first : 0;  // positions that may lie on this axis
  const int end = kind == LoopKind::spatial_x ? orders.split_last : orders.num_dims;
  for (int i = end - 1; i >= begin;) {
    const bool permuted = i >= orders.infix_begin && i < orders.infix_end;
    const int inner = permuted ? std::max<int>(begin, orders.infix_begin) : i;
    add_run(parts, block, kind, orders, inner, i + 1);
    i = inner - 1;
  }
}

void ColumnWriter::add_run(const MapspaceParts& parts, int block, LoopKind kind, const BlockOrders& orders, int begin, int end) {
  const Block& rules = parts.constraints.blocks[static_cast<std::size_t>(block)];
  const bool permuted = begin >= orders.infix_begin && begin < orders.infix_end;
  const int first = permuted ? orders.infix_begin : begin;
  const int last = permuted ? orders.infix_end : end;
  std::size_t loops = 0;  // that can have a bound above 1
  int any = -1;           // dim of one of them
  for (int i = first; i < last; ++i) {
    const int dim = orders.dims[static_cast<std::size_t>(i)];
    const FactorLimit& limit = rules.limits[static_cast<std::size_t>(dim)];
    if (limit.fixed.value_or(limit.max) <= 1) continue;
    ++loops;
    any = dim;
  }
  const bool swaps = permuted && loops == 2 && end - begin > 1;
  loops = std::min(loops, static_cast<std::size_t>(end - begin));
  if (loops == 0) return;
  if (swaps) ++loops;
  runs_.push_back({block, kind, begin, end, columns_.slots.size(), loops, swaps ? any : -1});
  columns_.slots.insert(columns_.slots.end(), loops, {rules.level, kind});
}

void ColumnWriter::write(const MappingView& view, std::size_t column) {
  for (int l = 0; l < view.num_levels; ++l) columns_.keep[static_cast<std::size_t>(l) * capacity_ + column] = view.keep[l];
  for (const Run& run : runs_) {
    std::size_t slot = run.first;
    for (int i = run.end - 1; i >= run.begin; --i) {
      const bool on_axis = run.kind == LoopKind::temporal || (run.kind == LoopKind::spatial_x) == (i < view.split[run.block]);
      const int dim = view.dim_at(run.block, i);
      const std::uint32_t bound = view.factor(run.block, dim);
      if (!on_axis || bound == 1) continue;
      if (run.swapped == dim && slot == run.first) ++slot;
      columns_.dims[slot * capacity_ + column] = static_cast<std::uint8_t>(dim);
      columns_.bounds[slot * capacity_ + column] = bound;
      ++slot;
    }
  }
}

MappingColumns ColumnWriter::take(std::size_t count) && {
  columns_.count = count;
  if (count == capacity_) return std::move(columns_);
  const auto shorten = [&](auto& rows) {
    for (std::size_t row = 1; row * capacity_ < rows.size(); ++row) {
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(row * capacity_), count, rows.begin() + static_cast<std::ptrdiff_t>(row * count));
    }
    rows.resize(rows.size() / capacity_ * count);
  };
  shorten(columns_.dims);
  shorten(columns_.bounds);
  shorten(columns_.keep);
  return std::move(columns_);
}

}  // namespace quantloom::detail

// What the exact mapper derives once from (arch, workload, constraints): factor rows, groups of dims and the closed form
// of each tensor's traffic. Private to the mapper.
//
// The form everything rests on. For a tensor t without a sliding window, kept at level c and next at level p further out,
// the elements that cross from p to c, summed over all instances, are
//     |t| * (temporal loops above c that are irrelevant to t and not in t's innermost run) * (irrelevant lanes above c),
// because tile and relevant loops multiply back to |t|. The run of a child is the unbroken sequence of irrelevant temporal
// loops just above it: while they turn, the tile stays. So a tensor's energy depends only on the dims irrelevant to it,
// and if every dim is irrelevant to at most one tensor, energy is a sum over groups of dims.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mapspace_parts.hpp"
#include "quantloom/units.hpp"

namespace quantloom::exact {

// regular: the closed form is exact. strided: tiles may hold gaps, the closed form over distinct elements is a lower
// bound. window: tiles overlap; only what the arithmetic units consume is bounded.
enum class Form { regular, strided, window };

struct Tensor {
  Form form = Form::regular;
  bool is_output = false;
  double elements = 1;         // product of the bounds of its dims: |t| if regular, at most the distinct elements if strided
  std::uint32_t relevant = 0;  // dims
};

// Dims tied together by a tensor they are irrelevant to; dims irrelevant to no tensor form a group without tensors.
struct Group {
  std::vector<int> dims;      // with bounds above 1
  std::uint32_t tensors = 0;  // whose energy depends on this group alone
};

// A kept level of a tensor and the next one outwards: what fills the child.
struct Link {
  int tensor = 0;
  int child = 0;
};

struct KeepChoice {
  std::array<std::uint32_t, kMaxLevels> keep{};
  std::uint64_t index = 0;  // digit of the mapspace
};

class Problem {
 public:
  // Throws as Mapspace does.
  Problem(const Arch& arch, const Workload& workload, Selection selection);

  [[nodiscard]] int num_blocks() const noexcept { return parts.num_blocks(); }
  [[nodiscard]] int num_levels() const noexcept { return parts.arch.num_levels(); }
  [[nodiscard]] int num_tensors() const noexcept { return parts.workload.num_tensors(); }
  [[nodiscard]] std::uint32_t factor(int dim, std::uint32_t row, int block) const noexcept {
    return rows[static_cast<std::size_t>(dim)][static_cast<std::size_t>(row) * static_cast<std::size_t>(num_blocks()) + static_cast<std::size_t>(block)];
  }
  [[nodiscard]] std::uint32_t num_rows(int dim) const noexcept {
    return static_cast<std::uint32_t>(rows[static_cast<std::size_t>(dim)].size() / static_cast<std::size_t>(num_blocks()));
  }
  // Product of the dim's factors in the blocks of this level and further in.
  [[nodiscard]] std::uint32_t extent(int dim, std::uint32_t row, int level) const noexcept {
    return extents_[static_cast<std::size_t>(dim)][static_cast<std::size_t>(row) * static_cast<std::size_t>(num_levels()) + static_cast<std::size_t>(level)];
  }
  [[nodiscard]] bool is_irrelevant(int tensor, int dim) const noexcept {
    return (tensors[static_cast<std::size_t>(tensor)].relevant >> dim & 1U) == 0;
  }
  [[nodiscard]] std::uint64_t num_keep_choices() const noexcept { return std::uint64_t{1} << parts.open.size(); }
  [[nodiscard]] KeepChoice keep_choice(std::uint64_t index) const noexcept;
  // Links of all tensors with a closed form, for one choice of bypasses.
  [[nodiscard]] std::vector<Link> links(const KeepChoice& choice) const;

  detail::MapspaceParts parts;
  std::vector<std::vector<std::uint32_t>> rows;  // [dim]: factorizations in mapspace order, a factor per block
  std::vector<int> temporal_block;               // [level]
  std::vector<int> spatial_block;                // [level], -1 if none
  std::vector<int> lane_blocks;                  // spatial blocks in which some dim can have a factor above 1
  std::vector<int> bounded_levels;               // with a capacity
  std::vector<Tensor> tensors;
  std::vector<Group> groups;                     // the output's first, then by tensor; the group without tensors last
  std::uint32_t active = 0;                      // dims with bounds above 1
  bool lanes_below_level0 = false;               // arithmetic units share a level-0 instance: operands may come from neighbours
  double macs = 1;

 private:
  void describe_tensors();
  void make_groups();

  std::vector<std::vector<std::uint32_t>> extents_;  // [dim][row * levels + level]
};

}  // namespace quantloom::exact

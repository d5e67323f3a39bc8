// A mapping: for each level the temporal loops and their order, the spatial loops on X and Y, and the tensors kept.
// Loops are outermost first. Within a level, outer to inner: temporal loops, Y loops, X loops; then the next inner level.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

enum class LoopKind : std::uint8_t { temporal, spatial_y, spatial_x };

struct Loop {
  int dim = 0;
  Count bound = 1;
  bool operator==(const Loop&) const = default;
};

struct LevelMapping {
  std::vector<Loop> temporal;
  std::vector<Loop> spatial_x;
  std::vector<Loop> spatial_y;
  std::uint32_t keep = 0;  // bit t set: tensor t is stored here
  [[nodiscard]] bool keeps(int tensor) const noexcept { return (keep >> tensor & 1U) != 0; }
  bool operator==(const LevelMapping&) const = default;
};

struct Mapping {
  std::vector<LevelMapping> levels;  // innermost first, as in Arch
  bool operator==(const Mapping&) const = default;
};

// Throws Error(mapping) unless the mapping has the arch's levels, its loop bounds are positive, no dim stands twice on
// one axis of a block, and the factors of every dim multiply to its bound. Whether it fits is check_fit's answer.
void check_mapping(const Arch& arch, const Workload& workload, const Mapping& mapping);

// The loop nest as text, outermost first, one loop a line.
[[nodiscard]] std::string describe_mapping(const Arch& arch, const Workload& workload, const Mapping& mapping);

}  // namespace quantloom

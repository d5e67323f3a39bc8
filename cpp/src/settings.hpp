// Bit settings grouped by how they pack: settings that put the same number of elements into every word cost the same and
// are solved once. Internal to the mapper.
#pragma once

#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

inline constexpr int kMaxPackings = 32;  // of one tensor

struct SettingTable {
  struct Packing {
    int bits = 0;                           // a width of this packing
    std::vector<Count> elements_per_word;   // [level]
  };
  std::vector<std::vector<Packing>> packings;   // [tensor]
  std::vector<std::vector<int>> classes;        // [class][tensor]: index into packings; distinct
  std::vector<int> class_of;                    // [setting]
};

// Throws Error(mapping) if a setting has the wrong number of entries or bits that exceed a word.
[[nodiscard]] SettingTable group_settings(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings);

}  // namespace quantloom

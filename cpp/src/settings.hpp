// Bit settings grouped by how they pack: settings that put the same number of elements into every word cost the same and
// are solved once. Internal to the mapper.
#pragma once

#include <vector>

#include "packing.hpp"
#include "quantloom/mac_table.hpp"
#include "quantloom/arch.hpp"
#include "quantloom/mapper.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

inline constexpr int kMaxPackings = 32;  // of one tensor

struct SettingTable {
  struct Packing {
    TensorBits bits;                        // widths of this packing
    std::vector<Count> elements_per_word;   // [level]: at least as many as any access packs; for bounds
  };
  EvaluateOptions options;                      // what mappings are priced with
  std::vector<std::vector<Packing>> packings;   // [tensor]
  std::vector<std::vector<int>> classes;        // [class][tensor]: index into packings; distinct
  std::vector<MacMode> class_mac;               // [class]: how the units multiply at these bits
  std::vector<int> class_of;                    // [setting]
};

// Throws Error(mapping) if a setting has the wrong number of entries or bits that exceed a word; and as check_model().
[[nodiscard]] SettingTable group_settings(const Arch& arch, const Workload& workload, const std::vector<std::vector<int>>& settings,
                                          const MapperOptions& options);

// Width of a partial sum if this level is the innermost that keeps the outputs.
[[nodiscard]] int capped_psum(const Level& accumulator, const TensorBits& bits) noexcept;

}  // namespace quantloom

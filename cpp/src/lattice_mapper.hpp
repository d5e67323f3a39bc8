// The lattice mapper: proven optima of spaces that are too large to list, such as those without constraints. Private to the mapper.
#pragma once

#include <stop_token>
#include <vector>

#include "lattice_onward.hpp"
#include "quantloom/mapper.hpp"

namespace quantloom {

// Whether the space and the costs are of the kind that the lattice search can count: see lattice::Problem::is_supported().
[[nodiscard]] bool can_optimize_on_lattice(const Arch& arch, const Workload& workload, const MapperOptions& options);

// Beginnings of mappings of a layer with a window that are looked at without a budget, for each class of bits.
inline constexpr Count kMostLooks = 50'000'000;

// As optimize() in mapper.hpp, but ties go to the first mapping in the order of this search. Without a budget
// settings whose optimum is not proven within `most_looks` are refused. most_entries: of the tables of
// bounds, see lattice::Onward.
[[nodiscard]] std::vector<Optimum> optimize_on_lattice(const Arch& arch, const Workload& workload,
                                                       const std::vector<std::vector<int>>& settings,
                                                       const MapperOptions& options, std::stop_token stop,
                                                       const Progress& progress, Count most_looks = kMostLooks,
                                                       std::size_t most_entries = lattice::kMostEntries);

}  // namespace quantloom

// The exact mapper: branch and bound over skeletons, lanes and group lists. Same answers as the exhaustive mapper, found
// by looking at a few mappings. Private to the mapper.
#pragma once

#include <stop_token>
#include <vector>

#include "quantloom/mac_table.hpp"
#include "quantloom/mapper.hpp"

namespace quantloom {

// Whether the space is one that optimize_exactly can list: moderate numbers of factorizations per group of dims, of loop
// orders per factorization and of bypass choices.
[[nodiscard]] bool can_optimize_exactly(const Arch& arch, const Workload& workload, const MapperOptions& options);

// As optimize() in mapper.hpp. Throws Error(mapping) where can_optimize_exactly() is false.
[[nodiscard]] std::vector<Optimum> optimize_exactly(const Arch& arch, const Workload& workload,
                                                    const std::vector<std::vector<int>>& settings, const MapperOptions& options,
                                                    std::stop_token stop, const Progress& progress);

// Holds for every mapping: data movement costs nothing, every unit the hardware has is busy.
[[nodiscard]] double universal_bound(const Arch& arch, const Workload& workload, const MacMode& mode, Objective objective);

// Sets what a search has found: one point, or for Objective::pareto the front.
void set_points(std::vector<Tradeoff> points, Objective objective, Optimum& out);

}  // namespace quantloom

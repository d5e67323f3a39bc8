// Limits on how much of the hardware mappings use. Private to the core.
#pragma once

#include "nest.hpp"
#include "quantloom/arch.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/cost.hpp"

namespace quantloom {

[[nodiscard]] bool is_selected(const Constraint& constraint, Selection selection) noexcept;

// Adds a utilization constraint on this level. Throws Error(spec) for shares outside of 0 to 1, limits that cross, and
// shares of what a level does not have.
void limit_use(const Arch& arch, const Constraint& constraint, int level, ResolvedConstraints& out);

// Whether the spatial loops of every level, and all together, are as many as asked for.
[[nodiscard]] bool uses_lanes(const ResolvedConstraints& constraints, const Nest& nest) noexcept;
[[nodiscard]] bool limits_lanes(const ResolvedConstraints& constraints) noexcept;
// Whether the tiles of every level are as large as asked for.
[[nodiscard]] bool uses_words(const ResolvedConstraints& constraints, const Cost& cost) noexcept;
[[nodiscard]] bool limits_words(const ResolvedConstraints& constraints) noexcept;

}  // namespace quantloom

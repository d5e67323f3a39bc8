// The range of what hardware is described with. Private to the core.
#pragma once

#include <limits>

namespace quantloom {

// What costs nothing that can be told: of what does not fit, or whose counts overflow. Above every bound.
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Energies, areas and bandwidths are at most this, bandwidths at least its inverse: times any counts they stay finite.
inline constexpr double kLargestQuantity = 1e100;

}  // namespace quantloom

// The range of what hardware is described with. Private to the core.
#pragma once

namespace quantloom {

// Energies, areas and bandwidths are at most this, bandwidths at least its inverse: times any counts they stay finite.
inline constexpr double kLargestQuantity = 1e100;

}  // namespace quantloom

// Wire lengths of multicast in the default model, for accelerators that give their networks an energy. Section 8.
#pragma once

#include "default_counts.hpp"
#include "quantloom/arch.hpp"

namespace quantloom {

// Mean hops of one element on the network below `level` when the tiles of level `child` (-1: the arithmetic units) are
// what it serves; `apart` as for distinct_children(). 0 if the level has one child or gives no energy to hops and routers.
[[nodiscard]] double mean_hops(const Arch& arch, const TensorSpec& tensor, const Nest& nest, int child, int level, std::uint32_t apart);

}  // namespace quantloom

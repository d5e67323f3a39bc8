// Skeletons: what distinguishes loop orders for tensors with a closed form. A skeleton names, for every temporal block,
// the dims whose factor is forced to 1 and, for every link, the loops that belong to the link's innermost run.
// Private to the mapper.
//
// Soundness. (a) A skeleton never promises less traffic than some order really has: it is made from a concrete order of
// each block, and in that order every loop it puts into a run is preceded (further in) only by loops of the run and by
// loops forced to 1. Real runs can only be longer. (b) Every order of every factorization is covered: the skeleton of the
// same order with exactly the loops of bound 1 forced has exactly its runs, and a skeleton is only left out for one that
// forces a subset of its units and has at least its runs. So the least traffic over all skeletons is the least over all
// orders.
#pragma once

#include <vector>

#include "exact_problem.hpp"

namespace quantloom::exact {

struct Skeleton {
  std::vector<std::uint32_t> units;  // [block]: dims forced to factor 1
  std::vector<std::uint32_t> runs;   // [link * blocks + block]: dims in the link's run
  bool operator==(const Skeleton&) const = default;
};

[[nodiscard]] std::vector<Skeleton> list_skeletons(const Problem& problem, const std::vector<Link>& links);

}  // namespace quantloom::exact

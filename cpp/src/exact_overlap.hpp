// Lower bound on what the default model charges for a sliding window's tensor between its kept levels. The tile of such a
// tensor overlaps the next one; the exact count (section 5.5 of docs/model.md) is a sum over the temporal loops outside the
// child, and its least value over all orders that the space allows is found without listing them. Private to the mapper.
//
// Why it is a bound. A loop over a dim that is alone in its rank moves the tile to where nothing of the old one lies, so as
// the outermost loop it multiplies the traffic, and further in it never makes less. A loop irrelevant to the tensor never makes
// less either: it is left out. For the rest, what loop k adds depends on the set of loops inside it and not on their order:
//     (N_k - 1) / (product of N_j, j = k and inside) * (tile - overlap(stride_k - sum inside of (N_j - 1) * stride_j)),
// times the product of all bounds. So the least sum over orders is a shortest path over sets, block by block.
#pragma once

#include <unordered_map>
#include <vector>

#include "exact_problem.hpp"

namespace quantloom::exact {

class OverlapBound {
 public:
  OverlapBound(const Problem& problem, const KeepChoice& keep, int tensor);

  [[nodiscard]] int tensor() const noexcept { return tensor_; }
  [[nodiscard]] std::size_t num_hops() const noexcept { return hops_.size(); }
  // Elements that cross each hop at least, over all instances, whatever the loops: reads of the parent, fills of the child, hop
  // after hop. copies: [level] instances above that hold the same elements at least.
  void add_floor(const std::vector<double>& copies, std::vector<double>& out) const;
  // pJ of one element of each number that add_floor() writes. weights: [level] accesses paid for / made * words per element.
  void add_element_energy(const std::vector<double>& weights, std::vector<double>& out) const;
  // Energy of all hops at least, once the rows of all dims of the tensor are chosen. instances: [level] used.
  [[nodiscard]] double least_energy(const std::uint32_t* rows, const std::vector<double>& instances, const double* element_energy);

 private:
  struct KeyHash {
    std::size_t operator()(const std::vector<std::uint32_t>& key) const noexcept;
  };
  struct Hop {
    int child = 0;
    int parent = 0;
    std::unordered_map<std::vector<std::uint32_t>, double, KeyHash> known;  // traffic of one child
  };

  [[nodiscard]] double least_traffic(const Hop& hop, const std::uint32_t* rows) const;
  [[nodiscard]] double least_groups(const Hop& hop, const std::uint32_t* rows) const;

  const Problem& problem_;
  int tensor_ = 0;
  std::vector<Hop> hops_;
  std::vector<int> window_dims_;   // dims that share a rank with another one
  std::vector<int> lone_dims_;     // other relevant dims
  double distinct_ = 1;            // different elements of the tensor
  std::vector<std::uint32_t> key_;
};

}  // namespace quantloom::exact

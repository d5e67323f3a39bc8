// Lower bound on what the compat model charges for a sliding window's tensor between its kept levels. The tile of such a
// tensor overlaps the next one and no closed form holds, but the traffic of one network (what a level hands to its
// children) depends on few things: the children's tile, the temporal loops from that level outwards and its own lanes.
// So it is stepped through once for each of these and remembered. Private to the mapper.
//
// Loops irrelevant to the tensor do not move the tile. In the reference's stepping a loop of bound n weighs its iteration
// 1 by n - 1 and nothing else depends on n, so once such a loop is there, the traffic is affine in n: its values at n = 2
// and n = 3 give it for all n. With several of them it is multi-affine. Orders that the space leaves open are all tried.
#pragma once

#include <unordered_map>
#include <vector>

#include "exact_problem.hpp"
#include "nest.hpp"
#include "tensor_price.hpp"

namespace quantloom::exact {

class WindowBound {
 public:
  WindowBound(const Problem& problem, const KeepChoice& keep, int tensor);

  [[nodiscard]] int tensor() const noexcept { return tensor_; }
  // Fixes the rows of all dims relevant to the tensor, and the lanes of every spatial block. rows must outlive the calls
  // that follow, and keep both.
  void begin(const std::uint32_t* rows);
  // weights: [level] clusters paid for / instances used, divided by elements per word. Energy of all fills of kept levels
  // and of the reads that serve them, over all instances, or a part of it that already exceeds `room`.
  [[nodiscard]] double least_energy(const std::vector<double>& weights, double room);
  // The part of it between the two outermost kept levels, whatever the temporal loops of irrelevant dims are. There are
  // few different such networks, so this is cheap.
  [[nodiscard]] double least_outer_energy(const std::vector<double>& weights);

 private:
  // What one level hands to its children, elements per instance of the level.
  struct Traffic {
    double sent = 0;
    double received = 0;  // by all children together
    double links = 0;
  };
  struct Known {
    int corners = 1;                // 2 ^ irrelevant loops
    std::vector<Traffic> traffic;   // [order * corners + corner]
  };
  struct KeyHash {
    std::size_t operator()(const std::vector<std::uint32_t>& key) const noexcept;
  };
  // A temporal loop outside of the child in a dim irrelevant to the tensor.
  struct FreeLoop {
    int dim = 0;
    int block = 0;
  };
  struct Hop {
    int child = 0;
    int parent = 0;
    std::vector<FreeLoop> free_loops;
    std::vector<const Known*> found;  // [set of free loops with a bound above 1], of the rows last begun with
    std::unordered_map<std::vector<std::uint32_t>, Known, KeyHash> known;
  };

  void add_hop(int child, int parent);
  const Known& find(Hop& hop, std::uint32_t looping);
  void make_key(const Hop& hop, std::uint32_t looping);
  void step_all(const Hop& hop, std::uint32_t looping, Known& out);
  void step_orders(const Hop& hop, std::size_t corner, Known& out);
  [[nodiscard]] double least_hop_energy(const Hop& hop, const Known& known, const std::vector<double>& weights) const;
  [[nodiscard]] Traffic interpolate(const Known& known, std::size_t order) const;
  [[nodiscard]] double hop_energy(const Hop& hop, const Traffic& traffic, const std::vector<double>& weights) const;
  void count_lanes();

  const Problem& problem_;
  int tensor_ = 0;
  const std::uint32_t* rows_ = nullptr;
  std::vector<Hop> hops_;                // outermost first
  std::vector<std::uint32_t> key_;
  std::vector<double> free_bounds_;      // bounds of the free loops above 1
  std::array<double, kMaxLevels> lanes_{};        // [level]: of its spatial block
  std::array<double, kMaxLevels> groups_{};       // [level]: least number of children with different data
  std::array<double, kMaxLevels> replication_{};  // instances used
  detail::ViewStorage storage_;
  Nest nest_;
  CompatScratch scratch_;
  LevelAccesses accesses_;
};

}  // namespace quantloom::exact

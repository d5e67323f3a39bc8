// Group lists: all factor vectors of one group of dims, in buckets of equal lanes, with what each costs under a skeleton.
// Bits enter only as weights of the cost components, so a list serves every bit setting. Private to the mapper.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "exact_problem.hpp"
#include "exact_skeleton.hpp"

namespace quantloom::exact {

// A group's part of one tile: the tensor's extent in the group's dims, at a level with a capacity that keeps it.
struct TilePart {
  int tensor = 0;
  int level = 0;
};

// Energy of one tensor at one of its kept levels, at one element a word and one instance a cluster. Outputs have two: what
// moves as complete sums and what moves as partial ones, which may be wider.
struct Component {
  int tensor = 0;
  int level = 0;
  bool psum = false;
};

// The vectors of a group; independent of skeletons.
class GroupVectors {
 public:
  struct Bucket {
    std::vector<std::uint32_t> lanes;  // [lane block]: product of the group's factors
    std::vector<int> members;          // vectors
    std::vector<Count> least_tile;     // [tile part]
  };

  GroupVectors(const Problem& problem, const Group& group, const std::vector<TilePart>& parts);

  [[nodiscard]] int size() const noexcept { return size_; }
  [[nodiscard]] const Group& group() const noexcept { return group_; }
  [[nodiscard]] const std::vector<Bucket>& buckets() const noexcept { return buckets_; }
  [[nodiscard]] std::uint32_t row(int vector, std::size_t dim_position) const noexcept {
    return rows_[static_cast<std::size_t>(vector) * group_.dims.size() + dim_position];
  }
  // Product of the extents of the tensor's dims in this group.
  [[nodiscard]] const Count* tiles(int vector) const noexcept { return tiles_.data() + static_cast<std::size_t>(vector) * parts_; }

 private:
  void fill_tiles(const Problem& problem, const std::vector<TilePart>& parts);
  void fill_buckets(const Problem& problem);

  const Group& group_;
  int size_ = 1;
  std::size_t parts_ = 0;
  std::vector<std::uint32_t> rows_;
  std::vector<Count> tiles_;
  std::vector<Bucket> buckets_;
};

// Vectors of a list in buckets, and what they cost under one pricing.
struct PricedList {
  std::vector<double> cost;
  std::vector<int> vector;
  std::vector<int> begin;         // [bucket], one more than there are buckets
  std::vector<double> least;      // [bucket]: cost; infinite if it is empty
  std::vector<char> is_sorted;    // [bucket]

  // By cost, then by vector. Most buckets are never looked into.
  void sort(std::size_t bucket);
};

// The lists of one group under one choice of bypasses.
class GroupLists {
 public:
  GroupLists(const Problem& problem, const Group& group, const KeepChoice& keep, const std::vector<Link>& links,
             const std::vector<TilePart>& parts);

  [[nodiscard]] const GroupVectors& vectors() const noexcept { return vectors_; }
  [[nodiscard]] const std::vector<Component>& components() const noexcept { return components_; }
  // The list of a skeleton; equal restrictions share one.
  int find_list(const Skeleton& skeleton);
  // weights: one per component. pricing: number of this set of weights, given by the caller.
  PricedList& price(int list, int pricing, const std::vector<double>& weights);

 private:
  struct List {
    std::vector<std::uint32_t> key;  // units and runs as far as they concern the group
    std::vector<int> vector;
    std::vector<int> begin;      // [bucket]
    std::vector<double> energy;  // [entry * components]
    std::vector<std::unique_ptr<PricedList>> priced;
  };

  void build(List& list) const;
  void add_energy(const List& list, int vector, std::vector<double>& out) const;
  [[nodiscard]] double run_factor(const List& list, int vector, std::size_t link) const;
  [[nodiscard]] double irrelevant_lanes(int vector, int tensor, int first_level, int end_level) const;
  [[nodiscard]] bool counts_operands(int tensor, int level) const;

  const Problem& problem_;
  const Group& group_;
  const std::vector<Link>& links_;
  std::uint32_t dims_ = 0;
  GroupVectors vectors_;
  std::vector<Component> components_;
  std::map<std::vector<std::uint32_t>, int> known_;
  std::vector<std::unique_ptr<List>> lists_;
};

}  // namespace quantloom::exact

// The mapspace: every mapping of a workload that an architecture's constraints leave, numbered from 0. A point is four
// choices, and the space is their product:
//   factorization  for each dim an ordered factorization of its bound into one factor for each block;
//   permutation    for each block the order of the dims that are not fixed;
//   split          for each spatial block without a given split, how many of its innermost dims lie on X (0 to all);
//   bypass         for each open (level, tensor) pair whether the tensor is kept.
// In an index the bypass runs fastest, then split, permutation and factorization; within each of them the first pair,
// the innermost block and the first dim run fastest. Orders of one block run lexicographically; factorizations of one
// dim are sorted by their outermost free factor, then the next inner one, in the order 1, n, 2, n/2, ... of divisors.
// This is the numbering of the reference tool. The space knows nothing of energy.
//
// Many points are the same mapping: orders and splits of loops of bound 1. Three enumerations deal with that:
//   unpruned   all points; what the sizes count and at() numbers;
//   reference  what the reference's exhaustive search visits: for each factorization, loops of bound 1 are moved
//              innermost and a searched split starts behind them. Spatial blocks with a given split are left as they
//              are. In a spatial block with fanout on one axis and no given order the dims keep the workload's order
//              and only the split's start is moved, so some mappings appear several times, and on a Y axis some not at
//              all;
//   distinct   every different mapping that is within the fanout, once. Where there is one axis and neither order nor
//              split is given, all spatial loops lie on that axis in the workload's order.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/batch.hpp"
#include "quantloom/big_unsigned.hpp"
#include "quantloom/constraints.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

namespace detail {
struct MapspaceParts;
class WalkState;
}  // namespace detail

enum class Enumeration { unpruned, reference, distinct };

// Sizes of the four choices before any pruning; their product is the size of the space.
struct MapspaceSizes {
  BigUnsigned factorization;
  BigUnsigned permutation;
  BigUnsigned split;
  BigUnsigned bypass;
  std::vector<std::uint64_t> factorizations;  // [dim], their product is factorization
};

struct CountOptions {
  int threads = 1;
  // Count as the reference's exhaustive search does, or every different mapping once.
  Enumeration enumeration = Enumeration::reference;
  std::stop_token stop;  // asked at least every few milliseconds
  // How tiles are packed. The default model, which stores partial sums with their own width, counts distinct mappings only.
  CostModel model = CostModel::compat;
  PackingRule packing = PackingRule::word;  // the last two: as in EvaluateOptions
  int psum_bits = 0;
};

// considered = valid + invalid_fanout + invalid_capacity + invalid_utilization. A mapping fails by the fanout, else by the use of
// fanouts, else by the innermost level whose tiles do not fit or are too small for its min_capacity.
// reference: a (factorization, order, split) outside of the fanout, or using too little or too much of it, counts once, whatever is kept; if no choice of
// bypasses fits a factorization, only its first order and split within the fanout is looked at.
// distinct: nothing is skipped; of what is outside of the fanout each different (factorization, order, split) counts once.
struct MapspaceCount {
  BigUnsigned considered;
  BigUnsigned valid;
  BigUnsigned invalid_fanout;
  BigUnsigned invalid_capacity;
  BigUnsigned invalid_utilization;
  std::vector<BigUnsigned> invalid_utilization_by_level;  // those by parallelism are of no level
  std::vector<BigUnsigned> invalid_capacity_by_level;  // by the innermost level that is too small
  bool complete = true;                                // false: stopped on request, the numbers are partial
};

// One mapping while walking, without allocation. Valid until the walker moves.
struct MappingView {
  int num_blocks = 0;
  int num_dims = 0;
  int num_levels = 0;
  const std::uint32_t* factors = nullptr;  // [block][dim]
  const std::uint8_t* order = nullptr;     // [block][position], inner to outer
  const std::uint8_t* split = nullptr;     // [block]: positions below it lie on X; 0 in temporal blocks
  const std::uint32_t* keep = nullptr;     // [level]: bit t set if tensor t is kept
  bool fits_fanout = true;

  [[nodiscard]] std::uint32_t factor(int block, int dim) const noexcept { return factors[block * num_dims + dim]; }
  [[nodiscard]] int dim_at(int block, int position) const noexcept { return order[block * num_dims + position]; }
};

class Mapspace {
 public:
  // Throws as resolve_constraints does.
  Mapspace(Arch arch, Workload workload, Selection selection = Selection::all);

  [[nodiscard]] const Arch& arch() const noexcept;
  [[nodiscard]] const Workload& workload() const noexcept;
  [[nodiscard]] const ResolvedConstraints& constraints() const noexcept;
  [[nodiscard]] Selection selection() const noexcept;

  [[nodiscard]] MapspaceSizes sizes() const;
  [[nodiscard]] BigUnsigned size() const;
  // The mapping with this index, without its loops of bound 1. It may exceed fanout or capacity: check_fit tells.
  // Throws Error(mapping) if index >= size().
  [[nodiscard]] Mapping at(const BigUnsigned& index) const;
  // Uniform over all indices, with replacement; the same seed gives the same mappings on every machine.
  // Fewer than count only if a stop is requested.
  [[nodiscard]] std::vector<Mapping> sample(std::size_t count, std::uint64_t seed, std::stop_token stop = {}) const;
  [[nodiscard]] Mapping materialize(const MappingView& view) const;
  // The mappings first .. first + count - 1 as at() gives them, fewer at the end of the space, and the mappings of sample(),
  // for the batch door. Every batch of a space has the same slots. Fewer only if a stop is requested.
  // Throws Error(mapping) if first > size().
  [[nodiscard]] MappingColumns columns(const BigUnsigned& first, std::size_t count, std::stop_token stop = {}) const;
  [[nodiscard]] MappingColumns sample_columns(std::size_t count, std::uint64_t seed, std::stop_token stop = {}) const;

  // Counts what fits. bits: one entry per tensor, 0 = one element a word. The result does not depend on the number of
  // threads. Throws Error(mapping) if bits exceed a word, or if the space is too large to walk, Error(spec) for options
  // that contradict each other, Error(workload) for what the default model cannot count.
  [[nodiscard]] MapspaceCount count(std::span<const int> bits, const CountOptions& options = {}) const;
  // The same for many settings in one pass.
  [[nodiscard]] std::vector<MapspaceCount> count_many(const std::vector<std::vector<int>>& bits,
                                                      const CountOptions& options = {}) const;

 private:
  friend class MappingWalker;
  std::shared_ptr<const detail::MapspaceParts> parts_;
};

// Steps through factorizations first_factorization .. first_factorization + count - 1 in index order, or to the end.
//   MappingWalker walker(space, Enumeration::distinct);
//   while (walker.next()) { use(walker.view()); }
// Moving never allocates. distinct yields only mappings within the fanout; reference and unpruned yield the others too.
class MappingWalker {
 public:
  MappingWalker(const Mapspace& space, Enumeration enumeration, std::uint64_t first_factorization = 0,
                std::uint64_t count = UINT64_MAX);
  ~MappingWalker();
  MappingWalker(MappingWalker&&) noexcept;
  MappingWalker& operator=(MappingWalker&&) noexcept;

  // Moves to the first or the next mapping; false behind the last one, and soon after a stop is requested: between two
  // mappings within the fanout there may be millions outside of it.
  bool next() noexcept;
  void stop_on(std::stop_token stop) noexcept;
  // The next call of next() leaves out the other bypass choices of this order and split.
  void skip_bypasses() noexcept;
  // The next call of next() goes on with the next factorization.
  void skip_factorization() noexcept;
  [[nodiscard]] const MappingView& view() const noexcept;
  // Index of the current factorization.
  [[nodiscard]] std::uint64_t factorization() const noexcept;

 private:
  std::shared_ptr<const detail::MapspaceParts> parts_;  // the space may end before its walker
  std::unique_ptr<detail::WalkState> state_;
};

}  // namespace quantloom

// The second door of the cost model: many mappings of one layer at once, as structure-of-arrays, without the breakdown and
// without an allocation per mapping. Energy, cycles and validity equal those of evaluate() and check_fit().
//
// A batch names the loops its mappings may have, its slots, in nest order; each mapping fills every slot with a dim and a
// bound, and a bound of 1 leaves a slot empty. A mapping takes 5 bytes a slot and 4 a level.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quantloom/arch.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/mapping.hpp"
#include "quantloom/workload.hpp"

namespace quantloom {

struct LoopSlot {
  int level = 0;
  LoopKind kind = LoopKind::temporal;
  bool operator==(const LoopSlot&) const = default;
};

// Views of arrays that the caller owns. Mapping i is column i of each.
struct MappingBatch {
  std::span<const LoopSlot> slots;        // outermost first: levels descend; in a level temporal, Y, X
  std::size_t count = 0;                  // mappings
  std::size_t stride = 0;                 // distance between rows, at least count
  const std::uint8_t* dims = nullptr;     // [slot][mapping]; of no meaning where the bound is 1
  const std::uint32_t* bounds = nullptr;  // [slot][mapping]
  const std::uint32_t* keep = nullptr;    // [level][mapping]: bit t set if tensor t is kept
};

// Mapping number `index` of a batch as the other doors take it, without loops of bound 1.
[[nodiscard]] Mapping mapping_at(const MappingBatch& batch, std::size_t index, int num_levels);

// A batch that owns its arrays.
struct MappingColumns {
  std::vector<LoopSlot> slots;
  std::size_t count = 0;
  std::vector<std::uint8_t> dims;     // [slot][mapping]
  std::vector<std::uint32_t> bounds;  // [slot][mapping]
  std::vector<std::uint32_t> keep;    // [level][mapping]

  [[nodiscard]] MappingBatch batch() const noexcept { return {slots, count, count, dims.data(), bounds.data(), keep.data()}; }
};

// capacity: the level that is too small is added to it, the innermost if there are several. malformed: the factors of some
// dim do not multiply to its bound, a dim has two loops in the slots of one level and kind, or a dim or tensor does not exist.
enum class BatchStatus : std::uint8_t { valid = 0, fanout = 1, malformed = 2, capacity = 16 };

// Arrays of the caller, one entry per mapping. Energy and cycles are infinite where the mapping is not valid, or where
// evaluate() finds them infinite.
struct BatchResult {
  double* energy_pj = nullptr;
  double* cycles = nullptr;
  std::uint8_t* status = nullptr;
};

// Everything that does not depend on the mapping, and the buffers of one thread. Copies share the former: one copy for
// each thread.
class BatchEvaluator {
 public:
  // Throws as evaluate() does for bits, options and workloads. Never steps: options.always_step is of no meaning.
  BatchEvaluator(Arch arch, Workload workload, std::span<const int> bits, const EvaluateOptions& options = {});
  BatchEvaluator(const BatchEvaluator& other);
  BatchEvaluator& operator=(const BatchEvaluator&) = delete;
  ~BatchEvaluator();

  // Throws Error(mapping) unless the slots are of the arch's levels, in nest order, and the stride holds the count.
  void check(const MappingBatch& batch) const;
  // Mappings first .. first + count - 1 of a batch that check() accepts, into the same places of the result. Allocates
  // nothing with the default model, except for accelerators with forwarding networks; compat while its buffers grow.
  void evaluate(const MappingBatch& batch, std::size_t first, std::size_t count, const BatchResult& result) noexcept;
  void evaluate(const MappingBatch& batch, const BatchResult& result) noexcept { evaluate(batch, 0, batch.count, result); }

  // Whether mappings are priced many at a time. Otherwise one by one: energies of hops and routers, dims in two ranks,
  // counts that may pass 2^50; default: energies of adders, networks that share less or more than equal tiles; compat:
  // output ranks that are sums or multiples of dims, and the mappings whose children may take data from each other.
  [[nodiscard]] bool is_vectorized() const noexcept;

 private:
  struct Shared;
  struct Buffers;
  std::shared_ptr<const Shared> shared_;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace quantloom

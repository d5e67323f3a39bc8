// What the lattice mapper derives once from (arch, workload, selection): merged dims and the levels that may keep tensors; and,
// for one choice of lanes, every product that its counts need. Private to the mapper.
//
// For spaces without limits on factors and orders. Dims that every tensor sees alike are one dim of the lattice: only their
// product counts. A point of the lattice at a level is the tile shape there, one divisor per dim.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "lattice_window.hpp"
#include "mapspace_parts.hpp"
#include "quantloom/mapper.hpp"
#include "settings.hpp"

namespace quantloom::lattice {

inline constexpr int kMaxLatticeTensors = 4;

struct LatticeDim {
  std::vector<int> members;    // dims of the workload
  Count bound = 1;
  std::uint32_t relevant = 0;  // tensors that it moves
  std::vector<Count> primes;   // that divide the bound, ascending
  std::vector<Count> divisors; // of the bound, ascending
  std::vector<std::vector<std::uint8_t>> multiples;  // [index of a divisor]: indices of those it divides, ascending
  // Index of a divisor of the bound.
  [[nodiscard]] std::uint8_t index(Count divisor) const noexcept;
};

// A tile shape: for each dim the index of its extent among the divisors of its bound.
using Shape = std::array<std::uint8_t, kMaxLatticeDims>;

class Problem {
 public:
  // Throws as Mapspace does.
  Problem(const Arch& arch, const Workload& workload, Selection selection);

  // Whether the space and the costs are of the kind that the lattice search counts exactly under these options.
  [[nodiscard]] bool is_supported(const MapperOptions& options) const;

  [[nodiscard]] int num_levels() const noexcept { return parts.arch.num_levels(); }
  [[nodiscard]] int num_tensors() const noexcept { return parts.workload.num_tensors(); }
  [[nodiscard]] int num_dims() const noexcept { return static_cast<int>(dims.size()); }
  [[nodiscard]] std::uint64_t num_shapes() const noexcept;
  // Shapes are numbered with the last dim fastest.
  [[nodiscard]] std::uint64_t code(const Shape& shape) const noexcept;
  [[nodiscard]] Shape shape(std::uint64_t code) const noexcept;
  [[nodiscard]] bool is_output(int tensor) const noexcept { return parts.workload.tensors()[static_cast<std::size_t>(tensor)].is_output; }

  detail::MapspaceParts parts;
  std::vector<LatticeDim> dims;       // with bounds above 1
  std::vector<std::uint32_t> forced;  // [level]: tensors that are kept in every mapping
  std::vector<std::uint32_t> open;    // [level]: tensors that may be kept or not
  Window window;

 private:
  void merge_dims();
};

// Lanes of every spatial block, by level and dim.
using Lanes = std::array<std::array<std::uint32_t, kMaxLatticeDims>, kMaxLevels>;

// One temporal loop over a dim of the lattice.
struct LatticeLoop {
  std::uint8_t dim = 0;
  Count bound = 1;
};
using Factors = std::array<std::array<Count, kMaxLatticeDims>, kMaxLevels>;  // by level and dim; merged dims have large ones
using LevelLoops = std::array<std::vector<LatticeLoop>, kMaxLevels>;  // of each level, inside out

// All choices of lanes within the fanout, in a fixed order. Empty if there are more than `most`.
[[nodiscard]] std::optional<std::vector<Lanes>> list_lanes(const Problem& problem, std::size_t most);

// Splits the factors of a lattice dim among its members, and lanes among the axes of their block.
class MappingBuilder {
 public:
  explicit MappingBuilder(const Problem& problem);
  // factors: [level][dim] temporal; innermost: [level] tensor whose irrelevant loops lie innermost, -1 if it does not matter.
  [[nodiscard]] Mapping build(const Lanes& lanes, const Factors& factors, const std::array<int, kMaxLevels>& innermost,
                              const std::array<std::uint32_t, kMaxLevels>& keep) const;
  [[nodiscard]] Mapping build(const Lanes& lanes, const LevelLoops& loops, const std::array<std::uint32_t, kMaxLevels>& keep) const;

 private:
  void place_lanes(int level, const std::vector<Loop>& loops, LevelMapping& out) const;

  const Problem& problem_;
};

}  // namespace quantloom::lattice

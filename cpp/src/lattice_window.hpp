// The sliding window of one input, as the lattice search sees it: which dims share a rank, tiles, and lower bounds on what its
// copies move. Private to the mapper.
//
// Sections 5.5 and 5.6 of docs/model.md. A copy moves its tile and, for each advance of a temporal loop outside of it, what
// the tile newly covers. How far the loops placed so far have moved it (`wrapped`) and the tile say what the next loop outwards
// adds, so the sum can be made up from the inside: `fresh` elements in one sweep of these loops become
//     bound * fresh + (bound - 1) * (tile - overlap at the displacement of the loop).
// A loop over a dim that moves a rank alone leaves no overlap; from there on every step brings a whole tile.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "quantloom/workload.hpp"

namespace quantloom::lattice {

struct LatticeDim;

inline constexpr int kMaxLatticeDims = 8;
inline constexpr int kMaxWindowRanks = 3;
inline constexpr int kMaxWindowLevels = 8;
inline constexpr int kMaxWindowLaneDims = 16;  // over all levels: enough for 2^16 arithmetic units

// One number for each dim of the lattice.
using Extents = std::array<Count, kMaxLatticeDims>;
// One for each rank with a window.
using RankCounts = std::array<Count, kMaxWindowRanks>;

class Window {
 public:
  // How the loops placed so far have used one copy.
  struct Sweep {
    Count tile = 0;
    Count alone = 0;    // of the tile: product over ranks without a window
    Count fresh = 0;    // elements newly needed within one sweep
    RankCounts extent{};
    RankCounts wrapped{};  // elements that the loops placed so far move each rank
  };

  // Of the first input whose tiles can overlap or have holes; tensor() is -1 if there is none.
  Window(const Workload& workload, const std::vector<LatticeDim>& dims);

  [[nodiscard]] int tensor() const noexcept { return tensor_; }
  // Whether this is all there is: each dim moves at most one rank of the tensor, and not too many ranks have windows.
  [[nodiscard]] bool is_simple() const noexcept { return is_simple_; }
  [[nodiscard]] int num_ranks() const noexcept { return num_ranks_; }
  // How many times as many elements as indices a tile can span: the product over window ranks of the largest coefficient.
  [[nodiscard]] double spread() const noexcept;
  // Window rank that a dim moves; -1: none.
  [[nodiscard]] int rank(std::size_t dim) const noexcept { return rank_[dim]; }
  [[nodiscard]] Count coefficient(std::size_t dim) const noexcept { return coefficient_[dim]; }
  // The dim moves the tensor, and moves its rank alone.
  [[nodiscard]] bool is_alone(std::size_t dim) const noexcept { return (alone_ >> dim & 1U) != 0; }
  [[nodiscard]] bool is_irrelevant(std::size_t dim) const noexcept { return !is_alone(dim) && rank_[dim] < 0; }

  [[nodiscard]] Count tile(const Extents& extents) const noexcept;
  [[nodiscard]] Sweep begin(const Extents& extents) const noexcept;
  // Adds a temporal loop over a dim that is not alone; extent: of the dim inside of the loop.
  void add_loop(Sweep& sweep, std::size_t dim, Count bound, Count extent) const noexcept;
  // Different elements at least, if each dim takes so many of its values, whichever they are.
  [[nodiscard]] Count least_distinct(const Extents& values) const noexcept;
  // Different tiles at least among lanes, so many of each dim: over ranks with a window only.
  [[nodiscard]] Count least_groups(int rank, const Extents& lanes) const noexcept;
  // Elements that a copy moves at least if one temporal loop for each dim, of these bounds, is all that lies outside of it.
  [[nodiscard]] Count least_moves(const Extents& extents, const Extents& bounds) const;

 private:
  int tensor_ = -1;
  bool is_simple_ = true;
  int num_ranks_ = 0;
  std::size_t num_dims_ = 0;
  std::array<int, kMaxLatticeDims> rank_{};
  Extents coefficient_{};
  Extents bound_{};
  std::uint32_t alone_ = 0;
};

}  // namespace quantloom::lattice

// What a copy of the tensor with a window still moves at least, whatever the order of the loops further out. Private to
// the mapper.
//
// By section 5.5 of docs/model.md a copy moves its tile and, for each loop k outside of it, (N_k - 1) * (loops outside
// of k) * x_k elements more, where x_k is the tile without what it overlaps when the loop advances. x_k depends on how
// far the loops inside of k have moved the tile. Without lanes on the way that is the extent there less the tile's,
// whatever the order and the number of these loops; so the least over all orders is a shortest path over shapes of the
// dims with windows, one prime factor a step: a loop of a*b costs what one of a and one of b outside of it cost. With
// lanes on the way it depends on the shapes at which they are crossed as well: x_k is then the least over all such
// shapes.
//   * Loops over dims alone in their rank leave no overlap: from there on every step brings a whole tile, so they do
//   least as the outermost ones.
//   * Irrelevant loops (in all: m) add (m - 1) * (loops outside) * (tile - overlap with itself where the loops inside
//   have moved it), and all
//     further in count m times. Split between two places this is linear in how it is split, so one place is best; all
//     places are tried.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "lattice_problem.hpp"

namespace quantloom::lattice {

class Sweeps {
 public:
  explicit Sweeps(const Problem& problem);

  // Whether there are few enough shapes to tabulate.
  [[nodiscard]] bool is_small() const noexcept { return codes_ * irrelevant_.size() <= kMostCodes; }
  // Everything below is for these lanes.
  void plan(const Lanes& lanes);
  // Number of the extents of a shape in the dims with windows.
  [[nodiscard]] std::uint32_t code(const Shape& shape) const noexcept;

  // For a copy at a level with this tile, elements for each index of the dims alone in their rank (whatever these are,
  // inside and outside). All it moves, if the innermost temporal loop outside of it moves it and `irrelevant` loops
  // that do not lie further out.
  [[nodiscard]] double least(int level, std::uint32_t tile, Count irrelevant);
  // What it moves beyond its tile and the repetition of what was new so far, from the loops placed up to this shape of
  // an outer level on, `irrelevant` of those that remain irrelevant.
  [[nodiscard]] double least_more(int level, std::uint32_t tile, int outer, std::uint32_t shape, Count irrelevant);

 private:
  static constexpr std::size_t kMostCodes = 20'000;
  static constexpr std::size_t kMostEntries = std::size_t{1} << 23;  // for lanes, of all tables together: 64 MB

  // Overlap of a tile with itself in one rank at most.
  struct Overlaps {
    std::vector<Count> still;  // [stage * codes of the rank + code]: the loop does not move the rank
    std::array<std::vector<Count>, kMaxLatticeDims> moving;  // [dim]: it is one over the dim
  };
  struct Table {
    std::vector<double> more;   // [(stage * codes + code) * irrelevant + number]
    std::vector<double> start;  // [number of the irrelevant loops]
  };
  // Lanes of dims with windows outside of a copy, level by level: its stages.
  struct Outside {
    std::vector<Extents> lanes;                                                 // [stage - 1]
    std::vector<std::unique_ptr<Table>> tables;                                 // [tile]
    std::array<std::vector<std::unique_ptr<Overlaps>>, kMaxWindowRanks> ranks;  // [rank][tile in the rank]
  };
  struct Rank {
    std::vector<std::size_t> dims;
    std::array<std::uint32_t, kMaxLatticeDims> stride{};
    std::uint32_t codes = 1;
  };

  [[nodiscard]] Outside& outside(int level) { return *outside_[static_cast<std::size_t>(level)]; }
  [[nodiscard]] const Table& table(Outside& outside, std::uint32_t tile);
  [[nodiscard]] std::unique_ptr<Table> tabulate(Outside& outside, std::uint32_t tile) const;
  [[nodiscard]] const Overlaps& overlaps(Outside& outside, std::size_t rank, const Shape& tile) const;
  [[nodiscard]] std::unique_ptr<Overlaps> find_overlaps(const Outside& outside, const Rank& rank,
                                                        const Shape& tile) const;
  [[nodiscard]] std::vector<std::vector<std::vector<Count>>> list_advances(const Outside& outside, std::size_t dim,
                                                                           std::uint8_t tile) const;
  [[nodiscard]] Shape shape(std::uint32_t code) const noexcept;
  [[nodiscard]] std::size_t number(Count irrelevant) const noexcept;

  const Problem& problem_;
  std::vector<std::size_t> dims_;  // with windows
  std::array<std::uint32_t, kMaxLatticeDims> stride_{};
  std::size_t codes_ = 1;
  std::vector<Rank> ranks_;
  std::vector<Count> irrelevant_;  // all there can be, ascending
  std::vector<std::vector<std::vector<std::pair<std::uint8_t, Count>>>>
      steps_;  // [dim][index]: next larger extents by one prime each
  std::map<std::vector<Count>, Outside> all_outside_;
  std::array<Outside*, kMaxLevels> outside_{};                            // [level]
  std::array<std::array<std::uint8_t, kMaxLevels>, kMaxLevels> stage_{};  // [level][outer level]
  std::size_t entries_ = 0;
};

}  // namespace quantloom::lattice
